"""Step times from the user's own measurements, in the columns of `replay.gpu.measured`.

Prefill and decode rows of the model and GPU count asked for correct the roofline where they were
measured, by interpolation between them; what lies outside keeps the factor of the border, and a
note says how far the rows reach. Mixed rows are not interpolated: they have four dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from replay.errors import ConfigError, InputError, Problem
from replay.gpu.backends.correction import Grid, corrected, decode_ns, grid_of, prefill_ns
from replay.gpu.cost import StepCost, floor_steps, replica_cost, uniform_steps
from replay.gpu.measured import Measured, read_measured

if TYPE_CHECKING:
    from pathlib import Path

    from replay.gpu.backends import Compiled, Wanted


def compile_steps(wanted: Wanted) -> Compiled:
    """Return the roofline corrected by the rows of `wanted.table`.

    Raises ConfigError for rows that the GPU cannot have reached, InputError where no row is of the
    model and GPU count.
    """
    from replay.gpu.backends import Compiled

    path, replica = wanted.table, wanted.replica
    assert path is not None  # compile_cost asked
    rows = _rows_of(path, wanted)
    most = int((rows.new + rows.decodes).max())
    reference = replica_cost(
        replica,
        max_batched_tokens=max(most, wanted.max_batched_tokens),
        max_sequences=max(most, wanted.max_sequences),
    )
    _refuse_impossible(path, rows, reference)
    grids: dict[str, Grid | None] = {"prefill": None, "decode": None}
    notes = [f"step times are corrected by {len(rows)} measured rows of {path.name}"]
    for phase in grids:
        part = rows.where(rows.phase == phase)
        if not len(part):
            notes.append(f"no {phase} rows: they cost what the roofline says")
            continue
        grids[phase] = grid = _grid(phase, part, reference)
        notes.append(
            f"{phase} was measured from {grid.rows[0]:,} to {grid.rows[-1]:,} "
            f"{'new tokens' if phase == 'prefill' else 'requests'} and "
            f"{grid.columns[0]:,} to {grid.columns[-1]:,} tokens of context; beyond, the nearest "
            "factor is kept"
        )
    if (rows.phase == "mixed").any():
        notes.append("mixed rows are not interpolated")
    return Compiled(corrected(wanted.roofline(), grids["prefill"], grids["decode"]), tuple(notes))


def _rows_of(path: Path, wanted: Wanted) -> Measured:
    replica = wanted.replica
    rows = read_measured(path, known_models_only=True)
    own = (rows.models == replica.model.name) & (rows.tensor_parallel == replica.tensor_parallel)
    if not own.any():
        raise InputError(
            f"{path}: no rows of {replica.model.name} on {replica.tensor_parallel} GPUs",
            hint=f"there are: {', '.join(sorted(set(map(str, rows.models))))}",
        )
    return rows.where(own)


def _grid(phase: str, rows: Measured, cost: StepCost) -> Grid:
    if phase == "prefill":
        predicted = prefill_ns(cost, rows.new, rows.cached, head=rows.head)
        return grid_of(rows.new, rows.cached, rows.measured_ns / predicted)
    predicted = decode_ns(cost, rows.decodes, rows.context, head=rows.head)
    return grid_of(rows.decodes, rows.context, rows.measured_ns / predicted)


def _refuse_impossible(path: Path, rows: Measured, cost: StepCost) -> None:
    """Raise ConfigError for rows faster than the GPU's peaks allow."""
    steps = uniform_steps(rows.new, rows.cached, rows.decodes, rows.context, head=rows.head)
    floors: NDArray[np.float64] = floor_steps(cost, steps)
    problems = [
        Problem(
            str(path),
            f"measured_ms {measured / 1e6:.4g} is below the {floor / 1e6:.4g} ms that the peaks of "
            "the GPU allow",
            int(line),
        )
        for line, measured, floor in zip(rows.lines, rows.measured_ns, floors, strict=True)
        if measured < floor
    ]
    if problems:
        raise ConfigError(problems, hint="is it in milliseconds, and of this GPU and model?")
