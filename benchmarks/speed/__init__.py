"""What answering and compressing cost, measured."""
