"""From episodes and keep masks to rewards.

Episodes and masks go in; `Scores` come out: both answers, their similarity, the compression ratio,
the reward. Next comes `envs`, which pays the reward for an action.
"""
