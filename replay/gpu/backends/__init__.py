"""Where step times come from: one visible table of backends, each compiled to the same arrays.

All start from the roofline and correct it by measurements they have, so that what lies between and
beyond their points keeps its shape, and nothing beats the hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError, UnknownNameError
from replay.gpu.cost import StepCost, replica_cost
from replay.gpu.replica import Replica


@dataclass(frozen=True, slots=True)
class Compiled:
    """The cost tables of a replica, and what a reader of results should know about them."""

    cost: StepCost
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compile: the limits of a step, and the file of a backend that takes one."""

    replica: Replica
    max_batched_tokens: int
    max_sequences: int
    table: Path | None = None

    def roofline(self) -> StepCost:
        """Return the tables of the roofline, which all backends correct."""
        return replica_cost(
            self.replica,
            max_batched_tokens=self.max_batched_tokens,
            max_sequences=self.max_sequences,
        )


def _roofline(wanted: Wanted) -> Compiled:
    return Compiled(wanted.roofline())


def _table(wanted: Wanted) -> Compiled:
    from replay.gpu.backends.table import compile_table

    return compile_table(wanted)


def _aiconfigurator(wanted: Wanted) -> Compiled:
    from replay.gpu.backends.aiconfigurator import compile_aiconfigurator

    return compile_aiconfigurator(wanted)


BACKENDS: dict[str, Callable[[Wanted], Compiled]] = {
    "roofline": _roofline,
    "table": _table,
    "aiconfigurator": _aiconfigurator,
}


def compile_cost(backend: str, wanted: Wanted) -> Compiled:
    """Return the cost tables that a backend makes.

    Raises UnknownNameError for a backend, InputError where it lacks its file or module or knows
    nothing of the GPU or model.
    """
    if backend not in BACKENDS:
        raise UnknownNameError("cost backend", backend, BACKENDS)
    if (backend == "table") != (wanted.table is not None):
        raise InputError(
            "gpu.table has an effect with gpu.backend table, and only there",
            hint="give both, as --set gpu.backend=table --set gpu.table=measured.csv",
        )
    return BACKENDS[backend](wanted)
