"""`replay demo`: the main job on the sample trace that ships, to see what there is to see."""

from __future__ import annotations

from pathlib import Path

import click

from replay.cli.report import show_reports
from replay.cli.run import run

SAMPLE = "chat-small.jsonl"


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("replay-demo"),
    show_default=True,
    metavar="RUN",
    help="Run directory to make.",
)
@click.option("--force", is_flag=True, help="Replace a run and its page that are there already.")
@click.pass_context
def demo(ctx: click.Context, output: Path, force: bool) -> None:
    """Replay the sample trace that ships, show its reports and page.

    2,132 requests of a chat on one H100 serving Llama-3.1-8B, with and without prefix caching.
    Needs no GPU, no network and no file of your own.

    \b
    replay demo
    replay demo -o somewhere/else
    """
    from replay.cli.output import note, say
    from replay.cli.report_page import write_page
    from replay.cli.targets import claim
    from replay.errors import InputError
    from replay.report.bundle import check_extra
    from replay.resources import data_folder
    from replay.runs.layout import named

    trace = data_folder("traces") / SAMPLE
    folder = named(output)
    page = folder.with_name(f"{folder.name}.html")
    if page.parent.is_dir():  # else the run makes it
        claim(page, force=force, inputs=[trace])
    ctx.invoke(run, trace=trace, output=output, force=force)
    say()
    show_reports(output)
    try:
        check_extra()
    except InputError as error:
        note(f"\nNo page of it: {error.message}; {error.hint}")
    else:
        note("")
        write_page(output, page, force=force)
        note("Open it in any browser: its pictures, and why the slowest requests were slow.")
    note(
        f"\nTo go on:\n"
        f"  replay explain {output} 1002         why one request missed\n"
        f"  replay report {output} --all         all reports\n"
        f"  replay curve {trace}\n"
        f"  replay run YOUR-TRACE --gpu NAME --model NAME"
    )
