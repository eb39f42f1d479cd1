"""The runs of a comparison, and what each is when it is compared."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.errors import InputError
from replay.printable import printable
from replay.runs.open import Run

LETTERS = string.ascii_lowercase
SHORT = 16  # letters of a name up to which sentences and tables call a run by it


@dataclass(frozen=True, slots=True)
class Side:
    """One run of a comparison: its letter, which is its schema in SQL, and its name for people.

    `called` is what people are told it by: the name, or the letter where names are long or alike.
    """

    letter: str
    name: str
    run: Run
    called: str

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run says of itself."""
        return self.run.manifest

    @property
    def timed(self) -> bool:
        """Whether time passed in it."""
        return bool(self.manifest["mode"] == "timed")

    @property
    def content_known(self) -> bool:
        """Whether it is known what its prompts share."""
        return self.manifest.get("content_known") is not False

    @property
    def overloaded(self) -> bool:
        """Whether its requests waited for how many came, not for service."""
        return bool((self.manifest.get("overload") or {}).get("overloaded"))

    @property
    def trace(self) -> Mapping[str, Any]:
        """What it says of its trace."""
        return self.manifest.get("trace") or {}


def sides_of(runs: Sequence[Run], names: Sequence[str] | None = None) -> list[Side]:
    """Return the runs in order, named after their folders where no names are given.

    Raises InputError for fewer than two runs, and for too many.
    """
    if len(runs) < 2:
        raise InputError("one run is no comparison", hint="give two or more")
    if len(runs) > len(LETTERS):
        raise InputError(f"at most {len(LETTERS)} runs are compared at once (got {len(runs)})")
    letters = LETTERS[: len(runs)]
    found = [printable(name) for name in names or _names(runs)]
    short = len(set(found)) == len(found) and all(0 < len(name) <= SHORT for name in found)
    # A run that is called as the letter of another would be taken for it.
    mistaken = any(name in letters and name != letters[at] for at, name in enumerate(found))
    called = letters if mistaken or not short else found
    return [Side(*one) for one in zip(letters, found, runs, called, strict=True)]


def _names(runs: Sequence[Run]) -> list[str]:
    """Return the names of the folders, with those above them where they are alike."""
    names = [run.folder.name for run in runs]
    if len({run.folder for run in runs}) == len(runs) != len(set(names)):
        return [f"{run.folder.parent.name}/{run.folder.name}" for run in runs]
    return names
