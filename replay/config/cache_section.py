"""The part of a scenario about its cache: what its kinds have in common, and keys of one kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    model_validator,
)

from replay.config.policies import policy_names
from replay.config.section import DurationNs, Section, refused_at
from replay.errors import InputError
from replay.units import Capacity, parse_capacity

DEFAULT_PREFIX_LENGTHS = (
    50, 100, 200, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000, 50_000, 100_000
)  # fmt: skip


def _capacity(value: object) -> object:
    """Return the text of a capacity after checking that it can be read."""
    try:
        parse_capacity(str(value))
    except InputError as error:
        raise ValueError(f"{error.message}; {error.hint or ''}".rstrip("; ")) from error
    return str(value)


def _listed(value: object) -> object:
    """Return what stands between the commas of a text, a number as a list of itself."""
    if isinstance(value, str):
        return value.split(",")
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


PromptTokens = Annotated[int, Field(ge=1, le=2**31)]
CapacityText = Annotated[str, BeforeValidator(_capacity)]
if TYPE_CHECKING:
    StorePolicy = str
else:  # one choice a line of their table
    StorePolicy = Literal[policy_names("session_store")]


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
    prefix_lengths: Annotated[tuple[PromptTokens, ...], BeforeValidator(_listed)] = Field(
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
        description="inf, 20000blocks, 10Mtokens, 40GiB; auto: from the GPU, inf where none counts",
    )
    partial_blocks: bool = Field(
        False, description="the partial last block of a prompt is cacheable too"
    )
    responses: bool = Field(True, description="generated tokens stay in the cache")
    ttl: DurationNs | None = Field(
        None, description="drop KV that nobody used for longer than this; default: never"
    )
    pinned_prefixes: Annotated[
        tuple[Annotated[int, Field(ge=0, le=2**31)], ...], BeforeValidator(_listed)
    ] = Field(
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

    @model_validator(mode="after")
    def _keys_of_a_given_kind(self) -> CacheSection:
        if self.kind_given:
            self.check_kind()
        return self

    @property
    def kind_given(self) -> bool:
        """Whether somebody said which kind it is; where nobody did, a named engine says it."""
        return "kind" in self.model_fields_set

    def check_kind(self, *section: str) -> None:
        """Check what depends on the kind, which may be a named engine's.

        Raises ValidationError at the key, below `section` where that is where this cache stands.
        """
        known = policy_names(self.kind) if self.kind in ("block", "radix") else (self.policy,)
        if self.policy not in known:
            what = f"kind {self.kind} knows {', '.join(known)} (got {self.policy!r})"
            raise refused_at((*section, "policy"), what)
        for what in self._of_another_kind():
            raise refused_at(section, what)

    def _of_another_kind(self) -> Iterator[str]:
        """Yield what is wrong with keys that were given and have no effect on this kind."""
        for section in ("session_store", "radix"):
            default = type(self).model_fields[section].default
            if self.kind != section and getattr(self, section) != default:
                yield f"{section} has no effect when kind is {self.kind}"
        refused = {"radix": _NOT_OF_RADIX, "session_store": _NOT_OF_SESSION_STORE}
        for key, default, why in refused.get(self.kind, ()):
            if getattr(self, key) != default:
                yield f"{key} has no effect when kind is {self.kind}: {why}"
        if self.kind == "session_store" and self.block_size not in (None, 1):
            yield "block_size has no effect when kind is session_store: it is 1 token"
        for key, policies in _RADIX_KEYS.items():
            default = RadixSection.model_fields[key].default
            if self.policy not in policies and getattr(self.radix, key) != default:
                yield (
                    f"radix.{key} has no effect when policy is {self.policy}: it matters to "
                    f"{' and '.join(policies)}"
                )

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
