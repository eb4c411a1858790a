"""Saving and loading compressors: no pickle, no half folders, nothing overwritten, a card."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

import models
import pcrl_gym.compressor.folder
from pcrl_gym.compressor.compressor import Compressor
from pcrl_gym.compressor.folder import FILES
from pcrl_gym.compressor.model_card import PolicyCard, card_text
from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder
from pcrl_gym.prompts.prompt import Prompt
from pcrl_gym.prompts.template import ChatTemplate
from policies import TEXT, Shouting, compressor

TOKENIZER = models.gpt2_tokenizer()
SORT = Prompt(id="0", instruction="Sort.", input="b a")
CARD = PolicyCard(
    dataset="micro, split train",
    generator="micro",
    reward="threshold (0.9)",
    agent="ppo, seed 0",
    results=({"split": "validation_seen", "reward": 0.25}, {"split": "human", "prompts": 12}),
    limits="English only.",
    details={"command": "python -m agents | tee log", "hours": 0.5},
    license="apache-2.0",
    language="en",
)


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    compressor(TOKENIZER, max_units=24, card=CARD).save_pretrained(tmp_path / "policy")
    return tmp_path / "policy"


def test_what_is_loaded_is_what_was_saved(any_tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    ours = compressor(any_tokenizer, max_units=24, unit="word", card=CARD)
    folder = tmp_path / "a" / "policy"
    ours.save_pretrained(folder)
    assert set(written(folder)) <= set(FILES)
    assert list(folder.parent.iterdir()) == [folder]
    state = torch.get_rng_state()
    loaded = Compressor.from_pretrained(folder, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    assert (loaded.unit, loaded.max_units, loaded.card) == ("word", 24, CARD)
    text = f"{TEXT} 你好 <s></s>"
    assert loaded([text, text * 5], rate=0.3) == ours([text, text * 5], rate=0.3)
    assert loaded(instruction=text) == ours(instruction=text)


def test_a_chat_template_and_a_pretrained_encoder_are_saved(tmp_path: Path, bert_folder: Path):
    tokenizer = models.llama_tokenizer()
    compressor(tokenizer, template="chat").save_pretrained(tmp_path / "chat")
    loaded = Compressor.from_pretrained(tmp_path / "chat", device="cpu")
    assert loaded(instruction=TEXT).original.startswith("<s><|im_start|>user\n")
    ours = Compressor(KeepNetwork(pretrained_encoder(bert_folder)), bert_folder, device="cpu")
    ours.save_pretrained(tmp_path / "bert")
    assert Compressor.from_pretrained(tmp_path / "bert", device="cpu")(TEXT) == ours(TEXT)


def test_the_chat_template_of_another_tokenizer_is_saved(tmp_path: Path):
    template = ChatTemplate(models.llama_tokenizer())
    ours = compressor(models.bert_tokenizer(), template=template)
    ours.save_pretrained(tmp_path / "policy")
    loaded = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    assert loaded.template.render(SORT) == template.render(SORT)
    assert loaded(instruction=TEXT, rate=0.5) == ours(instruction=TEXT, rate=0.5)
    assert "in the template `chat`" in (tmp_path / "policy" / "README.md").read_text()


@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_folders_of_version_1_are_read(template: str, tmp_path: Path):
    ours = compressor(models.llama_tokenizer(), template=template)
    ours.save_pretrained(tmp_path / "policy")
    path = tmp_path / "policy" / "compressor.json"
    settings = json.loads(path.read_text()) | {"format_version": 1}
    del settings["template_frame"]
    path.write_text(json.dumps(settings))
    loaded = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    assert loaded.template.render(SORT) == ours.template.render(SORT)


def test_who_may_read_the_card_may_read_the_weights(saved: Path):
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1


def test_half_precision_makes_a_smaller_file(saved: Path, tmp_path: Path):
    Compressor.from_pretrained(saved).save_pretrained(tmp_path / "half", dtype=torch.float16)
    sizes = [(f / "network.safetensors").stat().st_size for f in (saved, tmp_path / "half")]
    assert sizes[1] < 0.7 * sizes[0]
    assert Compressor.from_pretrained(tmp_path / "half")(TEXT).original == TEXT


def test_nothing_is_replaced_but_a_compressor_with_overwrite(saved: Path, tmp_path: Path):
    other = compressor(TOKENIZER, max_units=30)
    before = written(saved)
    with pytest.raises(ValueError, match=r"contains a saved compressor: .*overwrite=True"):
        other.save_pretrained(saved)
    assert written(saved) == before
    other.save_pretrained(saved, overwrite=True)
    assert Compressor.from_pretrained(saved).max_units == 30
    (saved / "notes.txt").write_text("mine")
    before = written(saved)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"contains other files \(notes\.txt\)"):
            other.save_pretrained(saved, overwrite=overwrite)
    assert written(saved) == before
    (tmp_path / "empty").mkdir()
    other.save_pretrained(tmp_path / "empty")
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "README.md").write_text("of something else")
    with pytest.raises(ValueError, match="contains other files"):
        other.save_pretrained(tmp_path / "card")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        other.save_pretrained(tmp_path / "file")


def test_a_failure_leaves_the_old_folder(saved: Path, monkeypatch: pytest.MonkeyPatch):
    before = written(saved)

    def fail(*arguments: Any, **settings: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(KeepNetwork, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        compressor(TOKENIZER).save_pretrained(saved, overwrite=True)
    assert written(saved) == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_of_the_same_name_with_old_is_nobody_elses(saved: Path):
    mine = saved.with_name("policy.old")
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    compressor(TOKENIZER).save_pretrained(saved, overwrite=True)
    assert (mine / "notes.txt").read_text() == "mine"


def test_a_template_without_a_name_is_not_saved(tmp_path: Path):
    with pytest.raises(ValueError, match="'shouting' is a custom object"):
        compressor(TOKENIZER, template=Shouting()).save_pretrained(tmp_path / "policy")
    assert not list(tmp_path.iterdir())


def test_wrong_folders_say_what_is_missing(saved: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"missing") as error:
        Compressor.from_pretrained(tmp_path)
    for name in ("compressor.json", "network.json", "network.safetensors", "tokenizer.json"):
        assert name in str(error.value)
    (saved / "network.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"contain a saved compressor: network\.safetensors missing"
    ):
        Compressor.from_pretrained(saved)
    (saved / "network.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(ValueError, match="cannot load the network in"):
        Compressor.from_pretrained(saved)
    with pytest.raises(ValueError, match="there is no folder"):
        Compressor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there is no folder"):
        Compressor.from_pretrained("not/a/hub/id")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99.* upgrade pcrl_gym"),
        ({"max_units": "many"}, "needs 'max_units' of type int, got 'many'"),
        ({"card": None}, "needs 'card' of type dict"),
        ({"max_tokens_per_word": "few"}, "'max_tokens_per_word' to be a number or null, got 'few'"),
        ({"max_tokens_per_word": True}, "'max_tokens_per_word' to be a number or null, got True"),
        ({"max_tokens_per_word": 0}, "must be a positive number or None, got 0"),
        ({"unit": "letter"}, "unit must be"),
        ({"template": "none"}, "template must be"),
        ({"template_frame": ["a"]}, r"compressor\.json: .* a prefix and a suffix, got \['a'\]"),
    ],
)
def test_wrong_settings_are_told(saved: Path, change: dict[str, Any], message: str):
    path = saved / "compressor.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        Compressor.from_pretrained(saved)


def test_folders_without_figures_of_the_training_prompts_load(saved: Path):
    path = saved / "compressor.json"
    settings = json.loads(path.read_text())
    assert settings.pop("max_tokens_per_word") is None
    path.write_text(json.dumps(settings))
    loaded = Compressor.from_pretrained(saved)
    assert loaded.max_tokens_per_word is None
    assert loaded(TEXT).in_domain is None


def test_what_is_known_of_the_training_prompts_is_saved(tmp_path: Path):
    ours = compressor(TOKENIZER, max_tokens_per_word=1.25)
    ours.save_pretrained(tmp_path / "policy")
    loaded = Compressor.from_pretrained(tmp_path / "policy", device="cpu")
    assert loaded.max_tokens_per_word == 1.25
    assert loaded([TEXT, "zzzzqqqq" * 9]) == ours([TEXT, "zzzzqqqq" * 9])
    assert (
        "| Tokens per word | at most 1.250 in 99.5%"
        in (tmp_path / "policy" / "README.md").read_text()
    )


def test_settings_that_are_no_json(saved: Path):
    for text in ("{", "[]"):
        (saved / "compressor.json").write_text(text)
        with pytest.raises(ValueError, match=r"compressor\.json"):
            Compressor.from_pretrained(saved)


def test_code_named_in_a_folder_is_not_run(saved: Path, tmp_path: Path):
    """`auto_map` is how Hugging Face folders name code of their own."""
    (saved / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    for name, part in (("network.json", "encoder"), ("tokenizer_config.json", None)):
        data = json.loads((saved / name).read_text())
        target = data if part is None else data[part]
        target["auto_map"] = {
            "AutoConfig": "evil.C",
            "AutoModelForTextEncoding": "evil.M",
            "AutoTokenizer": ["evil.T", "evil.T"],
        }
        (saved / name).write_text(json.dumps(data))
    assert Compressor.from_pretrained(saved)(TEXT).original == TEXT
    assert not (tmp_path / "ran").exists()


def test_the_micro_policy_is_missed_clearly(monkeypatch: pytest.MonkeyPatch, saved: Path):
    monkeypatch.setattr(pcrl_gym.compressor.folder, "weights_folder", lambda kind: saved / kind)
    with pytest.raises(ValueError, match="does not include the trained micro policy"):
        Compressor.from_pretrained("micro")
    monkeypatch.setattr(pcrl_gym.compressor.folder, "weights_folder", lambda kind: saved)
    assert Compressor.from_pretrained("micro").max_units == 24


def test_the_hub_gives_known_files_only(monkeypatch: pytest.MonkeyPatch, saved: Path):
    asked = []

    def fake(repo_id: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo_id, revision))
        assert set(allow_patterns) == set(FILES)
        return str(saved)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    assert Compressor.from_pretrained("someone/policy", revision="v1").max_units == 24
    assert asked == [("someone/policy", "v1")]


def test_a_repository_that_is_not_there_is_told():
    """The tests run offline."""
    with pytest.raises(ValueError, match="cannot load a compressor from 'someone/policy'"):
        Compressor.from_pretrained("someone/policy")


def test_push_uploads_the_folder_as_one_commit(monkeypatch: pytest.MonkeyPatch, saved: Path):
    calls: list[tuple[str, dict[str, Any]]] = []

    class FakeApi:
        def __init__(self, token: str | None) -> None:
            calls.append(("login", {"token": token}))

        def create_repo(self, repo_id: str, **settings: Any) -> None:
            calls.append(("create", {"repo_id": repo_id, **settings}))

        def upload_folder(self, **settings: Any) -> SimpleNamespace:
            folder = Path(settings.pop("folder_path"))
            calls.append(("upload", settings | {"files": written(folder)}))
            return SimpleNamespace(commit_url="https://example.org/commit")

    monkeypatch.setattr("huggingface_hub.HfApi", FakeApi)
    url = Compressor.from_pretrained(saved).push_to_hub(
        "me/policy", private=True, token="secret", commit_message="First"
    )
    assert url == "https://example.org/commit"
    assert calls[0] == ("login", {"token": "secret"})
    assert calls[1] == ("create", {"repo_id": "me/policy", "private": True, "exist_ok": True})
    kind, settings = calls[2]
    files = settings.pop("files")
    assert (kind, settings) == ("upload", {"repo_id": "me/policy", "commit_message": "First"})
    assert files.keys() == written(saved).keys()
    assert b'Compressor.from_pretrained("me/policy")' in files["README.md"]
    assert b"secret" not in b"".join(files.values())


def test_the_card_tells_where_the_policy_comes_from(saved: Path):
    card = (saved / "README.md").read_text()
    front, body = card.split("---\n", 2)[1:]
    assert 'library_name: "pcrl_gym"' in front
    assert 'license: "apache-2.0"' in front
    assert "prompt-compression" in front
    assert "| Training data | micro, split train |" in body
    assert "| Generator | micro |" in body
    assert "| Reward | threshold (0.9) |" in body
    assert r"| command | python -m agents \| tee log |" in body
    assert "| split | reward | prompts |" in body
    assert "| validation_seen | 0.250 |  |" in body
    assert "English only." in body
    assert "24 token units at once, in the template `alpaca`" in body


def test_a_card_without_facts_says_so(tmp_path: Path):
    compressor(TOKENIZER).save_pretrained(tmp_path / "policy")
    card = (tmp_path / "policy" / "README.md").read_text()
    assert "| Generator | not recorded |" in card
    assert "None are recorded." in card
    assert "license:" not in card


def test_a_card_takes_strings_and_numbers():
    with pytest.raises(ValueError, match=r"PolicyCard\.dataset must be a string"):
        PolicyCard(dataset=3)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"PolicyCard\.results may contain only strings, numbers, and None"
    ):
        PolicyCard(results=({"a": [1]},))  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"PolicyCard\.results must contain mappings"):
        PolicyCard(results=("a",))  # type: ignore[arg-type]
    assert PolicyCard.from_dict(CARD.to_dict() | {"later": 1}) == CARD


def test_front_matter_cannot_be_broken_out_of():
    yaml = pytest.importorskip("yaml")
    card = PolicyCard(license='x"\n---\nevil: true', language="no")
    text = card_text(card, {"template": "alpaca", "unit": "token", "max_units": 8}, "n", 1)
    front = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert (front["license"], front["language"]) == (card.license, "no")


def test_the_hub_reads_results_and_origin():
    from huggingface_hub import ModelCard

    card = PolicyCard(
        base_model="someone/encoder",
        datasets=("someone/prompts",),
        results=({"split": "seen", "rate": 0.25, "loss": 0.5}, {"split": "unseen", "loss": None}),
    )
    settings = {"template": "alpaca", "unit": "token", "max_units": 24}
    data = ModelCard(card_text(card, settings, "mine", 7)).data
    assert (data.base_model, data.datasets) == ("someone/encoder", ["someone/prompts"])
    found = [(one.dataset_name, one.metric_type, one.metric_value) for one in data.eval_results]
    assert found == [("seen", "rate", 0.25), ("seen", "loss", 0.5)]
    with pytest.raises(ValueError, match="datasets must contain strings"):
        PolicyCard(datasets=(3,))
