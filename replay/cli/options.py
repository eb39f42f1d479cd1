"""Options that several commands share, and how they become overrides of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from replay.cli import completion
from replay.cli.output import FORMATS

if TYPE_CHECKING:
    from replay.config.scenario import Scenario

Command = TypeVar("Command", bound=Callable[..., Any])


class _Short(NamedTuple):
    """The option of a name in `replay.config.short_names`; one without metavar is a flag."""

    option: str
    help: str
    metavar: str | None = None
    complete: completion.Completer | None = None

    @property
    def parameter(self) -> str:
        """The name click passes its value under."""
        return self.option.removeprefix("--").replace("-", "_")


_SHORT_OPTIONS = (
    _Short("--gpu", "GPU to model; see `replay list gpus`.", "NAME", completion.gpus),
    _Short(
        "--model",
        "Model served: a name of `replay list models`, a file, a config.json.",
        "NAME",
        completion.models,
    ),
    _Short("--engine", "Serving engine; see `replay list engines`.", "NAME", completion.engines),
    _Short("--kv-dtype", "Type of the KV: bf16, fp16, fp8 or int8.", "TYPE"),
    _Short("--tp", "GPUs one replica spans.", "N"),
    _Short("--block-size", "Tokens in a KV block.", "N"),
    _Short("--capacity", "KV the cache holds: inf, auto, 40GiB, 10Mtokens.", "SIZE"),
    _Short("--untimed", "Cache only: one request at a time, no GPU."),
    _Short("--no-responses", "Keep no generated tokens."),
    _Short("--partial-blocks", "Reuse a partial last block."),
    _Short("--no-cache", "Reuse nothing."),
    _Short("--seed", "Seed of everything drawn at random.", "N"),
)


def scenario_options(command: Command, *, leave_out: Container[str] = ()) -> Command:
    """Give a command the options that make a scenario; `read_scenario` takes their values.

    `leave_out` are short options that the command has its own of, or decides itself.
    """
    for short in reversed(_SHORT_OPTIONS):
        if short.option in leave_out:
            continue
        is_flag = short.metavar is None
        command = click.option(
            short.option,
            is_flag=is_flag,
            metavar=short.metavar,
            help=short.help,
            shell_complete=short.complete,
        )(command)
    command = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="PATH=VALUE",
        shell_complete=completion.settings,
        help="Set any key of the scenario, such as cache.commit=incremental; repeatable.",
    )(command)
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        metavar="SCENARIO.yaml",
        help="Scenario file; the options below change it.",
    )(command)


def read_scenario(
    parameters: Mapping[str, Any],
    fixed: Mapping[str, object] | None = None,
    *,
    fixed_by: str = "this command",
) -> Scenario:
    """Return the scenario that the values of `scenario_options` describe.

    `fixed` are keys that the command itself decides, or its option `fixed_by`. Raises ConfigError
    with every problem, each named after the option or the line it stands in.
    """
    from replay.config.load import load_scenario
    from replay.config.overrides import Override, parse_setting
    from replay.config.short_names import short_overrides

    labels = {short.parameter: short.option for short in _SHORT_OPTIONS}
    overrides = short_overrides(parameters, labels)
    if parameters.get("separate_by") is not None:  # of `trace_options`
        overrides.append(Override("trace.separate_by", parameters["separate_by"], "--separate-by"))
    overrides += [parse_setting(text) for text in parameters["settings"]]
    overrides += [Override(path, value, fixed_by) for path, value in (fixed or {}).items()]
    return load_scenario(parameters["config"], overrides)


def page_options(command: Command) -> Command:
    """Add --html and --static, for commands that can draw a page instead; see `report_page`."""
    for option in (
        click.option("--static", is_flag=True, help="A page without scripts: pictures are SVG."),
        click.option(
            "--html",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Write a page with pictures instead; so does -o FILE.html.",
        ),
    ):
        command = option(command)
    return command


def output_options(command: Command) -> Command:
    """Give a command `--format`, `-o/--output` and `--force`.

    `replay.cli.targets.check_output` takes their values before the work, and
    `replay.cli.output.emit` after it.
    """
    command = click.option("--force", is_flag=True, help="Replace a FILE that is there already.")(
        command
    )
    command = click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write to a file; its suffix tells the format.",
    )(command)
    return click.option(
        "--format", type=click.Choice(FORMATS), help="How to print; default: table."
    )(command)
