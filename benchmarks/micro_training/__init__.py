"""How the generators of micro were trained: `python -m benchmarks.micro_training.train causal`."""
