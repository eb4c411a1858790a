"""The demo without its page: queries and addresses, the pace, HTML, and what compresses."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
import policies
from agents.demo import DEFAULT, EnvironmentAgent, demo_agents
from fakes import CountingGenerator
from html_reader import Reader
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.demo import markup
from pcrl_gym.demo.compressing import Demo, PolicyAgent
from pcrl_gym.demo.query import EXAMPLES, MAX_CHARACTERS, Query
from pcrl_gym.demo.rate_limit import RateLimit
from pcrl_gym.envs.task import make_task
from pcrl_gym.episodes.episode import Episode
from pcrl_gym.errors import PromptTooLongError
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.rendering.frame import Frame, visible

HOSTILE = (
    "</div><script>alert(1)</script><img src=x onerror='alert(2)'> ${alert(3)} {{value}} &amp;"
)


# Queries and addresses


def parameters(address: str) -> dict[str, str]:
    assert address[0] == "?"
    return dict(parse_qsl(address[1:], strict_parsing=True))


@given(
    st.text(max_size=60).filter(str.strip),
    st.text(max_size=60),
    st.text(max_size=10),
    st.text(max_size=10),
    st.none() | st.integers(0, 100).map(lambda n: n / 100),
)
def test_an_address_restores_its_query(instruction, input, agent, other, rate):
    query = Query(instruction, input, agent, other, rate)
    assert Query.from_parameters(parameters(query.address)) == query


def test_an_address_may_leave_all_but_the_prompt_out():
    assert Query.from_parameters({"input": "b a", "__theme": "dark"}) == Query("", "b a")
    assert Query.from_parameters({"agent": "random", "rate": "0.5"}) is None


def test_the_longest_address_fits_a_request():
    """A server that parses with h11 refuses requests whose head exceeds 16 KiB."""
    query = Query("\U0001f600" * MAX_CHARACTERS, agent="a" * 100, other="b" * 100, rate=0.25)
    assert len(query.address) < 13_000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("a" * 600, "b" * 401), "has 1,001 characters, but .* may have at most 1,000 together"),
        ((" \n", "\t"), "The prompt is empty: write an instruction"),
        (("a\ud800",), "The instruction is not valid Unicode"),
        (("a", "b\udc00"), "The input is not valid Unicode"),
        (("a", "", "", "", 1.5), "The rate must be between 0 and 1, got 1.5"),
        (("a", "", "", "", float("nan")), "The rate must be between 0 and 1, got nan"),
    ],
)
def test_wrong_queries_say_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        Query(*values)


def test_a_rate_that_is_no_number_is_told_in_short():
    with pytest.raises(ValueError, match="must be between 0 and 1, got 'xxx") as told:
        Query.from_parameters({"instruction": "a", "rate": "x" * 10_000})
    assert len(str(told.value)) < 120


# The pace


def test_each_session_has_its_own_pace_and_old_ones_are_forgotten():
    now = [0.0]
    pace = RateLimit(most=2, seconds=10, sessions=2, clock=lambda: now[0])
    assert [pace.wait("a"), pace.wait("a"), pace.wait("a"), pace.wait("b")] == [0, 0, 10, 0]
    now[0] = 4.0
    assert pace.wait("a") == 6
    now[0] = 10.0  # what was refused did not count
    assert [pace.wait("a"), pace.wait("a"), pace.wait("a")] == [0, 0, 10]
    assert [pace.wait("b"), pace.wait("c"), pace.wait("a")] == [0, 0, 0]


# HTML


def frame(
    text: str, spans: list[tuple[int, int]], kept: list[bool], droppable: list[bool], **info
) -> Frame:
    whole = {
        "compressed_prompt": "x", "output": "yes", "compressed_output": "yes", "similarity": 1.0,
        "compression_ratio": 0.25, "drop_rate": 0.5, "original_tokens": 9, "compressed_tokens": 7,
        "survived": True,
    }  # fmt: skip
    episode = Episode(
        Prompt("demo", text), text, tuple(spans), np.array(droppable), np.zeros(len(spans)), ()
    )
    return Frame(episode, np.array(kept), whole | info, 0.25)


def only(results: dict[str, tuple[Frame, bool | None]]) -> Frame:
    """The frame of the only agent."""
    ((made, _),) = results.values()
    return made


def shown(made: Frame) -> str:
    return markup.result({"agent": (made, None)}, "?")


def test_dropped_units_are_struck_and_protected_ones_marked():
    text = "Do: please sort it"
    spans = [(0, 3), (3, 10), (10, 15), (15, 18)]
    made = frame(text, spans, [True, False, True, False], [False, True, True, True])
    html = '<div class="words prompt"><i>Do:</i> <del>please</del> sort <del>it</del></div>'
    assert html in shown(made)
    blank = frame(" a", [(0, 1), (1, 2)], [False, True], [True, True])
    assert '<div class="words prompt"><del> </del>a</div>' in shown(blank)


def test_a_result_tells_all_that_there_is_to_know():
    changed = {"output": "", "similarity": 0.5, "survived": False}
    made = frame("say hi", [(0, 3), (3, 6)], [True, False], [True, True], **changed)
    read = Reader(markup.result({"<me>": (made, None)}, "?a=1&b=2"))
    assert read.texts["agent"] == "<me>"
    assert read.texts["changed"] == "The answer changed, so nothing is saved (25% fewer tokens)."
    assert "unlike" not in read.texts
    assert (read.texts["prompt"], read.texts["del"]) == ("say hi", "hi")
    assert (read.texts["compressed"], read.texts["original-answer"]) == ("x", "(empty)")
    assert read.texts["compressed-answer"] == "yes"
    assert read.texts["terms"] == (
        "reward0.250similarity0.500compression ratio0.250drop rate0.500tokens9 → 7"
    )
    assert read.links == ["?a=1&b=2"]
    same = replace(made, info=made.info | {"survived": True})
    read = Reader(markup.result({"a": (same, False)}, "?"))
    assert read.texts["survived"] == "The answer survived: 25% of the tokens saved."
    assert "unlike the prompts" in read.texts["unlike"]
    with pytest.raises(ValueError, match="finished episode"):
        shown(Frame(made.episode, made.kept))


def test_agents_are_shown_side_by_side_with_one_original_answer():
    made = frame("say hi", [(0, 3), (3, 6)], [True, False], [True, True], output="hello")
    html = markup.result({"one": (made, None), "two": (made, None)}, "?")
    assert html.count("hello") == 1
    assert [html.count(f">{name}</h2>") for name in ("one", "two")] == [1, 1]


OUR_TAGS = {"p", "section", "h2", "div", "dl", "dt", "dd", "a", "del", "i", "span"}


@given(st.text(max_size=40), st.lists(st.sampled_from("kdp"), min_size=40, max_size=40), st.text())
def test_no_text_becomes_markup(text, states, answer):
    text += HOSTILE
    states = (states * 4)[: len(text)]
    spans = [(i, i + 1) for i in range(len(text))]
    made = frame(
        text, spans, [s != "d" for s in states], [s != "p" for s in states],
        compressed_prompt=text, output=answer + HOSTILE, compressed_output=answer,
    )  # fmt: skip
    read = Reader(markup.result({text: (made, False)}, f"?{text}"))
    assert read.tags <= OUR_TAGS
    assert read.texts["prompt"].count("<script>") == 1
    assert read.texts["original-answer"] == visible(answer + HOSTILE)
    assert Reader(markup.problem(text)).texts["problem"] == read.texts["compressed"]
    assert read.links == [f"?{text}"]


def test_the_header_names_the_generator_as_text():
    read = Reader(markup.header("<b>", micro=False))
    assert read.tags == {"h1", "p"}
    assert "The model here is <b>." in read.texts["lead"]
    assert "say nothing about large models" in markup.header("micro", micro=True)


# Compressing


@pytest.fixture(scope="module")
def compressor() -> Compressor:
    return policies.compressor(models.gpt2_tokenizer())


def test_a_policy_drops_what_its_compressor_drops(compressor: Compressor):
    generator = CountingGenerator()
    demo = Demo([PolicyAgent("policy", compressor)], generator)
    for rate in (None, 0.0, 0.5, 1.0):
        made = only(demo(Query("Please sort the words", "b a", rate=rate)))
        done = compressor(instruction="Please sort the words", input="b a", rate=rate)
        assert made.episode.text == done.original
        assert made.kept.tolist() == list(done.kept)
        assert made.info is not None
        assert made.info["compressed_prompt"] == done.text
        assert made.info["output"] == "Instruction: Output:"
        n, m = made.info["original_tokens"], made.info["compressed_tokens"]
        assert (n, m) == (len(done.original.split()), len(done.text.split()))
        assert made.info["compression_ratio"] == (n - m) / (n - 3)  # three words of the template
        assert made.info["survived"]
        assert made.reward == made.info["compression_ratio"]


def test_an_answer_that_changes_earns_the_penalty(compressor: Compressor):
    def answer(text: str) -> str:
        return "long" if "words" in text else "short"

    demo = Demo([PolicyAgent("policy", compressor)], CountingGenerator(answer))
    made = only(demo(Query("words words words", rate=1.0)))
    assert made.info is not None
    assert (made.info["output"], made.info["compressed_output"]) == ("long", "short")
    assert (made.reward, made.info["survived"]) == (-0.01, False)


def test_two_agents_share_the_answer_to_the_original(compressor: Compressor):
    generator = CountingGenerator()
    one, other = PolicyAgent("one", compressor), PolicyAgent("two", compressor)
    demo = Demo([one, other], generator)
    query = Query("Please sort", agent="one", other="two", rate=1.0)
    results = demo(query)
    assert list(results) == ["one", "two"]
    assert generator.prompts.count(results["one"][0].episode.text) == 1
    before = len(generator.prompts)
    assert list(demo(replace(query, other="one"))) == ["one"]
    assert len(generator.prompts) == before + 2


def test_a_text_unlike_the_training_prompts_is_marked():
    demo = Demo([PolicyAgent.load("micro", device="cpu")], CountingGenerator())
    texts = "Please sort these words: pear, fig", "Zxqvj kwyzt qxxrb vjkqz bwqzx jqvxk zzqwv xkjqb"
    assert [demo(Query(text))["policy micro"][1] for text in texts] == [True, False]


def test_nothing_is_remembered_from_prompt_to_prompt(compressor: Compressor):
    generator = CountingGenerator()
    demo = Demo([PolicyAgent("policy", compressor)], generator)
    for _ in range(2):
        demo(Query("Please sort", rate=0.0))
    assert len(generator.prompts) == 2


def test_a_prompt_too_long_for_the_generator_is_told_before_it_answers(compressor: Compressor):
    generator = CountingGenerator(max_prompt_tokens=50)  # 30 are the answer's, 1 is a margin
    demo = Demo([PolicyAgent("policy", compressor)], generator)
    demo(Query("a " * 17, rate=0.0))
    before = len(generator.prompts)
    with pytest.raises(
        PromptTooLongError, match=r"'counting', which takes at most 19 tokens, .* shorten"
    ):
        demo(Query("a " * 18, rate=0.0))
    assert len(generator.prompts) == before


def test_agents_are_found_by_name(compressor: Compressor):
    one, other = PolicyAgent("one", compressor), PolicyAgent("two", compressor)
    demo = Demo([one, other], CountingGenerator())
    assert (demo.agent(""), demo.agent("two")) == (one, other)
    with pytest.raises(ValueError, match="There is no agent 'three'; choose one of: one, two"):
        demo.agent("three")
    for agents in ([], [one, one]):
        with pytest.raises(ValueError, match="at least one agent, and their names must be unique"):
            Demo(agents, CountingGenerator())


def test_a_policy_is_named_by_its_folder_alone(compressor: Compressor, tmp_path):
    compressor.save_pretrained(tmp_path / "mine")
    assert PolicyAgent.load(tmp_path / "mine", device="cpu").name == "policy mine"
    assert PolicyAgent.load("micro", device="cpu").name == "policy micro"


def test_the_examples_show_answers_that_survive_and_one_that_does_not():
    demo = Demo([PolicyAgent.load("micro", device="cpu")], device="cpu")
    frames = {label: only(demo(query)) for label, query in EXAMPLES.items()}
    changed = [label for label, made in frames.items() if not made.info["survived"]]
    assert changed == [list(EXAMPLES)[-1]]
    assert all(made.reward > 0.5 for label, made in frames.items() if label not in changed)


# Agents of a clone


def test_agents_decide_as_in_the_environment():
    generator = load_generator("micro", device="cpu")
    prompt = Prompt("demo", "Could you please sort these words for me", "pear fig apple")
    episode = make_task(dataset=[prompt], generator=generator).episodes[0]
    droppable = int(episode.droppable.sum())
    demo = Demo(demo_agents(DEFAULT[:-1], generator), generator)
    assert list(demo.agents) == list(DEFAULT[:-1])
    for name, agent in demo.agents.items():
        made = only(demo(Query(prompt.instruction, prompt.input, name, rate=0.5)))
        assert made.episode.spans == episode.spans
        assert agent.takes_rate == (name != "stopwords")
        assert made.info is not None
        text = made.info["compressed_prompt"]
        if agent.takes_rate:
            assert (~made.kept).sum() == droppable // 2
        if name == "truncation":
            first = "Instruction: Could you please"
            assert (text[: len(first)], "apple" in text) == (first, False)
        if name == "stopwords":
            assert ("please" in text, "for me" in text) == (True, False)
    # Back to its own rate after another one.
    again = only(demo(Query(prompt.instruction, prompt.input, "truncation")))
    assert (~again.kept).sum() == droppable // 10


@pytest.mark.slow
def test_the_search_finds_the_best_and_says_how():
    generator = load_generator("micro", device="cpu")
    demo = Demo([PolicyAgent.load("micro"), EnvironmentAgent("search", generator)], generator)
    name = "search (sees the answers)"
    assert list(demo.agents) == ["policy micro", name]
    for query in list(EXAMPLES.values())[1:3]:
        found = only(demo(replace(query, agent=name)))
        assert found.info["survived"]
        assert found.reward >= only(demo(query)).reward


def test_agents_that_have_to_be_trained_or_are_none_are_refused():
    generator = CountingGenerator()
    with pytest.raises(ValueError, match="agents export RUN FOLDER"):
        EnvironmentAgent("scst", generator)
    with pytest.raises(ValueError, match="unknown agent 'nobody'"):
        EnvironmentAgent("nobody", generator)
