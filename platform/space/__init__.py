"""The search space: parameters as Optuna distributions, feasible points, the check against a trainable."""
