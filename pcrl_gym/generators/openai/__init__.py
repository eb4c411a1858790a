"""Models behind OpenAI-compatible servers.

Texts go in as requests; answers come out, with retries, a budget and an account of tokens. Next
comes `generators.loading`, which makes the generator from its name.
"""
