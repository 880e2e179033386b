"""Data sets: files, splits, batches, text vectors."""
