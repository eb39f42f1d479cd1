"""The prefix tree as an icicle: what is shared by how many, and how much of it hit."""

from __future__ import annotations

from collections.abc import Mapping

from replay.report.frame.axes import AMOUNT_LABEL, LEFT
from replay.report.page.drawn import Data, Drawn, Key, LeftOut, View
from replay.report.page.facts import Facts
from replay.report.page.vega import view
from replay.report.pictures.icicle import (
    KEPT_NAMES,
    KEPT_SHADES,
    few_bring,
    icicle,
    kept_shade,
    readable_on_kept,
)

_TOOLTIP = (
    {"field": "prefix_id", "title": "prefix"},
    {"field": "start_tokens", "title": "from token", "format": ",d"},
    {"field": "stop_tokens", "title": "to token", "format": ",d"},
    {"field": "requests", "format": ",d"},
    {"field": "hit_tokens", "title": "tokens saved", "format": ",d"},
    {"field": "kept", "title": "repeats that hit", "format": ".0%"},
)


def caption(prefixes: Data) -> str:
    """Return how few prefixes bring half of all reuse, where few do."""
    shares = [row["hit_share"] for row in prefixes.records]
    return few_bring(shares, "all reuse") or "None of the shared prefixes was reused."


def tree(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the prefixes that saved most and what they hang from."""
    table = data["prefixes"]
    layers = icicle(
        facts.summary["requests"],
        {**LEFT, "labelExpr": AMOUNT_LABEL},
        kept_shade("kept"),
        _TOOLTIP,
        {"condition": readable_on_kept("kept"), "value": "var(--onlight)"},
        "format(datum.requests, ',d') + ' requests'",
    )
    shown = len(table.rows)
    return Drawn(
        caption=caption(table),
        subtitle=(
            f"The prefix tree, {shown} prefixes: width is how many requests contain one, depth its "
            "place in the prompt in tokens (square-root scale), so area is tokens sent."
        ),
        key_title="Share of its repeats that hit",
        key=tuple(Key(name, shade) for name, shade in zip(KEPT_NAMES, KEPT_SHADES, strict=True)),
        views=(View("prefixes", view("prefixes", 230, layer=layers)),),
    )
