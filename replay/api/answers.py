"""Answers: frames with what must be known of them, that a notebook shows, asks and draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.api.given import path_of
from replay.api.pages import page
from replay.errors import InputError, UnknownNameError
from replay.units import NS_PER_S, parse_duration_ns

if TYPE_CHECKING:
    import altair
    import pandas
    import polars as pl

TIMEOUT = "60s"


class Answer:
    """What a question found: tidy frames by name, the first of them the answer itself.

    `warnings` must be read before any number (an overloaded system, an upper bound, content that
    is unknown), `notes` say what the numbers rest on. A notebook shows all of it.
    """

    def __init__(
        self,
        tables: Mapping[str, pl.DataFrame],
        *,
        title: str,
        warnings: Sequence[str] = (),
        notes: Sequence[str] = (),
        draw: Callable[[], altair.TopLevelMixin] | None = None,
    ) -> None:
        self._tables = {name: _typed(frame) for name, frame in tables.items()}
        self._title = title
        self._draw = draw
        self.warnings: tuple[str, ...] = tuple(dict.fromkeys(warnings))
        self.notes: tuple[str, ...] = tuple(dict.fromkeys(notes))

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its frames, as `frame` takes them and `sql` has them."""
        return tuple(self._tables)

    def frame(self, name: str | None = None) -> pl.DataFrame:
        """Return a frame, the first one by default; raises UnknownNameError."""
        first = next(iter(self._tables))
        if name is not None and name not in self._tables:
            raise UnknownNameError("table", name, self._tables)
        return self._tables[first if name is None else name]

    def to_pandas(self, name: str | None = None) -> pandas.DataFrame:
        """Return a frame as one of pandas; integers with gaps become its nullable Int64."""
        from replay.api.frames import as_pandas

        return as_pandas(self.frame(name))

    def sql(self, query: str, *, timeout: str = TIMEOUT) -> Answer:
        """Return what one SELECT over the frames finds, each a table under its name.

        It can read these frames and nothing else. Raises QueryError.
        """
        from replay.report.db import FrameDatabase

        with FrameDatabase(self._tables) as database:
            found = database.query(query, timeout_s=parse_duration_ns(str(timeout)) / NS_PER_S)
            return Answer({"result": found.frame()}, title="Result")

    def plot(self) -> altair.TopLevelMixin:
        """Return the picture of it, an Altair chart; raises InputError where there is none."""
        if self._draw is None:
            raise InputError(
                f"{type(self).__name__} has no picture here", hint="frame() has what could be drawn"
            )
        try:
            return self._draw()
        except ModuleNotFoundError as error:
            raise InputError(
                f"plots need a module that is not installed ({error.name})",
                hint="pip install 'kvreplay[report]'",
            ) from error

    def write(self, path: str | Path, *, name: str | None = None, force: bool = False) -> Path:
        """Write a frame as csv, json, jsonl, md or parquet, by the file's suffix; return its path.

        Raises InputError for another suffix, OutputExistsError unless `force`, and OutputError.
        """
        from replay.report.frames import FrameTable
        from replay.report.tables import FORMATS, write_table

        path = path_of("path", path)
        format_name = path.suffix.lower().removeprefix(".")
        if format_name not in FORMATS:
            raise InputError(
                f"{path}: the suffix tells no format (got {path.suffix!r})",
                hint=f"one of {', '.join(f'.{known}' for known in FORMATS)}",
            )
        write_table(FrameTable(self.frame(name)), format_name, path, force=force)
        return path

    def __repr__(self) -> str:
        above = "".join(f"{line}\n" for line in self.warnings)
        below = f"\nnotes: {len(self.notes)}, in .notes" if self.notes else ""
        return f"{above}{self._title}\n{self._head()}{below}"

    def _repr_html_(self) -> str:
        return page(self._title, self._shown(), before=self.warnings, after=self.notes)

    def _shown(self) -> pl.DataFrame:
        """Return the frame that stands for the answer where people look at it."""
        return self.frame()

    def _head(self) -> object:
        return self._shown()


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose columns without any value are text: no table has a type for nothing."""
    import polars as pl

    empty = [name for name, dtype in frame.schema.items() if dtype == pl.Null]
    return frame.with_columns(pl.col(empty).cast(pl.String)) if empty else frame


def one_row(facts: Mapping[str, Any]) -> pl.DataFrame:
    """Return facts as a frame of one row."""
    import polars as pl

    return pl.DataFrame({name: [value] for name, value in facts.items() if value is not None})
