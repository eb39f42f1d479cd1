"""Layers of one kind of attention: what they weigh, and what they keep for a sequence.

A model is a short list of these groups. Everything about memory follows from a group's shape, so
that no other place asks which kind of attention a model has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from replay.config.hardware.dtypes import BYTES_PER_VALUE, kv_bytes_in, scaled_fp8_bytes

AttentionKind = Literal["full", "mla", "window", "chunked", "compressed", "linear"]


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """`layers` layers alike; all counts are of one layer and of the whole model, not of one GPU.

    `kv_heads` is 1 where all heads share one latent (mla, compressed) and 0 where nothing is kept
    per token (linear). `kv_values` is what one KV head keeps per token, `ratio` the tokens that
    share one entry; of a latent `rotary_values` are the part that is never quantised alone.
    `head_parameters` are the weights of one KV head, `replicated_parameters` those
    that every GPU holds whole; `parameters` includes one copy of both.
    """

    kind: AttentionKind
    layers: int
    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    kv_values: int
    parameters: int
    rotary_values: int = 0
    head_parameters: int = 0
    replicated_parameters: int = 0
    window: int | None = None
    ratio: int = 1
    top_k: int | None = None
    index_heads: int = 0
    index_dim: int = 0
    state_bytes: int = 0

    @property
    def grows(self) -> bool:
        """Whether what is kept grows with every token of a long context."""
        return self.kind in ("full", "mla", "compressed")

    @property
    def is_sparse_latent(self) -> bool:
        """Whether an index picks what is read of latents: engines lay such a cache out themselves.

        Its FP8 entry is the latent with a float32 scale for each 128 values and the rotary part in
        bf16: 512 + 16 + 128 = 656 bytes in DeepSeek V3.2 (`fp8_ds_mla` in vLLM, FlashMLA's sparse
        kernels), and its index keeps FP8 keys with such scales whatever the type of the KV: 128 + 4
        bytes (`DeepseekV32IndexerCache`). A latent without an index is plain values of the type.
        """
        return self.kind == "mla" and self.index_dim > 0

    def stored_kv_heads(self, tensor_parallel: int) -> int:
        """KV heads on all GPUs together: past `kv_heads` GPUs each is stored several times."""
        if not self.kv_heads:
            return 0
        return tensor_parallel * max(1, self.kv_heads // tensor_parallel)

    def token_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes of one uncompressed token on all GPUs, all layers of the group, without index."""
        heads = self.layers * self.stored_kv_heads(tensor_parallel)
        plain = kv_bytes_in(dtype, heads * self.kv_values * BYTES_PER_VALUE)
        if dtype != "fp8" or not self.is_sparse_latent:
            return plain
        latent = scaled_fp8_bytes(self.kv_values - self.rotary_values)
        return heads * (latent + self.rotary_values * BYTES_PER_VALUE)

    def index_entry_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes of one entry of the index, all layers of the group; every GPU has it whole."""
        layers = self.layers * tensor_parallel
        if self.is_sparse_latent:
            return layers * scaled_fp8_bytes(self.index_dim)
        return kv_bytes_in(dtype, layers * self.index_dim * BYTES_PER_VALUE)

    def index_token_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes that the index keeps for one more token of a long context; every GPU has it."""
        return -(-self.index_entry_bytes(dtype, tensor_parallel) // self.ratio)

    def growth_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes that one more token of a long context adds, without index; 0 for a window."""
        if not self.grows:
            return 0
        return -(-self.token_bytes(dtype, tensor_parallel) // self.ratio)

    def sequence_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes a long sequence keeps whatever its length: its window, its state."""
        window = self.window or 0
        return window * self.token_bytes(dtype, tensor_parallel) + self.layers * self.state_bytes

    def kv_bytes(self, tokens: int, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes one sequence of that many tokens keeps, exactly."""
        if tokens == 0:
            return 0
        size = self.token_bytes(dtype, tensor_parallel)
        total = self.layers * self.state_bytes
        if self.grows:
            total += tokens // self.ratio * size
            total += tokens // self.ratio * self.index_entry_bytes(dtype, tensor_parallel)
        if self.window is not None:
            total += min(tokens, self.window) * size
        return total

    def repeated_parameters(self, tensor_parallel: int) -> int:
        """Weights on all GPUs beyond one copy: KV heads stored several times, latents."""
        heads = self.stored_kv_heads(tensor_parallel) - self.kv_heads
        extra = heads * self.head_parameters + (tensor_parallel - 1) * self.replicated_parameters
        return self.layers * extra
