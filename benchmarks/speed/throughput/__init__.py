"""How fast compressed prompts are answered: the engine beside `generate`, in one run.

The unit of work is what an environment's step asks of the generator: given the answers to the
original prompts, made before the clock starts, answer compressed prompts and compute the threshold
rewards. All ways get the same distinct pairs of compressed prompt and original answer. What the
environment saves besides by remembering answers is left out; in particular, an environment never
asks again for a prompt that is kept whole, so `keep-all` shows what verifying a draft costs when
all of it holds.

Speeds are compared within one run: the ways take turns, and the fastest repetition of each counts.
The floor knows its batches beforehand and decodes nothing, so no engine reaches all of it.
"""
