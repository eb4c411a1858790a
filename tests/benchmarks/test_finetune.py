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

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import models
from benchmarks.__main__ import main
from benchmarks.finetune import rows as data_rows
from benchmarks.finetune import run as run_module
from benchmarks.finetune import trainer
from benchmarks.finetune.evaluation import evaluate, majority
from benchmarks.finetune.options import Options
from benchmarks.finetune.rows import IGNORED, Row, answer_loss, collator, length_batches
from benchmarks.finetune.run import run
from benchmarks.finetune.shapes import Shape, build_shape
from fakes import CountingGenerator
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.generators.loading import load_generator
from pcrl_gym.generators.pretrained import load_pretrained
from pcrl_gym.generators.token_codec import TokenCodec
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
    """A folder of splits: the answer of the source "opposite" is always the same."""
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {"instruction": f"Repeat the word {word}.", "output": word, "source": "repeat"}
        for word in WORDS
    ] + [
        {"instruction": f"What is the opposite of hot? {word}", "output": "cold", "source": "other"}
        for word in WORDS
    ]
    unanswered = {"instruction": "Say nothing.", "output": " "}
    long = {"instruction": "very long " * 200, "output": "no"}
    for split, content in (("train", [*rows, unanswered, long]), ("validation_seen", rows[::2])):
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def encoded(kind: str, prompts: list[Prompt], limit: int = 10_000) -> tuple[list[Row], list[int]]:
    tokenizer, seq2seq = models.TOKENIZERS[kind](), kind == "t5"
    codec, end = TokenCodec(tokenizer, seq2seq, 0), tokenizer.eos_token_id
    rows, out = data_rows.encode_rows(prompts, AlpacaTemplate(), codec, end, limit, seq2seq)
    return rows, list(out.values())


def weights(out: Path) -> dict[str, torch.Tensor]:
    model, _ = load_pretrained(str(out / "model"), device="cpu")
    return model.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_what_the_generator_reads_then_the_answer_then_the_end(folders, kind):
    prompts = [Prompt(id="0", instruction=" Sort it. ", input="b </s> a", output=" plums, apple\n")]
    ((row,), _) = encoded(kind, prompts)
    generator = load_generator(folders[kind], device="cpu")
    assert isinstance(generator, HFGenerator)
    text = "Instruction: Sort it.\nInput: b </s> a\nOutput: \n"
    assert row.prompt == generator._encode([text], [1])[0]
    assert row.answer[-1] == generator.tokenizer.eos_token_id
    assert row.answer.count(row.answer[-1]) == 1
    assert generator._codec.answer(row.answer).text == "plums, apple"


def test_the_first_word_of_an_answer_has_the_token_of_a_word_in_a_sentence():
    for kind, space in (("gpt2", "Ġ"), ("llama", "▁"), ("t5", "▁")):
        ((row,), _) = encoded(kind, [Prompt(id="0", instruction="x", output="the cat")])
        first = models.TOKENIZERS[kind]().convert_ids_to_tokens(row.answer)[0]
        assert first.startswith(space + "t")


def test_rows_without_answer_and_long_ones_are_left_out_and_counted():
    asked = {"a": ("hot", "cold"), "b": ("hot", " \n"), "c": ("hot " * 50, "cold")}
    prompts = [Prompt(id=i, instruction=text, output=out) for i, (text, out) in asked.items()]
    rows, out = encoded("gpt2", prompts)
    assert (len(rows), out) == (2, [1, 0])
    assert encoded("gpt2", prompts, limit=rows[0].size())[1] == [1, 1]
    with pytest.raises(ValueError, match="nothing to learn: of 3 prompts"):
        encoded("gpt2", prompts, limit=rows[0].size() - 1)
    # Prompt and answer of an encoder-decoder each have the whole room.
    longest = max(map(len, encoded("t5", prompts)[0][0]))
    assert encoded("t5", prompts, limit=longest)[1] == [1, 1]


def test_labels_of_a_causal_model_are_the_answers_at_the_right_edge(folders):
    model = AutoModelForCausalLM.from_pretrained(folders["gpt2"])
    batch = collator(model, {"pad_token_id": 9})([Row([5, 6, 7], [1, 2]), Row([8], [3])])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 1, 2], [9, 9, 9, 8, 3]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [0, 0, 0, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 0, 1]]
    no = IGNORED
    assert batch["labels"].tolist() == [[no, no, no, 1, 2], [no, no, no, no, 3]]
    assert batch["logits_to_keep"] == 3


def test_labels_of_an_encoder_decoder_are_the_answers_and_its_decoder_reads_one_behind(folders):
    model, _ = load_pretrained(str(folders["t5"]), device="cpu")
    batch = collator(model, {"pad_token_id": 0, "decoder_start_token_id": 4})(
        [Row([5, 6, 1], [7, 8, 1]), Row([9, 1], [2, 1])]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 1], [9, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["decoder_input_ids"].tolist() == [[4, 7, 8], [4, 2, 1]]
    assert batch["labels"].tolist() == [[7, 8, 1], [2, 1, IGNORED]]


def test_the_loss_is_that_of_the_answers_alone():
    # Two tokens; the logits of row 0 give its answer (1, 0) log-probabilities -log 2, -log 4/3.
    labels = torch.tensor([[IGNORED, IGNORED, 1, 0], [IGNORED, IGNORED, IGNORED, 1]])
    three = math.log(3.0)
    logits = torch.tensor(
        [[[0, 0], [three, 0], [9, 9]], [[7, -7], [0, three], [9, 9]]], dtype=torch.float32
    )
    losses = [math.log(2), math.log(4 / 3), math.log(4 / 3)]
    assert answer_loss(logits, labels, True, 6, None).item() == pytest.approx(sum(losses) / 6)
    # Weights sqrt(2 / n): 1 for the answer of two tokens, sqrt 2 for that of one.
    weighed = losses[0] + losses[1] + 2**0.5 * losses[2]
    assert answer_loss(logits, labels, True, 1, 2.0).item() == pytest.approx(weighed)
    aligned, same_place = logits[:, :2], torch.tensor([[1, 0], [IGNORED, 1]])
    assert answer_loss(aligned, same_place, False, 3, None).item() == pytest.approx(sum(losses) / 3)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_weights_of_tokens_are_one_on_average(lengths: list[int]):
    typical = data_rows.typical_length([Row([1], [2] * n) for n in lengths])
    total = sum(n * (typical / n) ** 0.5 for n in lengths)
    assert total == pytest.approx(sum(lengths))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_loss(folders, kind):
    rows, _ = encoded(
        kind,
        [
            Prompt(id=str(n), instruction="apple " * n, output="plums " * (n % 3 + 1))
            for n in range(1, 9)
        ],
    )
    model, _ = load_pretrained(str(folders[kind]), device="cpu")
    model.eval()
    collate = collator(model, {"pad_token_id": 0, "decoder_start_token_id": 0})

    def loss(part: list[Row]) -> float:
        batch = collate(part)
        labels = batch.pop("labels")
        with torch.no_grad():
            return answer_loss(model(**batch).logits, labels, kind != "t5", 1, None).item()

    assert loss(rows) == pytest.approx(sum(loss([row]) for row in rows), rel=1e-4)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 100))
def test_batches_hold_every_row_once_and_no_more_tokens_than_asked(sizes, tokens):
    rows = [Row([number], [0] * size) for number, size in enumerate(sizes)]
    batches = length_batches(rows, tokens, seed=3)
    assert sorted(row for batch in batches for row in batch) == sorted(rows)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(Row.size, batch)) <= tokens
    assert batches == length_batches(rows, tokens, seed=3)


def test_the_majority_answer_is_that_of_the_source_or_of_all():
    train = [
        Prompt(id=str(n), instruction="?", output=output, source=source)
        for n, (output, source) in enumerate(
            [("no", "a"), ("yes", "a"), (" yes ", "a"), ("no", "b"), ("no", "b"), ("", "c")]
        )
    ]
    answer = majority(train)
    asked = [Prompt(id=s, instruction="?", source=s) for s in ("a", "b", "c", "never seen")]
    assert [answer(prompt) for prompt in asked] == ["yes", "no", "no", "no"]
    with pytest.raises(ValueError, match="no training prompt"):
        majority([train[-1]])


def test_figures_by_hand():
    prompts = [
        Prompt(id="0", instruction="red fish", output="red fish", source="a"),
        Prompt(id="1", instruction="blue fish", output=" red fish", source="a"),
        Prompt(id="2", instruction="nothing", source="a"),
    ]
    generator = CountingGenerator(lambda text: " ".join(text.split()[1:3]))
    figures, rows = evaluate(generator, AlpacaTemplate(), prompts, prompts, 30)
    # "blue fish" shares one of two words with "red fish": F1 0.5.
    assert (figures["exact_match"], figures["rouge_l"]) == (0.5, 0.75)
    assert (figures["majority_exact_match"], figures["majority_rouge_l"]) == (1.0, 1.0)
    assert (figures["prompts"], figures["without_gold"], figures["too_long"]) == (2, 1, 0)
    assert [row["answer"] for row in rows] == ["red fish", "blue fish"]
    # All were trained on.
    assert (figures["known_texts"], figures["contaminated"]) == (2, 2)
    assert figures["contaminated_exact_match"] == 0.5
    assert figures["contaminated_majority_exact_match"] == 1.0
    assert figures["clean_exact_match"] is figures["clean_majority_exact_match"] is None
    assert figures["distinct_answers"] == 2


def test_what_does_not_fit_the_generator_is_left_out_of_the_figures_and_counted():
    prompts = [
        Prompt(id="0", instruction="a", output="x"), Prompt(id="1", instruction="a b", output="x")
    ]  # fmt: skip
    generator = CountingGenerator(max_prompt_tokens=8)  # "Instruction: a Output:" has 3 words
    figures, _ = evaluate(generator, AlpacaTemplate(), prompts, prompts, 5)
    assert (figures["prompts"], figures["too_long"]) == (1, 1)
    with pytest.raises(ValueError, match="none of 2 prompts"):
        evaluate(generator, AlpacaTemplate(), prompts, prompts, 6)


def blank(kind: str, folder: Path) -> Path:
    """Write a model that learns quickly: no dropout, weights not drawn as wide as in models.py."""
    tokenizer = models.TOKENIZERS[kind]()
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        return models.save(folder, tokenizer, LlamaForCausalLM, config, seed=0)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    decoder = {"decoder_layers": 2} if kind == "t5" else {}
    shape = Shape(vocab=0, width=64, heads=2, layers=2, dropout=0.0, positions=256, **decoder)
    build_shape(shape, tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def options(data: Path, out: Path, **others: Any) -> Options:
    return Options(
        **{"data": str(data), "out": str(out), "steps": 4, "batch_tokens": 200, "bf16": "no"}
        | others
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_tuned_model_answers_and_stops_as_it_was_taught(data, tmp_path, kind, capsys):
    start = blank(kind, tmp_path / "start")
    run(options(data, tmp_path / "out", model=str(start), steps=200, lr=3e-3))
    evaluation = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert evaluation["validation_seen"]["exact_match"] == 1.0
    assert evaluation["validation_seen"]["majority_exact_match"] < 1.0
    assert "1 without an answer" in capsys.readouterr().out
    generator = load_generator(tmp_path / "out" / "model", device="cpu")
    assert isinstance(generator, HFGenerator)
    text = AlpacaTemplate().render(Prompt(id="0", instruction="Repeat the word sun.")).text
    (answer,) = generator.generate([text], 20)
    assert answer.text == "sun"
    assert answer.token_ids[-1] == generator.tokenizer.eos_token_id


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_killed_run_resumes_and_ends_with_the_weights_of_an_unbroken_one(
    folders, data, tmp_path, kind
):
    # 5 steps are more than an epoch.
    wanted = {"model": str(folders[kind]), "accumulate": 2, "steps": 5, "checkpoint_steps": 2}
    run(options(data, tmp_path / "whole", **wanted))
    broken = options(data, tmp_path / "broken", **wanted)
    code = (
        "import os, signal\n"
        "from benchmarks.finetune import run, trainer\n"
        "from benchmarks.finetune.options import Options\n"
        "def die(self, args, state, control, **others):\n"
        "    state.global_step == 4 and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"trainer.Clock.on_step_begin = die\nrun.run({broken!r})"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    kept = [path.name for path in (tmp_path / "broken").glob("checkpoint-*")]
    assert kept == ["checkpoint-4"]
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
    rows = 12
    for tokens, accumulate in ((10_000, 1), (1, rows)):  # one batch of all rows; one row a batch
        out = tmp_path / str(tokens)
        asked = {"model": str(start), "steps": 1, "max_tokens": 99}
        run(options(data, out, accumulate=accumulate, batch_tokens=tokens, **asked))
        losses.append(json.loads((out / "training.json").read_text())["history"][0]["loss"])
        changes.append({k: v - first.state_dict()[k] for k, v in weights(out).items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, change in changes[0].items():
        # The first step of Adam is the sign of the gradient: rounding decides where that is zero.
        assert (change - changes[1][name]).abs().mean() <= 0.05 * change.abs().mean(), name


@pytest.mark.slow
def test_only_adapters_are_trained_and_end_in_the_weights(folders, data, tmp_path):
    pytest.importorskip("peft")
    out = tmp_path / "out"
    run(options(data, out, model=str(folders["gpt2"]), lora=4, lr=1e-2))
    before, _ = load_pretrained(str(folders["gpt2"]), device="cpu")
    after = weights(out)
    changed = {k for k, v in before.state_dict().items() if not torch.equal(v, after[k])}
    assert changed
    assert all("attn" in name or "mlp" in name for name in changed)
    assert not (out / "model" / "adapter_config.json").exists()
    report = json.loads((out / "training.json").read_text())
    assert report["trained_parameters"] < report["parameters"] / 2


@pytest.mark.slow
def test_random_weights_get_a_tokenizer_of_their_own_and_the_same_one_on_resuming(data, tmp_path):
    out = tmp_path / "out"
    run(options(data, out, from_config="t5-mini", steps=1))
    generator = load_generator(out / "model", device="cpu")
    assert isinstance(generator, HFGenerator)
    assert generator.is_encoder_decoder
    assert generator.generate(["Instruction: x\nOutput: \n"], 3)[0].token_ids
    kept = (out / "tokenizer" / "tokenizer.json").read_text()
    assert (
        json.loads(kept)["model"]
        == json.loads((out / "model" / "tokenizer.json").read_text())["model"]
    )


def test_folders_that_hold_something_else_are_refused(folders, data, tmp_path, monkeypatch):
    def never(*args: Any) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr(run_module, "train", never)
    monkeypatch.setattr(run_module, "_evaluate", never)
    asked = {"model": str(folders["gpt2"])}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep me")
    with pytest.raises(ValueError, match="holds files but no settings"):
        run(options(data, mine, **asked))
    assert [file.name for file in mine.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="is a file"):
        run(options(data, mine / "notes.txt", **asked))
    begun = tmp_path / "begun"
    with pytest.raises(AssertionError):
        run(options(data, begun, **asked))
    with pytest.raises(ValueError, match=r"steps: 4 in the folder, 5 now"):
        run(options(data, begun, steps=5, **asked))
    with pytest.raises(AssertionError):  # the same settings go on
        run(options(data, begun, checkpoint_steps=1, **asked))


def test_data_that_changed_is_refused(folders, data, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "train", lambda *args: None)
    monkeypatch.setattr(run_module, "_evaluate", lambda *args: None)
    file = tmp_path / "train.jsonl"
    file.write_text((data / "train.jsonl").read_text())
    asked = {"model": str(folders["gpt2"])}
    run(options(file, tmp_path / "out", **asked))
    with file.open("a") as more:
        more.write('{"instruction": "One more?", "output": "yes"}\n')
    with pytest.raises(ValueError, match="train_sha256"):
        run(options(file, tmp_path / "out", **asked))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "one of --model and --from-config"),
        ({"model": "x", "from_config": "gpt2-mini"}, "one of --model and --from-config"),
        ({"from_config": "gpt5"}, "there is no config 'gpt5'"),
        ({"from_config": "gpt2-mini", "lora": 4}, "needs --model"),
        ({"model": "x", "minutes": 0.0}, "minutes must be more than 0"),
        ({"model": "x", "lr": float("nan")}, "lr must be more than 0"),
        ({"model": "x", "steps": 0}, "steps must be at least 1"),
        ({"model": "x", "bf16": "maybe"}, "bf16 must be one of"),
        ({"model": "x", "steps": 1, "epochs": 1.0}, "one of --steps and --epochs"),
        ({"model": "x", "lora": -1}, "lora must be 0 or more"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Options(data="d", out="o", **wrong)


def test_held_out_splits_that_are_not_there_are_named(folders, data, tmp_path):
    asked = {"model": str(folders["gpt2"]), "splits": ("validation_seen", "validation_human")}
    with pytest.raises(ValueError, match=r"no held-out split validation_human; .* validation_seen"):
        run(options(data, tmp_path / "out", **asked))
    assert not (tmp_path / "out").exists()


def test_the_learning_rate_rises_then_falls_to_zero():
    factors = [trainer.learning_rate_factor(n / 100) for n in range(101)]
    assert factors[:6] == sorted(factors[:6])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert (factors[0], max(factors), factors[-1]) == pytest.approx((0.1, 1.0, 0.0))


def test_whatever_budget_is_used_up_first_ends_the_training(folders, data, tmp_path):
    clock = trainer.Clock(minutes=100.0)
    for minutes, steps, done in ((50.0, 0.2, 0.5), (50.0, 0.8, 0.8), (120.0, 0.8, 1.0)):
        clock.count(minutes, steps)
        assert clock.done == done
    out = tmp_path / "out"
    run(options(data, out, model=str(folders["gpt2"]), steps=None, minutes=1e-6, splits=()))
    report = json.loads((out / "training.json").read_text())
    assert report["steps"] == 1
    assert json.loads((out / "settings.json").read_text())["minutes"] == 1e-6


def test_a_loss_that_is_not_finite_ends_the_training():
    state = SimpleNamespace(global_step=7)
    with pytest.raises(trainer.DivergedError, match="the loss is nan at step 7: lower --lr"):
        trainer.Clock(None).on_log(None, state, None, logs={"loss": float("nan")})


def test_the_command_refuses_wrong_arguments(data, tmp_path, capsys):
    base = ["finetune", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*base, "--from-config", "gpt5"]) == 2
    assert "there are: gpt2-mini" in capsys.readouterr().err
    assert main([*base, "--model", str(tmp_path / "nowhere"), "--steps", "1"]) == 2
    assert "cannot load generator" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_learn_the_same_and_one_of_them_writes(folders, data, tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "benchmarks",
        "finetune", "--model", str(folders["gpt2"]), "--data", str(data), "--out",
        str(tmp_path / "out"), "--steps", "3", "--batch-tokens", "100", "--bf16", "no",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("generator=") == 1
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["processes"] == 2
    evaluation = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert evaluation["validation_seen"]["prompts"] == 6
