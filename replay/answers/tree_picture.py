"""A prefix tree as a picture: an icicle of what is shared, by how many, and what that saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replay.answers.tree_rows import spans
from replay.report.words import amount, percent

if TYPE_CHECKING:
    import polars as pl

    from replay.answers.shared_tree import SharedTree
    from replay.report.pictures.picture import Picture, Spec

_HEIGHT = 320
_FEW_DRAWN = 0.05  # of all requests: beside the others they would be slivers
_SAID = (
    "datum.text ? format(datum.requests, ',d') + ' · ' + datum.text "
    ": format(datum.requests, ',d') + ' requests'"
)
_SEVERAL, _ONE, _UNKNOWN = "several sessions", "one session", "several requests"
_TITLES = {"repeats_hit": "repeats that hit", "shared_by": "shared by"}
_SHARED_BY = {_SEVERAL: "cross", _ONE: "session", _UNKNOWN: "cross"}


def tree_picture(tree: SharedTree, rows: pl.DataFrame) -> Picture:
    """Return an icicle of the rows that `tree_rows` chose.

    Boxes of a run are shaded by the share of their repeats that hit, those of a trace by whether
    one session shares them or several.
    """
    import polars as pl

    from replay.report.pictures.picture import Picture

    start, stop = spans(rows, rows["requests"])
    across = int(stop.max()) if len(rows) else 0
    across = across if 0 < across < _FEW_DRAWN * tree.requests else tree.requests
    shade = _kept(rows) if tree.of_run else _shared_by(rows)
    frame = rows.with_columns(
        pl.Series("from_request", start), pl.Series("to_request", stop), shade
    )
    return Picture(
        finding=_finding(tree),
        subtitle=_subtitle(tree, rows, across),
        tables={"prefixes": frame},
        views=[_view(tree, frame, shade, across)],
    )


def _kept(rows: pl.DataFrame) -> pl.Series:
    """Return the share of repeats that hit in the words of the legend."""
    from replay.report.pictures.icicle import KEPT_NAMES, KEPT_STEPS

    names = [
        KEPT_NAMES[sum(share >= step for step in KEPT_STEPS)] for share in rows["repeats_hit_share"]
    ]
    return _texts("repeats_hit", names)


def _shared_by(rows: pl.DataFrame) -> pl.Series:
    """Return who shares each prefix in the words of the legend."""
    names = [
        _UNKNOWN if count is None else _ONE if count == 1 else _SEVERAL
        for count in rows["sessions"]
    ]
    return _texts("shared_by", names)


def _texts(name: str, values: list[str]) -> pl.Series:
    """Return texts as a column, of that type where there are none too."""
    import polars as pl

    return pl.Series(name, values, dtype=pl.String)


def _finding(tree: SharedTree) -> str:
    """Return how much is hit in all, and how few prefixes bring half of it, where few do."""
    from replay.report.pictures.icicle import few_bring

    if not tree.hit_tokens:
        return "No prompt shares a prefix with another." if not tree.of_run else "Nothing was hit."
    share = percent(tree.hit_tokens / tree.input_tokens)
    whole = f"{share} of the prompt tokens repeat."
    if tree.of_run:
        whole = f"The run reused {share} of the prompt tokens."
    few = few_bring((tree.prefixes["hit_tokens"] / tree.hit_tokens).to_list(), "that")
    return whole if few is None else f"{whole} {few}"


def _subtitle(tree: SharedTree, rows: pl.DataFrame, across: int) -> str:
    shown = int(rows["hit_tokens"].sum()) / max(tree.hit_tokens, 1)
    whose = "what the run hit" if tree.of_run else "what a cache without limit would hit"
    few = f" Drawn are the {across:,} of {tree.requests:,} requests that contain one of them."
    return (
        f"The prefix tree of {tree.name}: {len(rows):,} of {len(tree.prefixes):,} shared prefixes, "
        f"with {percent(shown)} of {whose} ({amount(tree.hit_tokens)} tokens). Width is how many "
        "requests contain one, depth its place in the prompt in tokens (square-root scale), so "
        "area is tokens sent." + (few if across < tree.requests else "")
    )


def _view(tree: SharedTree, frame: pl.DataFrame, shade: pl.Series, across: int) -> Spec:
    from replay.report.frame.axes import AMOUNT_LABEL, LEFT
    from replay.report.pictures.icicle import KEPT_NAMES, KEPT_SHADES, icicle

    shades = dict(zip(KEPT_NAMES, KEPT_SHADES, strict=True)) if tree.of_run else _SHARED_BY
    names = [name for name in shades if tree.of_run or name in set(shade)]
    colour = {
        "field": shade.name, "type": "nominal",
        "scale": {"domain": names, "range": [f"var(--{shades[name]})" for name in names]},
        "legend": {"symbolType": "square", "title": _TITLES[shade.name], "columns": 5,
                   "titleColor": "var(--muted)", "titleFontWeight": 400, "titleFontSize": 12},
    }  # fmt: skip
    strong = [name for name in names if shades[name] in ("session", "avoid")]
    middle = [name for name in names if shades[name] == "axis"]
    words = {
        "condition": [
            {"test": f"indexof({strong}, datum.{shade.name}) >= 0", "value": "var(--onstrong)"},
            {"test": f"indexof({middle}, datum.{shade.name}) >= 0", "value": "var(--ink)"},
        ],
        "value": "var(--onlight)",
    }
    tooltip = [
        {"field": "start_tokens", "title": "from token", "format": ",d"},
        {"field": "stop_tokens", "title": "to token", "format": ",d"},
        {"field": "requests", "format": ",d"},
        {"field": "sessions", "format": ",d"},
        {"field": "hit_tokens", "title": "hit tokens", "format": ",d"},
        {"field": "hit_share", "title": "of all hits", "format": ".1%"},
        {"field": "repeats_hit_share", "title": "repeats that hit", "format": ".0%"},
        {"field": "ways", "title": "then ways", "format": ",d"},
        {"field": "first_request_id", "title": "first request"},
        {"field": "text"},
    ]
    absent = [name for name in ("sessions", "text") if frame[name].null_count() == len(frame)]
    tooltip = [one for one in tooltip if one["field"] not in absent]
    left = {**LEFT, "labelExpr": AMOUNT_LABEL}
    return {
        "height": _HEIGHT,
        "data": {"name": "prefixes"},
        "layer": icicle(across, left, colour, tooltip, words, _SAID),
    }
