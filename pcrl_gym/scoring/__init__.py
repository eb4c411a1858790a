"""Scoring: from episodes and keep masks to rewards.

Takes episodes and keep masks and returns `Scores`: both answers, their similarity, the compression
ratio, and the reward. Used by `envs`, which returns the reward for an action.
"""
