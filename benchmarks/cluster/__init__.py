"""A run in parts: jobs, shards, workers on a Ray cluster, and the join of their results."""
