"""From a row of a dataset to the text that a generator reads.

Files, folders and datasets of the hub go in; `Prompt`s come out, and a template renders each as a
text that knows which characters are its own. Next comes `episodes`, which cuts that text into
units.
"""
