"""The answer of `replay cost` as tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from replay.answers.cost_limits import (
    ALL_REDUCES,
    MOST_DECODES,
    MOST_GPUS,
    MOST_NEW,
    MOST_TOKENS,
)
from replay.errors import InputError, UnknownNameError
from replay.report.tables import Table

if TYPE_CHECKING:
    from replay.gpu.backends import Compiled
    from replay.gpu.breakdown import Step
    from replay.gpu.replica import Replica

STEP, FLOOR = "step", "floor: peak FLOP or bytes"  # beside the parts
SUFFIX = 512  # prompt tokens after a prefix, where --new does not say
SHORTEST_STEP_TABLE = 8192
_RANGE_OF = {
    "new": (0, MOST_NEW),
    "cached": (0, MOST_TOKENS),
    "tp": (1, MOST_GPUS),
    "pp": (1, MOST_GPUS),
    "budget": (1, 2**62),
}


@dataclass(frozen=True, slots=True)
class CostQuestion:
    """One replica, one step, and the machine that its KV moves in."""

    replica: Replica
    compiled: Compiled
    step: Step
    host: str | None
    budget: int
    backend: str
    table_file: Path | None

    @classmethod
    def ask(cls, parameters: Mapping[str, Any], step: Step) -> Self:
        """Return the question that the options of `replay cost` ask."""
        from replay.gpu.backends import Wanted, compile_cost
        from replay.gpu.replica import Replica
        from replay.gpu.spec import load_gpu, load_model

        replica = Replica(
            load_gpu(parameters["gpu"]),
            load_model(parameters["model"]),
            parameters["tp"],
            parameters["pp"],
            weight_dtype=parameters["weight_dtype"],
            kv_dtype=parameters["kv_dtype"],
            all_reduce=parameters["all_reduce"],
        )
        replica.check()
        most = max(parameters["budget"], step.tokens, SHORTEST_STEP_TABLE)
        wanted = Wanted(replica, most, max(step.sampled, 256), parameters["table_file"])
        compiled = compile_cost(parameters["backend"], wanted)
        host = parameters["host"] or replica.gpu.host
        return cls(
            replica, compiled, step, host, parameters["budget"], parameters["backend"],
            parameters["table_file"],
        )  # fmt: skip

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about the times."""
        from replay.engine.costing import calibration_notes

        gpu = self.replica.gpu
        known: tuple[str, ...] = ()
        if gpu.calibrated:
            prefill, decode = gpu.fit.error.prefill, gpu.fit.error.decode
            known = (
                f"expect step times on {gpu.name} off by {prefill.median_percent:g} % (p90 "
                f"{prefill.p90_percent:g} %) in prefill and {decode.median_percent:g} % (p90 "
                f"{decode.p90_percent:g} %) in decode",
            )
        return (*self.compiled.notes, *calibration_notes(gpu), *known, *self._too_large())

    def _too_large(self) -> tuple[str, ...]:
        """Return a warning where the model does not fit the GPUs whose step is costed."""
        from replay.errors import DoesNotFitError
        from replay.gpu.memory import kv_pool

        replica = self.replica
        if replica.pipeline_parallel > 1:
            return ()  # stages hold a part of the layers each, which the pool does not know
        try:
            kv_pool(
                replica.gpu,
                replica.model,
                tensor_parallel=replica.tensor_parallel,
                memory_utilization=1.0,
                max_batched_tokens=self.budget,
                max_sequences=1,
                weight_dtype=replica.weight_dtype,
                kv_dtype=replica.kv_dtype,
            )
        except DoesNotFitError as error:
            return (f"{error.message}; no engine could run this step",)
        return ()


def step_of(parameters: Mapping[str, Any], decode: str | None) -> Step:
    """Return the step that the options `new`, `cached` and `--decode 32x4096` describe.

    Raises InputError for one without tokens, and for a `decode` that is not such.
    """
    from replay.gpu.breakdown import Step

    decodes, context = 0, 0
    if decode is not None:
        found = re.fullmatch(r"(\d+)x(\d+)", decode)
        if found is None or int(found[1]) == 0 or int(found[2]) == 0:
            raise InputError(f"--decode is a count and a context, such as 32x4096 (got {decode!r})")
        decodes, context = int(found[1]), int(found[2])
        if decodes > MOST_DECODES or context > MOST_TOKENS:
            raise InputError(
                f"--decode goes up to {MOST_DECODES}x{MOST_TOKENS} (got {decode!r})",
            )
    if not decodes and not parameters["new"]:
        raise InputError("a step needs tokens", hint="give --new 512 or --decode 32x4096, or both")
    if parameters["cached"] and not parameters["new"]:
        raise InputError(
            "--cached has no effect without --new: it is what the new tokens follow",
            hint="the context of decodes stands in --decode",
        )
    return Step(parameters["new"], parameters["cached"], decodes, context)


def cost_answer(
    parameters: Mapping[str, Any], decode: str | None
) -> tuple[dict[str, Table], CostQuestion]:
    """Return the tables of a step, and the question they answer.

    Raises InputError and UnknownNameError for values out of range, and as `CostQuestion.ask`.
    """
    for name, (least, most) in _RANGE_OF.items():
        value = parameters[name]
        if not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"{name} must be between {least:,} and {most:,} (got {value!r})")
    if parameters["all_reduce"] not in ALL_REDUCES:
        raise UnknownNameError("all-reduce", str(parameters["all_reduce"]), ALL_REDUCES)
    question = CostQuestion.ask(parameters, step_of(parameters, decode))
    return cost_tables(question), question


def cost_tables(question: CostQuestion) -> dict[str, Table]:
    """Return the parts of the step, and recompute against load where there is a machine."""
    tables = {"step": _parts(question)}
    if question.host is not None:
        tables["load_or_recompute"] = _tiers(question)
    return tables


def _parts(question: CostQuestion) -> Table:
    from replay.gpu.breakdown import break_down

    found = break_down(question.replica, question.compiled.cost, question.step)
    rows = sorted(found.parts_ns.items(), key=lambda part: -part[1])
    if found.correction_ns:
        rows.append(("correction by measurements", found.correction_ns))
    rows.append((STEP, found.total_ns))
    rows.append((FLOOR, found.floor_ns))
    if question.replica.pipeline_parallel > 1:
        rows.append(("a new step each, stages overlapping", found.interval_ns))
    return Table(
        ("part", "time_ms", "of_step_share"),
        [(name, part / 1e6, part / found.total_ns) for name, part in rows],
    )


def _tiers(question: CostQuestion) -> Table:
    from replay.gpu.recompute import break_even_tokens, recompute_ns, tiers_of
    from replay.gpu.spec import load_host

    assert question.host is not None  # the caller asked
    replica, cost = question.replica, question.compiled.cost
    suffix = question.step.new or SUFFIX
    prefix = question.step.cached or SHORTEST_STEP_TABLE
    again = recompute_ns(cost, prefix, suffix) / 1e6
    rows = []
    for tier in tiers_of(load_host(question.host)):
        least = break_even_tokens(replica, cost, tier, suffix=suffix)
        over = " + ".join(link.name for link in tier.links) or "-"
        rate = "measured" if tier.measured else "assumed"
        load = tier.load_ns(replica, prefix) / 1e6
        rows.append((tier.name, over, rate, least, prefix, load, again))
    return Table(
        (
            "tier", "over", "rate", "break_even_tokens", "prefix_tokens", "load_ms", "recompute_ms",
        ),
        rows,
    )  # fmt: skip
