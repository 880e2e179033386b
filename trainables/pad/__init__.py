"""PAD: pre-train, align and disentangle (SIGIR 2025), and its baselines."""
