"""The prefix tree as an icicle: requests side by side, their prompts downwards.

Whoever draws one has rows with `from_request` and `to_request`, `start_tokens` and `stop_tokens`,
`requests` and `hit_tokens`, and says how boxes are shaded and what is written into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay.report.words import percent, sentence, spelled

Spec = dict[str, Any]

FEW = 5  # prefixes that a sentence may say bring most of the reuse
MOST = 0.5
KEPT_STEPS = (0.2, 0.4, 0.6, 0.8)
KEPT_SHADES = ("avoid", "unavoid", "axis", "cross", "session")
KEPT_NAMES = ("under 20%", "20-40%", "40-60%", "60-80%", "over 80%")
_LABELLED = 0.03  # of all requests: less has no room for its number
_ACROSS = "scale('x', datum.to_request) - scale('x', datum.from_request)"
_DOWN = "scale('y', datum.stop_tokens) - scale('y', datum.start_tokens)"
_EDGE = f"{_ACROSS} > 4 ? 1 : 0"  # a narrower box would be all edge
_HAS_ROOM = f"{_ACROSS} > 96 && {_DOWN} > 20"  # pixels


def few_bring(shares: Sequence[float | None], of: str) -> str | None:
    """Return how few prefixes bring half `of` something, where few do; None where none does any.

    `shares` are of each prefix, in any order.
    """
    most = sorted((share or 0.0 for share in shares), reverse=True)
    if not most or not most[0]:
        return None
    for number in range(1, FEW + 1):
        if sum(most[:number]) >= MOST:
            verb, ending = ("brings", "") if number == 1 else ("bring", "es")
            share = percent(sum(most[:number]))
            return sentence(f"{spelled(number)} shared prefix{ending} {verb} {share} of {of}.")
    return f"No prefix stands out: the one that saves most brings {percent(most[0])} of {of}."


def kept_shade(field: str) -> Spec:
    """Return the colour channel of a share of repeats that hit, from lost to kept."""
    shades = [f"var(--{name})" for name in KEPT_SHADES]
    scale = {"type": "threshold", "domain": [*KEPT_STEPS], "range": shades}
    return {"field": field, "type": "quantitative", "legend": None, "scale": scale}


def readable_on_kept(field: str) -> list[Spec]:
    """Return the conditions on the colour of text on those shades; elsewhere it is dark."""
    value = f"datum.{field}"
    return [
        {"test": f"{value} >= 0.8 || {value} < 0.2", "value": "var(--onstrong)"},
        {"test": f"{value} >= 0.4 && {value} < 0.6", "value": "var(--ink)"},
    ]


def icicle(
    requests: int, left: Spec, shade: Spec, tooltip: Sequence[Spec], words: Spec, said: str
) -> list[Spec]:
    """Return the layers: a box a prefix, and text in those that have room for it.

    `requests` are all of them, `left` more keys of the left axis, `shade` the colour channel of
    boxes and `words` that of text; `said` is an expression of the text.
    """
    x = {"field": "from_request", "type": "quantitative", "title": "requests, side by side",
         "scale": {"domain": [0, requests], "nice": False},
         "axis": {"grid": False, "tickCount": 5, "format": ",d"}}  # fmt: skip
    y = {"field": "start_tokens", "type": "quantitative", "title": None,
         "scale": {"reverse": True, "type": "pow", "exponent": 0.5, "nice": False},
         "axis": {**left, "tickCount": 6}}  # fmt: skip
    boxes = {
        "mark": {"type": "rect", "stroke": "var(--card)", "strokeWidth": {"expr": _EDGE}},
        "encoding": {
            "x": x, "x2": {"field": "to_request"}, "y": y, "y2": {"field": "stop_tokens"},
            "color": shade, "tooltip": [*tooltip],
        },
    }  # fmt: skip
    texts = {
        "transform": [
            {"filter": f"datum.requests >= {_LABELLED * requests}"},
            {"calculate": said, "as": "said"},
        ],
        "mark": {
            "type": "text", "align": "left", "baseline": "top", "dx": 5, "dy": 5,
            "limit": {"expr": f"{_ACROSS} - 8"},
            "opacity": {"expr": f"{_HAS_ROOM} ? 1 : 0"},
            "fontWeight": 600,
        },
        "encoding": {
            "x": {"field": "from_request", "type": "quantitative"},
            "y": {"field": "start_tokens", "type": "quantitative"},
            "text": {"field": "said"},
            "color": words,
        },
    }  # fmt: skip
    return [boxes, texts]
