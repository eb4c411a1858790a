"""The policy as a function from text to shorter text, and its folder on disk."""
