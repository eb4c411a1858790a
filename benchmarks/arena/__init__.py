"""Prompt compressors of others, each in an environment of its own: see `adapters`."""
