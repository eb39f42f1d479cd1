"""The scenario: everything that decides a run besides the trace, as frozen pydantic models.

One document, one place of defaults. A field is checked here and nowhere else; the command line's
options are short names for fields of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from replay.config.backends import BACKENDS, TAKES_A_TABLE, told_apart
from replay.config.policies import policy_names
from replay.errors import InputError
from replay.units import MAX_DURATION_NS, Capacity, parse_capacity, parse_duration_ns

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
    int,
    Field(ge=1, le=MAX_DURATION_NS),
    BeforeValidator(_duration),
    PlainSerializer(write_duration, when_used="json-unless-none"),
]
PromptTokens = Annotated[int, Field(ge=1, le=2**31)]
CapacityText = Annotated[str, BeforeValidator(_capacity)]
if TYPE_CHECKING:
    Backend = str
    StorePolicy = str
else:  # one choice a line of their tables
    Backend = Literal[tuple(BACKENDS)]
    StorePolicy = Literal[policy_names("session_store")]


def _names(value: object) -> object:
    """Return names of columns after checking that they are such; a text may list several."""
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str) and one.strip() for one in listed):
        raise ValueError("must be auto, none, or names of columns, such as [model, tenant]")
    return value


Separation = Annotated[str | tuple[str, ...], BeforeValidator(_names)]


class Section(BaseModel):
    """A part of the scenario: no unknown keys, no changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


DEFAULT_PREFIX_LENGTHS = (
    50, 100, 200, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000
)  # fmt: skip


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


class SessionStoreSection(Section):
    """What a session store keeps; for `cache.kind: session_store` only."""

    enable_prefix_caching: bool = Field(True, description="off: as cache.enabled off")
    enable_session_caching: bool = Field(
        True, description="keep for each session the prompt and response it wrote last"
    )
    enable_cross_request_caching: bool = Field(
        True, description="store prefixes that any request may reuse"
    )
    min_prefix_cache_length: PositiveInt = Field(
        50, le=2**24, description="tokens a prefix must have to be stored"
    )
    max_prefix_cache_size: PositiveInt = Field(
        10_000,
        le=10**7,
        description="stored prefixes, as entries; what they hold is bounded by cache.capacity",
    )
    prefix_eviction_policy: StorePolicy = Field(
        "lru", description="which stored prefix makes room for another"
    )
    prefix_lengths: tuple[PromptTokens, ...] = Field(
        DEFAULT_PREFIX_LENGTHS,
        min_length=1,
        max_length=1000,
        description="token counts at which a prefix of a prompt is stored",
    )
    prefix_length_step: PromptTokens | None = Field(
        None, description="store at every multiple of this instead"
    )
    store_whole_prompts: bool = Field(
        False, description="store every prompt whole as well, for others that repeat it"
    )
    session_ttl: DurationNs | None = Field(
        None, description="forget a session this long after its last use; default: never"
    )

    @model_validator(mode="after")
    def _lengths_or_step(self) -> SessionStoreSection:
        if self.prefix_length_step is not None and self.prefix_lengths != DEFAULT_PREFIX_LENGTHS:
            raise ValueError("give prefix_lengths or prefix_length_step, not both")
        return self


class RadixSection(Section):
    """What decides a radix cache besides its policy; for `cache.kind: radix` only."""

    tree: Literal["unified", "classic"] = Field(
        "unified",
        description="fifo and filo: what is split off a node is as old as the node (unified, "
        "SGLang's default) or as new as the split (classic RadixCache)",
    )
    protected_hits: PositiveInt = Field(
        2, le=2**31, description="slru: requests that insert a node before it is protected"
    )


_RADIX_KEYS = {"tree": ("fifo", "filo"), "protected_hits": ("slru",)}
_NOT_OF_RADIX: tuple[tuple[str, object, str], ...] = (
    ("partial_blocks", False, "a radix cache shares whole pages"),
    ("commit", "on_schedule", "a radix cache inserts a prompt's chunk when its step ends"),
)
_NOT_OF_SESSION_STORE: tuple[tuple[str, object, str], ...] = (
    ("policy", "lru", "see cache.session_store.prefix_eviction_policy"),
    ("partial_blocks", False, "a session store counts single tokens"),
    ("ttl", None, "see cache.session_store.session_ttl"),
    ("pinned_prefixes", (), "it keeps sessions and stored prefixes, not edges"),
)


class CacheSection(Section):
    """The prefix cache."""

    enabled: bool = Field(True, description="off: nothing is ever reused")
    kind: Literal["block", "radix", "session_store"] = Field(
        "block",
        description="block: the block pool of vLLM; radix: the radix cache of SGLang; "
        "session_store: a cache for each session and a store of prefixes for all",
    )
    radix: RadixSection = RadixSection()
    session_store: SessionStoreSection = SessionStoreSection()
    policy: str = Field("lru", description="eviction policy, see `replay list policies`")
    block_size: PositiveInt | None = Field(
        None,
        le=2**20,
        description="tokens in a KV block, or in a page of a radix cache; default: the trace's "
        "own, else 16; 1 for a radix cache",
    )
    capacity: CapacityText = Field(
        "auto",
        description="inf, 20000blocks, 10Mtokens, 40GiB; auto: from the GPU, inf when untimed",
    )
    partial_blocks: bool = Field(
        False, description="the partial last block of a prompt is cacheable too"
    )
    responses: bool = Field(True, description="generated tokens stay in the cache")
    ttl: DurationNs | None = Field(
        None, description="drop KV that nobody used for longer than this; default: never"
    )
    pinned_prefixes: tuple[Annotated[int, Field(ge=0, le=2**31)], ...] = Field(
        (),
        max_length=10_000,
        description="prefixes that are never evicted once computed, as `prefix_id` of a run's "
        "`prefixes` table",
    )
    commit: Literal["on_schedule", "incremental", "on_completion"] = Field(
        "on_schedule",
        description="when a computed block becomes visible: when scheduled (vLLM), when its step "
        "ends, or when its request completes",
    )

    @field_validator("policy")
    @classmethod
    def _policy_of_the_kind(cls, value: str, info: ValidationInfo) -> str:
        kind = info.data.get("kind")
        known = policy_names(kind) if kind in ("block", "radix") else (value,)
        if value not in known:
            raise ValueError(f"kind {kind} knows {', '.join(known)} (got {value!r})")
        return value

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> CacheSection:
        for section in ("session_store", "radix"):
            default = type(self).model_fields[section].default
            if self.kind != section and getattr(self, section) != default:
                raise ValueError(f"{section} has no effect when kind is {self.kind}")
        refused = {"radix": _NOT_OF_RADIX, "session_store": _NOT_OF_SESSION_STORE}
        for key, default, why in refused.get(self.kind, ()):
            if getattr(self, key) != default:
                raise ValueError(f"{key} has no effect when kind is {self.kind}: {why}")
        if self.kind == "session_store" and self.block_size not in (None, 1):
            raise ValueError("block_size has no effect when kind is session_store: it is 1 token")
        for key, policies in _RADIX_KEYS.items():
            default = RadixSection.model_fields[key].default
            if self.policy not in policies and getattr(self.radix, key) != default:
                raise ValueError(
                    f"radix.{key} has no effect when policy is {self.policy}: it matters to "
                    f"{' and '.join(policies)}"
                )
        return self

    @property
    def caching(self) -> bool:
        """Whether anything is ever reused."""
        if self.kind == "session_store":
            return self.enabled and self.session_store.enable_prefix_caching
        return self.enabled

    @property
    def parsed_capacity(self) -> Capacity:
        """The capacity as a quantity."""
        return parse_capacity(self.capacity)


class EngineSection(Section):
    """The serving engine of one replica."""

    name: str | None = Field(
        None,
        description="serving engine, see `replay list engines`: its overhead and all-reduce are "
        "modelled, and keys of its scheduler, memory and kind of cache that are not given are its "
        "own; default: none, and TTFT has no overhead",
    )
    overhead: Literal["low", "typical", "high"] | None = Field(
        None,
        description="which end of the engine's range of overheads; default: typical (needs name)",
    )
    mode: Literal["timed", "untimed"] = Field(
        "timed", description="untimed: no GPU; each request completes before the next, or see hold"
    )
    hold: DurationNs | None = Field(
        None,
        description="untimed: a request stays in flight this long after it was admitted; default: "
        "one after another",
    )
    max_batched_tokens: PositiveInt = Field(8192, le=2**20, description="token budget of one step")
    max_sequences: PositiveInt = Field(256, le=65536, description="requests running at once")
    chunked_prefill: bool = Field(True, description="off: a prompt is computed in one step")
    mixed_steps: bool = Field(
        True,
        description="a step computes prompts and decodes; off: prompts while any fit, else decodes",
    )
    prefill_chunk_tokens: PositiveInt | None = Field(
        None,
        le=2**31,
        description="most prompt tokens of one request in one step; default: no limit",
    )
    horizon: DurationNs | None = Field(
        None, description="stop the clock here; what is not done is reported as unfinished"
    )
    baseline: bool = Field(
        True, description="run the same requests with caching off too, for paired savings"
    )

    @model_validator(mode="after")
    def _overhead_is_an_engines(self) -> EngineSection:
        if self.overhead is not None and self.name is None:
            raise ValueError("overhead has no effect without name: it is that of a named engine")
        return self

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
    memory_share_of: Literal["total", "left_after_weights"] = Field(
        "total",
        description="what memory_utilization is a share of; left_after_weights: TensorRT-LLM",
    )
    backend: Backend = Field("roofline", description=f"where step times come from: {told_apart()}")
    table: str | None = Field(
        None, description="measured step times for backend table, a CSV as of `replay calibrate`"
    )

    @model_validator(mode="after")
    def _table_has_a_backend(self) -> GpuSection:
        if (self.backend == TAKES_A_TABLE) != (self.table is not None):
            raise ValueError("backend table and a table go together: give both or neither")
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
    ("engine", "max_batched_tokens"),
    ("engine", "max_sequences"),
    ("engine", "chunked_prefill"),
    ("engine", "mixed_steps"),
    ("engine", "prefill_chunk_tokens"),
    ("engine", "horizon"),
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
