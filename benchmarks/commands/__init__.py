"""The commands of `python -m benchmarks`: options, and what they call."""
