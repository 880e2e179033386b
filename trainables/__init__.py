"""What runs on a worker: methods, their data, their training loop. Never imports the driver package."""
