"""Submitting a sweep to a Ray cluster: checks, packaging, jobs."""
