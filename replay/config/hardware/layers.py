"""Sections of a model file for layers that are not plain: experts, latents, windows, states.

Each says how many of the model's layers it covers; which ones does not matter to memory and time.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from replay.config.hardware.dtypes import BYTES_PER_VALUE
from replay.config.hardware.section import HardwareSection, Layers, Width, WidthOrNone


class Moe(HardwareSection):
    """Mixture of experts in the place of the MLP."""

    layers: Layers = Field(description="layers with experts; the others have the dense MLP")
    experts: Width = Field(description="routed experts of one layer")
    experts_per_token: Width = Field(description="routed experts each token passes through")
    ffn: Width = Field(description="width of one routed expert")
    shared_ffn: WidthOrNone = Field(
        0, description="width of the shared experts together, which every token passes; 0: none"
    )
    expert_hidden: Width | None = Field(
        None, description="narrower stream that routed experts work on; null: the hidden width"
    )
    beside_dense: bool = Field(False, description="layers with experts have the dense MLP as well")

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> Moe:
        if self.experts_per_token > self.experts:
            raise ValueError(
                f"experts_per_token ({self.experts_per_token}) is above experts ({self.experts})"
            )
        return self


class Mla(HardwareSection):
    """Multi-head latent attention: one latent and one rotary key per token serve all heads."""

    q_lora_rank: Width | None = Field(
        description="width queries are compressed to; null: they are not"
    )
    kv_lora_rank: Width = Field(description="width of the cached latent")
    qk_rope_head_dim: Width = Field(description="rotary part of a key, cached once")
    qk_nope_head_dim: Width = Field(description="part of a key made from the latent")
    v_head_dim: Width

    @property
    def key_dim(self) -> int:
        """Width of a query and of a key of one head."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def cached_values(self) -> int:
        """Values that one layer caches per token, for all heads together."""
        return self.kv_lora_rank + self.qk_rope_head_dim


class Window(HardwareSection):
    """Layers that see only the last tokens; the others see all."""

    tokens: Width = Field(description="keys a query can see")
    layers: Layers = Field(description="layers with the window")
    chunked: bool = Field(
        False, description="the window does not slide: it starts anew every `tokens` tokens"
    )
    kv_heads: Width | None = Field(None, description="of these layers; null: as the others")
    head_dim: Width | None = Field(None, description="of these layers; null: as the others")


class LinearAttention(HardwareSection):
    """Layers with a state of constant size instead of keys and values per token."""

    kind: Literal["gated_delta_net", "kda", "mamba2"]
    layers: Layers = Field(description="layers with a state")
    key_heads: Width = Field(description="heads of queries and keys (Mamba: groups)")
    key_head_dim: Width = Field(description="width of a key (Mamba: state size)")
    value_heads: Width = Field(description="heads of values (Mamba: heads)")
    value_head_dim: Width = Field(description="width of a value (Mamba: head size)")
    conv_kernel: int = Field(4, ge=1, le=1024, description="taps of the short convolution")
    state_value_bytes: int = Field(
        4, ge=1, le=16, description="bytes of a value of the state: float32"
    )

    @property
    def keys(self) -> int:
        """Width of all keys of a token."""
        return self.key_heads * self.key_head_dim

    @property
    def values(self) -> int:
        """Width of all values of a token."""
        return self.value_heads * self.value_head_dim

    @property
    def state_bytes(self) -> int:
        """Bytes one layer keeps for one sequence: the state, and the inputs of the convolution."""
        state = self.value_heads * self.key_head_dim * self.value_head_dim * self.state_value_bytes
        return state + (2 * self.keys + self.values) * (self.conv_kernel - 1) * BYTES_PER_VALUE


class SparseIndex(HardwareSection):
    """Full layers whose queries read only the keys that a small index picks; all keys are kept."""

    layers: Layers = Field(description="layers with an index")
    top_k: Width = Field(description="keys that a query reads")
    index_heads: Width = Field(description="heads that score keys")
    index_dim: Width = Field(description="values of the extra key kept per token and layer")


class CompressedLayers(HardwareSection):
    """Layers that keep one entry for every `ratio` tokens."""

    ratio: Width
    layers: Layers
    top_k: Width | None = Field(None, description="entries a query reads; null: all of them")


class CompressedAttention(HardwareSection):
    """Attention over compressed entries and a window of single tokens; keys serve as values."""

    window: Width = Field(description="last tokens that are kept one by one as well")
    groups: tuple[CompressedLayers, ...] = Field(
        min_length=1, description="layers by ratio; the model's others have the window alone"
    )
    q_lora_rank: Width = Field(description="width queries are compressed to")
    o_lora_rank: Width = Field(description="width each group of outputs is compressed to")
    o_groups: Width = Field(description="groups of heads in the output projection")
    index_heads: Width = Field(description="heads that score entries where top_k is given")
    index_dim: Width = Field(description="values of the extra key kept for each such entry")

    @property
    def layers(self) -> int:
        """Layers with compressed entries."""
        return sum(group.layers for group in self.groups)
