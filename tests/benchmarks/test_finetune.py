"""Tuning: what is learned of a row, resuming, refusals, and that the result answers."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

import models
from agents.runs.run import TrainingError
from benchmarks.finetune import rows as learned
from benchmarks.finetune import run as run_module
from benchmarks.finetune.evaluation import RARE, evaluate, majority, overlaps
from benchmarks.finetune.options import Options, Shape
from benchmarks.finetune.rows import IGNORED, Row, answer_loss, collator, length_batches
from benchmarks.finetune.run import run
from benchmarks.finetune.training import Clock, build_shape
from fakes import CountingGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.pretrained import load_pretrained
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import AlpacaTemplate

ROOT = Path(__file__).parents[2]
KINDS = ("gpt2", "llama", "t5")
WORDS = ("apple", "banana", "cherry", "plums", "table", "sun")


@pytest.fixture(scope="session")
def folders(gpt2_folder: Path, llama_folder: Path, t5_folder: Path) -> dict[str, Path]:
    return {"gpt2": gpt2_folder, "llama": llama_folder, "t5": t5_folder}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of splits: the answer of the second source is always the same."""
    folder = tmp_path_factory.mktemp("data")
    rows = [{"instruction": f"Repeat the word {w}.", "output": w, "source": "r"} for w in WORDS]
    rows += [{"instruction": f"Opposite of hot? {w}", "output": "cold"} for w in WORDS]
    left_out = [{"instruction": "Say nothing."}, {"instruction": "long " * 400, "output": "no"}]
    for split, content in (("train", rows + left_out), ("validation_seen", rows[::2])):
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def encoded(kind: str, prompts: list[Prompt], limit: int = 10_000) -> tuple[list[Row], list[int]]:
    tokenizer = models.TOKENIZERS[kind]()
    control = {"pad_token_id": 0, "eos_token_id": [1, tokenizer.eos_token_id]}
    control |= {"decoder_start_token_id": 0} if kind == "t5" else {}
    rows, out = learned.encode_rows(prompts, AlpacaTemplate(), tokenizer, control, limit)
    return rows, list(out.values())


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_pretrained(str(out / "model"), device="cpu")[0].state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_what_the_generator_reads_then_the_answer_then_the_end(folders, kind):
    prompts = [Prompt(id="0", instruction=" Sort it. ", input="b </s> a", output=" plums, apple\n")]
    ((row,), _) = encoded(kind, prompts)
    generator = load_generator(folders[kind], device="cpu")
    text = "Instruction: Sort it.\nInput: b </s> a\nOutput: \n"
    assert row.prompt == generator._encode([text], [1])[0]
    assert row.answer[-1] == generator.tokenizer.eos_token_id
    assert row.answer.count(row.answer[-1]) == 1
    assert generator._codec.answer(row.answer).text == "plums, apple"


def test_rows_without_answer_and_long_ones_are_left_out_and_counted():
    asked = {"a": ("hot", "cold"), "b": ("hot", " \n"), "c": ("hot " * 50, "cold")}
    prompts = [Prompt(id=i, instruction=text, output=out) for i, (text, out) in asked.items()]
    rows, out = encoded("gpt2", prompts)
    assert (len(rows), out) == (2, [1, 0])
    assert encoded("gpt2", prompts, limit=rows[0].size())[1] == [1, 1]
    with pytest.raises(ValueError, match="nothing to learn: 3 prompts"):
        encoded("gpt2", prompts, limit=rows[0].size() - 1)
    # Prompt and answer of an encoder-decoder each have the whole room.
    (row, _), _ = encoded("t5", prompts)
    assert encoded("t5", prompts, limit=max(map(len, row)))[1] == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_a_padded_batch_is_that_of_the_model_itself_on_each_answer(folders, kind):
    texts = [("apple " * n, "plums " * (n % 3 + 1)) for n in range(1, 9)]
    rows, _ = encoded(kind, [Prompt(id=text, instruction=text, output=out) for text, out in texts])
    model, _ = load_pretrained(str(folders[kind]), device="cpu")
    model.eval()
    start = model.config.decoder_start_token_id if kind == "t5" else None
    batch = collator(model, {"pad_token_id": 0, "decoder_start_token_id": start})(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        loss = answer_loss(model(**batch).logits, labels, kind != "t5", 1, None)
        total = 0.0
        for prompt, answer in rows:
            ids, wanted = prompt + answer, [IGNORED] * len(prompt) + answer
            if kind == "t5":
                ids, wanted = prompt, answer
            tensors = {"input_ids": torch.tensor([ids]), "labels": torch.tensor([wanted])}
            total += model(**tensors).loss.item() * len(answer)
    assert loss.item() == pytest.approx(total, rel=1e-4)


def test_tokens_of_long_answers_count_less_than_those_of_short_ones():
    # Of two tokens both are as likely: a loss of log 2 each. Weights are sqrt(2 / n).
    labels = torch.tensor([[1, 0, 1, 1, 0, 1, 1, 0], [IGNORED] * 6 + [1, 0]])
    loss = answer_loss(torch.zeros(2, 8, 2), labels, False, 10, 2.0).item()
    assert loss == pytest.approx((8 * 0.5 + 2 * 1.0) * math.log(2) / 10)
    # All logits but the last one predict, here the last two labels of the first row alone.
    labels = torch.tensor([[IGNORED, 1, 0], [IGNORED, IGNORED, IGNORED]])
    assert answer_loss(torch.zeros(2, 8, 2), labels, True, 2, None) == pytest.approx(math.log(2))
    # (1 * 5/3 + 4 * 5/6) / 5 = 1
    assert learned.typical_length([Row([], [1]), Row([], [1] * 4)]) == pytest.approx((5 / 3) ** 2)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 100))
def test_batches_hold_every_row_once_and_no_more_tokens_than_asked(sizes, tokens):
    rows = [Row([number], [0] * size) for number, size in enumerate(sizes)]
    batches = length_batches(rows, tokens, seed=3)
    assert sorted(row for batch in batches for row in batch) == sorted(rows)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(Row.size, batch)) <= tokens
    assert batches == length_batches(rows, tokens, seed=3)


def test_the_majority_answer_is_that_of_the_source_or_of_all():
    pairs = [("no", "a"), ("yes", "a"), (" yes ", "a"), ("no", "b"), ("no", "b"), ("", "c")]
    train = [Prompt(id="", instruction="?", output=text, source=name) for text, name in pairs]
    asked = [Prompt(id="", instruction="?", source=name) for name in ("a", "b", "c", "never seen")]
    assert list(map(majority(train), asked)) == ["yes", "no", "no", "no"]


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


def test_figures_by_hand():
    asked = (("red fish", "red fish"), ("blue fish", " red fish"), ("nothing", ""), ("a b c", "x"))
    prompts = [Prompt(id=text, instruction=text, output=out) for text, out in asked]
    # "Instruction: red fish Output:" has 4 words.
    generator = CountingGenerator(lambda text: " ".join(text.split()[1:3]), max_prompt_tokens=9)
    figures, rows = evaluate(generator, AlpacaTemplate(), prompts, prompts[:2], 5)
    # "blue fish" shares one of two words with "red fish": F1 0.5. Both were trained on.
    expected = {
        "prompts": 2, "without_gold": 1, "too_long": 1, "distinct_answers": 2, "exact_match": 0.5,
        "rouge_l": 0.75, "majority_exact_match": 1.0, "majority_rouge_l": 1.0, "known_texts": 2,
        "contaminated": 2, "contaminated_exact_match": 0.5, "clean_exact_match": None,
        "contaminated_majority_exact_match": 1.0, "clean_majority_exact_match": None,
    }  # fmt: skip
    assert figures.items() >= expected.items()
    assert [row["answer"] for row in rows] == ["red fish", "blue fish"]
    with pytest.raises(ValueError, match="none of 4 prompts"):
        evaluate(generator, AlpacaTemplate(), prompts, prompts, 6)


def blank(kind: str, folder: Path) -> Path:
    """Write a model that learns quickly: no dropout, weights not drawn as wide as in models.py."""
    tokenizer = models.TOKENIZERS[kind]()
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=2, bos_token_id=1, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        return models.save(folder, tokenizer, LlamaForCausalLM, config, seed=0)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    shape = Shape(0, 64, 2, 2, decoder_layers=2 * (kind == "t5"), dropout=0.0, positions=256)
    build_shape(shape, tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def options(data: Path, out: Path, **others: Any) -> Options:
    few = {"data": str(data), "out": str(out), "steps": 4, "batch_tokens": 200, "bf16": "no"}
    return Options(**few | others)


def stored(out: Path, name: str) -> Any:
    return json.loads((out / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_tuned_model_answers_and_stops_as_it_was_taught(data, tmp_path, kind, capsys):
    out = tmp_path / "out"
    asked = {"model": str(blank(kind, tmp_path / "start")), "steps": 300, "lr": 3e-3}
    run(options(data, out, **asked))
    figures = stored(out, "evaluation")["validation_seen"]
    assert figures["majority_exact_match"] < figures["exact_match"] == 1.0
    assert "'without_answer': 1" in capsys.readouterr().out
    rates = [row["learning_rate"] for row in stored(out, "training")["history"]]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[0] < 0.2 * max(rates) < 0.2 * 3e-3 > 10 * rates[-1]
    generator = load_generator(out / "model", device="cpu")
    text = AlpacaTemplate().render(Prompt(id="0", instruction="Repeat the word sun.")).text
    (answer,) = generator.generate([text], 20)
    assert answer.text == "sun"
    assert answer.token_ids[-1] == generator.tokenizer.eos_token_id
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.json")}
    run(options(data, out, **asked))  # does nothing more
    after = {file: file.stat().st_mtime_ns for file in out.rglob("*.json")}
    assert {file.name for file in after if after[file] != before[file]} == {"settings.json"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(folders, data, tmp_path, kind):
    # 5 steps are more than an epoch.
    wanted = {"model": str(folders[kind]), "accumulate": 2, "steps": 5, "checkpoint_steps": 2}
    run(options(data, tmp_path / "whole", **wanted))
    broken = options(data, tmp_path / "broken", **wanted)
    code = (
        "import os, signal\n"
        "from benchmarks.finetune import run, training\n"
        "from benchmarks.finetune.options import Options\n"
        "def die(self, args, state, control, **others):\n"
        "    state.global_step == 4 and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"training.Clock.on_step_begin = die\nrun.run({broken!r})"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in (tmp_path / "broken").glob("check*")] == ["checkpoint-4"]
    # What a kill in the middle of writing leaves.
    (tmp_path / "broken" / "checkpoint-5").mkdir()
    (tmp_path / "broken" / "checkpoint-5" / "trainer_state.json").write_text('{"epoch": ')
    run(broken)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not list((tmp_path / "broken").glob("checkpoint-*"))


@pytest.mark.slow
def test_accumulated_batches_learn_like_one_batch(data, tmp_path):
    start = blank("t5", tmp_path / "start")
    first, _ = load_pretrained(str(start), device="cpu")
    losses, changes = [], []
    for tokens, accumulate in ((10_000, 1), (1, 12)):  # one batch of all rows; one row a batch
        out = tmp_path / str(tokens)
        asked = {"batch_tokens": tokens, "accumulate": accumulate, "max_tokens": 99}
        run(options(data, out, model=str(start), steps=1, **asked))
        losses.append(stored(out, "training")["history"][0]["loss"])
        changes.append({k: v - first.state_dict()[k] for k, v in weights(out).items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, change in changes[0].items():
        # The first step of Adam is the sign of the gradient: rounding decides where that is zero.
        assert (change - changes[1][name]).abs().mean() <= 0.05 * change.abs().mean(), name


@pytest.mark.slow
def test_only_adapters_are_trained_and_end_in_the_weights(folders, data, tmp_path):
    pytest.importorskip("peft")
    for out in (tmp_path, tmp_path / "again"):
        run(options(data, out, model=str(folders["gpt2"]), lora=4, lr=1e-2))
    before, _ = load_pretrained(str(folders["gpt2"]), device="cpu")
    after, again = weights(tmp_path), weights(tmp_path / "again")
    assert all(torch.equal(after[name], again[name]) for name in after)
    changed = {k for k, v in before.state_dict().items() if not torch.equal(v, after[k])}
    assert changed
    assert all("attn" in name or "mlp" in name for name in changed)
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    report = stored(tmp_path, "training")
    assert 2 * report["trained_parameters"] < report["parameters"]


@pytest.mark.slow
def test_random_weights_get_a_tokenizer_of_their_own_that_is_kept(data, tmp_path):
    run(options(data, tmp_path, from_config="t5-mini", steps=1))
    generator = load_generator(tmp_path / "model", device="cpu")
    assert generator.generate(["Instruction: x\nOutput: \n"], 3)[0].token_ids
    kept, used = (stored(tmp_path / name, "tokenizer")["model"] for name in ("tokenizer", "model"))
    assert kept == used


def test_folders_and_data_that_do_not_belong_together_are_refused(
    folders, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(run_module, "train", lambda *args: None)
    monkeypatch.setattr(run_module, "_evaluate", lambda *args: None)
    file, mine, begun = tmp_path / "train.jsonl", tmp_path / "mine", tmp_path / "begun"
    file.write_text((data / "train.jsonl").read_text())
    mine.mkdir()
    (mine / "notes.txt").write_text("keep me")

    def start(out: Path, **others: Any) -> None:
        run(options(file, out, model=str(folders["gpt2"]), **others))

    with pytest.raises(ValueError, match="contains files but no settings"):
        start(mine)
    assert [file.name for file in mine.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="is a file"):
        start(mine / "notes.txt")
    start(begun)
    with pytest.raises(ValueError, match=r"steps: 4 in the folder, 5 now"):
        start(begun, steps=5)
    start(begun, checkpoint_steps=1)  # does not decide the weights
    with filelock.FileLock(begun / "lock"), pytest.raises(ValueError, match="in use by another"):
        start(begun)
    with pytest.raises(ValueError, match=r"no held-out split validation_human; it has none"):
        start(begun, splits=("validation_human",))
    with file.open("a") as more:
        more.write('{"instruction": "One more?", "output": "yes"}\n')
    with pytest.raises(ValueError, match="train_sha256"):
        start(begun)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "either --model or --from-config"),
        ({"model": "x", "from_config": "gpt2-mini"}, "either --model or --from-config"),
        ({"from_config": "gpt5"}, "from_config: expected 'gpt2-mini', 't5-mini'"),
        ({"from_config": "gpt2-mini", "lora": 4}, "needs --model"),
        ({"from_config": "gpt2-mini", "template": "chat"}, "needs alpaca"),
        ({"model": "x", "minutes": 0.0}, "minutes: expected greater than 0"),
        ({"model": "x", "lr": float("nan")}, "lr: expected a finite number"),
        ({"model": "x", "bf16": "maybe"}, "bf16: expected 'auto', 'yes' or 'no'"),
        ({"model": "x", "steps": 1, "epochs": 1.0}, "either --steps or --epochs"),
        ({"model": "x", "lora": -1}, "lora: expected greater than or equal to 0"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Options(data="d", out="o", **wrong)


def test_a_used_up_budget_or_a_loss_that_is_not_finite_ends_the_training(folders, data, tmp_path):
    clock = Clock(minutes=100.0)
    for minutes, steps, done in ((50.0, 0.2, 0.5), (50.0, 0.8, 0.8), (120.0, 0.8, 1.0)):
        clock.count(minutes, steps)
        assert clock.done == done
    run(options(data, tmp_path, model=str(folders["gpt2"]), steps=None, minutes=1e-6, splits=()))
    assert stored(tmp_path, "training")["steps"] == 1
    with pytest.raises(TrainingError, match="the loss is nan at step 7: lower --lr"):
        clock.on_log(None, SimpleNamespace(global_step=7), None, logs={"loss": float("nan")})


@pytest.mark.slow
def test_two_processes_learn_the_same_and_one_of_them_writes(folders, data, tmp_path):
    command = (
        f"-m torch.distributed.run --nproc-per-node 2 -m benchmarks finetune --data {data} "
        f"--steps 3 --model {folders['gpt2']} --out {tmp_path}/out --batch-tokens 100 --bf16 no"
    )
    words = [sys.executable, *command.split()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("generator=") == 1
    assert stored(tmp_path / "out", "settings")["processes"] == 2
    assert stored(tmp_path / "out", "evaluation")["validation_seen"]["prompts"] == 6
