"""Storage that survives interruptions.

Provides atomic writes (files are complete or absent), a cache of answers, and validation of model
folders. Used by `prompts`, which reads the rows of datasets.
"""
