"""What stands in a GPU or model file under `hardware/`, and what follows from it.

Peaks are dense (no 2:4 sparsity), per GPU and per direction. Efficiencies are shares of those
peaks and never above one, so that no cost built from them can beat the hardware.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

BYTES_PER_VALUE = 2  # bf16 weights, activations and KV
GEMMS_PER_MLP = 3  # gate, up and down

Efficiency = Annotated[float, Field(gt=0, le=1)]


class HardwareSection(BaseModel):
    """A part of a hardware file: no unknown keys, no changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorBand(HardwareSection):
    """Absolute percentage error of step times against measured rows."""

    rows: PositiveInt | None = Field(None, description="rows compared; null when not published")
    median_percent: float = Field(ge=0)
    p90_percent: float = Field(ge=0)


class FitError(HardwareSection):
    """How far the cost model is from measurement on one GPU."""

    data: str = Field(description="what was compared with what")
    prefill: ErrorBand
    decode: ErrorBand


class GpuFit(HardwareSection):
    """The parameters of the cost model on one GPU; `docs/gpu-model.md` has the formulas."""

    gemm_efficiency: Efficiency = Field(description="GEMM share of bf16_flop_per_s")
    memory_efficiency: Efficiency = Field(
        description="share of hbm_bytes_per_s that GEMMs and prefill attention read at"
    )
    attention_efficiency: Efficiency = Field(
        description="attention share of bf16_flop_per_s, of the whole GPU and of one SM alike"
    )
    kv_read_efficiency: Efficiency = Field(
        description="share of hbm_bytes_per_s that decode attention reads KV at"
    )
    elementwise_efficiency: Efficiency = Field(
        description="share of hbm_bytes_per_s of norms, rotary embedding, activation and residuals"
    )
    attention_tile_rows: PositiveInt = Field(
        description="query rows of one head that one thread block works through"
    )
    layer_ns: float = Field(
        ge=0, description="fixed time per layer: launches, tails, small kernels"
    )
    all_reduce_ns: float = Field(ge=0, description="latency of one all-reduce")
    all_reduce_efficiency: Efficiency = Field(
        description="share of link_bytes_per_s that an all-reduce moves data at"
    )
    provenance: str = Field(description="where each parameter comes from")
    error: FitError


class Gpu(HardwareSection):
    """One GPU type."""

    name: str
    memory_bytes: PositiveInt = Field(description="device memory as CUDA reports it")
    hbm_bytes_per_s: PositiveInt = Field(description="memory bandwidth")
    bf16_flop_per_s: PositiveInt = Field(description="dense bf16 tensor peak, FP32 accumulate")
    sms: PositiveInt = Field(description="streaming multiprocessors")
    link_bytes_per_s: PositiveInt = Field(
        description="scale-up bandwidth to the other GPUs, one direction"
    )
    sources: dict[str, str] = Field(description="key to where its value was found")
    unverified: tuple[str, ...] = Field((), description="keys whose value rests on no source read")
    fit: GpuFit


class Model(HardwareSection):
    """One dense decoder with full attention, gated MLP and bf16 weights and KV."""

    name: str
    layers: PositiveInt
    hidden: PositiveInt = Field(description="width of the residual stream")
    heads: PositiveInt = Field(description="query heads")
    kv_heads: PositiveInt = Field(description="key and value heads; fewer than heads is GQA")
    head_dim: PositiveInt
    ffn: PositiveInt = Field(description="width of the MLP between its projections")
    vocab: PositiveInt
    tied_embeddings: bool = Field(description="the LM head reuses the embedding matrix")
    declared_parameters: PositiveInt = Field(description="total the publisher states, rounded")
    sources: dict[str, str] = Field(description="key to where its value was found")
    unverified: tuple[str, ...] = Field((), description="keys whose value rests on no source read")

    @model_validator(mode="after")
    def _heads_share_kv(self) -> Model:
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})"
            )
        return self

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer: QKV and output projections, MLP, two norms."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        return attention + GEMMS_PER_MLP * self.hidden * self.ffn + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """Weights of the whole model, recomputed from its dimensions; biases are not counted."""
        embeddings = self.vocab * self.hidden * (1 if self.tied_embeddings else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden

    @property
    def weight_bytes(self) -> int:
        """Bytes of one copy of the weights."""
        return self.parameters * BYTES_PER_VALUE

    @property
    def kv_bytes_per_token(self) -> int:
        """KV bytes of one token, all layers, when no head is stored twice."""
        return 2 * self.layers * self.kv_heads * self.head_dim * BYTES_PER_VALUE
