"""Every error replay raises on purpose, in one tree.

    ReplayError                  exit 1
    ├── InputError               exit 2   what the user gave cannot be used
    │   ├── TraceError                    a trace file breaks its format
    │   ├── ConfigError                   a scenario or hardware file breaks its schema
    │   ├── UnknownNameError              a name that stands in no table
    │   ├── DoesNotFitError               a model does not fit the GPUs it was given
    │   ├── OutputExistsError             an output is there already
    │   └── QueryError                    SQL that is wrong, or that reports may not run
    ├── OutputError              exit 2   writing failed: full disk, read-only folder
    ├── FetchError               exit 1   a download failed, or brought another file
    └── Interrupted              exit 130 Ctrl-C

Library code raises these and never prints or exits; `replay.cli` turns them into text once.
A message says what is wrong and what was got; `hint` says what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from replay.near_names import near_names
from replay.printable import printable

SHOWN_PROBLEMS = 10
SHOWN_NAMES = 100


class ReplayError(Exception):
    """Base of all errors replay raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:  # a traceback shows it, where no command line does
            self.add_note(f"Hint: {hint}")


class InputError(ReplayError):
    """What the user gave cannot be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place of a file; line and column count from 1."""

    file: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place}: {self.message}"


class FileError(InputError):
    """Problems found in one file, all of them at once."""

    def __init__(
        self, problems: Iterable[Problem], *, total: int | None = None, hint: str | None = None
    ) -> None:
        self.problems = tuple(problems)
        self.total = len(self.problems) if total is None else total
        shown = self.problems[:SHOWN_PROBLEMS]
        lines = [printable(str(problem)) for problem in shown]  # one problem, one line
        more = self.total - len(shown)
        if more > 0:
            lines.append(f"... and {more:,} more")
        super().__init__("\n".join(lines), hint=hint)


class TraceError(FileError):
    """Raised when a trace file breaks its format; nothing of it is used."""


class ConfigError(FileError):
    """Raised when a scenario, profile or hardware file breaks its schema."""


class UnknownNameError(InputError):
    """Raised for a name that stands in no table; names the near ones and where to see all."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = near_names(name, self.known)
        hint = f"did you mean {', '.join(near)}?" if near else None
        more = len(self.known) - SHOWN_NAMES
        listing = f"known: {', '.join(self.known[:SHOWN_NAMES])}"
        listing += f" and {more:,} more" if more > 0 else ""
        super().__init__(
            f"unknown {kind} (got {name!r})", hint=f"{hint} {listing}" if hint else listing
        )


class DoesNotFitError(InputError):
    """Raised when weights and activations leave no memory for KV on the GPUs given."""


class OutputExistsError(InputError):
    """Raised when an output is there already and `--force` was not given."""


class QueryError(InputError):
    """Raised for SQL that is wrong, takes too long, or that a report may not run."""


class OutputError(ReplayError):
    """Raised when an output cannot be written: full disk, read-only folder.

    Exits like bad input does: the place that was named cannot take what was asked for.
    """

    exit_code = 2


class FetchError(ReplayError):
    """Raised when a download fails, or brings another file than the one expected."""


class Interrupted(ReplayError):  # noqa: N818  (an event, not a mistake)
    """Raised when the user pressed Ctrl-C; everything half-written has been removed."""

    exit_code = 130
