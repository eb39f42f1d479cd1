"""The scenario: everything that decides a run besides the trace, as frozen pydantic models.

One document, one place of defaults. A field is checked here and nowhere else; the command line's
options are short names for fields of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from replay.config.backends import BACKENDS, TAKES_A_TABLE, TAKES_NUMBERS, told_apart
from replay.config.cache_section import CacheSection
from replay.config.engine_section import TIMED_KEYS, EngineSection
from replay.config.section import DurationNs, Section

if TYPE_CHECKING:
    Backend = str
else:  # one choice a line of their table
    Backend = Literal[tuple(BACKENDS)]


def _names(value: object) -> object:
    """Return names of columns after checking that they are such; a text may list several."""
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str) and one.strip() for one in listed):
        raise ValueError("must be auto, none, or names of columns, such as [model, tenant]")
    return value


Separation = Annotated[str | tuple[str, ...], BeforeValidator(_names)]


class TraceSection(Section):
    """What is done to the trace before it is replayed."""

    content: Literal["auto", "as_known", "continue_sessions"] = Field(
        "auto",
        description="continue_sessions: assume that a longer prompt of a session contains all that "
        "was said before; auto: so where the trace has sessions and lengths only; as_known: "
        "assume nothing, and such a trace has nothing to reuse",
    )
    separate_by: Separation = Field(
        "auto",
        description="columns of the trace whose requests share no KV, such as [model, tenant]; "
        "auto: those of model, adapter and cache_salt that differ, as in engines; none: all share",
    )
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
    system_prompt_tokens: int = Field(
        0,
        ge=0,
        le=2**24,
        description="assume of block ids: all prompts start with the same system prompt this long",
    )
    shared_block_part: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="assume of block ids: prompts that part in a block agree on this share of it",
    )

    @property
    def inside_blocks(self) -> bool:
        """Whether anything is assumed of the content inside blocks."""
        return bool(self.system_prompt_tokens or self.shared_block_part)


class LinearSection(Section):
    """What a step costs in whole nanoseconds; for `gpu.backend: linear` only.

    The bounds keep the time of the largest step there is in 64 bits.
    """

    step_ns: PositiveInt | None = Field(None, le=10**12, description="of every step")
    token_ns: int | None = Field(
        None, ge=0, le=10**10, description="more for each token that it computes"
    )
    context_ns: int | None = Field(
        None, ge=0, le=10**6, description="more for each key that its decodes attend to"
    )


class GpuSection(Section):
    """The GPUs of one replica."""

    name: str = Field("h100-sxm", description="see `replay list gpus`")
    tensor_parallel: PositiveInt = Field(1, le=64, description="GPUs one replica spans")
    memory_utilization: float = Field(
        0.9, gt=0, le=1, description="share of GPU memory the engine may use"
    )
    memory_share_of: Literal["total", "left_after_weights"] = Field(
        "total",
        description="what memory_utilization is a share of; left_after_weights: TensorRT-LLM",
    )
    backend: Backend = Field("roofline", description=f"where step times come from: {told_apart()}")
    table: str | None = Field(
        None, description="measured step times for backend table, a CSV as of `replay calibrate`"
    )
    linear: LinearSection = LinearSection()

    @model_validator(mode="after")
    def _table_has_a_backend(self) -> GpuSection:
        if (self.backend == TAKES_A_TABLE) != (self.table is not None):
            raise ValueError("backend table and a table go together: give both or neither")
        return self

    @model_validator(mode="after")
    def _numbers_have_a_backend(self) -> GpuSection:
        given = [value is not None for value in self.linear.model_dump().values()]
        if self.backend == TAKES_NUMBERS and not all(given):
            names = ", ".join(f"linear.{name}" for name in LinearSection.model_fields)
            raise ValueError(f"backend linear needs {names}")
        if self.backend != TAKES_NUMBERS and any(given):
            raise ValueError(f"linear has no effect when backend is {self.backend}")
        return self


class ModelSection(Section):
    """The model served."""

    name: str = Field(
        "llama-3.1-8b",
        description="see `replay list models`; or a path to a model file or config.json",
    )
    weight_dtype: Literal["native", "bf16", "fp8", "fp4"] = Field(
        "native",
        description="type of the weights of attention, MLP and experts; native: as published",
    )
    kv_dtype: Literal["bf16", "fp16", "fp8", "int8"] = Field(
        "bf16", description="type of the KV that the cache holds"
    )


_TIMED_ONLY = (
    ("cache", "commit"),
    ("gpu", "backend"),
    ("engine", "name"),
    *(("engine", key) for key in TIMED_KEYS),
)
_UNTIMED_ONLY = (("engine", "hold"),)


class Scenario(Section):
    """Everything that decides a run besides the trace."""

    seed: int = Field(0, ge=0, lt=2**63, description="of everything drawn at random")
    trace: TraceSection = TraceSection()
    cache: CacheSection = CacheSection()
    engine: EngineSection = EngineSection()
    gpu: GpuSection = GpuSection()
    model: ModelSection = ModelSection()

    @model_validator(mode="after")
    def _keys_of_the_mode(self) -> Scenario:
        for section, key in _TIMED_ONLY if self.engine.mode == "untimed" else ():
            part = getattr(self, section)
            if getattr(part, key) != type(part).model_fields[key].default:
                raise ValueError(
                    f"{section}.{key} has no effect when engine.mode is untimed: nothing is "
                    "computed step by step"
                )
        for section, key in _UNTIMED_ONLY if self.engine.mode == "timed" else ():
            part = getattr(self, section)
            if getattr(part, key) != type(part).model_fields[key].default:
                raise ValueError(
                    f"{section}.{key} has no effect when engine.mode is timed: a request stays as "
                    "long as its tokens take"
                )
        return self

    @property
    def hardware_named(self) -> set[str]:
        """The sections, `gpu` and `model`, by which somebody said what the run is on.

        Of a backend that knows no GPU, the keys of the backend say nothing about one.
        """
        named = {"gpu", "model"} & self.model_fields_set
        gpu = {"name", "tensor_parallel"} & self.gpu.model_fields_set
        return named - {"gpu"} if self.gpu.backend == TAKES_NUMBERS and not gpu else named

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Scenario:
        if self.engine.name is None and not self.cache.kind_given:
            self.cache.check_kind("cache")
        return self

    @model_validator(mode="after")
    def _cache_of_the_scheduler(self) -> Scenario:
        engine, cache = self.engine, self.cache
        settled = engine.settled("scheduler", "chunked_prefill", "max_batched_tokens") and (
            engine.name is None or cache.model_fields_set >= {"kind", "enabled"}
        )
        if not settled or engine.scheduler != "sglang":
            return self
        if cache.kind != "radix":
            raise ValueError(
                f"engine.scheduler sglang works over cache.kind radix, not {cache.kind}: it counts "
                "what its tree can evict; engine.scheduler vllm works over any"
            )
        page = cache.block_size or 1
        if engine.chunked_prefill and engine.max_batched_tokens % page:
            raise ValueError(
                f"engine.max_batched_tokens ({engine.max_batched_tokens}) must be a multiple of "
                f"cache.block_size ({page}): sglang cuts prompts at pages"
            )
        if engine.order == "spf" and not cache.enabled:
            raise ValueError("engine.order spf needs cache.enabled: sglang refuses it without")
        return self
