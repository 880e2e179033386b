"""The sweep's folder: its files, its lease, its disk space."""
