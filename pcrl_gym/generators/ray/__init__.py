"""Replicas of a generator on the machines of a Ray cluster.

Texts go in and are split among the replicas; answers come out as from one process. Next comes
`generators.loading`, which makes the generator from its name.
"""
