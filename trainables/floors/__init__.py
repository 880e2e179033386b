"""Counting floors, which every learned model must beat."""
