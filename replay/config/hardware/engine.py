"""One serving engine: what its scheduler does unless told otherwise, and what it costs itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import Field, model_validator

from replay.config.engine_section import Scheduler
from replay.config.hardware.gpu import Gpu
from replay.config.hardware.section import Efficiency, HardwareSection, SourcedFile
from replay.config.hardware.server import ModelKind, Overheads, ServerTimes, Which, chosen

StepTokens = Annotated[int, Field(ge=1, le=2**20)]
NonNegativeBytes = Annotated[int, Field(ge=0, le=2**60)]


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
    layer_share: Annotated[float, Field(gt=0, le=2)] = Field(
        1.0,
        description="share of a GPU's layer_ns that its kernels take: fewer where it fuses more",
    )
    graph_tokens: Annotated[int, Field(ge=0, le=2**20)] = Field(
        description="tokens of the largest step with prompts that is launched as CUDA graphs"
    )
    graph_tokens_per_sequence: Annotated[int, Field(ge=1, le=2**10)] | None = Field(
        None, description="no more than so many for each of max_sequences; default: no such limit"
    )
    request_ns: Overheads = Field(
        description="a request outside the GPU, until its first token is out: received, handed "
        "over, answered"
    )
    prompt_token_ns: Overheads = Field(description="more of it for each prompt token: tokenising")
    answer_ns: Overheads = Field(
        description="more of it for each request that gets a token with its first one: answers go "
        "out one after another"
    )
    launch_ns: Overheads = Field(
        description="a step's work on the CPU, hidden where the GPU takes longer"
    )
    launch_request_ns: Overheads = Field(description="more of it for each request in the step")
    launch_layer_ns: Overheads = Field(
        description="more of it for each layer of a step with prompts, whose attention is in no "
        "CUDA graph"
    )
    eager_layer_ns: Overheads = Field(
        description="more of it for each layer of one beyond graph_tokens: kernel by kernel"
    )
    after_ns: Overheads = Field(description="what no work of the GPU hides, in every step")

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

    def graphed_tokens(self, max_sequences: int) -> int:
        """Return the tokens of the largest step with prompts that is launched as CUDA graphs."""
        if self.graph_tokens_per_sequence is None:
            return self.graph_tokens
        return min(self.graph_tokens, self.graph_tokens_per_sequence * max_sequences)

    def times(self, kind: ModelKind, tensor_parallel: int, which: Which) -> ServerTimes:
        """Return what it takes outside the GPU on a replica, at one end of what was seen."""
        return ServerTimes(
            **{
                field.name: chosen(getattr(self, field.name), kind, tensor_parallel, which)
                for field in fields(ServerTimes)
            }
        )
