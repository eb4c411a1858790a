"""Analyses of result folders: pairs, rates, transfer, words, judge, time."""
