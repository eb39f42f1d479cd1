"""A trace in bins: its arrivals by the clock, its lengths and the age of what it reuses by size.

Bins of sizes are even on a log scale. Every request, and every block that is reused, is in one bin.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from replay.trace.frame import Trace
from replay.trace.reuse import EdgeUses
from replay.units import NS_PER_S

MOST_WINDOWS = 60
_WINDOWS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
_PER_OCTAVE, _PER_DECADE = 2, 3
_SHORTEST_S = 0.1  # what is reused sooner is in the first bin


def arrivals_over_time(trace: Trace) -> pl.DataFrame:
    """Return `from_s`, `to_s`, `requests` and `requests_per_s` of each window of the trace.

    Windows are of a round length, at most `MOST_WINDOWS` of them; the last one ends with the trace.
    """
    arrival_s = trace.column("arrival_ns") / NS_PER_S
    span = float(arrival_s[-1])
    width = next((w for w in _WINDOWS_S if span / w <= MOST_WINDOWS), None)
    if width is None:
        width = math.ceil(span / MOST_WINDOWS / 86_400) * 86_400
    windows = max(math.ceil(span / width), 1)
    place = np.minimum((arrival_s // width).astype(np.int64), windows - 1)
    starts = np.arange(windows) * float(width)
    stops = np.minimum(starts + width, span) if span else starts + width
    requests = np.bincount(place, minlength=windows)
    return pl.DataFrame(
        {
            "from_s": starts,
            "to_s": stops,
            "requests": requests,
            "requests_per_s": requests / np.maximum(stops - starts, 1e-9),
        }
    )


def lengths_in_bins(trace: Trace) -> pl.DataFrame:
    """Return how many prompts and responses are `from_tokens` long and shorter than `to_tokens`."""
    parts = []
    for of, name in (("prompts", "input_tokens"), ("responses", "output_tokens")):
        tokens = trace.column(name)
        place = np.floor(np.log2(tokens) * _PER_OCTAVE).astype(np.int64)
        found, counts = np.unique(place, return_counts=True)
        low, high = 2.0 ** (found / _PER_OCTAVE), 2.0 ** ((found + 1) / _PER_OCTAVE)
        parts.append(
            pl.DataFrame(
                {
                    "of": pl.Series([of]).new_from_index(0, len(found)),
                    "from_tokens": low,
                    "to_tokens": high,
                    "requests": counts,
                }
            )
        )
    return pl.concat(parts)


def reuse_in_bins(uses: EdgeUses, arrival_ns: np.ndarray) -> pl.DataFrame:
    """Return how many blocks were used again after `from_s` and before `to_s`.

    `of` is what more than one request in a hundred uses, or the rest; `share` is 0..1 of all
    reused blocks.
    """
    chosen = uses.hit
    since = arrival_ns[uses.request] - arrival_ns[uses.request[uses.before]]
    seconds = np.maximum(since[chosen] / NS_PER_S, _SHORTEST_S)
    blocks, hot = uses.blocks[uses.edge][chosen], uses.hot[chosen]
    place = np.floor(np.log10(seconds) * _PER_DECADE).astype(np.int64)
    grouped = (
        pl.DataFrame({"hot": hot, "place": place, "blocks": blocks})
        .group_by("hot", "place")
        .agg(pl.col("blocks").sum())
        .filter(pl.col("blocks") > 0)
        .sort("hot", "place")
    )
    edge = 10.0 ** (pl.col("place") / _PER_DECADE)
    return grouped.select(
        of=pl.when("hot").then(pl.lit("in over 1% of requests")).otherwise(pl.lit("rarer")),
        from_s=edge,
        to_s=10.0 ** ((pl.col("place") + 1) / _PER_DECADE),
        blocks="blocks",
        share=pl.col("blocks") / max(int(blocks.sum()), 1),
    )
