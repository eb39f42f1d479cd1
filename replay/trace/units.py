"""The content of every request as flat arrays of units: segments, or token ids of one token each.

The response belongs to it where it is known: of m tokens it leaves KV for m - 1, because the last
one sampled is never computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.trace.blocks import flat_blocks
from replay.trace.problems import ProblemList

if TYPE_CHECKING:
    from replay.trace.frame import Trace


@dataclass(frozen=True, slots=True)
class FlatUnits:
    """Units end to end: request r has `units[offsets[r]:offsets[r + 1]]`.

    Its prompt is what lies before `prompt_stops[r]`. `offsets` int64[R+1], `prompt_stops`
    int64[R], `units` uint64[U] or uint32[U], `unit_tokens` int32[U], or empty where every unit is
    one token.
    """

    offsets: np.ndarray
    prompt_stops: np.ndarray
    units: np.ndarray
    unit_tokens: np.ndarray


def units_of(trace: Trace) -> FlatUnits:
    """Return the content of a trace with segments or token ids; segments where it has both.

    Raises TraceError where they do not add up to the lengths of prompts and responses.
    """
    return _segments(trace) if trace.has_segments else _tokens(trace)


def _segments(trace: Trace) -> FlatUnits:
    frame = trace.frame
    units, sizes = flat_blocks(frame["segments"]), flat_blocks(frame["segment_tokens"])
    _check_segments(trace, units.counts, sizes.counts, sizes.offsets, sizes.ids)
    responses = np.zeros(trace.requests, bool)
    ids = np.zeros(trace.requests, np.uint64)
    if "response_segment" in frame.columns:
        responses = frame["response_segment"].is_not_null().to_numpy() & (
            trace.column("output_tokens") > 1
        )
        ids = frame["response_segment"].fill_null(0).to_numpy()
    places = units.offsets[1:][responses]
    left = trace.column("output_tokens")[responses] - 1
    offsets, prompt_stops = _with_responses(units.counts, responses)
    return FlatUnits(
        offsets=offsets,
        prompt_stops=prompt_stops,
        units=np.insert(units.ids.astype(np.uint64), places, ids[responses]),
        unit_tokens=np.insert(sizes.ids.astype(np.int32), places, left.astype(np.int32)),
    )


def _tokens(trace: Trace) -> FlatUnits:
    frame = trace.frame
    prompts = frame["tokens"].list.len().fill_null(0).to_numpy().astype(np.int64)
    lists = frame["tokens"]
    kept = np.zeros(trace.requests, np.int64)
    if "response_tokens" in frame.columns:
        given = frame["response_tokens"].list.len()
        _check_tokens(trace, prompts, given)
        kept = np.maximum(given.fill_null(0).to_numpy().astype(np.int64) - 1, 0)
        response = pl.col("response_tokens").fill_null(pl.lit([], pl.List(pl.UInt32)))
        left = response.list.head((response.list.len().cast(pl.Int64) - 1).clip(0))
        lists = frame.select(pl.concat_list("tokens", left)).to_series()
    else:
        _check_tokens(trace, prompts, None)
    offsets = np.zeros(trace.requests + 1, np.int64)
    np.cumsum(prompts + kept, out=offsets[1:])
    return FlatUnits(
        offsets=offsets,
        prompt_stops=offsets[:-1] + prompts,
        units=flat_blocks(lists).ids,
        unit_tokens=np.zeros(0, np.int32),
    )


def _with_responses(counts: np.ndarray, responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts + responses, out=offsets[1:])
    return offsets, offsets[:-1] + counts


def _check_segments(
    trace: Trace,
    units: np.ndarray,
    sizes: np.ndarray,
    offsets: np.ndarray,
    unit_tokens: np.ndarray,
) -> None:
    problems = ProblemList(trace.meta.path)
    problems.add_rows(
        np.flatnonzero(units != sizes),
        lambda row: f"request {row}: {units[row]} segments but {sizes[row]} segment_tokens",
        lines=None,
    )
    problems.raise_any()
    owner = np.repeat(np.arange(trace.requests), sizes)
    problems.add_rows(
        owner[unit_tokens < 1],
        lambda row: f"request {row}: a segment of no tokens",
        lines=None,
    )
    upto = np.zeros(len(unit_tokens) + 1, np.int64)
    np.cumsum(unit_tokens, out=upto[1:])
    total = upto[offsets[1:]] - upto[offsets[:-1]]
    _check_totals(trace, problems, total, "segment_tokens")
    problems.raise_any()


def _check_tokens(trace: Trace, prompts: np.ndarray, responses: pl.Series | None) -> None:
    problems = ProblemList(trace.meta.path)
    _check_totals(trace, problems, prompts, "tokens")
    if responses is not None:
        wanted = trace.frame["output_tokens"]
        wrong = (responses != wanted).fill_null(False).to_numpy()
        problems.add_rows(
            np.flatnonzero(wrong),
            lambda row: (
                f"request {row}: output_tokens is {wanted[row]} "
                f"(got {responses[row]} response_tokens)"
            ),
            lines=None,
        )
    problems.raise_any()


def _check_totals(trace: Trace, problems: ProblemList, total: np.ndarray, name: str) -> None:
    wanted = trace.column("input_tokens")
    problems.add_rows(
        np.flatnonzero(total != wanted),
        lambda row: f"request {row}: input_tokens is {wanted[row]} (got {total[row]} {name})",
        lines=None,
    )
