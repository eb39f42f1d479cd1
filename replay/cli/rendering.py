"""Tables as a person reads them; every other format is written by `replay.report.tables`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from replay.printable import printable
from replay.units import NS_PER_MS, NS_PER_S, format_bytes

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

    from replay.report.tables import Table

NULL = "-"
GAP = 2
TEXT_WIDTH = 24  # a column of text is folded, but no narrower than this
SI_FROM = 10**6  # speeds from here on are shown with an SI prefix
_SHARES = ("_rate", "_share", "_reduction", "_saving", "_reduction_ratio")  # shown in percent


def render(table: Table, width: int) -> Iterator[Any]:
    """Yield what rich prints for a table: its title, and parts of it that fit the width.

    One row is shown as names and values. A table too wide for the terminal continues below
    itself, the columns that name its rows repeated: a number cut short would be a wrong number.
    """
    from rich.text import Text

    if table.title:
        yield Text(printable(table.title), style="bold")
    if len(table.rows) == 1:
        yield _vertical(table)
        return
    if not table.rows:
        yield Text("no rows", style="dim")
        return
    named = list(_by_column(table))
    empty = [name for name, values in named if _says_nothing(name, values)]
    columns = [
        _Column(name, values, as_called=table.of_sql) for name, values in named if name not in empty
    ]
    for index, part in enumerate(_parts(columns, width)):
        if index:
            yield Text("")
        yield _horizontal([columns[position] for position in part], len(table.rows), width)
    if empty:
        shown = empty if table.of_sql else map(_words, empty)
        yield Text(printable(f"0% everywhere: {', '.join(shown)}"), style="dim")


def _says_nothing(name: str, values: Sequence[object]) -> bool:
    """Return whether a column of shares is zero in every row: one line can say so for all."""
    return name.endswith("_share") and all(value == 0 for value in values)


class _Column:
    """A column made ready to print: header, cells as text, and the width it needs.

    A header `as_called` is the column's name, broken after underscores only, and the unit of a
    time stands in its cells; otherwise both are words.
    """

    def __init__(self, name: str, values: Sequence[object], *, as_called: bool = False) -> None:
        from rich.cells import cell_len

        unit, scale = _time_unit(name, values)
        self.header = printable(name if as_called else f"{_words(name)} {unit}".strip())
        self.cells = [_cell(name, value, scale) for value in values]
        if as_called and unit:
            self.cells = [cell if cell == NULL else f"{cell} {unit}" for cell in self.cells]
        self._pieces = re.findall("[^_]*_*", self.header) if as_called else self.header.split(" ")
        self._between = "" if as_called else " "
        self.is_number = any(_is_number(value) for value in values)
        longest = max(cell_len(cell) for cell in self.cells)
        if not self.is_number:
            longest = min(longest, TEXT_WIDTH)
        self.width = max(longest, *(cell_len(piece) for piece in self._pieces))

    def header_within(self, width: int) -> str:
        """Return the header in lines that fit the width."""
        from rich.cells import cell_len

        lines = [""]
        for piece in self._pieces:
            longer = lines[-1] + self._between + piece if lines[-1] else piece
            if cell_len(longer) <= width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(piece)
        return "\n".join(lines)


def _by_column(table: Table) -> Iterator[tuple[str, list[object]]]:
    for index, name in enumerate(table.columns):
        yield name, [row[index] for row in table.rows]


def _parts(columns: Sequence[_Column], width: int) -> list[list[int]]:
    """Return the columns of each part: those that name the row, and as many more as fit."""
    names = _naming_columns(columns, width)
    # Rich counts a padding after the last column too, though it prints none.
    start = sum(columns[index].width + GAP for index in names)
    parts, used = [names], start
    for index in range(len(names), len(columns)):
        needed = columns[index].width + GAP
        if used + needed > width + 1 and len(parts[-1]) > len(names):
            parts.append(names)
            used = start
        parts[-1] = [*parts[-1], index]
        used += needed
    return parts


def _naming_columns(columns: Sequence[_Column], width: int) -> list[int]:
    """Return the first column and the text columns after it, within half the width."""
    names, used = [0], columns[0].width
    for index, column in enumerate(columns[1:], start=1):
        used += GAP + column.width
        if columns[0].is_number or column.is_number or used > width // 2:
            break
        names.append(index)
    return names


def _grid(*, header: bool) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    return RichTable(
        box=box.SIMPLE_HEAD,
        show_header=header,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),  # the box adds a space of its own
        header_style="bold",
    )


def _horizontal(columns: Sequence[_Column], height: int, width: int) -> RichTable:
    """Return a grid: numbers as wide as they are, headers on one line where all of them fit."""
    roomy = [max(column.width, len(column.header)) for column in columns]
    fits = sum(roomy) + GAP * (len(roomy) - 1) <= width
    grid = _grid(header=True)
    for column, full in zip(columns, roomy, strict=True):
        needed = full if fits else column.width
        header = column.header_within(needed)
        if column.is_number:
            grid.add_column(header, justify="right", width=needed, overflow="fold")
        else:
            grid.add_column(header, min_width=column.width, overflow="fold")
    for row in range(height):
        grid.add_row(*(_styled(column.cells[row]) for column in columns))
    return grid


def _vertical(table: Table) -> RichTable:
    """Return a table of one row as lines of name and value, each value with its own unit."""
    grid = _grid(header=False)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in zip(table.columns, table.rows[0], strict=True):
        unit, scale = _time_unit(name, [value])
        cell = _cell(name, value, scale)
        styled = _styled(f"{cell} {unit}" if unit and value is not None else cell)
        styled.justify = "right" if value is None or _is_number(value) else "left"
        grid.add_row(printable(name if table.of_sql else _words(name)), styled)
    return grid


def _styled(cell: str) -> Text:
    from rich.text import Text

    return Text(cell, style="dim" if cell == NULL else "")


def _words(name: str) -> str:
    """Return a column's name for people; times and shares show their unit with the values."""
    words = name.removesuffix("_ns").removesuffix("_share").replace("_", " ")
    return printable(words)


def _time_unit(name: str, values: Sequence[object]) -> tuple[str, int]:
    """Return unit and nanoseconds of it for a column of times: seconds once any reaches ten."""
    if not name.endswith("_ns"):
        return "", 1
    longest = max((abs(value) for value in values if _is_number(value)), default=0)  # type: ignore[arg-type]
    return ("s", NS_PER_S) if longest >= 10 * NS_PER_S else ("ms", NS_PER_MS)


def _cell(name: str, value: object, scale: int) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(name, value, scale)
    return printable(str(value))


def _number(name: str, value: float, scale: int) -> str:
    if scale != 1:
        return _decimal(value / scale)
    if name.endswith(_SHARES):
        return f"{value:.1%}"
    if name.endswith("_per_s") and abs(value) >= SI_FROM:
        return _with_prefix(value)
    if isinstance(value, float):
        return _decimal(value)
    if name.endswith("_bytes"):
        return format_bytes(value)
    return str(value) if name.endswith("_id") else f"{value:,}"


def _decimal(value: float) -> str:
    """Return a number with as many decimals as keep three or four digits."""
    size = abs(value)
    if 0 < size < 1:
        return f"{value:.3g}"
    return f"{value:,.{0 if size >= 1000 else 1 if size >= 100 else 2}f}"


def _with_prefix(value: float) -> str:
    """Return a large number with its SI prefix: `3.35 T`."""
    for prefix, size in (("P", 10**15), ("T", 10**12), ("G", 10**9), ("M", 10**6)):
        if abs(value) >= size:
            return f"{value / size:.4g} {prefix}"
    return _decimal(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
