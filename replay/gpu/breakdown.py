"""Where the time of one step goes: the parts of the roofline, the whole of any backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.gpu.attention import attention_table
from replay.gpu.cost import StepCost, floor_steps, time_steps, uniform_steps
from replay.gpu.linear import head_ns, linear_parts
from replay.gpu.replica import Replica
from replay.kernels import attention as kernel
from replay.kernels.steps import attend_all


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `new` prompt tokens after `cached` ones, `decodes` of `context` keys each."""

    new: int
    cached: int
    decodes: int
    context: int

    @property
    def tokens(self) -> int:
        """Tokens that the step computes."""
        return self.new + self.decodes

    @property
    def sampled(self) -> int:
        """Rows that pass the LM head."""
        return self.decodes + (self.new > 0)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The parts of a step in ns, their sum as the backend has it, and what nothing can beat.

    `correction_ns` is what a backend with measurements adds to the roofline's parts or takes away.
    `interval_ns` is how often a step can start where stages overlap: the time of one stage.
    """

    parts_ns: dict[str, float]
    correction_ns: float
    total_ns: float
    floor_ns: float
    interval_ns: float


def break_down(replica: Replica, cost: StepCost, step: Step) -> Breakdown:
    """Return where one step's time goes; raises InputError beyond the tables of `cost`."""
    steps = uniform_steps(step.new, step.cached, step.decodes, step.context)
    total = float(time_steps(cost, steps)[0])
    tokens = np.array([float(step.tokens)])
    parts = {name: float(part[0]) for name, part in linear_parts(replica, tokens).items()}
    parts["LM head"] = float(head_ns(replica, np.array([float(step.sampled)]))[0])
    chunk = _attention_ns(replica, step, decodes=False)
    both = _attention_ns(replica, step, decodes=True)
    beside = max(both - chunk, 0.0)  # where they share a launch they may cost nothing more
    parts["attention of the prompt"] = both - beside
    parts["attention of decodes"] = beside
    known = sum(parts.values())
    handed_over = parts["between stages"]
    inside = max(total - handed_over, 0.0) / replica.pipeline_parallel
    return Breakdown(
        parts_ns={name: part for name, part in parts.items() if part},
        correction_ns=total - known if abs(total - known) > 1 else 0.0,
        total_ns=total,
        floor_ns=float(floor_steps(cost, steps)[0]),
        interval_ns=inside + handed_over / max(replica.pipeline_parallel - 1, 1),
    )


def _attention_ns(replica: Replica, step: Step, *, decodes: bool) -> float:
    """Return the attention of the prompt chunk alone, or with the decodes beside it."""
    requests = step.decodes if decodes else 0
    steps = uniform_steps(step.new, step.cached, requests, step.context)
    table = attention_table(replica)
    times = np.empty(1)
    attend_all(table, steps, np.zeros((len(table), kernel.SUMS)), times)
    return float(times[0])
