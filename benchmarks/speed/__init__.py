"""Measurements of the cost of answering and compressing."""
