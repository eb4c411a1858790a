"""The trained policy as a function from text to shorter text.

Texts, or instructions with inputs, go in; a `Compression` comes out for each, without asking a
generator. Next come `demo` and the command line, which offer it to people.
"""
