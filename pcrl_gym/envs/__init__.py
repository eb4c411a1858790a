"""The Gymnasium environments.

The arguments of `gym.make` go in; observations, rewards and infos come out, for one episode or many
at a time. Next come the agents, outside of this package.
"""
