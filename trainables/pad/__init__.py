"""PAD: pre-train, align and disentangle (SIGIR 2025), and what it is compared with."""
