"""SpecTran: spectral-aware adapter from language embeddings to item vectors."""
