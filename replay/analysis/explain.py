"""The story of one request of a run: what it hit, what it missed, and why.

A run is deterministic, so its story is had by replaying it up to that request, with everything
noted that concerns the blocks of its prompt. What comes out must be what the run says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from replay.analysis.stretches import Stretch, stretches
from replay.config.load import load_scenario
from replay.config.scenario import Scenario
from replay.engine.diagnosis import diagnose
from replay.engine.plan import UNLIMITED_BLOCKS, Plan, make_plan
from replay.engine.refusals import reasons
from replay.engine.run import Prepared, prepare
from replay.engine.watch import Watched, watch_request
from replay.errors import InputError
from replay.kernels import layout
from replay.progress import Hook, ignore
from replay.runs.layout import SCENARIO
from replay.runs.open import Run
from replay.runs.read import run_table
from replay.runs.trace_path import check_read_alike, how_it_ran, trace_path
from replay.trace.readers.options import DEFAULTS, ReadOptions

_REPRODUCED = {
    "hit_tokens": layout.HIT,
    "session_hit_tokens": layout.SESSION_HIT,
    "cold_tokens": layout.COLD,
    "capacity_miss_tokens": layout.CAPACITY_MISS,
    "in_flight_tokens": layout.IN_FLIGHT,
    "granularity_tokens": layout.GRANULARITY,
}


@dataclass(frozen=True, slots=True)
class Sharing:
    """How many requests and sessions of the whole trace have a prefix; None where unknown."""

    requests: int
    sessions: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What there is to tell of a request.

    `row` is that of the run's table `requests`; `arrivals_ns` and `sessions` (of requests the
    stretches name) and `shared` (of their prefixes) say more about the stretches. The last three
    fields are those of `replay.engine.diagnosis.Diagnosis`.
    """

    row: Mapping[str, Any]
    stretches: tuple[Stretch, ...]
    arrivals_ns: Mapping[int, int]
    sessions: Mapping[int, int | None]
    shared: Mapping[int, Sharing]
    block_size: int
    capacity_blocks: int | None
    kv_bytes_per_token: int | None
    sufficient_capacity_blocks: int
    optimum_hit_tokens: int
    avoidable_miss_tokens: int


def explain_request(
    run: Run,
    request: int,
    *,
    trace: Path | None = None,
    format_name: str | None = None,
    options: ReadOptions = DEFAULTS,
    progress: Hook = ignore,
) -> Explanation:
    """Return the story of a request of a run.

    `trace` is where its trace lies now, if it moved; `format_name` and `options` are those it was
    read with. Raises InputError for a request the cache was never asked about, for another trace
    than the run's, and where this version of replay does not reproduce the run; and what reading
    the scenario and preparing the trace raise.
    """
    stories = explain_requests(
        run, [request], trace=trace, format_name=format_name, options=options, progress=progress
    )
    return next(stories)


def explain_requests(
    run: Run,
    requests: Sequence[int],
    *,
    trace: Path | None = None,
    format_name: str | None = None,
    options: ReadOptions = DEFAULTS,
    progress: Hook = ignore,
) -> Iterator[Explanation]:
    """Yield the stories of requests of a run in the order given; its trace is read once.

    Each takes a replay up to its request. Takes and raises what `explain_request` does.
    """

    def read(scenario: Scenario) -> tuple[Prepared, Path | str]:
        path = trace_path(run, trace)
        prepared = prepare(
            path, scenario, format_name=format_name, options=options, progress=progress
        )
        return prepared, path

    return explain_with(run, requests, read, progress=progress)


def explain_with(
    run: Run,
    requests: Sequence[int],
    read: Callable[[Scenario], tuple[Prepared, Path | str]],
    *,
    progress: Hook = ignore,
) -> Iterator[Explanation]:
    """Yield stories as `explain_requests`; `read` makes the trace ready, and says what it is."""
    scenario = load_scenario(run.folder / SCENARIO)
    if run.manifest.get("content_known") is False:
        raise InputError(f"{run.folder}: no content: what its prompts share is unknown")
    rows = _rows(run, requests)
    for row in rows:
        _check_told(run, row, scenario)
    prepared, named = read(scenario)
    check_read_alike(run, prepared.trace.meta, named)
    plan = make_plan(
        prepared.trace,
        prepared.tree,
        scenario,
        block_size=prepared.sizing.block_size,
        capacity_blocks=prepared.sizing.capacity_blocks,
    )
    prefixes = run_table(run, "prefixes").collect()
    for row in rows:
        request = row["request_id"]
        watched = watch_request(plan, request, prepared.cost, progress=progress)
        _check_reproduced(run, row, watched)
        if not watched.looked_up:
            raise InputError(
                f"request {request} was still waiting when the run stopped: no look-up"
            )
        yield _explanation(run, row, prepared, plan, watched, prefixes)


_NEVER_NULL = ("status", "preemptions", "input_tokens", "output_tokens")


def _rows(run: Run, requests: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of the run's table `requests` in the order given."""
    table = run_table(run, "requests")
    wanted = table.filter(pl.col("request_id").is_in([*requests])).collect()
    found = {row["request_id"]: row for row in wanted.iter_rows(named=True)}
    for request in requests:
        if request not in found:
            last = table.select(pl.col("request_id").max()).collect().item()
            raise InputError(f"{run.folder}: no request {request} (the run has 0 to {last})")
    return [_complete(run, found[request]) for request in requests]


def _complete(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    unknown = [name for name in (*_NEVER_NULL, *_REPRODUCED) if row[name] is None]
    if unknown:
        raise InputError(
            f"{run.tables['requests']}: request {row['request_id']} has no {unknown[0]}",
            hint="the run was changed after it was written: replay it",
        )
    return row


def _check_told(run: Run, row: Mapping[str, Any], scenario: Scenario) -> None:
    """Raise InputError where the cache has nothing to tell of a request."""
    if scenario.cache.kind == "session_store":
        raise InputError(
            f"{run.folder}: explains block pools and radix caches only (got a session_store)",
            hint="the table `requests` has the causes: replay query RUN",
        )
    if not scenario.cache.caching:
        raise InputError(f"{run.folder}: caching was off in this run: nothing could be hit")
    if row.get("skips_lookup"):
        raise InputError(
            f"request {row['request_id']} skips the look-up, as requests for prompt "
            "log-probabilities do: nothing could be hit"
        )
    if row["status"] == "rejected" and not row["preemptions"]:
        raise InputError(
            f"request {row['request_id']} was rejected: it {_why_rejected(run, row, scenario)} "
            f"(got {row['input_tokens']:,} prompt tokens, {row['output_tokens']:,} of output)",
            hint="it was never looked up, so it hit nothing",
        )


def _why_rejected(run: Run, row: Mapping[str, Any], scenario: Scenario) -> str:
    sizes = run.manifest["cache"]
    blocks = UNLIMITED_BLOCKS if sizes["capacity_blocks"] is None else sizes["capacity_blocks"]
    prompt, output = (np.array([row[f"{side}_tokens"]]) for side in ("input", "output"))
    found = reasons(scenario.engine, prompt, output, block_size=sizes["block_size"], blocks=blocks)
    return next(words for mask, words in found if mask[0])


def _check_reproduced(run: Run, row: Mapping[str, Any], watched: Watched) -> None:
    """Raise InputError unless the replay gives the request what the run says it had."""
    outcome = watched.outcome[row["request_id"]]
    for name, field in _REPRODUCED.items() if watched.looked_up else ():
        if int(outcome[field]) != row[name]:
            version = run.manifest.get("replay_version", "another version")
            raise InputError(
                f"{run.folder}: a replay of it gives request {row['request_id']} "
                f"{outcome[field]:,} {name} (the run has {row[name]:,})",
                hint=f"it was made by replay {version}, perhaps with other rules, or its trace was "
                f"read with other options; {how_it_ran(run)}",
            )


def _explanation(
    run: Run,
    row: Mapping[str, Any],
    prepared: Prepared,
    plan: Plan,
    watched: Watched,
    prefixes: pl.DataFrame,
) -> Explanation:
    request = row["request_id"]
    told = tuple(stretches(plan, request, watched))
    named = sorted({one for part in told for one in (part.put_by, part.gone_to) if one is not None})
    session = prepared.trace.frame.get_column("session_id", default=None)
    cache = run.manifest["cache"]
    return Explanation(
        row=row,
        stretches=told,
        arrivals_ns={one: int(plan.table[one, layout.ARRIVAL_NS]) for one in named},
        sessions={one: None if session is None else session[one] for one in named},
        shared=_shared(prefixes, row, {part.prefix_id for part in told}),
        block_size=prepared.sizing.block_size,
        capacity_blocks=prepared.sizing.capacity_blocks,
        kv_bytes_per_token=cache["kv_bytes_per_token"],
        **_diagnosis(row, plan, watched),
    )


def _shared(table: pl.DataFrame, row: Mapping[str, Any], prefixes: set[int]) -> dict[int, Sharing]:
    """Return who shares each prefix; the run's table has those of more than one request."""
    known = table.filter(pl.col("prefix_id").is_in(sorted(prefixes)))
    alone = Sharing(1, None if row["session_id"] is None else 1)
    return dict.fromkeys(prefixes, alone) | {
        one["prefix_id"]: Sharing(one["requests"], one["sessions"])
        for one in known.iter_rows(named=True)
    }


def _diagnosis(row: Mapping[str, Any], plan: Plan, watched: Watched) -> dict[str, int]:
    """Return what the run says of other caches, or work it out where it was made before that."""
    names = ("sufficient_capacity_blocks", "optimum_hit_tokens", "avoidable_miss_tokens")
    if all(row.get(name) is not None for name in names):
        return {name: row[name] for name in names}
    found = diagnose(plan, watched.outcome)
    assert found is not None  # caching is on, and the cache has blocks
    return {name: int(getattr(found, name)[row["request_id"]]) for name in names}
