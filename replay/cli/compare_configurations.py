"""The runs that `replay compare` compares: folders, or made of a trace for the occasion."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from replay.errors import InputError

if TYPE_CHECKING:
    from replay.config.scenario import Scenario
    from replay.runs.open import Run

BASE = "base"
_SUFFIXES = (".yaml", ".yml")
_OWN = ("chosen", "every", "html", "static", "format", "output", "force", "runs")
_BETWEEN = re.compile(r",(?=\s*[\w.]+=)")  # a value may be a list


@dataclass(frozen=True, slots=True)
class Made:
    """Runs to compare; `names` is None where their folders say it, `kept` whether these stay."""

    runs: Sequence[Run]
    names: Sequence[str] | None = None
    kept: bool = True


def check_alone(context: click.Context) -> None:
    """Raise InputError for an option of making runs, where runs are given."""
    from click.core import ParameterSource

    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in _OWN and source is ParameterSource.COMMANDLINE:
            raise InputError(
                f"{parameter.opts[-1]} is about runs to make", hint="give --trace TRACE, too"
            )


@contextmanager
def made_runs(
    given: Sequence[str], parameters: Mapping[str, Any], *, force: bool
) -> Iterator[Made]:
    """Open the runs that are given, or make them of the trace; they are there inside the block.

    Raises what `open_run` raises, ConfigError for what is no configuration, and what reading and
    replaying the trace raises.
    """
    from replay.runs.open import open_run

    if parameters["trace"] is None:
        yield Made([open_run(Path(run)) for run in given])
        return
    scenarios = [_scenario(text, parameters) for text in given]
    names = [_name(text) for text in given]
    keep = parameters["keep"]
    with TemporaryDirectory(prefix="replay-") as parent:
        places = _places(names, keep or Path(parent))
        if keep is not None:
            made = [place for place, one in zip(places, scenarios, strict=True) if one is not None]
            _claim(given, made, parameters, force=force)
        folders = _make(given, scenarios, places, parameters, force=force)
        yield Made([open_run(folder) for folder in folders], names, keep is not None)


def _scenario(text: str, parameters: Mapping[str, Any]) -> Scenario | None:
    """Return the scenario that a configuration stands for, None for a run that is there."""
    from replay.cli.options import read_scenario

    if Path(text).is_dir():
        return None
    if text == BASE:
        return read_scenario(parameters)
    if text.lower().endswith(_SUFFIXES):
        if parameters["config"] is not None:
            raise InputError(f"{text} and {parameters['config']} are both whole scenarios",
                             hint="give settings, or leave -c out")  # fmt: skip
        return read_scenario({**parameters, "config": Path(text)})
    if "=" not in text:
        raise InputError(
            f"{text}: neither a run nor a configuration",
            hint=f"give a run directory, settings such as model.kv_dtype=fp8, a .yaml, or {BASE}",
        )
    own = (part.strip() for part in _BETWEEN.split(text))
    return read_scenario({**parameters, "settings": (*parameters["settings"], *own)})


def _name(text: str) -> str:
    """Return what a run is called: the end of its keys with their values, the name of its file."""
    if Path(text).is_dir() or text == BASE:
        return Path(text).resolve().name if text != BASE else BASE
    if "=" not in text:
        return Path(text).stem
    parts = (part.strip().rpartition("=") for part in _BETWEEN.split(text))
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in parts)


def _places(names: Sequence[str], parent: Path) -> list[Path]:
    """Return a folder for each run, named as the run is."""
    plain = [re.sub(r"[^\w.=-]+", "-", name).strip("-") or "run" for name in names]
    again = [f"{name}-{plain[:at].count(name) + 1}" if name in plain[:at] else name
             for at, name in enumerate(plain)]  # fmt: skip
    return [parent / name for name in again]


def _claim(
    given: Sequence[str], places: Sequence[Path], parameters: Mapping[str, Any], *, force: bool
) -> None:
    from replay.cli.targets import claim_run, read_beside

    inputs = [*map(Path, given), parameters["trace"], *read_beside(parameters)]
    for place in places:
        claim_run(place, force=force, inputs=inputs)


def _make(
    given: Sequence[str],
    scenarios: Sequence[Scenario | None],
    places: Sequence[Path],
    parameters: Mapping[str, Any],
    *,
    force: bool,
) -> list[Path]:
    """Replay the trace, read once, for each scenario; return the folders of all runs."""
    from replay.cli.output import note
    from replay.cli.progress import compile_first, progress
    from replay.cli.trace_options import read_trace
    from replay.compiling.parts import CONTENT, CURVES, READING, part_of

    parts = [part_of(one) for one in scenarios if one is not None]
    patience_s = compile_first(READING, CONTENT, CURVES, *dict.fromkeys(parts))
    folders = []
    with progress("Starting", patience_s=patience_s) as bar:
        from replay.answers.running import replayed, write_ran
        from replay.answers.sources import HeldSource

        source = HeldSource(read_trace(parameters["trace"], parameters, bar.hook))
        for text, scenario, place in zip(given, scenarios, places, strict=True):
            if scenario is None:
                folders.append(Path(text))
                continue
            prepared = source.prepared(scenario, bar.hook)
            ran = replayed(
                prepared, threads=2, sensitivity=parameters["sensitivity"], progress=bar.hook
            )
            write_ran(ran, place, told={"argv": sys.argv[1:]}, force=force)
            folders.append(place)
    if parameters["keep"] is not None:
        note(f"Runs written to {parameters['keep']}")
    return folders
