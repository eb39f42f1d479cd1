"""The scenario: everything that decides a run besides the trace, as frozen pydantic models.

One document, one place of defaults. A field is checked here and nowhere else; the command line's
options are short names for fields of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveInt,
    model_validator,
)

from replay.errors import InputError
from replay.units import Capacity, parse_capacity, parse_duration_ns

_UNITS_NS = (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3))


def _duration(value: object) -> object:
    """Return nanoseconds for `80ms`-like text and for plain seconds."""
    if value is None or isinstance(value, bool):
        return value
    try:
        return parse_duration_ns(str(value))
    except InputError as error:
        raise ValueError(f"{error.message}; {error.hint or ''}".rstrip("; ")) from error


def _capacity(value: object) -> object:
    """Return the text of a capacity after checking that it can be read."""
    try:
        parse_capacity(str(value))
    except InputError as error:
        raise ValueError(f"{error.message}; {error.hint or ''}".rstrip("; ")) from error
    return str(value)


def write_duration(duration_ns: int) -> str:
    """Return a duration as a scenario has it, exactly: `80ms`, `90s`, `1500ns`."""
    for unit, size in _UNITS_NS:
        if duration_ns % size == 0:
            return f"{duration_ns // size}{unit}"
    return f"{duration_ns}ns"


DurationNs = Annotated[
    int, BeforeValidator(_duration), PlainSerializer(write_duration, when_used="json-unless-none")
]
CapacityText = Annotated[str, BeforeValidator(_capacity)]


class Section(BaseModel):
    """A part of the scenario: no unknown keys, no changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TraceSection(Section):
    """What is done to the trace before it is replayed."""

    sessions: Literal["infer", "off"] = Field(
        "infer",
        description="infer sessions by prefix chaining where the trace has none, or leave them out",
    )
    speedup: float = Field(
        1.0, gt=0, le=1e6, description="divide all arrival times by this: 2 doubles the load"
    )
    arrival_jitter: DurationNs | None = Field(
        None,
        description="spread arrivals that share a clock tick over this long, in order (needs seed)",
    )


class CacheSection(Section):
    """The prefix cache."""

    enabled: bool = Field(True, description="off: nothing is ever reused")
    kind: Literal["block"] = Field("block", description="cache model")
    policy: Literal["lru"] = Field("lru", description="eviction policy, see `replay list policies`")
    block_size: PositiveInt | None = Field(
        None, le=2**20, description="tokens in a KV block; default: the trace's own, else 16"
    )
    capacity: CapacityText = Field(
        "auto",
        description="inf, 20000blocks, 10Mtokens, 40GiB; auto: from the GPU, inf when untimed",
    )
    partial_blocks: bool = Field(
        False, description="the partial last block of a prompt is cacheable too"
    )
    responses: bool = Field(True, description="generated tokens stay in the cache")
    commit: Literal["on_schedule", "incremental", "on_completion"] = Field(
        "on_schedule",
        description="when a computed block becomes visible: when scheduled (vLLM), when its step "
        "ends, or when its request completes",
    )

    @property
    def parsed_capacity(self) -> Capacity:
        """The capacity as a quantity."""
        return parse_capacity(self.capacity)


class EngineSection(Section):
    """The serving engine of one replica."""

    mode: Literal["timed", "untimed"] = Field(
        "timed", description="untimed: each request completes before the next, no GPU"
    )
    max_batched_tokens: PositiveInt = Field(8192, le=2**20, description="token budget of one step")
    max_sequences: PositiveInt = Field(256, le=65536, description="requests running at once")
    chunked_prefill: bool = Field(True, description="off: a prompt is computed in one step")
    prefill_chunk_tokens: PositiveInt | None = Field(
        None, description="most prompt tokens of one request in one step; default: no limit"
    )
    horizon: DurationNs | None = Field(
        None, description="stop the clock here; what is not done is reported as unfinished"
    )
    baseline: bool = Field(
        True, description="run the same requests with caching off too, for paired savings"
    )

    @model_validator(mode="after")
    def _budget_covers_decodes(self) -> EngineSection:
        if self.max_batched_tokens < self.max_sequences:
            raise ValueError(
                f"max_batched_tokens ({self.max_batched_tokens}) must be at least max_sequences "
                f"({self.max_sequences}): every running request decodes one token a step"
            )
        return self


class GpuSection(Section):
    """The GPUs of one replica."""

    name: str = Field("h100-sxm", description="see `replay list gpus`")
    tensor_parallel: PositiveInt = Field(1, le=64, description="GPUs one replica spans")
    memory_utilization: float = Field(
        0.9, gt=0, le=1, description="share of GPU memory the engine may use"
    )


class ModelSection(Section):
    """The model served."""

    name: str = Field("llama-3.1-8b", description="see `replay list models`")


_TIMED_ONLY = (
    ("cache", "commit"),
    ("engine", "max_batched_tokens"),
    ("engine", "max_sequences"),
    ("engine", "chunked_prefill"),
    ("engine", "prefill_chunk_tokens"),
    ("engine", "horizon"),
)


class Scenario(Section):
    """Everything that decides a run besides the trace."""

    seed: int = Field(0, ge=0, lt=2**63, description="of everything drawn at random")
    trace: TraceSection = TraceSection()
    cache: CacheSection = CacheSection()
    engine: EngineSection = EngineSection()
    gpu: GpuSection = GpuSection()
    model: ModelSection = ModelSection()

    @model_validator(mode="after")
    def _untimed_has_no_clock(self) -> Scenario:
        for section, key in _TIMED_ONLY if self.engine.mode == "untimed" else ():
            part = getattr(self, section)
            if getattr(part, key) != type(part).model_fields[key].default:
                raise ValueError(
                    f"{section}.{key} has no effect when engine.mode is untimed: requests do "
                    "not overlap and no time passes"
                )
        return self
