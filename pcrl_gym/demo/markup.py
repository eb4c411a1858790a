"""Pure functions that return the page's own HTML and escape all text."""

from __future__ import annotations

from html import escape

from pcrl_gym.rendering.frame import Frame, State, mark, terms, visible

_TAGS: dict[State, str] = {"kept": "{}", "dropped": "<del>{}</del>", "protected": "<i>{}</i>"}

HINT = '<p class="hint">Write a prompt or choose an example.</p>'
"""Shown before there is a result."""


def header(generator: str, micro: bool) -> str:
    """Return the page header; `micro` marks the generator as one of the package's tiny models."""
    about = (
        ", a tiny test model: it knows lists of words, numbers, months, and yes-or-no questions, "
        "and its results say nothing about large models"
    ) * micro
    return (
        "<h1>Shorter prompts, same answers</h1>"
        '<p class="lead">An agent removes the words that a prompt does not need, and a frozen '
        "language model answers both versions. The savings count only if the answer stays the "
        f"same. The model here is {escape(generator)}{about}.</p>"
    )


def problem(message: str) -> str:
    """Return an error message for the visitor.

    >>> problem("1 < 2")
    '<p class="problem" role="alert">1 &lt; 2</p>'
    """
    return f'<p class="problem" role="alert">{_text(message)}</p>'


def result(frame: Frame, address: str) -> str:
    """Return the result shown for a frame with info, and a link to its address."""
    info = frame.info
    if info is None:
        raise ValueError("expected the frame of a finished episode, got one without info")
    outcome = "survived" if info["survived"] else "changed"
    answers = "".join(
        _box(
            f"Answer to the {which} prompt",
            f"{which}-answer",
            _text(info[name]) if info[name].strip() else '<span class="empty">(empty)</span>',
        )
        for which, name in (("original", "output"), ("compressed", "compressed_output"))
    )
    rows = "".join(
        f"<div><dt>{name.replace('_', ' ')}</dt><dd>{value.replace('->', '→')}</dd></div>"
        for name, value in terms(frame)
    )
    return (
        f'<p class="verdict {outcome}" role="status">The answer {outcome}; '
        f"{savings(info['compression_ratio'])}.</p>"
        f"{_box('Original prompt', 'prompt', mark(frame, _TAGS, escape))}"
        '<p class="legend">Struck through: dropped. Gray: the template, which is always kept and '
        "not counted in the ratio.</p>"
        f"{_box('Compressed prompt', 'compressed', _text(info['compressed_prompt']))}"
        f'<div class="answers">{answers}</div><dl class="terms">{rows}</dl>'
        f'<p class="link"><a href="{escape(address)}">Link to this result</a></p>'
    )


def savings(compression_ratio: float) -> str:
    r"""Return the compression ratio in words.

    >>> savings(0.812), savings(0.0), savings(-0.25)
    ('81% of your tokens saved', 'no tokens saved', '25% more tokens than before')
    """
    if compression_ratio < 0:
        return f"{-compression_ratio * 100:.0f}% more tokens than before"
    if compression_ratio == 0:
        return "no tokens saved"
    return f"{compression_ratio * 100:.0f}% of your tokens saved"


def _box(title: str, name: str, content: str) -> str:
    return f'<section><h2>{title}</h2><div class="words {name}">{content}</div></section>'


def _text(text: str) -> str:
    return escape(visible(text))
