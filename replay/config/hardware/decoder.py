"""What a file says of one decoder model: the dimensions that all else follows from."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from replay.config.hardware.dtypes import WeightDtype
from replay.config.hardware.layers import (
    CompressedAttention,
    LinearAttention,
    Mla,
    Moe,
    SparseIndex,
    Window,
)
from replay.config.hardware.section import Layers, SourcedFile, Width, WidthOrNone

MOST_PARAMETERS = 10**15

Parameters = Annotated[int, Field(ge=1, le=MOST_PARAMETERS)]


class Decoder(SourcedFile):
    """The dimensions of one decoder, as its file has them and in accord with each other."""

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
    def _sound(self) -> Self:
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

    @property
    def dense_layers(self) -> int:
        """Layers with a dense MLP, alone or beside experts."""
        if self.moe is None or self.moe.beside_dense:
            return self.layers
        return self.layers - self.moe.layers

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
