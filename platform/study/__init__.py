"""The durable Optuna study: storage, samplers, pruners, identity."""
