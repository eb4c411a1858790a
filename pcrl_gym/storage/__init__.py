"""Files that survive an interruption.

Values and folders go in; files that are complete or absent, a cache of answers and checked model
folders come out. Next comes `prompts`, which reads the rows of datasets.
"""
