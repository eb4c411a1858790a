"""Greedy decoding that verifies drafts, several tokens per forward pass.

Takes prompts and drafts of their answers and returns exactly the tokens of plain greedy decoding.
Used by `generators.hf`.
"""
