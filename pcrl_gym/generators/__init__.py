"""Frozen language models: from a text to its answer.

Texts go in; greedy answers, token counts and log-likelihoods come out, by one protocol for local
models, servers and clusters. Next comes `scoring`, which compares the answers.
"""
