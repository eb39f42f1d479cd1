"""A trace made ready for any cache: in order, linked, and its content grown into a prefix tree.

What takes longest before a replay, and the same whatever the cache: one grown trace serves every
capacity, policy, model and GPU.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from replay.config.scenario import Scenario
from replay.progress import Hook, ignore
from replay.trace.arrivals import speed_up, spread_arrivals
from replay.trace.continuation import continue_sessions, may_assume
from replay.trace.frame import CONTENT_COLUMNS, SESSIONS_NONE, Trace
from replay.trace.separation import separated
from replay.trace.sessions import infer_sessions
from replay.trace.sub_blocks import share_within_blocks
from replay.trace.tree import PrefixTree, build_tree


@dataclass(frozen=True, slots=True)
class Grown:
    """A trace in order and linked, and the tree that its content grew into, which it lacks now.

    No cache is sized yet, so one serves every capacity, policy and GPU. `block_size` is that of the
    trace as it was read.
    """

    trace: Trace
    tree: PrefixTree
    content_known: bool
    block_size: int | None


def grow(
    trace: Trace,
    scenario: Scenario,
    *,
    tree: PrefixTree | None = None,
    sessions: bool = True,
    progress: Hook = ignore,
) -> Grown:
    """Order and link a trace and build its prefix tree, as `grown_by` of the scenario says.

    `tree` and `sessions` as `prepare_trace` takes them. Raises what building the tree raises.
    """
    block_size = trace.meta.block_size
    content_known = tree is not None
    trace = separated(trace, scenario.trace.separate_by)
    trace = _adjust(trace, scenario, content_known=content_known, sessions=sessions)
    if tree is None:
        progress("Building the prefix tree", 0, 0)
        tree = build_tree(trace)
        content_known = trace.has_content
    # The tree holds what the content says; without it a long trace takes a third less memory.
    slim = trace.changed(trace.frame.drop(CONTENT_COLUMNS, strict=False))
    return Grown(slim, tree, content_known, block_size)


def grown_by(scenario: Scenario) -> str:
    """Return what of a scenario decides how a trace grows: where it is equal, so is the result."""
    drawn = scenario.seed if scenario.trace.arrival_jitter is not None else None
    return f"{drawn} {scenario.trace.model_dump_json()}"


def _adjust(trace: Trace, scenario: Scenario, *, content_known: bool, sessions: bool) -> Trace:
    wanted = scenario.trace
    if wanted.arrival_jitter is not None:
        trace = spread_arrivals(trace, wanted.arrival_jitter, seed=scenario.seed)
    if wanted.speedup != 1:
        trace = speed_up(trace, wanted.speedup)
    assume = wanted.content == "auto" and not content_known and may_assume(trace)
    if assume or wanted.content == "continue_sessions":
        trace = continue_sessions(trace)
    if sessions and wanted.sessions == "infer" and not trace.has_sessions and trace.has_blocks:
        trace = infer_sessions(trace)
    if wanted.sessions == "off" and trace.has_sessions:
        dropped = [name for name in ("session_id", "turn") if name in trace.frame.columns]
        meta = dataclasses.replace(trace.meta, sessions=SESSIONS_NONE)
        trace = trace.changed(
            trace.frame.drop(dropped), meta.noting("the trace's sessions were left out")
        )
    if wanted.inside_blocks:
        trace = share_within_blocks(
            trace,
            system_prompt_tokens=wanted.system_prompt_tokens,
            shared_part=wanted.shared_block_part,
        )
    return trace
