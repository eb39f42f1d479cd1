"""One decoder model: the weights and the KV that follow from its dimensions."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from replay.config.hardware.attention import AttentionGroup
from replay.config.hardware.decoder import MOST_PARAMETERS, Decoder
from replay.config.hardware.dtypes import weight_bytes_in
from replay.config.hardware.server import ModelKind
from replay.config.hardware.shapes import attention_groups

NATIVE = "native"
MOST_KV_BYTES_PER_TOKEN = 2**30


class Model(Decoder):
    """One decoder. Without sections it is dense, with full attention in every layer and bf16."""

    @model_validator(mode="after")
    def _of_a_size_that_is_modelled(self) -> Self:
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
    def kind(self) -> ModelKind:
        """Which of the kinds that engines take unlike times for."""
        if any(group.kind in ("mla", "compressed") for group in self.attention_groups):
            return "mla"
        return "dense" if self.moe is None else "moe"

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
