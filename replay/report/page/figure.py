"""A line of a gallery: one figure of a page, of a run or of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from replay.report.page.document import FULL
from replay.report.page.drawn import Data, Drawn, LeftOut

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Figure(Generic[Subject]):
    """One figure of what a page is about.

    It stands in `section` and is `called` so where it is left out. `needs` are what the subject
    must have for it, `queries` name its data, the first of them its table; `draw` makes it.
    """

    name: str
    section: str
    called: str
    needs: tuple[str, ...]
    queries: tuple[str, ...]
    draw: Callable[[Mapping[str, Data], Subject], Drawn | LeftOut]
    width: str = FULL

    def lack(self, met: Container[str], lacks: Mapping[str, str]) -> str | None:
        """Return in words of `lacks` what there is not of `needs`, None where all is met."""
        return next((lacks[need] for need in self.needs if need not in met), None)
