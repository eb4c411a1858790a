"""From a text to the units that a keep mask decides about.

A rendered prompt goes in; an `Episode` comes out: units, which of them are protected, and their
token ids. Next comes `scoring`, which asks a generator what a compressed episode is still worth.
"""
