"""Episodes: from a text to the units that a keep mask keeps or drops.

Takes a rendered prompt and returns an `Episode`: its units, which of them are protected, and their
token IDs. Used by `scoring`, which scores compressed episodes with a generator.
"""
