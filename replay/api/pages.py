"""What a notebook shows of an answer: a small table and what to know of it, as plain HTML.

Everything that comes from a trace is escaped, and there is no script in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from replay.report.tables import format_value

if TYPE_CHECKING:
    import polars as pl

ROWS, COLUMNS = 12, 14  # of a table that is larger; the frame has all
_SHARES = ("_rate", "_share", "_reduction", "_saving")
_RIGHT = ' style="text-align:right"'


def page(
    title: str, frame: pl.DataFrame, *, before: Sequence[str] = (), after: Sequence[str] = ()
) -> str:
    """Return an answer as HTML: what must be read first, its table, notes to unfold."""
    parts = [f"<p><strong>{escape(line)}</strong></p>" for line in before]
    parts.append(table(frame, title))
    if after:
        lines = "".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(after))
        parts.append(f"<details><summary>Notes ({len(after)})</summary><ul>{lines}</ul></details>")
    return f'<div class="replay">{"".join(parts)}</div>'


def table(frame: pl.DataFrame, title: str) -> str:
    """Return the first rows of a frame; one row is shown as names beside values."""
    caption = f"<caption>{escape(title)}{escape(_left_out(frame))}</caption>"
    if frame.height == 1:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td{_RIGHT}>{_cell(name, value)}</td></tr>"
            for name, value in frame.row(0, named=True).items()
            if value is not None
        )
        return f"<table>{caption}<tbody>{rows}</tbody></table>"
    shown = frame[:ROWS, :COLUMNS]
    names = "".join(f"<th>{escape(name)}</th>" for name in shown.columns)
    rows = "".join(f"<tr>{_cells(shown.columns, row)}</tr>" for row in shown.iter_rows())
    return f"<table>{caption}<thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"


def _left_out(frame: pl.DataFrame) -> str:
    if frame.height == 1 or (frame.height <= ROWS and frame.width <= COLUMNS):
        return ""
    rows, columns = min(frame.height, ROWS), min(frame.width, COLUMNS)
    return (
        f" ({rows:,} of {frame.height:,} rows, {columns} of {frame.width} columns: frame() has all)"
    )


def _cells(names: Sequence[str], row: Sequence[object]) -> str:
    return "".join(
        f"<td{_RIGHT if isinstance(value, int | float) else ''}>{_cell(name, value)}</td>"
        for name, value in zip(names, row, strict=True)
    )


def _cell(name: str, value: object) -> str:
    """Return a value as a person reads it, escaped; shares in percent, ids without commas."""
    if isinstance(value, float) and name.endswith(_SHARES):
        return f"{value:.1%}"
    if isinstance(value, int) and not isinstance(value, bool) and name.endswith("_id"):
        return str(value)
    if isinstance(value, list | dict):
        text = repr(value)
        return escape(text if len(text) <= 60 else f"{text[:57]}...")
    return escape(format_value(value))
