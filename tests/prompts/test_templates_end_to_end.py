"""Templates from a prompt to an answer, a token count, a result folder and an exported policy."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import models
from agents.__main__ import main as agents
from agents.runs.folder import TrainingFolder
from agents.runs.run import train
from bench_fixtures import change_part
from benchmarks.__main__ import main as benchmarks
from benchmarks.records import RunFolder as Results
from benchmarks.validate import validate
from pcrl_gym import Compressor, make_task
from pcrl_gym.envs.vector_env import PromptCompressionVectorEnv
from pcrl_gym.episodes.tokenizers import TextEncoder
from pcrl_gym.generators.hf import HFGenerator
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.prompt_text import PromptText
from pcrl_gym.prompts.template import AlpacaTemplate, ChatTemplate, RenderedPrompt
from policies import compressor
from run_agents import config, material
from texts import DATED, on_another_day

NEW = 8
PROMPTS = [
    Prompt("0", "Sort the words.", "pears and figs"),
    Prompt("1", "What is the opposite of hot?"),
]


class FewShot:
    """ChatML by hand: a system message, a turn as an example, and an answer that has begun."""

    name = "few-shot"
    shot = (
        "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSort: b a<|im_end|>\n"
        "<|im_start|>assistant\na b<|im_end|>\n<|im_start|>user\n"
    )
    between = "<|im_end|>\n<|im_start|>user\n"
    end = "<|im_end|>\n<|im_start|>assistant\n"

    def render(self, prompt: Prompt) -> RenderedPrompt:
        text, fixed = "", []
        for piece in (self.shot, None, self.between, "input", self.end):
            if piece in (None, "input"):
                text += prompt.input if piece else prompt.instruction
                continue
            fixed.append((len(text), len(text) + len(piece)))
            text += piece
        return RenderedPrompt(text, tuple(fixed))


@pytest.fixture(scope="module")
def generator(llama_folder: Path) -> HFGenerator:
    return HFGenerator.from_pretrained(str(llama_folder), device="cpu")


def plain_answer(folder: Path, ids: list[int]) -> tuple[int, ...]:
    """The answer of the model as a user of transformers would ask for it."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    row = torch.tensor([ids])
    output = model.generate(
        row, attention_mask=torch.ones_like(row), max_new_tokens=NEW, do_sample=False
    )
    return tuple(output[0, len(ids) :].tolist())


def test_control_tokens_of_a_template_by_hand_are_control_tokens(
    generator: HFGenerator, llama_folder: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama_folder)
    task = make_task(
        dataset=PROMPTS, generator=generator, template=FewShot(), max_units=512, max_new_tokens=NEW,
        unit="word",
    )  # fmt: skip
    [episode] = task.episodes[:1]
    dropped = [word.strip() for word in ("Sort", "and")]
    kept = [episode.text[a:b].strip() not in dropped for a, b in episode.spans]
    texts = [
        FewShot.shot + "Sort the words." + FewShot.between + "pears and figs" + FewShot.end,
        FewShot.shot + " the words." + FewShot.between + "pears figs" + FewShot.end,
        FewShot.shot + FewShot.between + FewShot.end,
    ]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    scores = task.scorer([episode, episode], [kept, np.zeros(len(episode), np.int8)])
    assert scores.compressed_prompts == texts[1:]
    assert scores.original_tokens.tolist() == [len(ids[0])] * 2
    assert scores.compressed_tokens.tolist() == [len(ids[1]), len(ids[2])]
    assert scores.template_tokens.tolist() == [len(ids[2])] * 2
    assert scores.compression_ratio[1] == 1.0
    for text, row in zip([episode.text, *scores.compressed_prompts], ids, strict=True):
        [answer] = generator.generate([text], NEW)
        assert answer.token_ids == plain_answer(llama_folder, row)
    assert scores.outputs[0] == generator.generate([episode.text], NEW)[0].text
    assert {type(value) for value in scores.info(0).values()} <= {str, float, int, bool}
    assert type(task.info(episode, task.observe(episode, episode.kept([])))["prompt"]) is str


def test_prompts_of_the_same_characters_share_nothing(
    generator: HFGenerator, llama_folder: Path, tmp_path: Path
) -> None:
    """One user wrote by hand what the template writes for another."""
    prompts = [
        Prompt("honest", "Sort the words.", "pears and figs"),
        Prompt("sly", f"Sort the words.{FewShot.between}pears and figs"),
    ]

    class Short(FewShot):
        def render(self, prompt: Prompt) -> RenderedPrompt:
            if prompt.input:
                return super().render(prompt)
            text = self.shot + prompt.instruction + self.end
            ends = (len(self.shot), len(text) - len(self.end))
            return RenderedPrompt(text, ((0, ends[0]), (ends[1], len(text))))

    options: dict[str, Any] = {
        "dataset": prompts, "generator": generator, "template": Short(), "max_units": 512,
        "max_new_tokens": NEW, "cache": tmp_path / "answers.db",
    }  # fmt: skip
    told = []
    for _ in range(2):  # the second time from the file
        task = make_task(**options)
        episodes = task.episodes[:]
        assert str(episodes[0].text) == str(episodes[1].text)
        scores = task.scorer(episodes, [np.ones(len(e), np.int8) for e in episodes])
        assert scores.original_tokens[0] < scores.original_tokens[1]
        told.append(scores.outputs)
    alone = [generator.generate([episode.text], NEW)[0].text for episode in episodes]
    assert alone[0] != alone[1]
    assert told == [alone, alone]


def test_a_compressor_counts_as_the_generator_does(llama_folder: Path) -> None:
    tokenizer = models.llama_tokenizer()
    done = compressor(tokenizer, template=FewShot(), bias=-20.0, max_units=512)(
        instruction="Sort </s>", input="pears"
    )
    bare = tokenizer(FewShot.shot + FewShot.between + FewShot.end, add_special_tokens=False)
    assert done.compressed_tokens == done.template_tokens == len(bare["input_ids"])
    assert done.compression_ratio == 1.0
    assert type(done.text) is type(done.original) is str
    # Free text is the user's, even if it looks like a prompt in the chat template.
    text = ChatTemplate(tokenizer).render(Prompt("0", "Sort.")).text
    kept = compressor(tokenizer, template="chat", bias=20.0)(str(text))
    [ids] = TextEncoder(tokenizer).prompt_ids([PromptText(text)], add_special_tokens=False)
    assert kept.original_tokens == len(ids)
    assert not set(ids) & set(tokenizer.all_special_ids)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation_seen"):
        rows = [{"instruction": f"Sort the words, {split} {i}.", "input": "b a"} for i in range(8)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def dated_model(llama_folder: Path, tmp_path: Path) -> Path:
    """A model whose chat template writes today's date."""
    folder = Path(shutil.copytree(llama_folder, tmp_path / "dated"))
    (folder / "chat_template.jinja").write_text(DATED)
    return folder


def test_a_result_folder_continued_on_another_day_holds_one_prompt(
    data: Path, dated_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results"
    options = [
        *("run", "--dataset", str(data), "--split", "validation_seen", "--template", "chat"),
        *("--generator", str(dated_model), "--max-new-tokens", "4", "--device", "cpu"),
        *("--out", str(out), "--agents"),
    ]
    for day, names in enumerate(("keep_all", "keep_all,stopwords"), start=1):
        on_another_day(monkeypatch, datetime.date(2026, 1, day))
        assert benchmarks([*options, names]) == 0
    results = Results(out)
    prefix, suffix = results.settings["template_frame"]
    assert prefix == "\n<s>Today is 26 Jul 2024. "
    records = list(results.records())
    assert {record.agent for record in records} == {"keep_all", "stopwords"}
    assert all(r.prompt.startswith(prefix) and r.prompt.endswith(suffix) for r in records)
    on_another_day(monkeypatch, datetime.date(2026, 1, 3))
    report = validate(out, device="cpu", share=1.0)
    assert report.problems == []
    change_part(
        out,
        "stopwords",
        lambda records: [replace(r, prompt=r.prompt.replace("26 Jul", "27 Jul")) for r in records],
    )
    assert "the prompt is not the dataset's" in validate(out, device="cpu").text()


def test_wrong_templates_are_refused_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        [
            *"run --agents random --suite alpaca-plus --dataset micro --generator micro".split(),
            "--out",
        ],
        ["answers", "--cache"],
        ["finetune", "--model", "x", "--data", "micro", "--out"],
    ):
        assert benchmarks([*command, str(tmp_path / "out"), "--template", "chat:system"]) == 2
        assert "key=value" in capsys.readouterr().err
    config_only = ["train", "scst", "--out", str(tmp_path / "out"), "--set", "run.updates=1"]
    assert agents([*config_only, "task.template=chatty"]) != 0
    assert "template must be 'alpaca', 'chat'" in capsys.readouterr().err
    from_config = ["--from-config", "micro", "--template", "chat"]
    assert benchmarks(["finetune", *from_config, "--data", "x", "--out", str(tmp_path / "o")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_policy_of_a_chat_model_with_another_encoder_is_exported(
    data: Path, dated_model: Path, bert_folder: Path, tmp_path: Path
) -> None:
    run, folder = tmp_path / "run", tmp_path / "policy"
    settings = [
        "run.updates=2", "evaluate_limit=2", "task.device=cpu", "agent.batch_size=2", "samples=2",
        f"task.dataset={data}", f"task.generator={dated_model}", f"task.tokenizer={bert_folder}",
        f"agent.encoder={bert_folder}", "task.template=chat:date=2026-01-31", "max_new_tokens=4",
    ]  # fmt: skip
    command = ["train", "scst", "--out", str(run), "--quiet", "--loggers", "jsonl", "--set"]
    assert agents([*command, *settings]) == 0
    shutil.rmtree(dated_model)
    assert agents(["export", str(run), str(folder)]) == 0
    stored = json.loads((folder / "compressor.json").read_text())
    assert stored["format_version"] == 2
    assert stored["template"] == "chat:date=2026-01-31"
    assert stored["template_frame"] == ["\n<s>Today is 31 Jan 2026. ", "</s>"]
    loaded = Compressor.from_pretrained(folder, device="cpu")
    assert loaded.template.name == "chat:date=2026-01-31"
    done = loaded(instruction="Sort the words.", input="pears and figs", rate=1.0)
    assert done.original == "\n<s>Today is 31 Jan 2026. Sort the words.\npears and figs</s>"
    assert done.text == "\n<s>Today is 31 Jan 2026. </s>"
    assert loaded("Sort the words, please.").original == "Sort the words, please."


def test_what_could_not_be_used_is_not_trained(data: Path, tmp_path: Path) -> None:
    """The template alone fills the window, or cannot be stored."""
    for template, max_units, message in (
        (AlpacaTemplate(), 3, r"the template 'alpaca' alone has \d+ units .* raise max_units"),
        (FewShot(), 64, "'few-shot' is a custom object and cannot be saved"),
    ):

        def make_env(n: int, template: Any = template, max_units: int = max_units) -> Any:
            return PromptCompressionVectorEnv(
                n, dataset=PROMPTS, template=template, max_units=max_units
            )

        with pytest.raises(ValueError, match=message):
            train(config(), tmp_path / "run", material=material(make_env=make_env), progress=False)
        assert not TrainingFolder(tmp_path / "run").last.exists()
