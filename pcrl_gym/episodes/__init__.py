"""From a prompt or a text to an episode: tokenizers, units, protection."""
