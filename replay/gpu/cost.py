"""What one engine step costs: from a GPU, a model and how it is spread, to flat arrays.

`step_cost` compiles them once; engines and queries only read the arrays. Nothing in them can be
faster than the hardware: `checked` refuses tables below the floor, and every query takes at least
the floor. Formulas, parameters and measured errors: `docs/gpu-model.md`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from replay.config.hardware import ServerTimes
from replay.errors import InputError
from replay.gpu.attention import attention_table
from replay.gpu.floor import floor_table
from replay.gpu.linear import head_ns, linear_ns
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, Model
from replay.kernels import attention as columns
from replay.kernels import cost as kernel
from replay.kernels.cost import CostTables
from replay.kernels.steps import StepList, time_all

_ROUNDING = 1 - 1e-9  # sums of many floats: their last bits are free

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def _nothing() -> Floats:
    return np.zeros(0)


def _no_grid() -> Floats:
    return np.zeros((0, 0))


def _not_exact() -> Integers:
    return np.zeros(0, np.int64)


def _no_floor() -> Floats:
    return np.zeros(kernel.FLOORS)


def _no_host() -> Floats:
    return np.zeros(kernel.HOSTS)


@dataclass(frozen=True, slots=True)
class StepCost:
    """Everything an engine needs to time its steps; see `replay.kernels.cost` for the rule.

    `linear_ns[T]` is the time of all layers without attention for T new tokens, `head_ns[r]` that
    of the LM head for r sampled rows; both are 0 at 0 and never fall. `attention` holds the
    coefficients that the attention kernels index, one row a kind of layer. The factors are the
    corrections of a backend that has measurements; empty ones correct nothing. `exact`, where it
    is not empty, is the time of a step by itself, and all else is 0.
    """

    linear_ns: Floats
    head_ns: Floats
    attention: Floats
    floor: Floats = dataclasses.field(default_factory=_no_floor)
    host: Floats = dataclasses.field(default_factory=_no_host)
    prefill_new: Floats = dataclasses.field(default_factory=_nothing)
    prefill_cached: Floats = dataclasses.field(default_factory=_nothing)
    prefill_factor: Floats = dataclasses.field(default_factory=_no_grid)
    decode_batch: Floats = dataclasses.field(default_factory=_nothing)
    decode_context: Floats = dataclasses.field(default_factory=_nothing)
    decode_factor: Floats = dataclasses.field(default_factory=_no_grid)
    exact: Integers = dataclasses.field(default_factory=_not_exact)

    @property
    def tables(self) -> CostTables:
        """The same arrays as the kernels take them."""
        return CostTables(*(getattr(self, field.name) for field in dataclasses.fields(self)))


def step_cost(
    gpu: Gpu,
    model: Model,
    *,
    tensor_parallel: int,
    max_batched_tokens: int,
    max_sequences: int,
) -> StepCost:
    """Return the cost tables of one replica spanning `tensor_parallel` GPUs.

    Raises InputError where the model cannot be spread over that many GPUs.
    """
    replica = Replica(gpu, model, tensor_parallel)
    return replica_cost(replica, max_batched_tokens=max_batched_tokens, max_sequences=max_sequences)


def replica_cost(replica: Replica, *, max_batched_tokens: int, max_sequences: int) -> StepCost:
    """Return the cost tables of a replica; raises what `Replica.check` raises."""
    replica.check()
    tokens = np.arange(max_batched_tokens + 1, dtype=np.float64)
    rows = np.arange(max_sequences + 1, dtype=np.float64)
    cost = StepCost(
        linear_ns=linear_ns(replica, tokens),
        head_ns=head_ns(replica, rows),
        attention=attention_table(replica),
        floor=floor_table(replica),
    )
    return checked(cost, replica.gpu.name)


def with_server(cost: StepCost, times: ServerTimes, layers: int, graph_tokens: int) -> StepCost:
    """Return the same tables with what a server adds to each step of a model of so many layers.

    `graph_tokens` are those of the largest step with prompts that is launched as CUDA graphs.
    """
    host = _no_host()
    host[kernel.HOST_STEP_NS] = times.launch_ns
    host[kernel.HOST_REQUEST_NS] = times.launch_request_ns
    host[kernel.HOST_PROMPT_NS] = times.launch_layer_ns * layers
    host[kernel.HOST_AFTER_NS] = times.after_ns
    host[kernel.HOST_GRAPH_TOKENS] = graph_tokens
    host[kernel.HOST_EAGER_NS] = times.eager_layer_ns * layers
    return dataclasses.replace(cost, host=host)


def checked(cost: StepCost, name: str) -> StepCost:
    """Return the same tables; raises InputError where one of them is faster than the hardware.

    The efficiencies of a GPU file are at most 1, so this fails only where a formula is wrong.
    """
    floor, attention = cost.floor, cost.attention
    tokens = np.arange(len(cost.linear_ns))
    rows = np.arange(len(cost.head_ns))
    linear = np.maximum(tokens * floor[kernel.TOKEN_NS], floor[kernel.WEIGHTS_NS] * (tokens > 0))
    head = np.maximum(rows * floor[kernel.SAMPLE_NS], floor[kernel.HEAD_WEIGHTS_NS] * (rows > 0))
    pairs = [
        (cost.linear_ns, linear),
        (cost.head_ns, head),
        (attention[:, columns.PAIR_NS], attention[:, columns.FLOOR_PAIR_NS]),
        (attention[:, columns.KEY_NS], attention[:, columns.FLOOR_KEY_NS]),
        (attention[:, columns.DECODE_KEY_NS], attention[:, columns.FLOOR_KEY_NS]),
        (
            attention[:, columns.DECODE_PAIR_NS],
            attention[:, columns.FLOOR_DECODE_PAIR_NS],
        ),
    ]
    for got, least in pairs:
        if not (got >= least * _ROUNDING).all():
            raise InputError(f"the cost tables of {name} are faster than its peaks allow")
    return cost


def uniform_steps(
    new: ArrayLike = 0,
    cached: ArrayLike = 0,
    decodes: ArrayLike = 0,
    context: ArrayLike = 0,
    *,
    head: bool = True,
) -> StepList:
    """Return steps of at most one prompt chunk each, from numbers or arrays of one length.

    `new` tokens after `cached` ones, and `decodes` requests of `context` keys each; `head` off
    leaves the LM head out.
    """
    given = np.broadcast_arrays(*(np.atleast_1d(v) for v in (new, cached, decodes, context)))
    chunk, before, requests, keys = (np.ascontiguousarray(array, np.int64) for array in given)
    prompts = chunk > 0
    first = np.concatenate([[0], np.cumsum(prompts)]).astype(np.int64)
    rows = (requests + prompts) * head
    return StepList(first, chunk[prompts], before[prompts], requests, requests * keys, keys, rows)


def time_steps(cost: StepCost, steps: StepList) -> Integers:
    """Return the time of each step in ns.

    Raises InputError for a step beyond the tables, or one that would beat the hardware.
    """
    times, floors = _timed(cost, steps)
    if not (times >= floors * _ROUNDING).all():
        raise InputError("a step would be faster than the hardware")
    return times


def floor_steps(cost: StepCost, steps: StepList) -> Floats:
    """Return for each step the time in ns that no software can beat; raises as `time_steps`."""
    return _timed(cost, steps)[1]


def _timed(cost: StepCost, steps: StepList) -> tuple[Integers, Floats]:
    if min((int(part.min(initial=0)) for part in steps), default=0) < 0:
        raise InputError("a step has no negative counts")
    prompt = np.concatenate([[0], np.cumsum(steps.new)])
    tokens = prompt[steps.first_chunk[1:]] - prompt[steps.first_chunk[:-1]] + steps.decodes
    most, rows = int(tokens.max(initial=0)), int(steps.sampled.max(initial=0))
    if most >= len(cost.linear_ns) or rows >= len(cost.head_ns):
        raise InputError(
            f"a step of {most:,} tokens and {rows:,} sampled rows is beyond the cost tables "
            f"({len(cost.linear_ns) - 1:,} tokens, {len(cost.head_ns) - 1:,} rows)"
        )
    times, floors = np.empty(len(steps.decodes), np.int64), np.empty(len(steps.decodes))
    time_all(cost.tables, steps, np.zeros((len(cost.attention), columns.SUMS)), times, floors)
    return times, floors
