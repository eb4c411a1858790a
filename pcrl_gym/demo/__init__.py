"""A page in the browser that compresses prompts.

A visitor's prompt goes in; the compressed prompt, both answers and the reward come out as HTML.
Nothing of the package stands above but the command line.
"""
