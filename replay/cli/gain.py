"""`replay gain`: what the session cache and the prefix store are worth, alone and together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli.options import output_options, read_scenario, scenario_options
from replay.cli.output import emit, note_all
from replay.cli.plots import check_known, claim_plot, draw, plot_option
from replay.cli.trace_options import file_source, trace_options


@click.command(short_help="Compare no cache, a session cache, shared prefixes, both.")
@click.argument("trace", type=click.Path(path_type=Path), metavar="TRACE")
@scenario_options
@plot_option
@trace_options
@output_options
def gain(
    trace: Path,
    plot: Path | None,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Compare no cache, a session cache, a cross-request prefix store, and both, on TRACE.

    Replays the trace four times through a session store (see `cache.session_store` in
    docs/scenario.md) and prints a line for each. TTFT savings are paired: the same requests
    without any cache. `hit_ttft_saving` is over the requests that hit.

    \b
    replay gain trace.parquet --gpu h100-sxm --model llama-3.1-8b
    replay gain trace.parquet --untimed --set cache.session_store.max_prefix_cache_size=1000
    """
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import check_output, read_beside
    from replay.compiling.parts import CONTENT, CURVES, READING, part_of

    inputs = [trace, *read_beside(parameters)]
    check_output(format, output, force=force, inputs=inputs)
    claim_plot(plot, force=force, inputs=inputs)
    scenario = read_scenario(parameters, {"cache.kind": "session_store"})
    engine = part_of(scenario)
    patience_s = compile_first(READING, CONTENT, CURVES, engine)
    with progress("Starting", patience_s=patience_s) as bar:
        from replay.answers.gains import gain_answer, gain_table

        answer = gain_answer(file_source(trace, parameters), scenario, bar.hook)
    check_known(plot, content_known=answer.content_known)
    note_all(answer.notes)
    emit([gain_table(answer)], format=format, output=output, force=force, preface=answer.preface)
    if plot is not None:
        from replay.answers.gain_picture import gain_picture

        draw(gain_picture(answer), plot, force=force)
