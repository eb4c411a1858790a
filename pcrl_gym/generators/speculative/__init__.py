"""Greedy decoding that verifies drafts, several tokens per forward pass.

Prompts and drafts of their answers go in; the answers of plain greedy decoding come out, token for
token. Next comes `generators.hf`, which decodes with it.
"""
