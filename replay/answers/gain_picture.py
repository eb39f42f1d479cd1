"""The answer of `replay gain` as a picture: what either cache and both reuse, and the waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replay.report.words import percent, sentence, wait

if TYPE_CHECKING:
    import polars as pl

    from replay.answers.gains import GainAnswer
    from replay.report.pictures.picture import Picture, Spec

_ROW_PX = 34
_NAMES = {
    "none": "no cache", "session": "sessions alone", "cross-request": "shared prefixes alone",
    "both": "both",
}  # fmt: skip
_CALLED = {"session": "a session cache", "cross-request": "a store of shared prefixes"}
_SOURCES = {
    "session_hit_share": ("same session", "session"),
    "cross_request_hit_share": ("other requests", "cross"),
}
_NEAR = 0.01


def gain_picture(answer: GainAnswer) -> Picture:
    """Return two panels: prompt tokens reused by source, and the mean wait where one was timed."""
    import polars as pl

    from replay.answers.gains import gain_table
    from replay.report.frames import table_frame
    from replay.report.pictures.picture import Picture

    frame = table_frame(gain_table(answer))
    frame = frame.with_columns(name=pl.col("caches").replace(_NAMES))
    views = [_reused(frame)] if "token_hit_rate" in frame.columns else []
    if "ttft_mean_ms" in frame.columns:
        views.append(_waits(frame))
    overloaded = "overloaded" in frame.columns and frame["overloaded"].any()
    grave = " Overloaded: these waits grow with the length of the trace." if overloaded else ""
    return Picture(
        finding=_finding(frame),
        subtitle="What a session cache, a store of shared prefixes and both reuse of the prompt "
        f"tokens of {answer.name}, and what that does to the time to first token.{grave}",
        tables={"gain": frame},
        views=views,
    )


def _y() -> Spec:
    return {
        "field": "name", "type": "nominal", "sort": [*_NAMES.values()], "title": None,
        "axis": {"grid": False, "labelColor": "var(--ink)", "minExtent": 144, "maxExtent": 144,
                 "labelLimit": 142},
    }  # fmt: skip


def _reused(frame: pl.DataFrame) -> Spec:
    present = [name for name in _SOURCES if name in frame.columns]
    names = {name: _SOURCES[name][0] for name in present}
    colour = {
        "field": "by", "type": "nominal",
        "scale": {"domain": [names[name] for name in present],
                  "range": [f"var(--{_SOURCES[name][1]})" for name in present]},
        "legend": {"symbolType": "square"},
    }  # fmt: skip
    top = max([*frame["token_hit_rate"].drop_nulls(), 0.01]) * 1.15
    x = {
        "field": "share", "type": "quantitative", "title": None, "stack": "zero",
        "scale": {"domain": [0, min(top, 1)], "nice": False},
        "axis": {"format": ".0%", "tickCount": 6},
    }  # fmt: skip
    said = " ".join(f"datum.key == '{name}' ? '{text}' :" for name, text in names.items())
    parts = [
        {"fold": present, "as": ["key", "share"]},
        {"calculate": f"{said} ''", "as": "by"},
    ]
    tooltip = [{"field": "name"}, {"field": "by"}, {"field": "share", "format": ".1%"}]
    whole = {"field": "token_hit_rate", "type": "quantitative"}
    return {
        "title": "Prompt tokens reused, by who had put them there",
        "height": _ROW_PX * len(frame),
        "data": {"name": "gain"},
        "layer": [
            {"transform": parts, "mark": {"type": "bar", "height": {"band": 0.62}},
             "encoding": {"x": x, "y": _y(), "color": colour, "tooltip": tooltip}},
            {"mark": {"type": "text", "align": "left", "dx": 6},
             "encoding": {"x": whole, "y": _y(), "text": {**whole, "format": ".1%"}}},
        ],
    }  # fmt: skip


def _waits(frame: pl.DataFrame) -> Spec:
    from replay.report.frame.axes import WAIT_LABEL

    most = max(frame["ttft_mean_ms"].drop_nulls(), default=1.0) * 1.15
    x = {
        "field": "ttft_mean_ms", "type": "quantitative", "title": None,
        "scale": {"domain": [0, most], "nice": False},
        "axis": {"labelExpr": WAIT_LABEL, "tickCount": 6},
    }  # fmt: skip
    said = [{"calculate": WAIT_LABEL.replace("datum.value", "datum.ttft_mean_ms"), "as": "text"}]
    shade = {
        "condition": {"test": "datum.caches == 'none'", "value": "var(--without)"},
        "value": "var(--with)",
    }
    tooltip = [
        {"field": "name"},
        {"field": "ttft_mean_ms", "title": "mean, ms", "format": ",.4~r"},
        {"field": "ttft_p99_ms", "title": "p99, ms", "format": ",.4~r"},
        {"field": "ttft_saving", "title": "saved", "format": ".1%"},
    ]
    return {
        "title": "Mean time to first token",
        "height": _ROW_PX * len(frame),
        "data": {"name": "gain"},
        "layer": [
            {"mark": {"type": "bar", "height": {"band": 0.62}},
             "encoding": {"x": x, "y": _y(), "color": shade, "tooltip": tooltip}},
            {"transform": said, "mark": {"type": "text", "align": "left", "dx": 6},
             "encoding": {"x": x, "y": _y(), "text": {"field": "text"}}},
        ],
    }  # fmt: skip


def _finding(frame: pl.DataFrame) -> str:
    rate = _known(frame, "token_hit_rate")
    if rate is None:
        return "What would be reused is unknown."
    best, other = "session", "cross-request"
    if rate[other] > rate[best]:
        best, other = other, best
    more = rate["both"] - rate[best]
    text = f"{_CALLED[best]} alone reuses {percent(rate[best])} of the prompt tokens; "
    text += f"with {_CALLED[other]} beside it, in the same memory, "
    if abs(more) < _NEAR:
        text += "it is no more"
    else:
        text += f"{'' if more > 0 else 'only '}{percent(rate['both'])}"
    text = sentence(text)
    if "overloaded" in frame.columns and frame["overloaded"].any():
        return f"{text}. The load is too much for this GPU."
    waits = _known(frame, "ttft_mean_ms")
    if waits is None:
        return f"{text}."
    least = min(waits, key=waits.__getitem__)
    if least == "none":
        return f"{text}. None of them makes the mean wait shorter than {wait(waits['none'])}."
    return (
        f"{text}. The mean wait is shortest with {_NAMES[least]}: {wait(waits[least])}, "
        f"not {wait(waits['none'])}."
    )


def _known(frame: pl.DataFrame, column: str) -> dict[str, float] | None:
    """Return a column's value for each choice of caches, None where one of them is unknown."""
    if column not in frame.columns or frame[column].null_count():
        return None
    return dict(zip(frame["caches"], frame[column], strict=True))
