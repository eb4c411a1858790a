"""Packages of the arena and their tested settings; running this module prints them."""

from __future__ import annotations

from pcrl_gym.spec_strings import format_spec

PACKAGES = {
    "caio": ("caio", "caio_prod"),
    "caveman_compression": ("caveman_compression",),
    "caveman_prompt": ("caveman_prompt",),
    "compression_prompt": ("compression_prompt", "compression_prompt 0.25"),
    "distilla": ("distilla",),
    "fasttok": ("fasttok",),
    "fiedler_compress": ("fiedler_compress", "fiedler_caveman", "fiedler_caveman_ultra"),
    "gptrim": ("gptrim", "gptrim_spaced"),
    "grugify": ("grugify", "grugify 0.25"),
    "llm_token_optimizer": ("llm_token_optimizer",),
    "llmlingua": ("llmlingua", "llmlingua 0.25"),
    "llmslim": ("llmslim",),
    "prompt_compressor": ("prompt_compressor", "prompt_compressor_medium"),
    "promptcompression": ("promptcompression",),
    "promptminify": ("promptminify", "promptminify_aggressive"),
    "promptslim": ("promptslim",),
    "promptzip": ("promptzip",),
    "shrink_prompt": ("shrink_prompt",),
    "token_diet": ("token_diet",),
    "token_reducer": ("token_reducer", "token_reducer_aggressive"),
    "tokenoptim": ("tokenoptim",),
    "tokenpruner": ("tokenpruner", "tokenpruner_semantic"),
}  # fmt: skip
"""Up to three functions of `adapters` per file of `requirements/`, some with a rate; the first is
the package's default."""


def arena_agents() -> list[str]:
    """Return every setting as an agent for `benchmarks run --agents`, run from a clone."""
    found = []
    for package, settings in PACKAGES.items():
        for setting in settings:
            function, _, rate = setting.partition(" ")
            given: dict[str, object] = {"target": f"benchmarks.arena.adapters:{function}"}
            given |= {"rate": float(rate)} if rate else {}
            given["requirements"] = f"benchmarks/arena/requirements/{package}.txt"
            found.append(format_spec("compressor", given))
    return found


if __name__ == "__main__":
    print(*arena_agents())
