"""The scorer as a DSPy metric with feedback in words, and GEPA, which reads the feedback.

Run it with `python examples/clients/dspy_metric.py`; it needs `pip install 'pcrl-gym[dspy]'`. The
models are DSPy's dummies. Replace them with `dspy.LM(...)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy
from dspy.utils import DummyLM

from pcrl_gym import Compressor, make_task
from pcrl_gym.envs.task import Task


class Shorten(dspy.Signature):
    """Shorten the prompt. A language model must still give the same answer to it."""

    prompt: str = dspy.InputField()
    shorter_prompt: str = dspy.OutputField()


def examples(task: Task, indices: list[int]) -> list[dspy.Example]:
    """Return prompts of a task's split; `index` is for the metric."""
    texts = [task.episodes[i].body_text for i in indices]
    rows = [dspy.Example(prompt=t, index=i) for t, i in zip(texts, indices, strict=True)]
    return [row.with_inputs("prompt") for row in rows]


def make_metric(task: Task) -> Callable[..., dspy.Prediction]:
    """Return a metric: the reward as `score`, and what was lost as `feedback`."""

    def metric(
        gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> dspy.Prediction:
        episode = task.episodes[gold.index]
        scores = task.scorer.score_texts([episode], [pred.shorter_prompt.strip()])
        terms = scores.info(0)
        feedback = f"{terms['compression_ratio']:.0%} fewer tokens. "
        if scores.leaked[0]:
            feedback += "The prompt gives the answer away, which earns nothing."
        elif terms["survived"]:
            feedback += "The answer is still the same."
        else:
            feedback += (
                f"The answer is {terms['compressed_output']!r} instead of {terms['output']!r}: "
                "keep the words that decide it."
            )
        return dspy.Prediction(score=float(scores.reward[0]), feedback=feedback)

    return metric


if __name__ == "__main__":
    task = make_task(split="validation_seen", reward="threshold")
    rows = examples(task, list(range(8)))
    metric = make_metric(task)
    shorter = [done.text for done in Compressor.from_pretrained("micro")([r.prompt for r in rows])]
    student, teacher = (
        DummyLM([{"shorter_prompt": text} for text in shorter] * 20),
        DummyLM([{"improved_instruction": "Delete courtesy. Keep words of the task."}] * 20),
    )
    dspy.configure(lm=student)
    gepa = dspy.GEPA(metric, max_metric_calls=16, reflection_lm=teacher, num_threads=1)
    program = gepa.compile(dspy.Predict(Shorten), trainset=rows[:4], valset=rows[4:])
    print(program.signature.instructions)
    for row, text in zip(rows, shorter, strict=True):
        told = metric(row, dspy.Prediction(shorter_prompt=text))
        print(f"{told.score:.3f}", told.feedback)
