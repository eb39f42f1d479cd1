"""How the parts of a prompt are named and coloured on a page.

Colours are those of every picture, `replay.report.tokens`. Neighbours in the stack of parts stay
apart for colour-blind eyes too: see docs/page.md.
"""

from __future__ import annotations

# The parts of a prompt as the view `prompt_parts` names them, in the order of the stack.
PARTS = {
    "reused: same session": "session",
    "reused: other requests": "cross",
    "evicted, avoidable": "avoid",
    "evicted, unavoidable": "unavoid",
    "evicted": "avoid",
    "being computed": "inflight",
    "rounding": "round",
    "not kept for it": "policy",
    "not looked up": "off",
    "never seen": "cold",
}
HATCHED = "off"
REUSED = ("reused: same session", "reused: other requests")
EVICTED = ("evicted, avoidable", "evicted, unavoidable", "evicted")


def paint(name: str) -> str:
    """Return a colour as the value of an SVG or CSS property: the browser picks light or dark."""
    return "url(#hatch)" if name == HATCHED else f"var(--{name})"
