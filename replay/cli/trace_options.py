"""Options of all commands that read a trace, and how they become a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from replay.cli import completion

if TYPE_CHECKING:
    from replay.answers.sources import FileSource
    from replay.progress import Hook
    from replay.trace.frame import Trace
    from replay.trace.readers.options import ReadOptions

Command = TypeVar("Command", bound=Callable[..., Any])


class _Share(click.ParamType):
    """A share of the rows: `0.1%` or `0.001`."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from replay.errors import InputError
        from replay.units import parse_share

        try:
            return value if isinstance(value, float) else parse_share(str(value))
        except InputError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


class _Size(click.ParamType):
    """A size in bytes: `8GiB` or `500MB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from replay.errors import InputError
        from replay.units import parse_bytes

        try:
            return value if isinstance(value, int) else parse_bytes(str(value))
        except InputError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


SHARE = _Share()
SIZE = _Size()


def trace_options(command: Command) -> Command:
    """Give a command the options of reading; `read_options` and `read_trace` take their values."""
    for option in reversed(
        (
            click.option(
                "--format-in",
                metavar="NAME",
                shell_complete=completion.formats_read,
                help="Format of the trace, if content cannot tell; see `replay list formats`.",
            ),
            click.option(
                "--trace-block-size",
                type=click.IntRange(1, 2**20),
                metavar="N",
                help="Tokens in a block of the trace, if its format does not say; Mooncake: 512.",
            ),
            click.option(
                "--tokenizer",
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE",
                help="tokenizer.json for traces of text; without it, tokens are estimates.",
            ),
            click.option(
                "--chat-template",
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE",
                help="Jinja template for messages; default: the one beside the tokenizer.",
            ),
            click.option(
                "--columns",
                type=click.Path(path_type=Path, dir_okay=False),
                metavar="FILE",
                help="YAML that says what the columns of any CSV, JSONL or Parquet file mean.",
            ),
            click.option(
                "--separate-by",
                metavar="NAME,…",
                shell_complete=completion.separations,
                help="Columns whose requests share no KV, or none; default: model, adapter, salt.",
            ),
            click.option(
                "--max-rejected",
                type=SHARE,
                default="0",
                show_default=True,
                metavar="SHARE",
                help="Faulty rows to put aside rather than fail, such as 0.1%.",
            ),
            click.option(
                "--max-unpacked",
                type=SIZE,
                metavar="SIZE",
                help="How much a .gz or .zst may unpack to; default: 200 times its size.",
            ),
        )
    ):
        command = option(command)
    return command


def read_options(parameters: Mapping[str, Any]) -> ReadOptions:
    """Return the options of readers that the values of `trace_options` describe."""
    from replay.trace.readers.options import ReadOptions

    return ReadOptions(
        block_size=parameters["trace_block_size"],
        max_rejected=parameters["max_rejected"],
        tokenizer=parameters["tokenizer"],
        chat_template=parameters["chat_template"],
        columns=parameters["columns"],
        max_unpacked_bytes=parameters["max_unpacked"],
    )


def file_source(path: str | Path, parameters: Mapping[str, Any]) -> FileSource:
    """Return the trace at a path for a question to read, as `trace_options` say."""
    from replay.answers.sources import FileSource

    return FileSource(path, parameters["format_in"], read_options(parameters))


def read_trace(path: str | Path, parameters: Mapping[str, Any], progress: Hook) -> Trace:
    """Return the trace at a path, read as the values of `trace_options` say."""
    from replay.trace.readers import load_trace
    from replay.trace.separation import AUTO, separated

    trace = load_trace(
        path,
        format_name=parameters["format_in"],
        options=read_options(parameters),
        progress=progress,
    )
    named = parameters["separate_by"]
    return separated(trace, AUTO if named is None else named)
