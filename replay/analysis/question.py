"""What is asked of the cache alone: one trace, its block sizes, policies and capacities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from replay.cache.capacities import round_capacities, spaced_capacities
from replay.cache.hints import Hints, RecomputeCost, hints_of, recompute_cost
from replay.cache.replacement import Replacement, possible_policies, replacement
from replay.cache.sampled import SampledCurve, sampled_curve
from replay.cache.view import BlockView, block_view
from replay.config.scenario import Scenario
from replay.engine.prepare import Prepared, run_notes
from replay.engine.sizing import DEFAULT_BLOCK_SIZE, find_hardware
from replay.errors import InputError, UnknownNameError
from replay.trace.prefix_sample import PrefixSample
from replay.units import Capacity, format_bytes

NO_CONTENT = "no content: reuse unknown. The trace has lengths only, so there is nothing to hit."
_BY_COST = {"gdsf", "pgdsf"}  # what blocks cost is looked up for these alone
_EQUAL_COST = RecomputeCost(linear_ns=1, context_ns=0)
UNITS = ("blocks", "tokens", "GiB")
GIB = 2**30
LRU_POINTS, DRAWN_POINTS = 240, 72  # of a line in a picture: straight between them, and looks it


@dataclass(frozen=True, slots=True)
class Ask:
    """What the user wants to know, before the trace is looked at; empty means a default.

    Without a unit capacities are shown in that they were given in.

    Without policies all that the trace has what they need for are asked for.
    """

    policies: Sequence[str] = ()
    block_sizes: Sequence[int] = ()
    capacities: Sequence[Capacity] = ()
    unit: str | None = None
    ttl_ns: int | None = None
    points: int | None = None
    threads: int | None = None
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A trace in each block size, the policies, and for each block size capacities and hints.

    `drawn` are the capacities of a picture, those of `capacities` among them, empty where none is
    asked for.

    `kv_bytes_per_token` is None where no model was named and no bytes were asked for; `pool_bytes`
    is the KV memory of the GPU where one was named. `estimates` are the LRU curves of the whole
    trace where the views are of a sample of it, None otherwise.
    """

    prepared: Prepared
    views: Sequence[BlockView]
    policies: Sequence[Replacement]
    estimates: Sequence[SampledCurve | None]
    capacities: Sequence[Sequence[int]]
    unit: str
    kv_bytes_per_token: int | None
    pool_bytes: int | None
    hints: Sequence[Hints]
    threads: int
    notes: Sequence[str]
    preface: Sequence[str] = ()
    drawn: Sequence[Sequence[int]] = ()

    def block_bytes(self, view: BlockView) -> int | None:
        """The bytes of a block, where those of a token are known."""
        return (
            None if self.kv_bytes_per_token is None else self.kv_bytes_per_token * view.block_size
        )

    def in_unit(self, view: BlockView, blocks: int) -> float:
        """Return a number of blocks in the unit of the question."""
        if self.unit == "blocks":
            return blocks
        if self.unit == "tokens":
            return blocks * view.block_size
        assert self.kv_bytes_per_token is not None  # `ask` looked the model up
        return blocks * view.block_size * self.kv_bytes_per_token / GIB


def ask(prepared: Prepared, wanted: Ask, sample: PrefixSample | None = None) -> Question:
    """Return the question about a prepared trace, or about the one it is a `sample` of.

    Raises UnknownNameError for a policy or unit that stands in no table, and InputError
    for a capacity below one block or a policy that lacks what it needs.
    """
    unit = wanted.unit or _unit_given(wanted.capacities)
    if unit not in UNITS:
        raise UnknownNameError("unit", unit, UNITS)
    wanted = replace(wanted, unit=unit)
    scenario = prepared.scenario
    _refuse_what_does_nothing(scenario, wanted)
    notes = [*prepared.trace.meta.notes, *run_notes(prepared)]
    kv_bytes, pool = _bytes(scenario, wanted)
    if kv_bytes is not None:
        per_token = f"{format_bytes(kv_bytes)} a token"
        kv_dtype = scenario.model.kv_dtype
        notes.append(f"KV of {scenario.model.name} in {kv_dtype}: {per_token}")
    own_size = prepared.trace.meta.block_size or DEFAULT_BLOCK_SIZE
    sizes = wanted.block_sizes or (scenario.cache.block_size or own_size,)
    outputs = prepared.trace.column("output_tokens")
    views = [
        block_view(
            prepared.tree,
            outputs,
            block_size=size,
            partial_blocks=scenario.cache.partial_blocks,
            responses=scenario.cache.responses,
        )
        for size in sizes
    ]
    cost = _EQUAL_COST
    if not wanted.policies or _BY_COST & set(wanted.policies):
        from replay.gpu.spec import load_gpu, load_model

        cost = recompute_cost(load_gpu(scenario.gpu.name), load_model(scenario.model.name))
    hints = [
        hints_of(prepared.trace, size, cost=cost, ttl_ns=wanted.ttl_ns, seed=scenario.seed)
        for size in sizes
    ]
    policies = [replacement(name) for name in wanted.policies] or possible_policies(hints[0])
    estimates: list[SampledCurve | None] = [None] * len(views)
    if sample is not None:
        if [one.name for one in policies] != ["lru"]:
            raise InputError("only the curve of lru can be estimated from a sample")
        estimates = [sampled_curve(view, sample.one_in, sample.stratum) for view in views]
    capacities = [
        _capacities(view, estimate, wanted, kv_bytes, pool)
        for view, estimate in zip(views, estimates, strict=True)
    ]
    drawn: list[list[int]] = []
    if wanted.drawn:
        for view, estimate, shown in zip(views, estimates, capacities, strict=True):
            own = _pool_blocks(view, kv_bytes, pool)
            drawn.append(_drawn(view, estimate, shown, policies, own))
    return Question(
        drawn=drawn,
        prepared=prepared,
        views=views,
        policies=policies,
        estimates=estimates,
        capacities=capacities,
        unit=unit,
        kv_bytes_per_token=kv_bytes,
        pool_bytes=pool,
        hints=hints,
        threads=wanted.threads or os.cpu_count() or 1,
        notes=notes,
        preface=_preface(prepared, named=kv_bytes is not None),
    )


def _preface(prepared: Prepared, *, named: bool) -> list[str]:
    """Return what must be read before any number; `named` says that the model plays a part."""
    bound = None
    if named:
        from replay.gpu.hybrid import upper_bound
        from replay.gpu.spec import load_model

        bound = upper_bound(load_model(prepared.scenario.model.name))
    lines = [] if bound is None else [bound]
    return lines if prepared.content_known else [*lines, NO_CONTENT]


def _unit_given(capacities: Sequence[Capacity]) -> str:
    """Return the unit that all of these capacities were given in, blocks where they differ."""
    shown_in = {"bytes": "GiB", "auto": "GiB", "tokens": "tokens"}
    units = {shown_in.get(one.unit, "blocks") for one in capacities if one.unit != "inf"}
    return units.pop() if len(units) == 1 else "blocks"


_HEEDED = {"cache": {"block_size", "partial_blocks", "responses"}, "engine": {"mode"}}


def _refuse_what_does_nothing(scenario: Scenario, wanted: Ask) -> None:
    """Raise InputError for settings that ask for something a question does not look at."""
    for name, heeded in _HEEDED.items():
        section = getattr(scenario, name)
        for key, field in type(section).model_fields.items():
            if key not in heeded and getattr(section, key) != field.default:
                raise InputError(
                    f"{name}.{key} has no effect here: policies and capacities are options",
                    hint="`--capacity` and `--policy` name them; `replay run` heeds the rest",
                )
    if wanted.block_sizes and scenario.cache.block_size is not None:
        raise InputError("cache.block_size and --block-size are both given", hint="give one")
    if wanted.points is not None and wanted.capacities:
        raise InputError("--points and --capacity are both given", hint="give one")
    if wanted.ttl_ns is not None and wanted.policies and "ttl" not in wanted.policies:
        raise InputError("--ttl has no effect without policy ttl", hint="add it to --policy")


def unsized(scenario: Scenario) -> Scenario:
    """Return a scenario that names no hardware, for preparing a trace without sizing its cache.

    A question needs the bytes of a model's KV, not that the model fits a GPU.
    """
    cache = scenario.cache.model_copy(update={"capacity": "inf"})
    bare = scenario.model_copy(update={"cache": cache})
    bare.model_fields_set.difference_update({"gpu", "model"})
    return bare


def _bytes(scenario: Scenario, wanted: Ask) -> tuple[int | None, int | None]:
    """Return (KV bytes of a token, KV memory of the GPU), each None where nothing asks for it."""
    asked = {one.unit for one in wanted.capacities}
    if "gpu" in scenario.hardware_named or "auto" in asked:
        pool = find_hardware(scenario).pool
        return pool.kv_bytes_per_token, pool.pool_bytes
    if "model" in scenario.model_fields_set or "bytes" in asked or wanted.unit == "GiB":
        from replay.gpu.memory import check_keeps_kv
        from replay.gpu.spec import load_model

        model = load_model(scenario.model.name)
        check_keeps_kv(model)
        return model.pool_token_bytes(scenario.model.kv_dtype), None
    return None, None


def _capacities(
    view: BlockView,
    estimate: SampledCurve | None,
    wanted: Ask,
    kv_bytes: int | None,
    pool: int | None,
) -> list[int]:
    """Return the capacities of one block size in blocks, ascending, each once."""
    if wanted.capacities:
        found = {_blocks(one, view, kv_bytes, pool) for one in wanted.capacities}
        return sorted(found)
    curve = view.curve if estimate is None else estimate.curve
    most = max(curve.working_set_blocks, view.longest_request_blocks)
    if wanted.points is not None:
        return spaced_capacities(1, most, wanted.points)
    unit_blocks = 1.0
    if wanted.unit == "tokens":
        unit_blocks = 1 / view.block_size
    elif wanted.unit == "GiB":
        assert kv_bytes is not None
        unit_blocks = GIB / (kv_bytes * view.block_size)
    rounded = round_capacities(view.longest_request_blocks, most, unit_blocks)
    own = _pool_blocks(view, kv_bytes, pool)
    return sorted({*rounded, *([] if own is None else [own])})


def _pool_blocks(view: BlockView, kv_bytes: int | None, pool: int | None) -> int | None:
    """Return the blocks that the memory of the GPU holds, None where no GPU was named."""
    if kv_bytes is None or pool is None:
        return None
    return max(pool // (kv_bytes * view.block_size), 1)


def _drawn(
    view: BlockView,
    estimate: SampledCurve | None,
    shown: Sequence[int],
    policies: Sequence[Replacement],
    own: int | None,
) -> list[int]:
    """Return the capacities of a smooth line: from the longest request to all reuse.

    LRU costs nothing at one capacity more, each other policy a replay.
    """
    curve = view.curve if estimate is None else estimate.curve
    named = [*shown, *([] if own is None else [own])]
    low = min(max(view.longest_request_blocks, 1), *named)
    high = max(curve.working_set_blocks, 2 * low, *named)
    free = all(policy.name == "lru" for policy in policies)
    return sorted({*spaced_capacities(low, high, LRU_POINTS if free else DRAWN_POINTS), *named})


def _blocks(asked: Capacity, view: BlockView, kv_bytes: int | None, pool: int | None) -> int:
    size = view.block_size
    if asked.unit == "inf":
        return max(view.unique_blocks, 1)
    blocks = asked.amount
    if asked.unit == "tokens":
        blocks = asked.amount // size
    elif asked.unit in ("bytes", "auto"):
        amount = asked.amount if asked.unit == "bytes" else pool
        assert kv_bytes is not None  # `_bytes` looked both up
        assert amount is not None
        blocks = amount // (kv_bytes * size)
    if blocks < 1:
        raise InputError(
            f"a cache of {asked} holds no block of {size} tokens",
            hint="give a larger --capacity or a smaller --block-size",
        )
    return blocks
