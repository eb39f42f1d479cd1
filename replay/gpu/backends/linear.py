"""Step times from three numbers of the user's own, exact to the nanosecond: no GPU, no model.

A step of T tokens whose decodes attend to S keys takes `step_ns + token_ns * T + context_ns * S`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from replay.gpu.cost import StepCost
from replay.kernels import attention as kernel

if TYPE_CHECKING:
    from replay.gpu.backends import Compiled, Wanted


def compile_steps(wanted: Wanted) -> Compiled:
    """Return tables in which the three numbers of `wanted.linear` are all that counts."""
    from replay.gpu.backends import Compiled

    assert wanted.linear is not None  # compile_cost asked
    step_ns, token_ns, context_ns = wanted.linear
    attention = np.zeros((1, kernel.COEFFICIENTS))  # chunks are summed by it all the same
    attention[:, [kernel.TILE_ROWS, kernel.HEADS, kernel.SMS]] = 1.0
    attention[:, kernel.WINDOW] = kernel.UNLIMITED
    cost = StepCost(
        linear_ns=np.zeros(wanted.max_batched_tokens + 1),
        head_ns=np.zeros(wanted.max_sequences + 1),
        attention=attention,
        exact=np.array(wanted.linear, np.int64),
    )
    note = (
        f"step times are as given, of no GPU and no model: {step_ns:,} ns a step, {token_ns:,} ns "
        f"a token, {context_ns:,} ns a key that a decode attends to"
    )
    return Compiled(cost, (note,))
