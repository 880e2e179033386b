"""From language embeddings to item vectors: one file per adapter, none of which knows the sequence encoder."""
