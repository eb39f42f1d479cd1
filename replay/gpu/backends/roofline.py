"""Step times of the fitted model as it is: what every other backend corrects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.gpu.backends import Compiled, Wanted


def compile_steps(wanted: Wanted) -> Compiled:
    """Return the roofline of a replica."""
    from replay.gpu.backends import Compiled

    return Compiled(wanted.roofline())
