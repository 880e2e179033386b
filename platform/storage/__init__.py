"""The sweep's folder: its files, the ends of its trials, its lease, its disk space."""
