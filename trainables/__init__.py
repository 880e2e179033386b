"""The worker: methods, their data and their training loop. Never imports the driver package."""
