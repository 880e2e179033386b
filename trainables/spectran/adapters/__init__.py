"""From language embeddings to item vectors: one file an adapter, none of which knows the sequence encoder."""
