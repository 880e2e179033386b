"""What every sequential recommender shares: losses, metrics, evaluation, the training loop."""
