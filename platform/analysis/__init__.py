"""Finished trials as tables, paired tests and printed reports."""
