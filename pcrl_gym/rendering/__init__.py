"""A prompt with its dropped units struck through, as text or as a picture."""
