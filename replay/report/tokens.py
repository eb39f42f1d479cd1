"""Every colour of every picture once, on light and on dark ground, and the letters they are in.

Blue is what the cache gave, orange what it lost, grey what nobody could have had; purple and green
are time. No hue means a second thing. All parts have 3:1 against the card but `off`, which is
hatched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scheme = Literal["light", "dark"]

FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
DARK_TEXT = "#0b0e12"  # on the light shades, on any ground


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour on light and on dark ground."""

    name: str
    light: str
    dark: str
    meaning: str


COLOURS = (
    Colour("bg", "#f6f7f9", "#101316", "the page"),
    Colour("card", "#ffffff", "#181c21", "a figure"),
    Colour("ink", "#171a1f", "#e9ecef", "text"),
    Colour("muted", "#59616c", "#a2acb7", "secondary text"),
    Colour("grid", "#e6e9ed", "#2a3038", "grid lines"),
    Colour("axis", "#b9c0c9", "#525c68", "axes, and the middle of a scale"),
    Colour("line", "#dfe3e8", "#2c333b", "hairlines"),
    Colour("link", "#0b5cad", "#7db8f0", "links and the focus ring"),
    Colour("session", "#174f96", "#3f7fd0", "reused, put there by the same session"),
    Colour("cross", "#3f93d2", "#8cc8f5", "reused, put there by other requests"),
    Colour("avoid", "#b8410f", "#e2612f", "evicted, and the optimum keeps it"),
    Colour("unavoid", "#cd7b17", "#f7c377", "evicted, and the optimum would too"),
    Colour("inflight", "#8c3a78", "#c46fb0", "being computed at that moment"),
    Colour("round", "#4d5661", "#d9dee4", "block rounding; time outside the GPU"),
    Colour("policy", "#7c6248", "#b8997a", "in memory, but not kept for this request"),
    Colour("off", "#c3c9d0", "#4a535d", "not looked up"),
    Colour("cold", "#8b949e", "#7b8693", "never seen"),
    Colour("with", "#1a66b8", "#6db1f2", "with the cache"),
    Colour("without", "#59616c", "#b4bcc6", "without it"),
    Colour("queue", "#7b4fa3", "#b08fd8", "time in the queue"),
    Colour("prefill", "#1f8a7d", "#4cbcae", "time in prefill"),
    Colour("run", "#52606d", "#8c98a5", "held by running requests"),
    Colour("idle", "#6aa3d8", "#3a6ea5", "cached and idle"),
    Colour("onstrong", "#ffffff", "#0b0e12", "text on the strong shades"),
    Colour("onlight", DARK_TEXT, DARK_TEXT, "text on the light shades"),
    Colour("warnbg", "#fff4e0", "#33260f", "what must be read first"),
    Colour("warnline", "#b8410f", "#f2b765", "its edge"),
)


def values(scheme: Scheme) -> dict[str, str]:
    """Return each colour's value by name."""
    return {one.name: getattr(one, scheme) for one in COLOURS}


def variables() -> str:
    """Return both sets as variables of a style sheet; paper gets the light one."""
    light, dark = _declared("light"), _declared("dark")
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _declared(scheme: Scheme) -> str:
    return ";".join(f"--{name}:{value}" for name, value in values(scheme).items())
