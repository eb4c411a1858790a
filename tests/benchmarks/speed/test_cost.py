from __future__ import annotations

from mmap import mmap

from benchmarks.speed.cost import TimedGenerator, count_passes, measure
from pcrl_gym.generators.base import DraftingGenerator


def test_passes_are_counted_per_row(generator):
    prompts = ["hot", "the cat", "is it true"]
    with count_passes(generator.model) as counted:
        whole = generator.generate(prompts, 5)
    assert counted.rows == 3 * max(len(answer.token_ids) for answer in whole)
    with count_passes(generator.model) as counted:
        assert generator.generate_from(prompts, whole, 5) == whole
    assert counted.rows == 3  # a draft that holds takes one pass
    generator.generate(prompts, 5)
    assert counted.rows == 3  # nothing is counted any more


def test_a_way_is_measured(generator):
    def way() -> str:
        with mmap(-1, 64 << 20) as block:  # new pages: malloc might reuse freed ones
            for page in range(0, len(block), 1 << 12):
                block[page] = 1
        return "done"

    small, large = measure(lambda: "done", generator.model), measure(way, generator.model)
    assert (large.result, large.passes) == ("done", 0)
    assert large.seconds > 0
    if small.memory is not None:  # there are kernels that do not say
        assert large.memory >= small.memory + (48 << 20)


def test_time_in_the_generator_excludes_what_it_calls_back():
    now = [0.0]

    class Slow:
        name, max_prompt_tokens, tokenizer = "slow", None, len

        def generate_from(self, prompts, drafts, max_new_tokens, decided=None):
            now[0] += 5
            if decided is not None:
                decided(0, "", 1)
            return []

        def count_tokens(self, texts):
            now[0] += 1
            return []

    def decided(i, text, words_left):
        now[0] += 100
        return False

    timed = TimedGenerator(Slow(), lambda: now[0])
    assert isinstance(timed, DraftingGenerator)
    assert (timed.name, timed.tokenizer) == ("slow", len)
    timed.generate_from([], [], 1, decided)
    timed.generate_from([], [], 1)
    timed.count_tokens([])
    assert timed.spent == {"generate_from": 10, "count_tokens": 1, "decided": 100}
