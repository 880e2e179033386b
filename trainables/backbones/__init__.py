"""Sequence encoders: item vectors of a history in, hidden states out."""
