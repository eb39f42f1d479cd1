"""One GPU or other accelerator: its peaks, and how much of them the cost model reaches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from replay.config.hardware.section import (
    Bytes,
    Efficiency,
    FixedNs,
    HardwareSection,
    Percent,
    PerSecond,
    SourcedFile,
)

Rows = Annotated[int, Field(ge=1, le=10**9)]
PaddedRows = Annotated[float, Field(ge=0, le=2**12)]
ExpertType = Literal["fp8", "fp8_block", "fp4", "int4", "mxfp4", "mxfp4_fp8"]
ModuleKind = Literal["latent", "sparse_latent", "compressed", "sparse_compressed", "sparse"]


class ErrorBand(HardwareSection):
    """Absolute percentage error of step times against measured rows."""

    rows: Rows | None = Field(None, description="rows compared; null when not published")
    median_percent: Percent
    p90_percent: Percent


class FitError(HardwareSection):
    """How far the cost model is from measurement on one GPU."""

    data: str = Field(description="what was compared with what")
    prefill: ErrorBand
    decode: ErrorBand
    short_suffix: ErrorBand | None = Field(
        None, description="prefill of at most 512 tokens after at least 4,096 cached ones"
    )
    mixed: ErrorBand | None = Field(None, description="prompt chunks and decodes in one step")


class ExpertFit(HardwareSection):
    """How routed experts of one weight type run on a GPU, beside those in bf16."""

    share: Annotated[float, Field(gt=0, le=10)] = Field(
        description="share of the type's peak over that of bf16: times moe_efficiency"
    )
    padded_rows: PaddedRows = Field(description="as moe_padded_rows")
    layer_ns: FixedNs = Field(description="as moe_layer_ns")
    expert_ns: FixedNs = Field(0, description="as moe_expert_ns")


class ModuleFit(HardwareSection):
    """What layers of one kind of attention add to its arithmetic and its bytes on a GPU."""

    layer_ns: FixedNs = Field(0, description="fixed time more per layer: its small kernels")
    prompt_layer_ns: FixedNs = Field(
        0, description="more of it per layer where a step has prompt chunks: launches in no graph"
    )
    row_ns: FixedNs = Field(
        0, description="time of each new token: compression, choice of the keys, copies"
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of attention_efficiency that chunks reach on the keys picked"
    )
    absorbed_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of attention_efficiency of chunks that meet a latent as decodes do"
    )
    index_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of attention_efficiency that chunks reach on the index"
    )


class GpuFit(HardwareSection):
    """The parameters of the cost model on one GPU; `docs/gpu-model.md` has the formulas."""

    gemm_efficiency: Efficiency = Field(description="GEMM share of bf16_flop_per_s")
    memory_efficiency: Efficiency = Field(
        description="share of hbm_bytes_per_s that GEMMs and prefill attention read at"
    )
    attention_efficiency: Efficiency = Field(
        description="attention share of bf16_flop_per_s, of the whole GPU and of one SM alike"
    )
    attention_least_width: Annotated[int, Field(ge=0, le=2**12)] = Field(
        0,
        description="width of key and value together that a pair costs at least: narrow heads wait "
        "for their exponentials",
    )
    kv_read_efficiency: Efficiency = Field(
        description="share of hbm_bytes_per_s that decode attention reads KV at"
    )
    kv_write_efficiency: Efficiency = Field(
        1.0,
        description="share of hbm_bytes_per_s that K and V of new tokens are put into the cache at",
    )
    elementwise_efficiency: Efficiency = Field(
        description="share of hbm_bytes_per_s of norms, rotary embedding, activation and residuals"
    )
    attention_tile_rows: Annotated[int, Field(ge=1, le=2**16)] = Field(
        description="query rows of one head that one thread block works through"
    )
    attention_tile_ns: FixedNs = Field(
        4_000, description="fixed time of one attention tile: it starts, and writes its rows"
    )
    attention_launch_ns: FixedNs = Field(
        0,
        description="fixed time of an attention launch, its schedule included; 0 where layer_ns "
        "holds it",
    )
    attention_combine_ns: FixedNs = Field(
        0, description="more of it where tiles are cut over their keys: pieces are put together"
    )
    mixed_decode: Literal["apart", "by_tile", "packed"] = Field(
        "apart",
        description="decodes beside prompt chunks cost what they do alone (apart), or each of "
        "their query heads is one tile (by_tile: FlashAttention-2), or query heads of a KV head "
        "share tiles whose keys are split over idle SMs (packed: FlashAttention-3)",
    )
    absorbed_tokens: Annotated[int, Field(ge=0, le=2**16)] = Field(
        0,
        description="prompt chunks of a latent up to this long are worked as decodes are, their "
        "queries meeting the latent itself",
    )
    modules: dict[ModuleKind, ModuleFit] = Field(
        default_factory=dict,
        description="kinds of attention that take more than their arithmetic and their bytes",
    )
    layer_ns: FixedNs = Field(description="fixed time per layer: launches, tails, small kernels")
    all_reduce_ns: FixedNs = Field(description="latency of one all-reduce of two GPUs")
    all_reduce_gpu_ns: FixedNs = Field(0, description="latency more for each GPU beyond two")
    all_reduce_efficiency: Efficiency = Field(
        description="share of link_bytes_per_s that an all-reduce of two GPUs moves data at"
    )
    all_reduce_crowding: Annotated[float, Field(ge=0, le=4)] = Field(
        0.0,
        description="x in the share of N GPUs, (2 / N)^x of that of two: 0 where each has a link "
        "of its own to a switch, above where they share bridges (PCIe)",
    )
    nccl_all_reduce_ns: FixedNs = Field(
        35_000, description="latency of one all-reduce as an NCCL call"
    )
    nccl_efficiency: Efficiency | None = Field(
        None,
        description="share of link_bytes_per_s that NCCL reaches between two GPUs: engines take it "
        "for large messages; null: as all_reduce_efficiency",
    )
    nccl_growth: Annotated[float, Field(ge=0, le=2)] = Field(
        0.0,
        description="x in NCCL's share of N GPUs, (N / 2)^x of that of two: switches add up",
    )
    fp8_gemm_efficiency: Efficiency = Field(0.6, description="GEMM share of fp8_flop_per_s")
    fp8_block_gemm_efficiency: Efficiency = Field(
        0.55, description="GEMM share of fp8_flop_per_s with scales for blocks of 128"
    )
    fp4_gemm_efficiency: Efficiency = Field(0.45, description="GEMM share of fp4_flop_per_s")
    moe_efficiency: Efficiency = Field(
        0.6, description="share of the peak that the GEMMs of routed experts reach in bf16"
    )
    moe_padded_rows: PaddedRows = Field(
        80, description="rows more that each expert touched computes: its tiles are not full"
    )
    moe_memory_efficiency: Efficiency = Field(
        0.94, description="share of hbm_bytes_per_s that weights of experts are read at"
    )
    moe_traffic_efficiency: Efficiency = Field(
        0.7,
        description="share of hbm_bytes_per_s that rows are gathered, activated and added up at",
    )
    moe_layer_ns: FixedNs = Field(
        30_000, description="fixed time more per layer with experts: routing and sorting"
    )
    moe_expert_ns: FixedNs = Field(
        250, description="time that each expert touched takes at least: its tiles start and end"
    )
    experts: dict[ExpertType, ExpertFit] = Field(
        default_factory=dict,
        description="experts of other types than bf16; one that is left out is as bf16, times the "
        "ratio of its GEMMs",
    )
    provenance: str = Field(description="where each parameter comes from")
    error: FitError


_TILE_ROWS = {"hopper": 128, "blackwell": 256, "blackwell-ultra": 256}  # others 64
_MIXED_DECODE: dict[str, Literal["by_tile", "packed"]] = {  # by the kernels that engines run there
    "ampere": "by_tile",
    "ada": "by_tile",
    "blackwell-rtx": "by_tile",
    "hopper": "packed",
}
_LEAST_WIDTH = {"hopper": 152, "blackwell": 256, "blackwell-ultra": 256}
_ABSORBED_TOKENS = {"hopper": 512}  # vLLM, FlashAttnMLA; the kernels of others: none


def uncalibrated_fit(architecture: str) -> GpuFit:
    """Return what is assumed of a GPU without measurements: the means over those that have some."""
    return GpuFit(
        gemm_efficiency=0.78,
        memory_efficiency=0.82,
        attention_efficiency=0.55,
        kv_read_efficiency=0.82,
        elementwise_efficiency=0.8,
        attention_least_width=_LEAST_WIDTH.get(architecture, 0),
        attention_tile_rows=_TILE_ROWS.get(architecture, 64),
        attention_launch_ns=9_000,
        attention_combine_ns=1_500,
        kv_write_efficiency=0.5,
        mixed_decode=_MIXED_DECODE.get(architecture, "apart"),
        absorbed_tokens=_ABSORBED_TOKENS.get(architecture, 0),
        layer_ns=20_000,
        all_reduce_ns=8_000,
        all_reduce_efficiency=0.6,
        provenance="no measurements of this GPU: means over the GPUs that were fitted",
        error=FitError(
            data="each fitted GPU predicted from the others, the worst of them",
            prefill=ErrorBand(rows=None, median_percent=19, p90_percent=34),
            decode=ErrorBand(rows=None, median_percent=12, p90_percent=23),
        ),
    )


def _assumed_fit(data: dict[str, Any]) -> GpuFit:
    return uncalibrated_fit(data.get("architecture", ""))


def _assumed_link(data: dict[str, Any]) -> int:
    return data.get("pcie_bytes_per_s") or 0


class Gpu(SourcedFile):
    """One GPU type; without `fit` it has the assumed one and is not `calibrated`."""

    name: str
    vendor: str = Field("unknown", description="nvidia, amd, intel, google, ...")
    architecture: str = Field(
        "unknown", description="generation, as ampere, ada, hopper, blackwell, cdna3"
    )
    memory_bytes: Bytes = Field(description="device memory as CUDA reports it")
    hbm_bytes_per_s: PerSecond = Field(description="memory bandwidth")
    bf16_flop_per_s: PerSecond = Field(description="dense bf16 tensor peak, FP32 accumulate")
    fp8_flop_per_s: PerSecond | None = Field(
        None, description="dense FP8 tensor peak; null: no FP8 arithmetic"
    )
    fp4_flop_per_s: PerSecond | None = Field(
        None, description="dense FP4 tensor peak; null: no FP4 arithmetic"
    )
    int8_op_per_s: PerSecond | None = Field(
        None, description="dense INT8 tensor peak; null: none, or not found"
    )
    sms: Annotated[int, Field(ge=1, le=2**20)] = Field(
        description="units that each work through one attention tile: SMs, compute units, cores"
    )
    l2_bytes: Bytes | None = Field(
        None, description="L2 cache that all SMs share; null: so large that KV stays in it"
    )
    pcie_bytes_per_s: PerSecond | None = Field(
        None, description="nominal PCIe bandwidth to the host, one direction; null: no PCIe"
    )
    link_bytes_per_s: PerSecond = Field(
        default_factory=_assumed_link,
        description="scale-up bandwidth to the other GPUs, one direction; null: that of PCIe",
    )
    c2c_bytes_per_s: PerSecond | None = Field(
        None, description="coherent link to the host's CPU, one direction; null: none"
    )
    nvl_domain: Annotated[int, Field(ge=1, le=2**20)] | None = Field(
        None, description="GPUs that share the scale-up link; null: one node of 8"
    )
    host: str | None = Field(None, description="the machine it usually stands in, a file of hosts/")
    fit: GpuFit = Field(
        default_factory=_assumed_fit,
        description="parameters of the cost model; left out: uncalibrated, the means of others",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, data: Any) -> Any:
        """Take `null` for a key that is worked out as if it were not there."""
        if not isinstance(data, dict):
            return data
        worked_out = ("link_bytes_per_s", "fit")
        return {
            key: value for key, value in data.items() if key not in worked_out or value is not None
        }

    @model_validator(mode="after")
    def _can_reach_other_gpus(self) -> Gpu:
        if not self.link_bytes_per_s:
            raise ValueError("link_bytes_per_s or pcie_bytes_per_s is needed")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether the parameters come from measurements of this GPU."""
        return "fit" in self.model_fields_set

    @property
    def scale_up(self) -> bool:
        """Whether GPUs have a link of their own; without one they meet over PCIe."""
        return "link_bytes_per_s" in self.model_fields_set

    @property
    def host_bytes_per_s(self) -> int | None:
        """Nominal bandwidth to host memory, one direction: C2C where there is one, else PCIe."""
        return self.c2c_bytes_per_s or self.pcie_bytes_per_s
