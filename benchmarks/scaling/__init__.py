"""What a reward costs, stage by stage, and what that means for many GPUs.

`measure` times the stages of self-critical updates on this machine, `fit` puts a small model of the
work through the figures, and `project` computes with that model, and with figures from data sheets,
what cannot be measured here.
"""
