"""Prompts: from a row of a dataset to the text that a generator reads.

Reads `Prompt` objects from files, folders, and Hub datasets. A template renders each one to a text
that marks the template's own characters. Used by `episodes`, which splits that text into units.
"""
