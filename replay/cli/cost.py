"""`replay cost`: what one step costs, where it goes, and when a prefix is faster fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.answers.cost_limits import ALL_REDUCES, MOST_GPUS, MOST_NEW, MOST_TOKENS
from replay.cli import completion
from replay.cli.options import output_options
from replay.cli.output import emit_named, note_all
from replay.cli.plots import claim_plot, draw, plot_option
from replay.config.backends import OF_A_GPU

DTYPES = ("native", "bf16", "fp8", "fp4")


@click.command()
@click.option(
    "--gpu",
    default="h100-sxm",
    show_default=True,
    metavar="NAME",
    help="GPU.",
    shell_complete=completion.gpus,
)
@click.option(
    "--model",
    default="llama-3.1-8b",
    show_default=True,
    metavar="NAME",
    help="Model.",
    shell_complete=completion.models,
)
@click.option(
    "--tp", type=click.IntRange(1, MOST_GPUS), default=1, metavar="N", help="GPUs of a stage."
)
@click.option("--pp", type=click.IntRange(1, MOST_GPUS), default=1, metavar="N", help="Stages.")
@click.option(
    "--new", type=click.IntRange(0, MOST_NEW), default=0, metavar="TOKENS", help="Prompt tokens."
)
@click.option(
    "--cached",
    type=click.IntRange(0, MOST_TOKENS),
    default=0,
    metavar="TOKENS",
    help="Cached before them.",
)
@click.option("--decode", metavar="NxCONTEXT", help="Decodes beside them, such as 32x4096.")
@click.option(
    "--budget",
    type=click.IntRange(1, MOST_NEW),
    default=8192,
    metavar="TOKENS",
    show_default=True,
    help="Token budget of a step: longer prompts are chunked.",
)
@click.option("--weight-dtype", type=click.Choice(DTYPES), default="native", help="Weights.")
@click.option("--kv-dtype", default="bf16", show_default=True, metavar="TYPE", help="KV.")
@click.option(
    "--all-reduce",
    type=click.Choice(ALL_REDUCES),
    default="graph",
    show_default=True,
    help="One kernel in a CUDA graph, or an eager NCCL call.",
)
@click.option(
    "--backend",
    default="roofline",
    show_default=True,
    metavar="NAME",
    help=f"Where step times come from: {', '.join(OF_A_GPU)}.",
    shell_complete=completion.backends,
)
@click.option(
    "--table",
    "table_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Measured step times, for --backend table.",
)
@click.option(
    "--host",
    metavar="NAME",
    help="Machine; default: the one the GPU usually is in.",
    shell_complete=completion.hosts,
)
@plot_option
@click.option(
    "--over",
    type=click.Choice(["new", "cached"]),
    default="cached",
    show_default=True,
    help="What the plot ranges over.",
)
@output_options
def cost(
    decode: str | None,
    plot: Path | None,
    over: str,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:  # fmt: skip
    """Show what one engine step costs and where its time goes.

    A step computes --new prompt tokens after --cached ones, and one token of each decode. The
    floor is what no software can beat. With --new, a second table says from which length a cached
    prefix is faster loaded than computed again, from each tier of the machine. With --pp a step
    takes the sum of its stages, and a new one can start after the longest of them.

    \b
    replay cost --gpu h100-sxm --model llama-3.1-8b --new 512 --cached 65536 --decode 32x4096
    replay cost --model deepseek-v3 --tp 8 --new 512 --plot cost.svg --over cached
    """
    from replay.answers.cost_tables import cost_answer
    from replay.cli.targets import check_output
    from replay.report.tables import Table

    inputs = [parameters[name] for name in ("model", "gpu", "host", "table_file")]
    chosen = check_output(format, output, force=force, inputs=inputs)
    claim_plot(plot, force=force, inputs=inputs)
    tables, question = cost_answer(parameters, decode)
    picture = None
    if plot is not None:
        from replay.answers.cost_picture import cost_picture

        picture = cost_picture(question, over)
        if chosen == "json":
            drawn = picture.tables["range"]
            tables[f"over_{over}"] = Table(drawn.columns, drawn.rows())
    note_all(question.notes)
    emit_named(tables, format=format, output=output, force=force)
    if plot is not None and picture is not None:
        draw(picture, plot, force=force)
