"""Pictures of answers that are small tables: the table's own rows, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from replay.report.answer_charts import bars_chart, columns_chart
from replay.units import NS_PER_S, format_duration

if TYPE_CHECKING:
    import altair

INTERVALS = 60
_PARTS = {
    "session_hit_share": "hit, own session",
    "cross_request_hit_share": "hit, others",
    "capacity_miss_share": "evicted",
    "cold_share": "cold",
    "in_flight_share": "in flight",
    "granularity_share": "block rounding",
    "policy_miss_share": "not kept",
    "disabled_share": "caching off",
}


def draw_policies(lines: pl.DataFrame, name: str) -> altair.TopLevelMixin:
    """Return the token hit rate of each policy, best first; by capacity where there are several."""
    sizes = ("block_size", "capacity_blocks")
    varying = [size for size in sizes if lines[size].n_unique() > 1]
    rows = []
    for line in lines.drop_nulls("token_hit_rate").iter_rows(named=True):
        where = "".join(f", {line[size]:,} {size.removeprefix('capacity_')}" for size in varying)
        rows.append((line["policy"] + where, line["token_hit_rate"]))
    subtitle = name
    if not varying and lines.height:
        first = lines.row(0, named=True)
        subtitle = (
            f"{name}, {first['capacity_blocks']:,} blocks of {first['block_size']:,} tokens, "
            "requests one after another"
        )
    return bars_chart(rows, title="Eviction policies", subtitle=subtitle, x_title="token hit rate")


def draw_gain(lines: pl.DataFrame, name: str) -> altair.TopLevelMixin:
    """Return the token hit rate with no cache, with either and with both."""
    rows = list(lines.select("caches", "token_hit_rate").iter_rows())
    return bars_chart(
        rows, title="What each cache is worth", subtitle=name, x_title="token hit rate"
    )


def draw_arrivals(arrival_ns: pl.Series, name: str) -> altair.TopLevelMixin:
    """Return how many requests arrive in each of INTERVALS equal parts of a trace."""
    length = max(int(arrival_ns[-1]) // INTERVALS + 1, 1)
    counted = dict((arrival_ns // length).value_counts().iter_rows())
    starts = [f"{at * length / NS_PER_S:.6g}" for at in range(INTERVALS)]
    return columns_chart(
        starts,
        {"requests": [counted.get(at, 0) for at in range(INTERVALS)]},
        title="Arrivals",
        subtitle=f"{name}, in intervals of {format_duration(length)}",
        x_title="seconds from the start",
        y_title="requests",
        shares=False,
    )


def draw_tokens(hit_rate: pl.DataFrame, name: str) -> altair.TopLevelMixin:
    """Return where prompt tokens went over time, the rows of the report `hit_rate`."""
    windows = hit_rate.filter(pl.col("slice") == "window")
    there = [column for column in _PARTS if column in windows.columns and windows[column].sum()]
    return columns_chart(
        windows["bucket"].to_list(),
        {_PARTS[column]: windows[column].to_list() for column in there},
        title="Where prompt tokens went",
        subtitle=f"{name}, by time of arrival",
        x_title="time of arrival",
        y_title="share of prompt tokens",
        shares=True,
    )
