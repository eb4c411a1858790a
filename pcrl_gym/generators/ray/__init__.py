"""Replicas of a generator on the machines of a Ray cluster.

Splits texts among the replicas and returns the same answers as a single process. Used by
`generators.loading`, which creates the generator from its name.
"""
