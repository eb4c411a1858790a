"""Tuning generators: `python -m benchmarks finetune`."""
