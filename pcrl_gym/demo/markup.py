"""The page's own HTML: pure functions, and every text that comes in is escaped."""

from __future__ import annotations

from html import escape

from pcrl_gym.rendering.frame import Frame, State, segments, terms, visible

_TAGS: dict[State, str] = {"kept": "{}", "dropped": "<del>{}</del>", "protected": "<i>{}</i>"}

HINT = '<p class="hint">Write a prompt, or take an example.</p>'
"""What stands in the place of a result before there is one."""


def header(generator: str, micro: bool) -> str:
    """Return what the page is about.

    Args:
        generator: Name of the generator.
        micro: Whether it is one of those that come with the package, which know little.
    """
    about = (
        ", a tiny one for the laboratory: it knows lists of words, numbers, months and yes-or-no "
        "questions, and its results say nothing about large models"
        if micro
        else ""
    )
    return (
        "<h1>Prompts that say it shorter</h1>"
        '<p class="lead">An agent drops what a prompt can do without, a frozen language model '
        "answers both versions, and what was saved counts if the answer survived. The model here "
        f"is {escape(generator)}{about}.</p>"
    )


def problem(message: str) -> str:
    """Return a message that says what is wrong and what to do.

    >>> problem("1 < 2")
    '<p class="problem" role="alert">1 &lt; 2</p>'
    """
    return f'<p class="problem" role="alert">{_text(message)}</p>'


def result(frame: Frame, *, survived: bool, address: str) -> str:
    """Return what became of a prompt: what was dropped, both answers, the reward terms, and a link.

    Args:
        frame: A frame with the info of a finished episode.
        survived: Whether the answer counts as the same.
        address: Where the link leads.
    """
    if frame.info is None:
        raise ValueError("expected the frame of a finished episode, got one without info")
    info = frame.info
    verdict = "The answer survived" if survived else "The answer changed"
    rows = "".join(
        f"<div><dt>{name.replace('_', ' ')}</dt><dd>{value.replace('->', '→')}</dd></div>"
        for name, value in terms(frame)
    )
    instead = _text(info["compressed_prompt"])
    before, after = _answer(info["output"]), _answer(info["compressed_output"])
    return (
        f'<p class="verdict {"survived" if survived else "changed"}" role="status">'
        f"{verdict}; "
        f"{escape(savings(info['compression_ratio']))}.</p>"
        f"{_box('Prompt', 'prompt', marked(frame))}"
        '<p class="legend">Struck through: dropped. Grey: the template, which always '
        "stays and is not counted in the ratio.</p>"
        f"{_box('What the generator reads instead', 'compressed', instead)}"
        '<div class="answers">'
        f"{_box('Answer to the original', 'original-answer', before)}"
        f"{_box('Answer to the compressed', 'compressed-answer', after)}"
        f'</div><dl class="terms">{rows}</dl>'
        f'<p class="link"><a href="{escape(address)}">Link to this result</a></p>'
    )


def marked(frame: Frame) -> str:
    """Return the prompt with dropped units in `del` and protected ones in `i`.

    White space in front of what is dropped is not struck through.
    """
    parts = []
    for text, state in segments(frame):
        word = text.lstrip() if state == "dropped" else text
        space = text[: len(text) - len(word)] if word else ""
        parts.append(space + _TAGS[state].format(escape(word or text)))
    return "".join(parts)


def savings(compression_ratio: float) -> str:
    r"""Return the compression ratio in words.

    >>> savings(0.812), savings(0.0), savings(-0.25)
    ('81\xa0% of your tokens saved', 'no token saved', '25\xa0% more tokens than before')
    """
    if compression_ratio < 0:
        return f"{-compression_ratio * 100:.0f}\xa0% more tokens than before"
    if compression_ratio == 0:
        return "no token saved"
    return f"{compression_ratio * 100:.0f}\xa0% of your tokens saved"


def _box(title: str, name: str, content: str) -> str:
    return f'<section><h2>{title}</h2><div class="words {name}">{content}</div></section>'


def _answer(text: str) -> str:
    return _text(text) if text.strip() else '<span class="empty">(empty)</span>'


def _text(text: str) -> str:
    return escape(visible(text))
