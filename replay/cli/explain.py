"""`replay explain`: why one request of a run hit what it hit, and missed the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli import completion
from replay.cli.options import output_options
from replay.cli.output import emit, text_width
from replay.cli.trace_options import read_options, trace_options


@click.command()
@click.argument(
    "run", type=click.Path(path_type=Path), metavar="RUN", shell_complete=completion.runs
)
@click.argument("request", type=click.IntRange(min=0), metavar="REQUEST")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the run's trace lies now, if it moved.",
)
@trace_options
@output_options
def explain(
    run: Path,
    request: int,
    trace: Path | None,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Tell why a request of RUN hit what it hit, and missed the rest.

    REQUEST is a request_id of the run's table `requests`. The run is replayed up to it, from the
    trace it was made of. For every stretch of the prompt: who put it there and when, whether it
    was hit, and if not, whom it was evicted for. Other formats than `table` have one row a stretch
    of one prefix; times are before the arrival of the request.

    \b
    replay explain runs/h100 1200
    replay query runs/h100 "FROM requests ORDER BY capacity_miss_tokens DESC LIMIT 5"
    """
    import textwrap

    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import check_output, read_beside
    from replay.compiling.parts import CONTENT, READING, part_of
    from replay.config.load import load_scenario
    from replay.runs.layout import SCENARIO
    from replay.runs.open import open_run

    inputs = [run, trace, *read_beside(parameters)]
    chosen = check_output(format, output, force=force, inputs=inputs)
    opened = open_run(run)
    engine = part_of(load_scenario(opened.folder / SCENARIO))
    patience_s = compile_first(READING, CONTENT, engine)
    with progress("Starting", patience_s=patience_s) as bar:
        from replay.analysis.explain import explain_request
        from replay.analysis.story import sentences
        from replay.answers.explain_table import folded_table, path_table

        told = explain_request(
            opened,
            request,
            trace=trace,
            format_name=parameters["format_in"],
            options=read_options(parameters),
            progress=bar.hook,
        )
    story, table = sentences(told), path_table(told)
    if chosen == "table":
        width = text_width(output)
        story = ["\n".join(textwrap.fill(line, width, break_on_hyphens=False) for line in story)]
        table = folded_table(told)
    emit([table], format=format, output=output, force=force, preface=story)
