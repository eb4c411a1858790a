"""The policy network: padding and dropout have no say, and weights load without pickle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pcrl_gym.compressor.network import KeepNetwork, pretrained_encoder, small_encoder

VOCABULARY = 50


@pytest.fixture
def network() -> KeepNetwork:
    torch.manual_seed(0)
    return KeepNetwork(small_encoder(VOCABULARY, hidden_size=16, num_layers=2, num_heads=2))


def batch(lengths: tuple[int, ...] = (5, 9, 2), width: int = 12) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    attended = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, VOCABULARY, (len(lengths), width), generator=generator) * attended
    droppable = attended.clone()
    droppable[:, 0] = 0
    return ids, attended, droppable


def test_shapes_and_zero_logits_where_there_is_no_choice(network: KeepNetwork) -> None:
    ids, attended, droppable = batch()
    logits, values = network(ids, attended, droppable)
    assert logits.shape == (3, 12)
    assert values.shape == (3,)
    assert (logits[droppable == 0] == 0).all()
    assert (logits[droppable == 1] != 0).all()


def test_the_untrained_policy_keeps_about_as_asked() -> None:
    torch.manual_seed(0)
    network = KeepNetwork(small_encoder(VOCABULARY, 16, 2, 2), initial_keep=0.8)
    ids, attended, droppable = batch()
    logits, _ = network(ids, attended, droppable)
    keep = torch.sigmoid(logits[droppable == 1])
    torch.testing.assert_close(keep, torch.full_like(keep, 0.8), atol=0.06, rtol=0)


@pytest.mark.parametrize("garbage", [0, 1, 49])
def test_padding_ids_width_and_neighbours_change_nothing(
    network: KeepNetwork, garbage: int
) -> None:
    ids, attended, droppable = batch()
    logits, values = network(ids, attended, droppable)
    padded = torch.where(attended == 1, ids, garbage)
    for row in range(3):
        wide = [
            torch.nn.functional.pad(t[row : row + 1], (0, 4)) for t in (padded, attended, droppable)
        ]
        one_logits, one_value = network(*wide)
        torch.testing.assert_close(one_logits[0, :12], logits[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one_value[0], values[row], atol=1e-5, rtol=1e-5)


def test_every_unit_sees_both_sides(network: KeepNetwork) -> None:
    ids, attended, droppable = batch((9,))
    logits, _ = network(ids, attended, droppable)
    for changed in (1, 8):
        other = ids.clone()
        other[0, changed] = (other[0, changed] + 1) % VOCABULARY
        assert (network(other, attended, droppable)[0] != logits)[0, 1:9].all()


def test_a_prompt_without_units_is_no_nan(network: KeepNetwork) -> None:
    for lengths in ((0,), (0, 4)):
        ids, attended, droppable = batch(lengths)
        logits, values = network(ids, attended, droppable)
        assert torch.isfinite(logits).all()
        assert torch.isfinite(values).all()


def test_training_mode_brings_no_dropout(bert_folder: Path) -> None:
    network = KeepNetwork(pretrained_encoder(bert_folder))
    assert network.encoder.config.hidden_dropout_prob > 0
    ids, attended, droppable = batch()
    evaluated = network.eval()(ids, attended, droppable)
    trained = network.train()(ids, attended, droppable)
    assert network.training
    assert torch.equal(evaluated[0], trained[0])
    assert torch.equal(evaluated[1], trained[1])


@pytest.mark.parametrize("kind", ["small", "t5", "bert", "roberta"])
def test_save_and_load_without_pickle(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "small":
        network: KeepNetwork = request.getfixturevalue("network")
    else:
        network = KeepNetwork(pretrained_encoder(request.getfixturevalue(f"{kind}_folder")))
    with torch.no_grad():
        network.droppable_embedding.weight.normal_()
    folder = tmp_path / "a" / "network"
    network.save_pretrained(folder)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    loaded = KeepNetwork.from_pretrained(folder)
    ids, attended, droppable = batch()
    for ours, theirs in zip(
        network.eval()(ids, attended, droppable), loaded(ids, attended, droppable), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_a_pretrained_encoder_starts_from_its_weights(t5_folder: Path) -> None:
    from transformers import T5ForConditionalGeneration

    ours = pretrained_encoder(t5_folder)
    theirs = T5ForConditionalGeneration.from_pretrained(t5_folder).encoder
    ids, attended, _ = batch()
    hidden = ours(input_ids=ids, attention_mask=attended).last_hidden_state
    expected = theirs(input_ids=ids, attention_mask=attended).last_hidden_state
    torch.testing.assert_close(hidden, expected)


def test_pickled_weights_are_refused(bert_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((bert_folder / "config.json").read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pickles are not loaded"):
        pretrained_encoder(tmp_path)


def test_bad_input_is_said_so(tmp_path: Path, gpt2_folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"does not contain a saved network: network\.json is missing"
    ):
        KeepNetwork.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"initial_keep must be between 0 and 1, got 1\.0"):
        KeepNetwork(small_encoder(VOCABULARY, 16, 1, 2), initial_keep=1.0)
    with pytest.raises(ValueError, match="not a multiple of num_heads"):
        small_encoder(VOCABULARY, 16, 1, 3)
    with pytest.raises(ValueError, match="gpt2"):
        pretrained_encoder(gpt2_folder)


def frozen(folder: Path, **settings) -> KeepNetwork:
    torch.manual_seed(0)
    return KeepNetwork(pretrained_encoder(folder), freeze_encoder=True, **settings).eval()


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5"])
def test_hidden_states_of_a_frozen_encoder_are_computed_once(
    kind: str, request: pytest.FixtureRequest
) -> None:
    network = frozen(request.getfixturevalue(f"{kind}_folder"))
    seen: list[int] = []
    network.encoder.register_forward_hook(lambda *args: seen.append(len(args[2][0])))
    ids, attended, droppable = batch((5, 9, 2))
    first = network(ids, attended, droppable)
    assert sum(seen) == 3
    # Other neighbours, another order and width: still the very same numbers, and no new pass.
    rows = [2, 0, 0]
    wide = [torch.nn.functional.pad(t[rows], (0, 3)) for t in (ids, attended, droppable)]
    again = network(*wide)
    assert sum(seen) == 3
    torch.testing.assert_close(again[0][:, :12], first[0][rows], atol=1e-6, rtol=0)
    network(ids.flip(0)[:1] + 1, attended.flip(0)[:1], droppable.flip(0)[:1])
    assert sum(seen) == 4


def test_what_is_remembered_equals_what_the_encoder_says(bert_folder: Path) -> None:
    network = frozen(bert_folder)
    ids, attended, droppable = batch((5, 9, 2))
    attended[1, 3] = droppable[1, 3] = 0  # dropped by an earlier step
    network(ids, attended, droppable)
    hidden = network._remembered(ids, attended.bool())
    expected = network.encoder(input_ids=ids, attention_mask=attended).last_hidden_state
    shown = attended.bool()
    torch.testing.assert_close(hidden[shown], expected[shown], atol=1e-5, rtol=1e-5)


def test_memory_of_a_frozen_encoder_is_bounded(
    bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcrl_gym.compressor.network.MAX_CACHED_UNITS", 12)
    network = frozen(bert_folder)
    inputs = batch((5, 9, 2))
    expected = network(*inputs)[0]
    assert network._hidden_units <= 12
    for row in range(3):
        one = network(*(t[row : row + 1] for t in inputs))[0]
        torch.testing.assert_close(one[0], expected[row], atol=1e-5, rtol=1e-5)
        assert network._hidden_units <= 12


def test_a_frozen_encoder_gets_no_gradient_and_moves_with_its_memory(bert_folder: Path) -> None:
    network = frozen(bert_folder)
    inputs = batch()
    network(*inputs)[0].sum().backward()
    assert all(p.grad is None for p in network.encoder.parameters())
    assert network.keep_head[0].weight.grad is not None
    network.double()
    assert network(*inputs)[0].dtype is torch.float64


def test_head_of_the_paper(bert_folder: Path, tmp_path: Path) -> None:
    network = frozen(bert_folder, head_size=40)
    first, activation, last = network.keep_head
    width = network.encoder.config.hidden_size
    assert (tuple(first.weight.shape), first.bias) == ((40, width), None)
    assert isinstance(activation, torch.nn.GELU)
    assert tuple(last.weight.shape) == (2, 40)
    network.save_pretrained(tmp_path)
    loaded = KeepNetwork.from_pretrained(tmp_path)
    assert (loaded.head_size, loaded.freeze_encoder) == (40, True)
    inputs = batch()
    assert torch.equal(loaded(*inputs)[0], network(*inputs)[0])


def test_half_precision_halves_the_file_only(network: KeepNetwork, tmp_path: Path) -> None:
    network.eval().save_pretrained(tmp_path / "full")
    network.save_pretrained(tmp_path / "half", dtype=torch.float16)
    sizes = [(tmp_path / n / "network.safetensors").stat().st_size for n in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = KeepNetwork.from_pretrained(tmp_path / "half")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    inputs = batch()
    torch.testing.assert_close(loaded(*inputs)[0], network(*inputs)[0], atol=1e-2, rtol=1e-2)


def test_positions_are_limits(bert_folder: Path, roberta_folder: Path, t5_folder: Path) -> None:
    limits = {}
    for folder in (bert_folder, roberta_folder, t5_folder):
        network = frozen(folder)
        limits[folder] = network.max_units
        if network.max_units is None:
            continue
        for extra in (0, 1):
            length = network.max_units + extra
            ones = torch.ones(1, length, dtype=torch.long)
            if extra:
                with pytest.raises(ValueError, match=f"has {length} units: lower max_units"):
                    network(ones + 4, ones, ones)
            else:
                assert torch.isfinite(network(ones + 4, ones, ones)[0]).all()
    config = pretrained_encoder(roberta_folder).config
    assert limits[roberta_folder] == config.max_position_embeddings - config.pad_token_id - 1
    assert limits[t5_folder] is None


def test_encoders_of_other_widths_and_types_can_be_trained(roberta_folder: Path) -> None:
    """ALBERT embeds in fewer dimensions than it computes in; half precision stays inside."""
    from transformers import AlbertConfig, AlbertModel

    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 1}
    config = AlbertConfig(
        vocab_size=VOCABULARY, num_attention_heads=2, intermediate_size=16, **sizes
    )
    half = pretrained_encoder(roberta_folder).to(torch.bfloat16)
    for encoder in (AlbertModel(config), half):
        for freeze in (False, True):
            network = KeepNetwork(encoder, freeze_encoder=freeze)
            logits, values = network(*batch())
            assert logits.dtype is values.dtype is torch.float32
            (logits.sum() + values.sum()).backward()
            assert network.droppable_embedding.weight.grad is not None


def test_an_empty_batch(network: KeepNetwork) -> None:
    nothing = torch.zeros(0, 12, dtype=torch.long)
    logits, values = network(nothing, nothing, nothing)
    assert (tuple(logits.shape), tuple(values.shape)) == ((0, 12), (0,))
