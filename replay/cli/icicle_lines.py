"""A prefix tree as lines of text: an icicle turned on its side, and the numbers beside it.

Each line is a prefix. Its bar stands where the prefix stands among all prompts, so the bars of what
is below it lie under its own. Bars are as wide as the measure by which rows were chosen.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from replay.printable import printable
from replay.report.words import GLUE, amount

if TYPE_CHECKING:
    import polars as pl

    from replay.answers.shared_tree import SharedTree
    from replay.answers.tree_rows import Choice

LEAST_BAR, MOST_BAR = 9, 40
_ROOMY_BAR = 12  # with a narrower one columns stand closer
_MOST_GUIDES = 12  # characters; a deeper row shows the last of them
_FULL, _SLIVER = "█", "▏"
_LEFT_OUT = " … "  # between the first and the last words of a prefix
_CALLED = {"saved": ("bar: hit", "and below"), "requests": ("bar:", "requests"),
           "tokens": ("bar: sent", "and below")}  # fmt: skip

Column = list[str]  # two lines of header, what all prompts have, then a cell a row


def icicle_lines(tree: SharedTree, rows: pl.DataFrame, choice: Choice, width: int) -> list[str]:
    """Return the lines of the rows that `tree_rows` chose, no wider than `width` if a bar fits."""
    guides = _guides(rows["level"].to_list())
    columns = _columns(tree, rows, guides)
    beside = sum(_width(column) for column in columns)
    gap = 2 if width - beside - 2 * len(columns) >= _ROOMY_BAR else 1
    bar = min(max(width - beside - gap * len(columns), LEAST_BAR), MOST_BAR)
    bars = [*_CALLED[choice.by], _FULL * bar, *_bars(tree, rows, choice, bar)]
    cells = [[cell.ljust(bar)[:bar] for cell in bars], *map(_aligned, columns)]
    lines = [(" " * gap).join(line).rstrip() for line in zip(*cells, strict=True)]
    head, body = lines[:3], lines[3:]
    for line, guide, text in zip(body, guides, rows["text"], strict=True):
        head.append(line)
        if text is not None:
            before = " " * (bar + gap) + _under(guide)
            head.append(before + _cut(f"“{printable(text)}”", width - len(before)))
    return head


def _columns(tree: SharedTree, rows: pl.DataFrame, guides: Sequence[str]) -> list[Column]:
    """Return the columns beside the bars; the first one says where in the prompt."""
    ends = zip(rows["start_tokens"], rows["stop_tokens"], strict=True)
    where = [f"{start:,}..{stop:,}" for start, stop in ends]
    labels = [guide + one for guide, one in zip(guides, where, strict=True)]
    columns = [["", "tokens", "all prompts", *labels]]

    def add(above: str, name: str, whole: str, cells: Sequence[str]) -> None:
        columns.append([above, name, whole, *cells])

    add("", "requests", f"{tree.requests:,}", [f"{one:,}" for one in rows["requests"]])
    if tree.sessions is not None:
        add("", "sessions", f"{tree.sessions:,}", [f"{one:,}" for one in rows["sessions"]])
    add("hit", "tokens", _short(tree.hit_tokens), [_short(one) for one in rows["hit_tokens"]])
    all_hits = "100%" if tree.hit_tokens else "0%"
    add("of all", "hits", all_hits, [f"{one:.1%}" for one in rows["hit_share"]])
    if tree.of_run:
        kept = [f"{one:.0%}" for one in rows["repeats_hit_share"]]
        add("repeats", "hit", "", kept)
    ways = tree.prefixes["parent_prefix_id"].null_count()
    add("then", "ways", f"{ways:,}", [f"{one:,}" for one in rows["ways"]])
    add("first", "request", "", [str(one) for one in rows["first_request_id"]])
    return columns


def _bars(tree: SharedTree, rows: pl.DataFrame, choice: Choice, width: int) -> list[str]:
    """Return a bar a row: as wide as its measure, below that of the row it goes on from."""
    from replay.answers.tree_rows import spans

    starts, stops = spans(rows, rows[choice.column])
    whole = max(choice.whole(tree), int(stops.max()) if len(rows) else 0, 1)
    bars = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        first = min(round(start * width / whole), width - 1)
        last = round(stop * width / whole)
        is_sliver = 2 * (stop - start) * width < whole
        bars.append(" " * first + (_SLIVER if is_sliver else _FULL * max(last - first, 1)))
    return bars


def _guides(levels: Sequence[int]) -> list[str]:
    """Return the lines that lead to each row, drawn in the order of the tree, from level 2 on."""
    guides: list[str] = []
    open_at: set[int] = set()  # levels at which a later row goes on from the same prefix
    for level in reversed(levels):
        more = "├ " if level in open_at else "╰ "
        lines = ["│ " if one in open_at else "  " for one in range(2, level)]
        text = "".join([*lines, more]) if level > 1 else ""
        guides.append(text if len(text) <= _MOST_GUIDES else "…" + text[1 - _MOST_GUIDES :])
        open_at = {one for one in open_at if one < level} | {level}
    return guides[::-1]


def _under(guide: str) -> str:
    """Return the lines beside what stands below a row."""
    return guide.replace("├", "│").replace("╰", " ")


def _width(column: Column) -> int:
    return max(map(len, column))


def _aligned(column: Column) -> list[str]:
    """Return the cells as wide as the widest: labels to the left, numbers to the right."""
    width = _width(column)
    is_label = column[1:3] == ["tokens", "all prompts"]
    return [cell.ljust(width) if is_label else cell.rjust(width) for cell in column]


def _short(tokens: int) -> str:
    return amount(tokens).replace(GLUE, " ")


def _cut(text: str, width: int) -> str:
    """Return as many whole words from both ends of a text as fit a width of the terminal."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    first, _, last = text.partition(_LEFT_OUT)
    side = max((width - len(_LEFT_OUT)) // 2, 1)
    return f"{_start(first, side)}{_LEFT_OUT}{_start((last or first)[::-1], side)[::-1]}"


def _start(text: str, width: int) -> str:
    """Return as many whole words from the start of a text as fit, at least a part of one."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    while cell_len(text) > width + 1:
        text = text[:-1]
    return text.rpartition(" ")[0] or text[:-1]


def title_lines(tree: SharedTree, width: int) -> list[str]:
    """Return what the tree is of, and how much is hit in it."""
    hit = tree.hit_tokens / max(tree.input_tokens, 1)
    who = "the run hit" if tree.of_run else "a cache without limit would hit"
    text = (
        f"{len(tree.prefixes):,} shared prefixes in {tree.requests:,} requests of {tree.name}; of "
        f"{_short(tree.input_tokens)} prompt tokens {who} {_short(tree.hit_tokens)} ({hit:.1%})."
    )
    return textwrap.wrap(printable(text), width)
