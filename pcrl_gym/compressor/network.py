"""Policy network: a bidirectional encoder with a keep logit per unit and a value per prompt."""

from __future__ import annotations

import copy
import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from pcrl_gym.compressor.network_files import CONFIG_FILE, WEIGHTS_FILE
from pcrl_gym.errors import TrainingDivergedError
from pcrl_gym.generators.torch_state import initial_settings
from pcrl_gym.micro import weights_folder
from pcrl_gym.storage.model_folder import (
    UnusableModelError,
    check_model,
    check_report,
    check_weights,
    loading,
    locate,
    read_json,
)

if TYPE_CHECKING:
    from gymnasium.spaces import Box
    from transformers import PreTrainedModel

MAX_CACHED_UNITS = 2**18
"""Units whose hidden states are cached with a frozen encoder (0.8 GB at width 768)."""


class KeepNetwork(nn.Module):
    """Encoder over a prompt's units with one keep logit per unit and one value per prompt.

    The encoder always runs in evaluation mode (without dropout), even during training, so that a
    prompt has the same log-probabilities in rollouts and in updates.

    The keep logit of a unit is the difference of two outputs of a head with one hidden layer, width
    -> `head_size` without bias -> GELU -> 2, as in PCRL (arXiv 2308.08758).

    Args:
        encoder: A Hugging Face text encoder. Its dtype is kept; the heads are float32.
        initial_keep: Probability, between 0 and 1, that the untrained head keeps a unit. Near 1,
            most prompts survive at first, so there is a reward to learn from.
        head_size: Width of the hidden layer of the keep head. If None, the encoder's width.
        freeze_encoder: Whether to freeze the encoder. Outside `torch.inference_mode`, its hidden
            states are then computed once per prompt and cached for the latest `MAX_CACHED_UNITS`
            units. Threads may share the network only in inference mode.

    Raises:
        ValueError: If `initial_keep` is not between 0 and 1, or `head_size` is below 1.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        initial_keep: float = 0.9,
        *,
        head_size: int | None = None,
        freeze_encoder: bool = False,
    ) -> None:
        super().__init__()
        if not 0.0 < initial_keep < 1.0:
            raise ValueError(f"initial_keep must be between 0 and 1, got {initial_keep!r}")
        if head_size is not None and head_size < 1:
            raise ValueError(f"head_size must be at least 1 or None, got {head_size!r}")
        self.encoder = encoder.requires_grad_(not freeze_encoder)
        self.freeze_encoder = freeze_encoder
        width = int(encoder.config.hidden_size)
        self.head_size = head_size or width
        # Initialized to zero, so a pretrained encoder first sees exactly the embeddings it knows.
        embedded = width if freeze_encoder else _embeddings(encoder).embedding_dim
        self.droppable_embedding = nn.Embedding(2, embedded)
        self.keep_head = nn.Sequential(
            nn.Linear(width, self.head_size, bias=False), nn.GELU(), nn.Linear(self.head_size, 2)
        )
        self.value_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        with torch.no_grad():
            self.droppable_embedding.weight.zero_()
            for head in (self.keep_head, self.value_head):
                last = cast("nn.Linear", head[-1])
                last.weight.mul_(0.1)
                last.bias.zero_()
            odds = initial_keep / (1 - initial_keep)
            cast("nn.Linear", self.keep_head[-1]).bias[1] = math.log(odds)
        self._hidden: OrderedDict[bytes, Tensor] = OrderedDict()
        self._hidden_units = 0

    def train(self, mode: bool = True) -> KeepNetwork:
        """Set the mode of the heads; the encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, droppable: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return a keep logit per unit and a value per prompt.

        Args:
            input_ids: Int64 (batch, max_units).
            attention_mask: (batch, max_units), non-zero where there is a unit.
            droppable: (batch, max_units), non-zero where the unit may be dropped.

        Returns:
            Keep logits, float (batch, max_units), 0 where a unit may not be dropped, and values,
            float (batch,).

        Raises:
            ValueError: If a prompt has more units than the encoder has positions.
        """
        attended = attention_mask.bool()
        batch, max_units = input_ids.shape
        if not batch:
            empty = self.droppable_embedding.weight.new_zeros
            return empty(0, max_units), empty(0)
        # Units dropped in earlier steps leave holes, so the length is the last position in use.
        places = torch.arange(1, max_units + 1, device=attended.device)
        lengths = (attended * places).amax(1)
        # Batch prompts of similar length to waste little computation on padding.
        order = lengths.argsort(stable=True)
        logits, values = [], []
        # GPUs prefer few large passes to many exact ones.
        for rows in order.split(32 if attended.device.type == "cpu" else 1024):
            used = max(1, int(lengths[rows[-1]]))
            part = self._rate(
                input_ids[rows, :used], attended[rows, :used], droppable[rows, :used].bool()
            )
            logits.append(nn.functional.pad(part[0], (0, max_units - used)))
            values.append(part[1])
        back = order.argsort()
        return torch.cat(logits)[back], torch.cat(values)[back]

    def _rate(
        self, input_ids: Tensor, attended: Tensor | None, free: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rate prompts of one length if `attended` is None, which is faster than a mask."""
        if self.max_units is not None and input_ids.shape[1] > self.max_units:
            raise ValueError(
                f"the encoder has {self.max_units} positions, but a prompt has "
                f"{input_ids.shape[1]} units: lower max_units"
            )
        # A prompt without units still needs a position to attend to: a softmax over nothing is NaN.
        visible = (
            torch.ones_like(input_ids, dtype=torch.bool)
            if attended is None
            else attended | ~attended.any(1, keepdim=True)
        )
        mask = None if attended is None else visible.long()
        marks = self.droppable_embedding(free.long())
        if self.freeze_encoder:
            # Threads may share a network in inference, so nothing is cached there.
            hidden = (
                self._encode(input_ids, mask)
                if torch.is_inference_mode_enabled()
                else self._remembered(input_ids, visible)
            ).to(marks.dtype) + marks
        else:
            embeddings = _embeddings(self.encoder)(input_ids)
            hidden = self.encoder(
                inputs_embeds=embeddings + marks.to(embeddings.dtype), attention_mask=mask
            ).last_hidden_state.to(marks.dtype)
        weights = visible.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weights).sum(1) / weights.sum(1)
        drop, keep = self.keep_head(hidden).unbind(-1)
        return (keep - drop).masked_fill(~free, 0.0), self.value_head(pooled).squeeze(-1)

    def _encode(self, input_ids: Tensor, mask: Tensor | None) -> Tensor:
        done = self.encoder(input_ids=input_ids, attention_mask=mask)
        return cast("Tensor", done.last_hidden_state)

    def _remembered(self, input_ids: Tensor, visible: Tensor) -> Tensor:
        """Return the cached hidden states of a frozen encoder, float (batch, used, width)."""
        shown = input_ids.masked_fill(~visible, -1).cpu().numpy()
        keys = [row[: row.nonzero()[0][-1] + 1].tobytes() for row in shown + 1]
        if new := [row for row, key in enumerate(keys) if key not in self._hidden]:
            with torch.no_grad():
                states = self._encode(input_ids[new], visible[new].long())
            for row, state in zip(new, states, strict=True):
                if keys[row] not in self._hidden:  # a batch may contain a prompt twice
                    self._hidden[keys[row]] = state[: len(keys[row]) // 8].clone()
                    self._hidden_units += len(keys[row]) // 8
        found = [self._hidden[key] for key in keys]
        for key in keys:
            self._hidden.move_to_end(key)
        while self._hidden_units > MAX_CACHED_UNITS and len(self._hidden) > 1:
            self._hidden_units -= len(self._hidden.popitem(last=False)[1])
        padding = input_ids.shape[1]
        return torch.stack([nn.functional.pad(h, (0, 0, 0, padding - len(h))) for h in found])

    def forget(self) -> None:
        """Clear the cached hidden states of a frozen encoder."""
        self._hidden.clear()
        self._hidden_units = 0

    def _apply(self, fn: Any, recurse: bool = True) -> KeepNetwork:
        # The hidden states depend on the device and dtype.
        self.forget()
        return cast("KeepNetwork", super()._apply(fn, recurse))  # type: ignore[no-untyped-call]

    @property
    def vocabulary_size(self) -> int:
        """Number of token IDs that the encoder knows."""
        return _embeddings(self.encoder).num_embeddings

    @property
    def max_units(self) -> int | None:
        """Maximum number of units per prompt, or None (unlimited) if positions are relative."""
        table = getattr(getattr(self.encoder, "embeddings", None), "position_embeddings", None)
        if not isinstance(table, nn.Embedding):
            return None
        # RoBERTa's positions start after the padding index, which is set on the table.
        first = 0 if table.padding_idx is None else table.padding_idx + 1
        return table.num_embeddings - first

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write the network as safetensors and JSON; see `Compressor.save_pretrained`."""
        from safetensors.torch import save_model

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "encoder": self.encoder.config.to_diff_dict(),
            "head_size": self.head_size,
            "freeze_encoder": self.freeze_encoder,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        self.forget()  # otherwise the cache would be copied, too
        stored = self if dtype is None else copy.deepcopy(self).to(dtype)
        save_model(stored, str(folder / WEIGHTS_FILE))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> KeepNetwork:
        """Load the network that `save_pretrained` wrote, on the CPU.

        Raises:
            ValueError: If the folder holds no network, or the network cannot be loaded.
        """
        from safetensors.torch import load_model
        from transformers import AutoConfig, AutoModelForTextEncoding

        folder = Path(folder)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} does not contain a saved network: {name} is missing")
        with loading("the network in", folder), initial_settings():
            check_weights(folder / WEIGHTS_FILE)
            settings = read_json(folder / CONFIG_FILE)
            encoder = AutoModelForTextEncoding.from_config(
                AutoConfig.for_model(**settings.pop("encoder")), trust_remote_code=False
            )
            network = cls(encoder, **settings)
            load_model(network, folder / WEIGHTS_FILE)
        return network.eval()


def check_logits(logits: Tensor) -> Tensor:
    """Return keep logits, or raise `TrainingDivergedError` if one is not a finite number."""
    if not bool(torch.isfinite(logits).all()):
        raise TrainingDivergedError(
            "keep logits: no longer a finite number. Lower lr or max_grad_norm"
        )
    return logits


def check_fits(network: KeepNetwork, input_ids: Box, name: str | Path) -> None:
    """Check that a network supports the token IDs and positions of an `input_ids` space.

    Raises:
        ValueError: If it does not. The message calls the encoder `name`.
    """
    largest_id, max_units = int(input_ids.high.max()), input_ids.shape[0]
    if network.vocabulary_size <= largest_id:
        raise ValueError(
            f"encoder {str(name)!r} knows {network.vocabulary_size} token ids, but the "
            f"environment's policy tokenizer has {largest_id + 1}: create the environment "
            "with the encoder's tokenizer"
        )
    if network.max_units is not None and network.max_units < max_units:
        raise ValueError(
            f"encoder {str(name)!r} has {network.max_units} positions, but prompts have "
            f"up to {max_units} units: create the environment with a smaller max_units"
        )


def _embeddings(encoder: PreTrainedModel) -> nn.Embedding:
    return cast("nn.Embedding", encoder.get_input_embeddings())


def small_encoder(
    vocabulary_size: int, hidden_size: int = 128, num_layers: int = 3, num_heads: int = 4
) -> PreTrainedModel:
    """Return an untrained T5 encoder, whose relative positions allow prompts of any length.

    The feed-forward layers are four times as wide as the others, and the heads split the width.

    Raises:
        ValueError: If the width is not a multiple of the number of heads.
    """
    from transformers import T5Config, T5EncoderModel

    if hidden_size % num_heads:
        raise ValueError(f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}")
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary_size,
            d_model=hidden_size,
            d_kv=hidden_size // num_heads,
            d_ff=4 * hidden_size,
            num_layers=num_layers,
            num_heads=num_heads,
            dropout_rate=0.0,
        )
    )


def pretrained_encoder(spec: str | Path) -> PreTrainedModel:
    """Return the text encoder of a Hugging Face id or folder in float32.

    Encoder-only models and the encoders of T5-type models work. "micro-seq2seq" is the encoder
    of the embedded generator of that name.

    Raises:
        ValueError: If the model does not exist or cannot be loaded, or if it has no bidirectional
            text encoder, like causal models.
    """
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoConfig, AutoModelForTextEncoding

    with loading("the encoder", spec), initial_settings():
        name = "micro-seq2seq"
        source = locate(weights_folder("seq2seq") if spec == name else spec, [name])
        check_model(source)
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if type(config) not in cast("Any", MODEL_FOR_TEXT_ENCODING_MAPPING):
            raise UnusableModelError(
                f"it is a model of type {config.model_type!r}, which has no bidirectional text "
                "encoder: expected a model like BERT or T5"
            )
        encoder: PreTrainedModel
        encoder, report = AutoModelForTextEncoding.from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_report` raises; transformers only logs
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
        # Nothing here reads the pooler, which many encoders are saved without.
        report["missing_keys"] = {k for k in report["missing_keys"] if "pooler" not in k}
        check_report(report, encoder, "a text encoder")
    return encoder
