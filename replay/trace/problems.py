"""Problems of one file, gathered to be raised together, or to put the rows aside that have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from replay.errors import SHOWN_PROBLEMS, Problem, TraceError

_SHOWN_CHARACTERS = 60


class ProblemList:
    """Problems of one file: all are counted, only as many as are shown are put into words.

    With `allowed` above 0, up to that share of the rows may be faulty: `settle` then tells which
    to keep, and `rejected` says why the others were put aside, by line. A problem without a line
    is never tolerated. Rows that are no fault of the file, and still no requests to replay (one
    that failed and has no response), are put aside by `leave_out`, whatever is allowed.
    """

    def __init__(self, file: str, *, allowed: float = 0.0) -> None:
        self.file = file
        self.total = 0
        self.hints: list[str] = []
        self.rejected: dict[int, str] = {}
        self._allowed = allowed
        self._left_out: dict[int, str] = {}
        self._found: list[Problem] = []
        self._worded = 0
        self._fatal = False

    def add(self, message: str, *, line: int | None = None, column: int | None = None) -> None:
        """Count one problem."""
        self.total += 1
        self._fatal |= line is None
        if self._allowed and line is not None:
            self.rejected.setdefault(line, message)
        if self._worded < SHOWN_PROBLEMS:
            self._worded += 1
            self._found.append(Problem(self.file, message, line, column))

    def add_rows(
        self, rows: np.ndarray, message: Callable[[int], str], *, lines: np.ndarray | None
    ) -> None:
        """Count one problem a row; `message` words the first few, `lines` places them."""
        self.total += len(rows)
        self._fatal |= lines is None and bool(len(rows))
        for row in rows[:SHOWN_PROBLEMS].tolist():
            line = None if lines is None else int(lines[row])
            self._found.append(Problem(self.file, message(row), line))
        if self._allowed and lines is not None:
            for row in rows.tolist():
                if int(lines[row]) not in self.rejected:
                    self.rejected[int(lines[row])] = message(row)

    def leave_out(self, line: int, reason: str) -> None:
        """Put a row aside that is no fault: it does not count against what is allowed."""
        self._left_out.setdefault(line, reason)

    @property
    def put_aside(self) -> dict[int, str]:
        """All rows that are not used, and why, by line."""
        return self._left_out | self.rejected

    @property
    def found(self) -> list[Problem]:
        """The first problems in file order, as many as are shown."""
        return sorted(self._found, key=lambda problem: problem.line or 0)[:SHOWN_PROBLEMS]

    def hint(self, text: str) -> None:
        """Add what the user can do about it."""
        self.hints.append(text)

    def settle(self, lines: np.ndarray, *, read: int) -> np.ndarray:
        """Return which rows to keep, bool, by the line of each; `read` rows were in the file.

        Raises TraceError where more is wrong than is allowed.
        """
        too_many = len(self.rejected) > self._allowed * read
        if self.total and (self._fatal or too_many or not self._allowed):
            if self.rejected and not self._fatal:
                share = len(self.rejected) / read
                self.hint(
                    f"{len(self.rejected):,} of {read:,} rows are faulty ({share:.2%}), "
                    f"--max-rejected allows {self._allowed:.2%}"
                )
            self.raise_any()
        aside = self.put_aside
        if not aside:
            return np.ones(len(lines), bool)
        keep = ~np.isin(lines, np.fromiter(aside, np.int64, len(aside)))
        if not keep.any():
            self.raise_any()
        return keep

    def raise_any(self) -> None:
        """Raise TraceError with the first problems in file order, if there are any."""
        if self.total:
            raise TraceError(
                self.found, total=self.total, hint="; ".join(dict.fromkeys(self.hints)) or None
            )


def shown(value: object) -> str:
    """Return a value as it is shown after `got`: its repr, cut to one short line."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
