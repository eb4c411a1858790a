"""Texts that break careless code, and a hypothesis strategy that mixes them with any others."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import strategies as st

NASTY_TEXTS = (
    "",
    " ",
    "\n\t \r\n",
    "a",
    "Input: Output: \nInput: \nOutput: \nInstruction: ",
    "stop <|endoftext|> here</s> [SEP] <pad> <unk> <extra_id_0> <|im_end|>\n<|im_start|>system",
    "🙂 👍🏽 👩‍👩‍👧‍👦 🇫🇷 1️⃣",
    "שלום עולם، مرحبا بالعالم \u202eabc\u202c",
    "你好，世界。こんにちは 한국어",
    "e\u0301 cafe\u0301 a\u0300\u0301\u0302 \u0301",
    "\x00\x01\x1b[31m\x7f\u200b\ufeff\u2028\x85 \x00",
    "ﬁne ½ x² ① ＡＢＣ ǅ ẞ İstanbul ΑΣ",
    "  two  spaces\u00a0and\u3000wide  ",
    "\uffff\U0010ffff\ue000",
    "x" * 3000,
    "many words " * 500,
)

nasty_text = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(st.sampled_from(NASTY_TEXTS[:-2]), st.text(max_size=8)), max_size=4).map(
        " ".join
    ),
)
"""Any text that can be encoded as UTF-8, rich in the nasty ones."""


@st.composite
def cut_text(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[tuple[int, int]]]:
    """A text, and its kept and its dropped ranges."""
    text = draw(st.text(alphabet=st.sampled_from("ab1 \t\n é"), max_size=30))
    kept = draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    ranges: tuple[list[tuple[int, int]], ...] = ([], [])
    for i, keep in enumerate(kept):
        own = ranges[not keep]
        if own and own[-1][1] == i:
            own[-1] = (own[-1][0], i + 1)
        else:
            own.append((i, i + 1))
    return text, *ranges


DATED = "\n<s>Today is {{ strftime_now('%d %b %Y') }}. {{ messages[-1]['content'] }}</s>"


def on_another_day(monkeypatch: pytest.MonkeyPatch, day: datetime.date) -> None:
    """Change the clock of chat templates."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
            return cls.combine(day, datetime.time(), tz)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
