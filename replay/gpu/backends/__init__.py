"""Where step times come from: each backend is a file here, compiled to the same arrays.

Their names stand in replay/config/backends.py, and a file is read where its backend is asked for.
All but `linear` start from the roofline and correct it by measurements they have, so that what lies
between and beyond their points keeps its shape, and nothing beats the hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from replay.config.backends import BACKENDS, TAKES_A_TABLE, TAKES_NUMBERS
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
    """What to compile: the limits of a step, and what only one backend takes.

    `on` is the replica whose steps are timed, None for backend linear, which takes `linear`
    instead: ns a step, a token, a key of a decode. `table` is the file of backend table.
    """

    on: Replica | None
    max_batched_tokens: int
    max_sequences: int
    table: Path | None = None
    linear: tuple[int, int, int] | None = None

    @property
    def replica(self) -> Replica:
        """The replica, where a backend needs one."""
        assert self.on is not None  # of backend linear alone
        return self.on

    def roofline(self) -> StepCost:
        """Return the tables of the roofline, which all backends correct."""
        return replica_cost(
            self.replica,
            max_batched_tokens=self.max_batched_tokens,
            max_sequences=self.max_sequences,
        )


def compile_cost(backend: str, wanted: Wanted) -> Compiled:
    """Return the cost tables that a backend makes.

    Raises UnknownNameError for a backend, InputError where it lacks its file or module or knows
    nothing of the GPU or model.
    """
    if backend not in BACKENDS:
        raise UnknownNameError("cost backend", backend, BACKENDS)
    if (backend == TAKES_A_TABLE) != (wanted.table is not None):
        raise InputError(
            "gpu.table has an effect with gpu.backend table, and only there",
            hint="give both, as --set gpu.backend=table --set gpu.table=measured.csv",
        )
    if (backend == TAKES_NUMBERS) != (wanted.linear is not None):
        raise InputError(
            "gpu.linear has an effect with gpu.backend linear, and only there",
            hint="it is of scenarios: --set gpu.backend=linear --set gpu.linear.step_ns=5000000 "
            "--set gpu.linear.token_ns=20000 --set gpu.linear.context_ns=30",
        )
    module = import_module(f"replay.gpu.backends.{backend}")
    compiled: Compiled = module.compile_steps(wanted)
    return compiled
