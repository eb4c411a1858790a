"""Fine-tuning of generators: `python -m benchmarks finetune`."""
