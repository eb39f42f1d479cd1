"""A trace made ready to replay or to ask about: read, linked, its tree built, its cache sized.

Hardware and what steps cost are imported where they are needed: a question to the cache alone
needs neither.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from replay.cache.pins import check_pins
from replay.config.scenario import Scenario
from replay.engine.growing import Grown, grow
from replay.engine.machine import Machine, find_machine
from replay.engine.sizing import Sizing, size_cache
from replay.progress import Hook, ignore
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.separation import sharing_notes
from replay.trace.stream import is_streamable, stream_trace
from replay.trace.tree import PrefixTree

if TYPE_CHECKING:
    from replay.engine.costing import Costing
    from replay.gpu.cost import StepCost

RESPONSES_UNKNOWN = (
    "the trace does not identify responses: they occupy the cache, but no later prompt can hit "
    "them, so a follow-up's hit stops where the earlier prompt ended"
)
FORMER_NAME = (
    "engine.prefill_chunk_tokens is the former name of engine.long_prefill_token_threshold, and "
    "means the same: a request that is alone is not limited by it"
)
NO_PRIORITIES = (
    "engine.order priority: the trace has no column priority, so all requests are equally urgent "
    "and come as they arrive"
)
NO_PRIORITIES_TO_KEEP = (
    "cache.policy priority: the trace has no column priority, so nothing is kept longer for it, "
    "and what was used longest ago goes first"
)
COME_AS_THEY_ARRIVE = (
    "nothing is cached, so engine.order {} has nothing to go by: requests come as they arrive, as "
    "in sglang"
)
IDS_ONLY = "with partial blocks only the trace's own ids are cacheable: responses are not kept"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A trace read, its tree built and the cache sized: all that can fail before time passes."""

    scenario: Scenario
    trace: Trace
    tree: PrefixTree
    sizing: Sizing
    costing: Costing | None
    content_known: bool
    timings_ns: dict[str, int]
    engine_notes: tuple[str, ...] = ()

    @property
    def cost(self) -> StepCost | None:
        """What steps cost; None where no time passes."""
        return None if self.costing is None else self.costing.cost


def prepare(
    trace_path: str | Path,
    scenario: Scenario,
    *,
    format_name: str | None = None,
    options: ReadOptions = DEFAULTS,
    sessions: bool = True,
    progress: Hook = ignore,
) -> Prepared:
    """Read a trace and prepare it; raises what `load_trace` and `prepare_trace` raise.

    What the scenario names is looked up first. Without `sessions` none are inferred: for an answer
    that does not depend on them.
    """
    started = time.perf_counter_ns()
    machine = find_machine(scenario)
    scenario = machine.scenario
    progress("Reading the trace", 0, 0)
    streamed = None
    as_it_is = format_name is None and options == DEFAULTS
    if as_it_is and _may_stream(trace_path, scenario, sessions=sessions):
        streamed = stream_trace(
            trace_path, separate_by=scenario.trace.separate_by, progress=progress
        )
    trace, tree = streamed or (None, None)
    if trace is None:
        trace = load_trace(trace_path, format_name=format_name, options=options, progress=progress)
    prepared = prepare_trace(
        trace, scenario, tree=tree, machine=machine, sessions=sessions, progress=progress
    )
    timings = {"prepare_ns": time.perf_counter_ns() - started}
    return dataclasses.replace(prepared, timings_ns=timings)


def _may_stream(path: str | Path, scenario: Scenario, *, sessions: bool) -> bool:
    """Return whether a run needs nothing of a long trace's content but its tree."""
    wanted = scenario.trace
    if wanted.content == "continue_sessions" or wanted.inside_blocks or not is_streamable(path):
        return False
    return not sessions or wanted.sessions == "off" or "session_id" in pl.read_parquet_schema(path)


def prepare_trace(
    trace: Trace,
    scenario: Scenario,
    *,
    tree: PrefixTree | None = None,
    machine: Machine | None = None,
    sessions: bool = True,
    progress: Hook = ignore,
) -> Prepared:
    """Order and link a trace, size its cache and build its prefix tree.

    `tree` is that of a trace which was streamed, and has no content of its own any more; `machine`
    is what the scenario names, where that was looked up already. Without `sessions` none are
    inferred. Raises what looking it up, sizing the cache and building the tree raise.
    """
    machine = machine or find_machine(scenario)
    check_size(machine, trace.meta.block_size)
    grown = grow(trace, machine.scenario, tree=tree, sessions=sessions, progress=progress)
    return fit(grown, machine)


def check_size(machine: Machine, trace_block_size: int | None) -> None:
    """Raise what sizing the cache would, before a tree is grown for it."""
    size_cache(machine.scenario, trace_block_size, machine.hardware)


def fit(grown: Grown, machine: Machine) -> Prepared:
    """Size the cache of a grown trace.

    Raises what that raises, and InputError for unknown pins and for steps too long to be timed.
    """
    scenario = machine.scenario
    sizing = size_cache(scenario, grown.block_size, machine.hardware)
    check_pins(grown.tree, scenario.cache.pinned_prefixes)
    trace, tree, known = grown.trace, grown.tree, grown.content_known
    if machine.costing is not None and len(trace.frame):
        from replay.engine.costing import check_lengths

        tokens = trace.frame["input_tokens"].cast(pl.Int64) + trace.frame["output_tokens"]
        check_lengths(scenario, int(tokens.max()))  # type: ignore[arg-type]
    return Prepared(scenario, trace, tree, sizing, machine.costing, known, {}, machine.notes)


def bound_of(prepared: Prepared) -> str | None:
    """Return why hits and capacity are upper bounds for the model that is named, None if not."""
    hardware = prepared.sizing.hardware
    named = "model" in prepared.scenario.model_fields_set
    if hardware is None and not named:
        return None
    from replay.gpu.hybrid import upper_bound
    from replay.gpu.spec import load_model

    if hardware is not None:
        return upper_bound(hardware.model)
    return upper_bound(load_model(prepared.scenario.model.name))


def run_notes(prepared: Prepared) -> list[str]:
    """Return what a reader of a run should know about the size and content of what was run."""
    cache = prepared.scenario.cache
    notes = sharing_notes(prepared.trace, content_known=prepared.content_known)
    if cache.policy == "priority" and "priority" not in prepared.trace.frame.columns:
        notes.append(NO_PRIORITIES_TO_KEEP)
    notes += prepared.sizing.notes
    if prepared.costing is not None:
        notes += [*prepared.engine_notes, *prepared.costing.notes, *_scheduler_notes(prepared)]
    if not prepared.content_known:
        return notes
    if cache.caching and cache.partial_blocks:
        notes.append(IDS_ONLY)
    elif cache.caching and cache.responses and not prepared.tree.has_responses:
        notes.append(RESPONSES_UNKNOWN)
    return notes


def _scheduler_notes(prepared: Prepared) -> list[str]:
    """Return what a reader should know of keys of the scheduler that mean less than they seem."""
    scenario = prepared.scenario
    engine, notes = scenario.engine, []
    if engine.prefill_chunk_tokens is not None:
        notes.append(FORMER_NAME)
    if engine.order == "priority" and "priority" not in prepared.trace.frame.columns:
        notes.append(NO_PRIORITIES)
    if engine.order in ("lpm", "dfs-weight", "hrrn") and not scenario.cache.caching:
        notes.append(COME_AS_THEY_ARRIVE.format(engine.order))
    return notes
