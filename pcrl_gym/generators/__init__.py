"""Frozen language models that answer prompts.

Take texts and return greedy answers, token counts, and log-likelihoods, with one protocol for local
models, servers, and clusters. Used by `scoring`, which compares the answers.
"""
