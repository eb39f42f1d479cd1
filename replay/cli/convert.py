"""`replay convert`: a trace in another format, cut, thinned, sped up or merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli import completion
from replay.cli.trace_options import SHARE, read_trace, trace_options
from replay.errors import InputError


@click.command(short_help="Write a trace in another format, cut, sampled or merged.")
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="OUT",
    help="File to write; its suffix tells the format.",
)
@click.option(
    "--format-out",
    metavar="NAME",
    help="How to write: parquet, mooncake, llmservingsim.",
    shell_complete=completion.formats_written,
)
@click.option(
    "--block-size",
    type=click.IntRange(1, 2**20),
    metavar="N",
    help="Write content as block ids of N tokens; mooncake: the trace's own, else 16.",
)
@click.option("--merge", is_flag=True, help="Make one trace of several IN; their ids are renamed.")
@click.option("--window", metavar="FROM..TO", help="Keep what arrives in it, such as 10m..40m.")
@click.option("--sample", type=SHARE, metavar="SHARE", help="Keep a random share, such as 0.1.")
@click.option(
    "--by",
    default="session",
    show_default=True,
    metavar="UNIT",
    help="What is sampled whole: session or request.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the sample.",
)
@click.option("--speedup", type=float, metavar="X", help="Divide arrival times by X.")
@trace_options
@click.option("--force", is_flag=True, help="Overwrite a file that is there already.")
def convert(
    inputs: tuple[str, ...],
    output: Path,
    format_out: str | None,
    block_size: int | None,
    merge: bool,
    window: str | None,
    sample: float | None,
    by: str,
    seed: int,
    speedup: float | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Convert a trace: another format, a window or sample of it, several merged into one.

    Nothing is lost unseen: what the new format cannot hold is printed, and rows that were put
    aside go to OUT.rejected.jsonl. A folder or a quoted pattern is read as one trace.

    \b
    replay convert trace.jsonl -o trace.parquet
    replay convert long.parquet -o part.jsonl --window 10m..40m --sample 0.1
    replay convert a.jsonl b.jsonl --merge -o both.parquet
    """
    from replay.answers.changing import Change, changed, joined
    from replay.cli.ceiling_lines import ceiling_line
    from replay.cli.output import note, note_all, say
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import claim, read_beside
    from replay.compiling.parts import CONTENT, READING
    from replay.trace.content import natural_block_size
    from replay.trace.rejected import rejected_beside, write_rejected
    from replay.trace.separation import sharing_notes
    from replay.trace.writers import writer_for
    from replay.units import parse_window

    if len(inputs) > 1 and not merge:
        raise InputError(f"{len(inputs)} traces were given", hint="--merge makes one trace of them")
    writer = writer_for(output, format_out)
    read: list[str | Path] = [*inputs, *read_beside(parameters)]
    claim(output, force=force, inputs=read)
    claim(rejected_beside(output), force=force, inputs=read)
    bounds = None if window is None else parse_window(window)
    change = Change(bounds, sample, by, seed, speedup)
    with progress("Reading the trace", patience_s=compile_first(READING, CONTENT)) as bar:
        traces = [read_trace(path, parameters, bar.hook) for path in inputs]
        trace = changed(joined(traces, inputs), change)
        bar.hook("Writing the trace", 0, 0)
        lost = writer.write(trace, output, block_size=block_size, force=force)
        aside = write_rejected(trace.rejected, rejected_beside(output), force=force)
    note_all((*trace.meta.notes, *sharing_notes(trace, content_known=trace.has_content)))
    say(f"{'requests':14}{trace.requests:,}")
    say(f"{'content':14}{trace.meta.content}")
    say(f"{'sessions':14}{trace.meta.sessions}")
    if trace.has_content and (block_size is not None or writer.name == "mooncake"):
        size = block_size or natural_block_size(trace)
        say(f"{'hits kept':14}{ceiling_line(trace, size)}")
    for number, text in enumerate(lost or ["nothing"]):
        say(f"{'lost' if not number else '':14}{text}")
    if aside:
        say(f"{'put aside':14}{len(trace.rejected):,} rows, in {aside}")
    note(f"\nTrace written to {output}; `replay describe {output}` says more")
