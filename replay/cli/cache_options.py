"""Options of the commands that ask the cache alone: which cache, which capacities, which unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from replay.cli.options import read_scenario, scenario_options
from replay.cli.trace_options import file_source

if TYPE_CHECKING:
    from replay.analysis.question import Question
    from replay.progress import Hook

Command = TypeVar("Command", bound=Callable[..., Any])

_DECIDED_HERE = ("--engine", "--block-size", "--capacity", "--untimed", "--no-cache")


def cache_options(command: Command) -> Command:
    """Give a command the options of a question to the cache; `read_question` takes their values."""
    for option in reversed(
        (
            click.option(
                "--block-size",
                "block_sizes",
                metavar="N,…",
                help="Tokens in a KV block; default: the trace's own, else 16.",
            ),
            click.option(
                "--capacity",
                "capacities",
                multiple=True,
                metavar="SIZE,…",
                help="Capacities to look at: 10000blocks, 5Mtokens, 40GiB, auto (of the GPU), inf.",
            ),
            click.option(
                "--unit",
                type=click.Choice(("blocks", "tokens", "GiB"), case_sensitive=False),
                help="What capacities are shown in, GiB of the model's KV; default: as they were "
                "given, else blocks.",
            ),
            click.option("--ttl", metavar="TIME", help="Idle time after which policy ttl drops."),
            click.option(
                "--threads",
                type=click.IntRange(1, 1024),
                metavar="N",
                help="Replays at once; default: one a core. Results do not depend on it.",
            ),
        )
    ):
        command = option(command)
    return scenario_options(command, leave_out=_DECIDED_HERE)


def read_question(
    trace: Path, policies: Sequence[str], parameters: Mapping[str, Any], hook: Hook
) -> Question:
    """Return the question that the values of `cache_options` and `trace_options` describe.

    Raises what reading the scenario and what `question_about` raise.
    """
    from replay.answers.questions import Words, question_about

    scenario = read_scenario(parameters, {"engine.mode": "untimed"})
    words = Words(
        policies=policies,
        block_sizes=parameters["block_sizes"],
        capacities=parameters["capacities"],
        unit=parameters["unit"],
        ttl=parameters["ttl"],
        points=parameters.get("points"),
        threads=parameters["threads"],
        sample=parameters.get("sample"),
        by=parameters.get("by"),
        drawn=bool(parameters.get("drawn")),
    )
    return question_about(file_source(trace, parameters), scenario, words, hook)
