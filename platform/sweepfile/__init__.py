"""The sweep file's language: from YAML text to a frozen, checked SweepSpec."""
