"""Third-party prompt compressors, each in its own environment; see `adapters`."""
