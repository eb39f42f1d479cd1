"""Options of the commands that ask the cache alone: which cache, which capacities, which unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from replay.cli.options import read_scenario, scenario_options
from replay.cli.trace_options import read_options, read_trace

if TYPE_CHECKING:
    from replay.engine.question import Question
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

    Raises what reading the scenario and the trace, and what `ask` raise.
    """
    from dataclasses import replace

    from replay.cache.replays import chosen_names
    from replay.engine.question import Ask, ask, unsized
    from replay.engine.run import prepare, prepare_trace
    from replay.trace.prefix_sample import sample_prefixes
    from replay.trace.separation import separated
    from replay.units import parse_capacity, parse_duration_ns

    scenario = read_scenario(parameters, {"engine.mode": "untimed"})
    if parameters["capacities"] and not list(chosen_names(parameters["capacities"])):
        raise click.BadParameter("names no capacity", param_hint="--capacity")
    if policies and not list(chosen_names(policies)):
        raise click.BadParameter("names no policy", param_hint="--policy")
    wanted = Ask(
        policies=list(chosen_names(policies)),
        block_sizes=_block_sizes(parameters["block_sizes"]),
        capacities=[parse_capacity(text) for text in chosen_names(parameters["capacities"])],
        unit=parameters["unit"],
        ttl_ns=None if parameters["ttl"] is None else parse_duration_ns(parameters["ttl"]),
        points=parameters.get("points"),
        threads=parameters["threads"],
    )
    bare = unsized(scenario)
    share = parameters.get("sample")
    drawn = None
    if share is not None:
        if not share:
            raise click.BadParameter("must be above 0", param_hint="--sample")
        full = read_trace(trace, parameters, hook)
        one_in = round(1 / share)
        if one_in > 1:  # the whole trace is no sample: its curve is exact
            full = separated(full, scenario.trace.separate_by)
            drawn = sample_prefixes(full, one_in, seed=scenario.seed)
            full = drawn.trace
        prepared = prepare_trace(full, bare, progress=hook)
    else:
        prepared = prepare(
            trace,
            bare,
            format_name=parameters["format_in"],
            options=read_options(parameters),
            progress=hook,
        )
    return ask(replace(prepared, scenario=scenario), wanted, drawn)


def _block_sizes(text: str | None) -> list[int]:
    """Return the block sizes of a list such as `16,512`; raises a usage error for anything else."""
    found = []
    for part in (text or "").split(","):
        if not part.strip() and text is None:
            continue
        if not part.strip().isdecimal() or not 1 <= int(part) <= 2**20:
            raise click.BadParameter(
                f"must be a number of tokens from 1 to {2**20:,} (got {part.strip()!r})",
                param_hint="--block-size",
            )
        if int(part) not in found:
            found.append(int(part))
    return found
