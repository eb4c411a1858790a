"""Models behind OpenAI-compatible servers.

Sends texts as requests and returns answers, with retries, a budget, and token accounting. Used by
`generators.loading`, which creates the generator from its name.
"""
