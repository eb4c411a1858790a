"""What people see of an episode.

A `Frame`, an episode with what was kept of it, goes in; a text for terminals or a picture comes
out. Next come `envs` and `demo`, which show it.
"""
