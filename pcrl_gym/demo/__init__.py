"""A web page that compresses prompts.

It shows the compressed prompt, both answers, and the reward for a visitor's prompt as HTML. In the
package, only the command line imports it.
"""
