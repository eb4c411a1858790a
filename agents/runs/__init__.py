"""Training runs in folders: configured, resumable, logged and evaluated."""
