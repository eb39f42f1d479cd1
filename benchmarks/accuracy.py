"""The error of the GPU cost model against measured step times, as tables and plots.

    python benchmarks/accuracy.py FOLDER [--write docs]

FOLDER holds `vidur_measured.csv` (A100 and H100, dense models, TP 1-8), and where available
`vidur_cached_prefill_a100.csv` and `llmservingsim_measured.csv` (prefill with cached context,
decode, mixed steps), in the columns of `replay calibrate`, and the files that `launches.py`,
`operators.py`, `modules.py`, `experts.py` and `serving.py` beside this one read. Runs of real
servers lie beside it in `e2e` and are replayed (`benchmarks/real_servers`). With --write the
measured parts of docs/accuracy.md and the plots beside it are made again; without, the tables are
printed.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.cells import cell
from benchmarks.experts import FILE as EXPERTS
from benchmarks.experts import expert_table
from benchmarks.launches import FILE as LAUNCHES
from benchmarks.launches import launch_table
from benchmarks.modules import FILE as MODULES
from benchmarks.modules import module_table
from benchmarks.operators import FILE as OPERATORS
from benchmarks.operators import operator_table
from benchmarks.serving import FILE as SERVING
from benchmarks.serving import serving_table
from replay.config.hardware.gpu import uncalibrated_fit
from replay.gpu.calibrate import (
    calibrate,
    errors,
    fit,
    parameters_in,
)  # fmt: skip
from replay.gpu.cost import floor_steps, step_cost, time_steps, uniform_steps
from replay.gpu.measured import Measured, models_of, read_measured
from replay.gpu.spec import Gpu, load_gpu, load_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.real_servers import page as real_servers

RENAMES = {"Llama-3-8B": "llama-3.1-8b", "Llama-3-70B": "llama-3.1-70b"}
MAX_TOKENS, MAX_SEQUENCES = 32_768, 512
HALF = 0.5  # of every peak: the naive roofline
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

# One request on an idle H100, Llama-3.1-8B, chunks of 8,192, in ms: the kernel tables of
# aiconfigurator, and the arithmetic at 989 TFLOP/s that nothing can beat.
IDLE = {
    1_000: (22, 14), 4_000: (90, 61), 12_000: (316, 208), 60_000: (2_792, 1_801),
    120_000: (8_283, 5_511),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows of one GPU in one file; assemblies of Vidur's kernels leave the LM head out."""

    file: str
    rows_of: str
    gpu: str
    head: bool
    time_column: str = "measured_ms"


SETS = (
    DataSet("vidur_measured", "A100", "a100-sxm-80gb", False, "measured_ms_graph_ar"),
    DataSet("vidur_measured", "H100", "h100-sxm", False, "measured_ms_graph_ar"),
    DataSet("vidur_cached_prefill_a100", "A100", "a100-sxm-80gb", False),
    DataSet("llmservingsim_measured", "RTXPRO6000", "rtx-pro-6000", True),
    DataSet("llmservingsim_measured", "RTX4090", "rtx-4090", True),
)


@cache
def rows_of(folder: Path, data: DataSet) -> Measured | None:
    """Return the measured rows of a data set, None where its file is not at hand."""
    path = folder / f"{data.file}.csv"
    if not path.exists():
        return None
    return read_measured(
        path, gpu=data.rows_of, renames=RENAMES, time_column=data.time_column, head=data.head
    )


def uncalibrated(gpu: Gpu) -> Gpu:
    """Return a GPU as if nothing had been measured on it."""
    return gpu.model_copy(update={"fit": uncalibrated_fit(gpu.architecture)})


def phases(measured: Measured) -> dict[str, np.ndarray]:
    """Return the rows of each phase, and those of short suffixes on long cached contexts."""
    found = {str(name): measured.phase == name for name in np.unique(measured.phase)}
    if measured.short_suffix.any():
        found["short suffix"] = measured.short_suffix
    return found


def naive_errors(gpu: Gpu, measured: Measured) -> np.ndarray:
    """Return the errors of half of every peak and nothing else, the larger of FLOP and bytes."""
    times = np.zeros(len(measured))
    models = models_of(measured)
    for name, gpus, rows in measured.groups():
        part = measured.where(rows)
        cost = step_cost(
            gpu,
            models[name],
            tensor_parallel=gpus,
            max_batched_tokens=MAX_TOKENS,
            max_sequences=MAX_SEQUENCES,
        )
        steps = uniform_steps(part.new, part.cached, part.decodes, part.context, head=measured.head)
        times[rows] = floor_steps(cost, steps) / HALF
    return times / measured.measured_ns - 1


@cache
def held_out_errors(folder: Path, data: DataSet) -> np.ndarray:
    """Return errors with each model left out of a fit from the uncalibrated GPU.

    Mixed steps are never fitted: they are predicted from prefill and decode rows. NaN where the
    rows are of one model, except for its mixed steps.
    """
    measured = rows_of(folder, data)
    assert measured is not None  # the caller asked
    plain = measured.phase != "mixed"
    start = uncalibrated(load_gpu(data.gpu))
    known = measured.where(plain)
    result = np.full(len(measured), np.nan)
    result[plain] = calibrate(start, known).held_out
    if not plain.all():
        fitted = fit(start, known, parameters_in(known))
        result[~plain] = errors(fitted, measured.where(~plain))
    return result


def idle_ms(gpu: Gpu) -> dict[int, float]:
    """Return how long prompts take on an idle GPU in chunks of 8,192, Llama-3.1-8B."""
    cost = step_cost(
        gpu,
        load_model("llama-3.1-8b"),
        tensor_parallel=1,
        max_batched_tokens=8192,
        max_sequences=256,
    )
    found = {}
    for tokens in IDLE:
        done = np.arange(0, tokens, 8192)
        steps = uniform_steps(np.minimum(8192, tokens - done), done)
        found[tokens] = float(time_steps(cost, steps).sum() / 1e6)
    return found


# --- tables ---------------------------------------------------------------------------------


def error_table(folder: Path) -> list[str]:
    """Return the Markdown table of errors: as shipped, held out, uncalibrated, naive."""
    lines = [
        "| measured rows | GPU | phase | rows | fitted here | left out | uncalibrated | naive |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for data in SETS:
        measured = rows_of(folder, data)
        if measured is None:
            print(f"{data.file}.csv: not found, left out", file=sys.stderr)
            continue
        gpu = load_gpu(data.gpu)
        columns = (
            errors(gpu, measured),
            held_out_errors(folder, data),
            errors(uncalibrated(gpu), measured),
            naive_errors(gpu, measured),
        )
        for phase, rows in phases(measured).items():
            cells = " | ".join(cell(column[rows]) for column in columns)
            count = int(rows.sum())
            lines.append(f"| {data.file} | {data.gpu} | {phase} | {count:,} | {cells} |")
    return lines


def model_table(folder: Path) -> list[str]:
    """Return the held-out errors by model that was left out, Vidur rows."""
    lines = ["| GPU | model left out | prefill | decode |", "|---|---|---|---|"]
    for data in SETS:
        measured = rows_of(folder, data)
        if measured is None or len(np.unique(measured.models)) < 2:
            continue
        held_out = held_out_errors(folder, data)
        for model in np.unique(measured.models):
            own = measured.models == model
            cells = [cell(held_out[own & (measured.phase == p)]) for p in ("prefill", "decode")]
            lines.append(f"| {data.gpu} | {model} | {cells[0]} | {cells[1]} |")
    return lines


def idle_table() -> list[str]:
    """Return the idle prompts on one H100 beside kernel tables and the floor."""
    predicted = idle_ms(load_gpu("h100-sxm"))
    columns = " | ".join(f"{tokens:,}" for tokens in IDLE)
    rows = {
        "floor: FLOP at 989 TFLOP/s": [floor for _, floor in IDLE.values()],
        "aiconfigurator, kernel tables": [table for table, _ in IDLE.values()],
        "this model": [round(value, 1) for value in predicted.values()],
        "this model against the tables": [
            f"{100 * (predicted[tokens] / table - 1):+.0f} %" for tokens, (table, _) in IDLE.items()
        ],
    }
    lines = [f"| prompt tokens, times in ms | {columns} |", "|---|" + "---|" * len(IDLE)]
    for name, values in rows.items():
        shown = (f"{value:,}" if not isinstance(value, str) else value for value in values)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines


def write_plots(folder: Path, docs: Path) -> list[str]:
    """Draw predicted against measured for each data set; return Markdown that shows them."""
    from replay.report.pictures.agreement import Points, agreement_picture
    from replay.report.pictures.files import write_picture

    shown = []
    for data in SETS:
        measured = rows_of(folder, data)
        if measured is None:
            continue
        held_out = held_out_errors(folder, data)
        kind = "each model predicted from the others"
        if np.isnan(held_out[measured.phase != "mixed"]).all():
            held_out, kind = errors(load_gpu(data.gpu), measured), "as shipped"
        known = ~np.isnan(held_out)
        series = []
        for phase in np.unique(measured.phase):
            rows = np.flatnonzero(known & (measured.phase == phase))
            rows = rows[:: max(1, len(rows) // 150)]
            actual = measured.measured_ns[rows] / 1e6
            series.append(Points(str(phase), actual, actual * (1 + held_out[rows])))
        cached = "-cached" * ("cached" in data.file)
        name = f"accuracy-{data.gpu}-{data.file.split('_')[0]}{cached}.svg"
        off = np.concatenate([np.abs(np.array(one.predicted) / one.measured - 1) for one in series])
        picture = agreement_picture(
            series,
            finding=f"Half of the step times on {data.gpu} are within {np.median(off):.0%}",
            subtitle=f"{data.file}, {kind}",
        )
        write_picture(picture, docs / name, force=True)
        shown.append(f"![Predicted against measured step times, {data.gpu}]({name})")
    return shown


def sections(folder: Path) -> dict[str, list[str]]:
    """Return the Markdown of each table by its title; those without their rows are left out."""
    parts = {"Whole steps": error_table(folder), "By model left out": model_table(folder)}
    more = {
        "Launches of attention on Hopper": (LAUNCHES, launch_table),
        "Operators": (OPERATORS, operator_table),
        "Attention modules": (MODULES, module_table),
        "Layers of experts": (EXPERTS, expert_table),
        "Serving points": (SERVING, serving_table),
    }
    for title, (file, table) in more.items():
        if (folder / file).exists():
            parts[title] = table(folder)
        else:
            print(f"{file}: not found, left out", file=sys.stderr)
    return {**parts, "Idle prompts": idle_table()}


def main() -> None:
    """Print the tables, or put them and the plots into the documentation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, metavar="DOCS")
    options = parser.parse_args()
    parts = sections(options.folder)
    if options.write is None:
        print("\n\n".join("\n".join(lines) for lines in parts.values()))
        real_servers.tell(options.folder, None)
        return
    parts["Plots"] = write_plots(options.folder, options.write)
    body = "\n\n".join(f"## {title}\n\n" + "\n".join(lines) for title, lines in parts.items())
    page = options.write / "accuracy.md"
    text = page.read_text()
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    page.write_text(re.sub(pattern, lambda _: f"{BEGIN}\n\n{body}\n\n{END}", text, flags=re.S))
    real_servers.tell(options.folder, options.write)


if __name__ == "__main__":
    main()
