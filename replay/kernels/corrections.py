"""What measurements say that the cost model is off by: bilinear between logarithms of a grid."""

from __future__ import annotations

import math

import numpy as np

from replay.kernels.jit import inner


@inner
def factor(tables, new, cached, decodes, context_tokens):
    """Return the measured correction of a step: that of its prompts and that of its decodes.

    Where it has both, each counts by the linear time that its tokens would take alone.
    """
    prefill_weight = 0.0
    decode_weight = 0.0
    prefill = 1.0
    decode = 1.0
    if new > 0:
        prefill_weight = tables.linear_ns[new]
        if tables.prefill_factor.size > 0:
            prefill = _between(
                tables.prefill_new,
                tables.prefill_cached,
                tables.prefill_factor,
                math.log(1.0 + new),
                math.log(1.0 + cached),
            )
    if decodes > 0:
        decode_weight = tables.linear_ns[decodes]
        if tables.decode_factor.size > 0:
            decode = _between(
                tables.decode_batch,
                tables.decode_context,
                tables.decode_factor,
                math.log(1.0 + decodes),
                math.log(1.0 + context_tokens / decodes),
            )
    weight = prefill_weight + decode_weight
    return (prefill * prefill_weight + decode * decode_weight) / weight


@inner
def _place(axis, value):
    """Return the last point of a rising axis not past `value`, and the share of the way on."""
    last = axis.shape[0] - 1
    if last == 0 or value <= axis[0]:
        return 0, 0.0
    if value >= axis[last]:
        return last - 1, 1.0
    at = np.searchsorted(axis, value, side="right") - 1
    return at, (value - axis[at]) / (axis[at + 1] - axis[at])


@inner
def _between(rows, columns, grid, row, column):
    """Return a bilinear interpolation; what lies outside takes the value at the border."""
    up, down = _place(rows, row)
    left, right = _place(columns, column)
    below = min(up + 1, rows.shape[0] - 1)
    beside = min(left + 1, columns.shape[0] - 1)
    first = grid[up, left] * (1.0 - right) + grid[up, beside] * right
    second = grid[below, left] * (1.0 - right) + grid[below, beside] * right
    return first * (1.0 - down) + second * down
