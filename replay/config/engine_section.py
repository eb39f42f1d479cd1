"""The part of a scenario about the serving engine: its scheduler, and how time passes in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from replay.config.schedulers import (
    SCHEDULERS,
    order_names,
    orders_told_apart,
    schedulers_told_apart,
    short_order,
)
from replay.config.section import DurationNs, Section

if TYPE_CHECKING:
    Scheduler = str
    OrderName = str
else:  # one choice a line of their tables
    Scheduler = Literal[tuple(SCHEDULERS)]
    OrderName = Annotated[Literal[order_names()], BeforeValidator(short_order)]


# Keys without effect where nothing is computed step by step; those of sglang alone need its
# scheduler, which is one of them.
TIMED_KEYS = (
    "scheduler", "async_scheduling", "order", "max_batched_tokens", "max_sequences",
    "max_active_sequences", "chunked_prefill", "mixed_steps", "long_prefill_token_threshold",
    "long_prefill_adaptive", "prefill_chunk_tokens", "prefill_schedule_interval",
    "reserve_full_prompt", "watermark", "horizon", "steps",
)  # fmt: skip

# Keys that only one scheduler knows, and why another has no use for them.
_OF_ONE_SCHEDULER = {
    "vllm": (
        "max_active_sequences", "long_prefill_token_threshold", "long_prefill_adaptive",
        "prefill_chunk_tokens", "prefill_schedule_interval", "reserve_full_prompt", "watermark",
    ),
    "sglang": (
        "max_prefill_tokens", "schedule_conservativeness", "prefill_decode_interval",
        "prefill_max_requests", "priority_preemption_threshold", "ignore_eos",
    ),
}  # fmt: skip


class EngineSection(Section):
    """The serving engine of one replica."""

    name: str | None = Field(
        None,
        description="serving engine, see `replay list engines`: what it takes outside the GPU and "
        "its all-reduce are counted, and keys of its scheduler, memory and kind of cache that are "
        "not given are its own; default: none, and TTFT has no overhead",
    )
    overhead: Literal["none", "low", "typical", "high"] | None = Field(
        None,
        description="which end of the range of what the engine takes outside the GPU, or none of "
        "it; default: typical (needs name)",
    )
    mode: Literal["timed", "untimed"] = Field(
        "timed", description="untimed: no GPU; each request completes before the next, or see hold"
    )
    hold: DurationNs | None = Field(
        None,
        description="untimed: a request stays in flight this long after it was admitted; default: "
        "one after another",
    )
    scheduler: Scheduler = Field(
        "vllm", description=f"whose rules decide what a step computes: {schedulers_told_apart()}"
    )
    async_scheduling: bool = Field(
        False,
        description="plan a step while the one before runs, so that who arrives during step k is "
        "computed in step k + 2: vLLM's async scheduling, SGLang's overlap schedule; both have it "
        "on unless told otherwise",
    )
    order: OrderName = Field("fcfs", description=f"who is admitted first: {orders_told_apart()}")
    max_batched_tokens: PositiveInt = Field(8192, le=2**20, description="token budget of one step")
    max_sequences: PositiveInt = Field(256, le=65536, description="requests running at once")
    max_active_sequences: PositiveInt | None = Field(
        None,
        le=65536,
        description="requests running at once beyond which nobody is admitted, vLLM's "
        "max_num_active_seqs; default: max_sequences",
    )
    chunked_prefill: bool = Field(True, description="off: a prompt is computed in one step")
    mixed_steps: bool | None = Field(
        None,
        description="a step computes prompts and decodes; default: on in vllm, which knows nothing "
        "else, off in sglang, where on is its enable_mixed_chunk",
    )
    long_prefill_token_threshold: int = Field(
        0,
        ge=0,
        le=2**31,
        description="most prompt tokens of one request in one step while others are there; 0: no "
        "limit",
    )
    long_prefill_adaptive: bool = Field(
        False,
        description="raise that limit to an equal share of the token budget while few are there",
    )
    prefill_chunk_tokens: PositiveInt | None = Field(
        None, le=2**31, description="former name of long_prefill_token_threshold"
    )
    prefill_schedule_interval: PositiveInt = Field(
        1, le=2**20, description="steps from one that computes prompts to the next that may"
    )
    reserve_full_prompt: bool = Field(
        True,
        description="admit a request when its whole prompt fits; off: when its first chunk does",
    )
    watermark: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the blocks that an admission must leave free while others run",
    )
    max_prefill_tokens: PositiveInt = Field(
        16384,
        le=2**20,
        description="prompt tokens after which a step takes no further prompt (sglang)",
    )
    schedule_conservativeness: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="how much memory an admission keeps for tokens that running requests may yet "
        "generate: their new-token ratio starts at 0.7 times this (sglang)",
    )
    prefill_decode_interval: int = Field(
        0, ge=0, le=2**20, description="steps of decodes that follow one with prompts (sglang)"
    )
    prefill_max_requests: PositiveInt | None = Field(
        None, le=65536, description="prompts of one step; default: no limit (sglang)"
    )
    priority_preemption_threshold: int = Field(
        10,
        ge=0,
        le=2**31,
        description="order priority: how much more urgent than a running request one must be to "
        "take its place (sglang)",
    )
    ignore_eos: bool = Field(
        False,
        description="requests are known to generate all their tokens, as benchmarks ask for, and "
        "count with all of them (sglang)",
    )
    horizon: DurationNs | None = Field(
        None,
        description="stop the clock here: steps that run end, and what is not done is "
        "reported as unfinished",
    )
    baseline: bool = Field(
        True, description="run the same requests with caching off too, for paired savings"
    )
    steps: bool = Field(
        False,
        description="keep every step in the run's table `steps`: about 40 bytes each in memory, 20 "
        "on disk",
    )

    @model_validator(mode="after")
    def _overhead_is_an_engines(self) -> EngineSection:
        if self.overhead is not None and self.name is None:
            raise ValueError("overhead has no effect without name: it is that of a named engine")
        return self

    def settled(self, *keys: str) -> bool:
        """Return whether these keys are what a run has: given, or without an engine to fill them.

        What depends on others is checked once the named engine's own values are in.
        """
        return self.name is None or self.model_fields_set.issuperset(keys)

    @model_validator(mode="after")
    def _keys_of_the_scheduler(self) -> EngineSection:
        if not self.settled("scheduler"):
            return self
        for scheduler, keys in _OF_ONE_SCHEDULER.items():
            for key in keys if scheduler != self.scheduler else ():
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(
                        f"{key} has no effect when scheduler is {self.scheduler}: it is a key of "
                        f"{scheduler}"
                    )
        known = order_names(self.scheduler)
        if self.order not in known:
            raise ValueError(
                f"scheduler {self.scheduler} knows the orders {', '.join(known)} (got "
                f"{self.order!r})"
            )
        if self.scheduler == "vllm" and self.mixed_steps is False:
            raise ValueError(
                "mixed_steps off is not how scheduler vllm works: engine.scheduler sglang with "
                "cache.kind radix computes prompts and decodes in steps of their own"
            )
        return self

    @model_validator(mode="after")
    def _preemption_by_priority(self) -> EngineSection:
        if self.order != "priority" and self.priority_preemption_threshold != 10:
            raise ValueError("priority_preemption_threshold has no effect without order priority")
        return self

    @model_validator(mode="after")
    def _limits_of_a_step(self) -> EngineSection:
        by_vllm = self.settled("scheduler", "max_batched_tokens") and self.scheduler == "vllm"
        if not self.settled("max_sequences"):
            return self
        if by_vllm and self.max_batched_tokens < self.max_sequences:
            raise ValueError(
                f"max_batched_tokens ({self.max_batched_tokens}) must be at least max_sequences "
                f"({self.max_sequences}): every running request decodes one token a step"
            )
        if self.max_active_sequences is not None and self.max_active_sequences > self.max_sequences:
            raise ValueError(
                f"max_active_sequences ({self.max_active_sequences}) has no effect above "
                f"max_sequences ({self.max_sequences})"
            )
        return self

    @model_validator(mode="after")
    def _one_limit_of_long_prompts(self) -> EngineSection:
        if self.prefill_chunk_tokens is not None and self.long_prefill_token_threshold:
            raise ValueError(
                "prefill_chunk_tokens is the former name of long_prefill_token_threshold: give one"
            )
        if self.long_prefill_adaptive and not self.long_prefill:
            raise ValueError(
                "long_prefill_adaptive has no effect without long_prefill_token_threshold"
            )
        return self

    @property
    def mixes(self) -> bool:
        """Whether a step may compute prompts and decodes."""
        return self.scheduler == "vllm" if self.mixed_steps is None else self.mixed_steps

    @property
    def long_prefill(self) -> int:
        """The most prompt tokens of one request in one step while others are there; 0 for any."""
        return self.long_prefill_token_threshold or self.prefill_chunk_tokens or 0
