"""`replay calibrate`: fit the cost model to measured step times, or measure some."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.cli import completion
from replay.cli.output import emit, note

if TYPE_CHECKING:
    from replay.gpu.calibrate import Calibration
    from replay.gpu.measured import Measured
    from replay.gpu.spec import Gpu
    from replay.report.tables import Table


@click.command(short_help="Fit the GPU model to measurements, or take them.")
@click.argument("measured", required=False, type=click.Path(path_type=Path), metavar="MEASURED.csv")
@click.option(
    "--gpu",
    default="h100-sxm",
    show_default=True,
    metavar="NAME",
    help="GPU whose peaks hold and whose parameters are the priors.",
    shell_complete=completion.gpus,
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="GPU file to write (.yaml), or the CSV of --measure.",
)
@click.option("--measure", is_flag=True, help="Time this machine's GPU with PyTorch instead.")
@click.option(
    "--model",
    default="llama-3.1-8b",
    show_default=True,
    metavar="NAME",
    help="Model whose shapes --measure times.",
    shell_complete=completion.models,
)
@click.option("--rows-of", metavar="GPU", help="Rows to take, by the file's own name of the GPU.")
@click.option(
    "--rename",
    "renames",
    multiple=True,
    metavar="NAME=MODEL",
    help="What the file calls a model, and what replay does; repeatable.",
)
@click.option(
    "--time-column",
    default="measured_ms",
    show_default=True,
    metavar="COLUMN",
    help="Column of the times.",
)
@click.option("--without-head", is_flag=True, help="The times leave the LM head out.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
def calibrate(
    measured: Path | None,
    gpu: str,
    output: Path,
    measure: bool,
    model: str,
    rows_of: str | None,
    renames: tuple[str, ...],
    time_column: str,
    without_head: bool,
    force: bool,
) -> None:  # fmt: skip
    """Fit the GPU model to MEASURED.csv and write a GPU file; or --measure, and write the CSV.

    The CSV has one step a row: gpu, model, tp, phase (prefill, decode or mixed), new_tokens,
    context_tokens, batch, decode_ctx, measured_ms. Prints the parameters, and the error on each
    phase: of the fit, and of each model predicted from a fit to the others.

    \b
    replay calibrate --measure -o measured.csv
    replay calibrate measured.csv --gpu h100-sxm -o my-h100.yaml
    replay run trace.jsonl --gpu my-h100.yaml
    """
    from replay.cli.targets import claim
    from replay.errors import InputError
    from replay.writing.whole import whole_file

    claim(output, force=force, inputs=[measured])
    if measure:
        if measured is not None:
            raise InputError("--measure writes a CSV: it takes none")
        _measure(output, model, force=force)
        return
    if measured is None:
        raise InputError("give MEASURED.csv to fit to, or --measure to make one")
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"{output}: a GPU file ends in .yaml")
    fitted = _fit(measured, gpu, output, rows_of, renames, time_column, head=not without_head)
    with whole_file(output, force=force) as sink:
        sink.write(fitted.encode())
    note(f"GPU file written to {output}; use it as --gpu {output}")


def _measure(output: Path, model: str, *, force: bool) -> None:
    from replay.cli.progress import progress
    from replay.cli.targets import claim
    from replay.gpu.measure import link_of, sweep, transfers_beside, write_sweep
    from replay.gpu.spec import load_model
    from replay.gpu.torch_device import torch_device

    claim(transfers_beside(output), force=force)
    device = torch_device()
    with progress("Timing the GPU") as bar:
        found = sweep(device, load_model(model), progress=bar.hook)
    beside = write_sweep(found, output, force=force)
    for direction in ("host_to_device", "device_to_host"):
        fixed_ns, rate = link_of(found.transfers, direction)
        note(f"{direction}: {fixed_ns / 1e3:.1f} us + bytes at {rate / 1e9:.1f} GB/s")
    note(f"{len(found.rows)} steps written to {output}, transfers to {beside}")


def _fit(
    path: Path,
    gpu: str,
    output: Path,
    rows_of: str | None,
    renames: tuple[str, ...],
    time_column: str,
    *,
    head: bool,
) -> str:
    """Print what a fit found and return the GPU file of it."""
    from replay import __version__
    from replay.cli.progress import compile_first, progress
    from replay.compiling.parts import COSTS
    from replay.config.dump import dump_document
    from replay.gpu.calibrate import calibrate as fit_gpu
    from replay.gpu.calibrated_file import calibrated_gpu
    from replay.gpu.measured import read_measured
    from replay.gpu.spec import load_gpu

    before = load_gpu(gpu)
    rows = read_measured(
        path, gpu=rows_of, renames=_pairs(renames), time_column=time_column, head=head
    )
    with progress("Fitting", patience_s=compile_first(COSTS)) as bar:
        found = fit_gpu(before, rows, progress=bar.hook)
    after = calibrated_gpu(found, rows, name=output.stem, path=path, version=__version__)
    emit([_parameters(before, after, found), _errors(found, rows)])
    return dump_document(after)


def _pairs(renames: tuple[str, ...]) -> dict[str, str]:
    from replay.errors import InputError

    pairs = {}
    for text in renames:
        name, sign, model = text.partition("=")
        if not sign or not name or not model:
            raise InputError(f"--rename takes NAME=MODEL (got {text!r})")
        pairs[name] = model
    return pairs


def _parameters(before: Gpu, after: Gpu, found: Calibration) -> Table:
    from replay.report.tables import Table

    rows = [(name, getattr(before.fit, name), getattr(after.fit, name)) for name in found.fitted]
    return Table(("parameter", "prior", "fitted"), rows)


def _errors(found: Calibration, rows: Measured) -> Table:
    from replay.gpu.calibrate import summary
    from replay.report.tables import Table

    phases = {str(name): rows.phase == name for name in ("prefill", "decode", "mixed")}
    phases["short suffix"] = rows.short_suffix
    lines = []
    for name, own in phases.items():
        if own.any():
            fit = summary(found.in_sample[own])
            left_out = summary(found.held_out[own])
            lines.append((name, int(own.sum()), *(fit or ()), *(left_out or (None, None, None))))
    return Table(
        (
            "phase", "rows", "median_percent", "p90_percent", "bias_percent",
            "held_out_median_percent", "held_out_p90_percent", "held_out_bias_percent",
        ),
        lines,
    )  # fmt: skip
