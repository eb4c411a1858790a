"""Render episodes as text or images.

A `Frame` holds an episode and its keep mask, and is rendered as text for terminals or as an image.
`envs` and `demo` build on this package.
"""
