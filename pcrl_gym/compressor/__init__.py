"""Compress texts with a trained policy.

A compressor returns a `Compression` for each text, or each instruction with its input, without
calling a generator. `demo` and the command line build on this package.
"""
