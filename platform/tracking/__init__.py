"""From trials' journals to MLflow: journal, tracker, shipper."""
