"""An Inspect solver that compresses user messages, to run before any other solver.

Run it with `python examples/clients/inspect_solver.py`, or in any Inspect evaluation:
`inspect eval TASK --solver examples/clients/inspect_solver.py@compressed -S rate=0.25`.
It needs `pip install 'pcrl-gym[inspect]'`.
"""

from __future__ import annotations

import functools
import tempfile
from typing import Any

from anyio.to_thread import run_sync
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import Generate, Solver, TaskState, chain, generate, solver

from pcrl_gym import Compressor


@solver
def compress(policy: str = "instruct", **options: Any) -> Solver:
    """Compress each message of a user, and add the tokens saved to the sample's metadata.

    Args:
        policy: Name, folder or id of a policy.
        **options: Those of the compressor, such as `rate`.
    """
    compressor = Compressor.from_pretrained(policy)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for message in state.messages:
            if message.role == "user" and message.text:
                done = await run_sync(functools.partial(compressor, message.text, **options))
                message.text = done.text
                saved = done.original_tokens - done.compressed_tokens
                state.metadata["saved_tokens"] = state.metadata.get("saved_tokens", 0) + saved
        return state

    return solve


@solver
def compressed(policy: str = "instruct", **options: Any) -> Solver:
    """Compress, and let the model answer: for `--solver`."""
    return chain(compress(policy, **options), generate())


if __name__ == "__main__":
    question = "Hi! Could you please tell me what the capital of Portugal is? Thank you very much!"
    dataset = MemoryDataset([Sample(question, target="Lisbon")])
    task = Task(dataset=dataset, solver=compressed(), scorer=includes())
    answer = ModelOutput.from_content("mockllm/model", "It is Lisbon.")
    answer.usage = ModelUsage()  # else it is counted with a tokenizer that has to be downloaded
    model = get_model("mockllm/model", custom_outputs=[answer])
    with tempfile.TemporaryDirectory() as folder:
        [log] = eval(task, model=model, log_dir=folder, display="none")
        print(
            log.samples[0].messages[0].text, log.samples[0].metadata, log.results.scores[0].metrics
        )
