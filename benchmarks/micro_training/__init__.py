"""Training of micro's generators: `python -m benchmarks.micro_training.train causal`."""
