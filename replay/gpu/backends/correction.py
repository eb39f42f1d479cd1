"""Corrections of the roofline: measured over predicted on a grid of (tokens, context).

A grid need not be full: an empty cell takes the factor of the nearest one that is known, by
logarithms of both axes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.gpu.cost import StepCost, time_steps, uniform_steps

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Points of two axes and a factor for each pair; `filled` cells had no measurement."""

    rows: Integers
    columns: Integers
    factor: Floats
    filled: int


def grid_of(rows: Integers, columns: Integers, ratio: Floats) -> Grid:
    """Return the grid through scattered points; several of one cell count by geometric mean."""
    row_axis, at_row = np.unique(rows, return_inverse=True)
    column_axis, at_column = np.unique(columns, return_inverse=True)
    total = np.zeros((len(row_axis), len(column_axis)))
    count = np.zeros_like(total)
    np.add.at(total, (at_row, at_column), np.log(ratio))
    np.add.at(count, (at_row, at_column), 1.0)
    known = np.argwhere(count > 0)
    mean = total[tuple(known.T)] / count[tuple(known.T)]
    places = np.log1p(np.stack([row_axis[known[:, 0]], column_axis[known[:, 1]]], axis=1))
    factor = np.empty_like(total)
    for row, column in np.ndindex(*total.shape):
        here = np.log1p([row_axis[row], column_axis[column]])
        nearest = int(np.argmin(((places - here) ** 2).sum(axis=1)))
        factor[row, column] = np.exp(mean[nearest])
    return Grid(row_axis, column_axis, factor, int((count == 0).sum()))


def corrected(cost: StepCost, prefill: Grid | None, decode: Grid | None) -> StepCost:
    """Return the tables with the factors of prompts and of decodes beside them."""
    changes: dict[str, Any] = {}
    if prefill is not None:
        changes["prefill_new"] = np.log1p(prefill.rows.astype(np.float64))
        changes["prefill_cached"] = np.log1p(prefill.columns.astype(np.float64))
        changes["prefill_factor"] = np.ascontiguousarray(prefill.factor)
    if decode is not None:
        changes["decode_batch"] = np.log1p(decode.rows.astype(np.float64))
        changes["decode_context"] = np.log1p(decode.columns.astype(np.float64))
        changes["decode_factor"] = np.ascontiguousarray(decode.factor)
    return dataclasses.replace(cost, **changes)


def prefill_ns(cost: StepCost, new: Integers, cached: Integers, *, head: bool) -> Floats:
    """Return what the tables say of steps of one prompt chunk each."""
    return time_steps(cost, uniform_steps(new, cached, head=head)).astype(np.float64)


def decode_ns(cost: StepCost, requests: Integers, context: Integers, *, head: bool) -> Floats:
    """Return what the tables say of steps of decodes alone."""
    return time_steps(cost, uniform_steps(0, 0, requests, context, head=head)).astype(np.float64)
