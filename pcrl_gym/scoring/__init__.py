"""From episodes and keep masks to answers, similarity, compression and reward."""
