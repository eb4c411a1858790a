"""Generators: the frozen language models that answer original and compressed prompts."""
