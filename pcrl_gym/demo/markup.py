"""Pure functions that return the page's own HTML and escape all text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from pcrl_gym.rendering.frame import Frame, State, mark, terms, visible

_TAGS: dict[State, str] = {"kept": "{}", "dropped": "<del>{}</del>", "protected": "<i>{}</i>"}

HINT = '<p class="hint">Write a prompt or choose an example.</p>'
"""Shown before there is a result."""
UNLIKE = (
    '<p class="unlike">This text is unlike the prompts that the policy was trained on, so do not '
    "rely on what it drops.</p>"
)


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


def result(shown: Mapping[str, tuple[Frame, bool | None]], address: str) -> str:
    """Return the results of agents side by side, and a link to their address.

    Args:
        shown: Per agent the frame with info, and whether the prompt is like those of the agent's
            training (None if unknown).
        address: The link.
    """
    first = next(iter(shown.values()))[0].info or {}
    sides = "".join(_side(agent, *given) for agent, given in shown.items())
    return (
        f"{_answer('original', first.get('output', ''))}"
        f'<div class="sides">{sides}</div>'
        '<p class="legend">Struck through: dropped. Gray: the template, which is always kept and '
        "not counted in the ratio.</p>"
        f'<p class="link"><a href="{escape(address)}">Link to this result</a></p>'
    )


def _side(agent: str, frame: Frame, in_domain: bool | None) -> str:
    info = frame.info
    if info is None:
        raise ValueError("expected the frame of a finished episode, got one without info")
    outcome = "survived" if info["survived"] else "changed"
    rows = "".join(
        f"<div><dt>{name.replace('_', ' ')}</dt><dd>{value.replace('->', '→')}</dd></div>"
        for name, value in terms(frame)
    )
    return (
        f'<section class="side"><h2 class="agent">{_text(agent)}</h2>'
        f'<p class="verdict {outcome}" role="status">'
        f"{verdict(info['survived'], info['compression_ratio'])}</p>"
        f"{UNLIKE if in_domain is False else ''}"
        f"{_box('Prompt', 'prompt', mark(frame, _TAGS, escape))}"
        f"{_box('Compressed prompt', 'compressed', _text(info['compressed_prompt']))}"
        f"{_answer('compressed', info['compressed_output'])}"
        f'<dl class="terms">{rows}</dl></section>'
    )


def _answer(which: str, text: str) -> str:
    content = _text(text) if text.strip() else '<span class="empty">(empty)</span>'
    return _box(f"Answer to the {which} prompt", f"{which}-answer", content)


def verdict(survived: bool, compression_ratio: float) -> str:
    r"""Return in a sentence what was saved. Fewer tokens count only if the answer survived.

    >>> verdict(True, 0.812), verdict(True, 0.0)
    ('The answer survived: 81% of the tokens saved.', 'The answer survived: no tokens saved.')
    >>> verdict(False, 0.25)
    'The answer changed, so nothing is saved (25% fewer tokens).'
    >>> verdict(False, -0.25)
    'The answer changed, so nothing is saved (25% more tokens).'
    """
    share = f"{abs(compression_ratio) * 100:.0f}%"
    if not survived:
        fewer = "fewer" if compression_ratio >= 0 else "more"
        return f"The answer changed, so nothing is saved ({share} {fewer} tokens)."
    if compression_ratio > 0:
        return f"The answer survived: {share} of the tokens saved."
    more = f"{share} more" if compression_ratio < 0 else "no"
    return f"The answer survived: {more} tokens{' than before' if compression_ratio else ' saved'}."


def _box(title: str, name: str, content: str) -> str:
    return f'<section><h2>{title}</h2><div class="words {name}">{content}</div></section>'


def _text(text: str) -> str:
    return escape(visible(text))
