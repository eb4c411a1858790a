"""The Gymnasium environments.

They take the arguments of `gym.make` and return observations, rewards, and infos for one or many
episodes at a time. Used by the agents, which are outside this package.
"""
