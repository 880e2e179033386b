"""Counting floors: what every learned model must beat."""
