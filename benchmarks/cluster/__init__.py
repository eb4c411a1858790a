"""Distributed runs: jobs, shards, workers on a Ray cluster, and merging of their results."""
