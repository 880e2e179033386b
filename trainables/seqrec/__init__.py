"""Parts that all sequential recommenders share: losses, metrics, evaluation, the training loop."""
