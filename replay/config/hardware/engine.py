"""One serving engine: what its scheduler does unless told otherwise, and what it costs itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from replay.config.engine_section import Scheduler
from replay.config.hardware.gpu import Gpu
from replay.config.hardware.section import Efficiency, FixedNs, HardwareSection, SourcedFile

StepTokens = Annotated[int, Field(ge=1, le=2**20)]
NonNegativeBytes = Annotated[int, Field(ge=0, le=2**60)]


class Overhead(HardwareSection):
    """A time outside the GPU, with the range that was seen."""

    typical: FixedNs
    low: FixedNs
    high: FixedNs

    @model_validator(mode="after")
    def _in_order(self) -> Overhead:
        if not self.low <= self.typical <= self.high:
            raise ValueError("low, typical and high must not fall")
        return self


class SchedulerDefaults(HardwareSection):
    """What an engine does on GPUs with at least this much memory."""

    memory_from_bytes: NonNegativeBytes = Field(description="smallest GPU these are for")
    except_architectures: tuple[str, ...] = Field(
        (), description="architectures that have the defaults of a smaller GPU instead"
    )
    max_batched_tokens: StepTokens = Field(description="token budget of one step")
    max_sequences: Annotated[int, Field(ge=1, le=2**16)] = Field(
        description="requests running at once"
    )


class Engine(SourcedFile):
    """The defaults of one serving engine."""

    name: str
    version: str = Field(description="the release whose defaults these are")
    scheduler: tuple[SchedulerDefaults, ...] = Field(
        min_length=1, description="by size of GPU, smallest first, the first from 0"
    )
    chunked_prefill: bool = Field(description="prompts are computed in chunks beside decodes")
    rules: Scheduler = Field(description="the scheduler by whose rules it is replayed")
    async_scheduling: bool = Field(description="a step is planned while the one before runs")
    mixed_steps: bool = Field(description="a step may hold prompt chunks and decodes together")
    cache_kind: Literal["block", "radix"] = Field(
        description="block: a pool of hashed blocks; radix: a tree of token runs"
    )
    block_size: StepTokens = Field(description="tokens in a KV block")
    memory_utilization: Efficiency = Field(description="share of GPU memory it takes")
    memory_share_of: Literal["total", "left_after_weights"] = Field(
        description="what memory_utilization is a share of"
    )
    prefix_caching: bool = Field(description="on unless switched off")
    all_reduce: Literal["graph", "nccl"] = Field(
        description="graph: one custom kernel in a CUDA graph; nccl: eager NCCL calls"
    )
    a0_ns: Overhead = Field(description="time a request spends outside the GPU before its token")
    a1_ns_per_token: Overhead = Field(description="more of it for each prompt token")

    @model_validator(mode="after")
    def _every_gpu_has_defaults(self) -> Engine:
        sizes = [one.memory_from_bytes for one in self.scheduler]
        if sizes[0] != 0 or sizes != sorted(set(sizes)) or self.scheduler[0].except_architectures:
            raise ValueError("scheduler starts at memory_from_bytes 0 for all, and sizes rise")
        return self

    @model_validator(mode="after")
    def _what_its_rules_know(self) -> Engine:
        if self.rules == "vllm" and not self.mixed_steps:
            raise ValueError("rules of vllm mix steps: mixed_steps false needs rules sglang")
        if self.rules == "sglang" and self.cache_kind != "radix":
            raise ValueError("rules of sglang need cache_kind radix")
        return self

    def scheduler_on(self, gpu: Gpu) -> SchedulerDefaults:
        """Return what the engine does on a GPU: the largest size that it reaches."""
        return [
            one
            for one in self.scheduler
            if one.memory_from_bytes <= gpu.memory_bytes
            and gpu.architecture not in one.except_architectures
        ][-1]
