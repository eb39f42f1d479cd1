"""Problems of one file, gathered to be raised together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from replay.errors import SHOWN_PROBLEMS, Problem, TraceError

_SHOWN_CHARACTERS = 60


class ProblemList:
    """Problems of one file: all are counted, only as many as are shown are put into words."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.total = 0
        self.hints: list[str] = []
        self._found: list[Problem] = []
        self._worded = 0

    def add(self, message: str, *, line: int | None = None, column: int | None = None) -> None:
        """Count one problem."""
        self.total += 1
        if self._worded < SHOWN_PROBLEMS:
            self._worded += 1
            self._found.append(Problem(self.file, message, line, column))

    def add_rows(
        self, rows: np.ndarray, message: Callable[[int], str], *, lines: np.ndarray | None
    ) -> None:
        """Count one problem a row; `message` words the first few, `lines` places them."""
        self.total += len(rows)
        for row in rows[:SHOWN_PROBLEMS].tolist():
            line = None if lines is None else int(lines[row])
            self._found.append(Problem(self.file, message(row), line))

    def hint(self, text: str) -> None:
        """Add what the user can do about it."""
        self.hints.append(text)

    def raise_any(self) -> None:
        """Raise TraceError with the first problems in file order, if there are any."""
        if self.total:
            found = sorted(self._found, key=lambda problem: problem.line or 0)
            raise TraceError(
                found[:SHOWN_PROBLEMS], total=self.total, hint="; ".join(self.hints) or None
            )


def shown(value: object) -> str:
    """Return a value as it is shown after `got`: its repr, cut to one short line."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
