"""The trained policy as a function from texts to shorter texts, with keep probabilities."""

from __future__ import annotations

from pcrl_gym import Compressor

PROMPTS = [
    "Could you please sort these words for me, I would be very happy: pear, fig, apple",
    "Hi there! Which of these is not a fruit: pear, desk, fig? Thanks a lot.",
]

# Any folder of `python -m agents export` or Hugging Face id; "micro" comes with the package.
compressor = Compressor.from_pretrained("micro")

for done in compressor(PROMPTS):
    print(f"{done.original_tokens:3} -> {done.compressed_tokens:2} tokens: {done.text}")

# A rate instead of the policy's own choice, and words that must not be lost.
[_, done] = compressor(PROMPTS, rate=0.3, force_keep=["there"])
print(f"{done.drop_rate:.0%} of the units dropped: {done.text}")

# The three units that the policy would give up first.
ranked = sorted(zip(done.keep_probabilities, done.units, strict=True))
for probability, (start, end) in ranked[:3]:
    print(f"{probability:6.2%} {done.original[start:end]!r}")
