"""Benchmark suites: any agent in, leaderboard rows out.

Run from a clone: `python -m benchmarks run --suite micro --agents random stopwords --out DIR`.
"""
