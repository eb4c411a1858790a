"""What training knew of held-out prompts, by hand."""

from __future__ import annotations

from benchmarks.finetune.contamination import RARE, overlaps
from pcrl_gym.prompts.prompt import Prompt


def test_training_knew_a_rare_run_of_six_words_and_perhaps_its_answer():
    def prompt(text: str, output: str, input: str = "") -> Prompt:
        return Prompt(id=text + output, instruction=text, input=input, output=output)

    wording = "is this review of a film"
    train = [prompt("a b c d e f. Title?", "x"), prompt("one two", "x")]
    train += [prompt(f"{n} {wording}", "good") for n in range(RARE)]
    unknown, text_alone, both = (False, False), (True, False), (True, True)
    for asked, expected in {
        prompt("Sum up:", " x", input="a b c d e f. Title?"): both,
        prompt("b c d e f. Title?", "x"): both,  # six words from b on
        prompt("Sum up: a b c d e", "x"): unknown,
        prompt("a b c d e f. Title?", "y"): text_alone,
        prompt("one two", "x"): both,
        prompt("one two three", "x"): unknown,
    }.items():
        assert overlaps(train, [asked]) == [expected], asked
    shared = [prompt(f"so {wording}", "good")]
    assert overlaps(train, shared) == [both]
    assert overlaps([*train, prompt(f"{wording} bad", "bad")], shared) == [unknown]
    assert overlaps([], shared) == [unknown]
