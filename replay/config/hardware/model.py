"""One decoder model: its dimensions, and the weights and KV that follow from them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from replay.config.hardware.attention import AttentionGroup
from replay.config.hardware.dtypes import WeightDtype, weight_bytes_in
from replay.config.hardware.layers import (
    CompressedAttention,
    LinearAttention,
    Mla,
    Moe,
    SparseIndex,
    Window,
)
from replay.config.hardware.section import Layers, SourcedFile, Width, WidthOrNone
from replay.config.hardware.shapes import attention_groups

NATIVE = "native"
MOST_PARAMETERS = 10**15
MOST_KV_BYTES_PER_TOKEN = 2**30

Parameters = Annotated[int, Field(ge=1, le=MOST_PARAMETERS)]


class Model(SourcedFile):
    """One decoder. Without sections it is dense, with full attention in every layer and bf16."""

    name: str
    layers: Layers
    hidden: Width = Field(description="width of the residual stream")
    heads: Width = Field(description="query heads")
    kv_heads: Width = Field(
        description="key and value heads; fewer than heads is GQA; 1 with mla or compressed"
    )
    head_dim: Width = Field(description="width of a query head; follows from mla")
    ffn: WidthOrNone = Field(
        0, description="width of the dense MLP between its projections; 0: every layer has experts"
    )
    vocab: Width
    tied_embeddings: bool = Field(description="the LM head reuses the embedding matrix")
    gated_mlp: bool = Field(True, description="gate, up and down projection; off: up and down")
    output_gate: bool = Field(False, description="a gate as wide as the heads on attention output")
    keys_are_values: bool = Field(False, description="full layers have no projection for values")
    moe: Moe | None = None
    mla: Mla | None = None
    window: Window | None = None
    linear: LinearAttention | None = None
    sparse: SparseIndex | None = None
    compressed: CompressedAttention | None = None
    weight_dtype: WeightDtype = Field(
        "bf16", description="of the published weights: attention, dense MLP, shared experts"
    )
    expert_weight_dtype: WeightDtype | None = Field(
        None, description="of the published routed experts; null: weight_dtype"
    )
    declared_parameters: Parameters | None = Field(
        None, description="total the publisher states, rounded; null: none found"
    )
    declared_active_parameters: Parameters | None = Field(
        None, description="what the publisher says one token uses; null: none found, or all"
    )
    parameter_gap: str | None = Field(
        None, description="why the recomputed total is not within 2 % of the declared one"
    )
    note: str | None = Field(None, description="what is not modelled, or assumed")

    @model_validator(mode="before")
    @classmethod
    def _follow_from_latents(cls, data: Any) -> Any:
        """Fill in kv_heads and head_dim where one latent serves all heads."""
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        if isinstance(data.get("mla"), dict):
            parts = (data["mla"].get("qk_nope_head_dim"), data["mla"].get("qk_rope_head_dim"))
            if all(isinstance(part, int) for part in parts):
                filled.setdefault("head_dim", sum(parts))
        if data.get("mla") or data.get("compressed"):
            filled.setdefault("kv_heads", 1)
        return filled

    @model_validator(mode="after")
    def _sound(self) -> Model:
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})"
            )
        if (self.mla or self.compressed) and self.kv_heads != 1:
            raise ValueError(f"kv_heads must be 1 with mla or compressed (got {self.kv_heads})")
        if self.mla and self.head_dim != self.mla.key_dim:
            raise ValueError(f"head_dim must be {self.mla.key_dim}, the key of mla, or left out")
        if self.compressed and (self.mla or self.window or self.linear or self.sparse):
            raise ValueError("compressed stands alone: no mla, window, linear or sparse beside it")
        if (self.mla or self.compressed) and self.keys_are_values:
            raise ValueError("keys_are_values has no effect with mla or compressed")
        if self.compressed and self.output_gate:
            raise ValueError("output_gate has no effect with compressed")
        if self.mla and self.window:
            raise ValueError("mla and window do not go together")
        for name, most in self._most_layers():
            section = getattr(self, name)
            if section is not None and section.layers > most:
                raise ValueError(f"{name}.layers ({section.layers}) is above the {most} there are")
        if self.dense_layers and not self.ffn:
            raise ValueError(f"ffn is needed: {self.dense_layers} layers have a dense MLP")
        if self.ffn and not self.dense_layers:
            raise ValueError("ffn has no effect: every layer has experts instead")
        return self

    @model_validator(mode="after")
    def _of_a_size_that_is_modelled(self) -> Model:
        for name, size, most in (
            ("parameters", self.parameters, MOST_PARAMETERS),
            ("KV bytes a token", self.kv_bytes_per_token, MOST_KV_BYTES_PER_TOKEN),
            ("bytes of state a sequence", self.sequence_bytes(), MOST_PARAMETERS),
        ):
            if size > most:
                raise ValueError(
                    f"the dimensions make {size:.3g} {name}, above the {most:.3g} modelled"
                )
        return self

    def _most_layers(self) -> tuple[tuple[str, int], ...]:
        window = self.layers - (self.linear.layers if self.linear else 0)
        full = window - (self.window.layers if self.window else 0)
        return (
            ("moe", self.layers),
            ("linear", self.layers),
            ("window", window),
            ("sparse", full),
            ("compressed", self.layers),
        )

    @property
    def attention_groups(self) -> tuple[AttentionGroup, ...]:
        """The layers by kind of attention, full layers first."""
        return attention_groups(self)

    @property
    def attention_kind(self) -> str:
        """The kinds of attention in words, with the layers of each where there are several."""
        words = [_kind(group) for group in self.attention_groups]
        if len(words) == 1:
            return words[0]
        counts = [group.layers for group in self.attention_groups]
        return ", ".join(f"{word} x{count}" for word, count in zip(words, counts, strict=True))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: the recomputed total, where there is none to check it by."""
        if self.declared_parameters is not None:
            return ()
        total, active = self.parameters / 1e9, self.active_parameters / 1e9
        words = f"{total:.4g} billion parameters by its dimensions"
        if self.moe is not None:
            words += f", {active:.4g} of them used by a token"
        return (f"{self.name} has {words}; there is no declared total to check them by",)

    @property
    def dense_layers(self) -> int:
        """Layers with a dense MLP, alone or beside experts."""
        if self.moe is None or self.moe.beside_dense:
            return self.layers
        return self.layers - self.moe.layers

    @property
    def mlp_matrices(self) -> int:
        """Projections of one MLP or expert."""
        return 3 if self.gated_mlp else 2

    @property
    def expert_parameters(self) -> int:
        """Weights of one routed expert of one layer; 0 without experts."""
        if self.moe is None:
            return 0
        return self.mlp_matrices * (self.moe.expert_hidden or self.hidden) * self.moe.ffn

    @property
    def routed_parameters(self) -> int:
        """Weights of all routed experts."""
        return self.moe.layers * self.moe.experts * self.expert_parameters if self.moe else 0

    @property
    def linear_parameters(self) -> int:
        """Weights of attention, dense MLP and shared experts: what is quantised beside experts."""
        attention = sum(group.layers * group.parameters for group in self.attention_groups)
        dense = self.dense_layers * self.mlp_matrices * self.hidden * self.ffn
        return attention + dense + self._shared_parameters

    @property
    def _shared_parameters(self) -> int:
        if self.moe is None:
            return 0
        shared = self.mlp_matrices * self.hidden * self.moe.shared_ffn
        if self.moe.expert_hidden is not None:  # into the narrower stream and back
            shared += 2 * self.hidden * self.moe.expert_hidden
        return self.moe.layers * shared

    @property
    def unquantised_parameters(self) -> int:
        """Weights that stay bf16 in every checkpoint: embeddings, LM head, routers, norms."""
        embeddings = self.vocab * self.hidden * (1 if self.tied_embeddings else 2)
        routers = self.moe.layers * self.moe.experts * self.hidden if self.moe else 0
        return embeddings + routers + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        """Weights of the whole model, recomputed from its dimensions.

        Biases, norms of heads, multi-token prediction and vision are not counted.
        """
        return self.linear_parameters + self.routed_parameters + self.unquantised_parameters

    @property
    def active_parameters(self) -> int:
        """Weights that one token passes through, the embedding matrix included."""
        if self.moe is None:
            return self.parameters
        idle = self.moe.experts - self.moe.experts_per_token
        return self.parameters - self.moe.layers * idle * self.expert_parameters

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer, the mean where layers differ."""
        head = self.vocab * self.hidden * (1 if self.tied_embeddings else 2) + self.hidden
        return (self.parameters - head) // self.layers

    def dtype_of(self, part: str, dtype: str = NATIVE) -> str:
        """Return the weight type of `linear` or `expert` weights when the model is kept in `dtype`.

        `native` is as published; the types are those of WEIGHT_DTYPE_BITS.
        """
        if dtype != NATIVE:
            return dtype
        return (
            (self.expert_weight_dtype or self.weight_dtype)
            if part == "expert"
            else (self.weight_dtype)
        )

    def weight_bytes_in(self, dtype: str = NATIVE, tensor_parallel: int = 1) -> int:
        """Bytes of the weights on all GPUs, with what several of them hold a copy of.

        Raises UnknownNameError for a type that is not known.
        """
        repeated = sum(
            group.repeated_parameters(tensor_parallel) for group in self.attention_groups
        )
        return (
            weight_bytes_in(self.dtype_of("linear", dtype), self.linear_parameters + repeated)
            + weight_bytes_in(self.dtype_of("expert", dtype), self.routed_parameters)
            + weight_bytes_in("bf16", self.unquantised_parameters)
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of one copy of the weights as published."""
        return self.weight_bytes_in()

    @property
    def kv_bytes_per_token(self) -> int:
        """KV bytes of one token in bf16, all layers, before any window is full, without index."""
        return sum(group.token_bytes() // group.ratio for group in self.attention_groups)

    def kv_growth_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """KV bytes on all GPUs that one more token of a long context adds, index included."""
        return sum(
            group.growth_bytes(dtype, tensor_parallel)
            + group.index_token_bytes(dtype, tensor_parallel)
            for group in self.attention_groups
        )

    def pool_token_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """KV bytes on all GPUs that a pool counts for a token: as `kv_growth_bytes`.

        With windows in every layer, where nothing grows for ever, as if none were full yet.
        """
        growth = self.kv_growth_bytes(dtype, tensor_parallel)
        return growth or sum(
            group.token_bytes(dtype, tensor_parallel) for group in self.attention_groups
        )

    def sequence_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """KV bytes on all GPUs a long sequence keeps whatever its length: windows and states."""
        return sum(group.sequence_bytes(dtype, tensor_parallel) for group in self.attention_groups)

    def kv_bytes(self, tokens: int, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """KV bytes on all GPUs of one sequence of that many tokens, exactly."""
        return sum(
            group.kv_bytes(tokens, dtype, tensor_parallel) for group in self.attention_groups
        )


def _kind(group: AttentionGroup) -> str:
    if group.kind == "full":
        name = "GQA" if group.kv_heads > 1 else "MQA"
        name = "MHA" if group.kv_heads == group.heads else name
    elif group.kind in ("window", "chunked"):
        name = f"{group.kind} {group.window}"
    elif group.kind == "compressed":
        name = f"compressed /{group.ratio}"
    else:
        name = {"mla": "MLA", "linear": "linear"}[group.kind]
    return f"{name} top {group.top_k}" if group.top_k else name
