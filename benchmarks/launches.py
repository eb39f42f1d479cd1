"""Launches of attention over cached context on an H100, alone and beside decodes.

Rows of LLMServingSim's profiles (forks, vLLM 0.19, FlashAttention-3, MIT): the attention of one
layer of Llama-3.1-8B in microseconds, for a chunk after cached tokens, for decodes, and for both
in one launch. A step is 32 of them and the model's own time for everything else, on both sides.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import cell
from benchmarks.naive import naive_gpu
from replay.gpu.attention import attention_table
from replay.gpu.calibrate import with_fit
from replay.gpu.cost import uniform_steps
from replay.gpu.least_squares import Prior, fit_map
from replay.gpu.linear import head_ns, linear_ns
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, load_gpu, load_model
from replay.kernels import attention as kernel
from replay.kernels.steps import attend_all

FILE = "attention_cached_mixed_h100.csv"
GPU, MODEL = "h100-sxm", "llama-3.1-8b"
LONG = 8192  # keys of a decode that is long

# What the rows say something about, with a prior as wide as the parameters of other GPUs are.
PRIORS = {
    "attention_efficiency": Prior(0.6, 0.3, 1.0),
    "kv_read_efficiency": Prior(0.87, 0.1, 1.0),
    "attention_launch_ns": Prior(9_000, 0.5),
    "attention_combine_ns": Prior(2_500, 0.5),
    "attention_tile_ns": Prior(4_000, 0.3),
}

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]


class Launches:
    """The measured rows, and what the model says of them."""

    def __init__(self, path: Path) -> None:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        names = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
        self.new, self.cached, self.decodes, self.context = (
            np.array([int(row[name]) for row in rows], np.int64) for name in names
        )
        self.measured_ns = np.array([float(row["attn_us"]) * 1e3 for row in rows])
        self.steps = uniform_steps(self.new, self.cached, self.decodes, self.context)
        self.model = load_model(MODEL)

    def groups(self) -> dict[str, Rows]:
        """Return the rows by kind; those of several kinds are in each."""
        prompt, beside = self.new > 0, self.decodes > 0
        short = (self.new <= 512) & (self.cached >= 4096)
        return {
            "short suffix": prompt & ~beside & short,
            "cached": prompt & ~beside & (self.cached > 0),
            "decode": ~prompt,
            "mixed": prompt & beside,
            "one long decode": prompt & (self.decodes == 1) & (self.context >= LONG),
        }

    def attention_ns(self, gpu: Gpu) -> Floats:
        """Return the attention of one layer in each row."""
        table = attention_table(Replica(gpu, self.model))
        times = np.empty(len(self.new))
        attend_all(table, self.steps, np.zeros((len(table), kernel.SUMS)), times)
        return times / self.model.layers

    def rest_ns(self, gpu: Gpu) -> Floats:
        """Return what the model says of everything else in a step, for one layer."""
        replica = Replica(gpu, self.model)
        tokens = (self.new + self.decodes).astype(np.float64)
        rows = self.steps.sampled.astype(np.float64)
        return (linear_ns(replica, tokens) + head_ns(replica, rows)) / self.model.layers

    def step_errors(self, gpu: Gpu, attention: Floats) -> Floats:
        """Return the signed relative error of whole steps, given the attention of a layer."""
        return (attention - self.measured_ns) / (self.measured_ns + self.rest_ns(gpu))

    def fit(self, gpu: Gpu, rows: Rows) -> Gpu:
        """Return the GPU with the parameters of attention fitted to some of the rows."""

        def trial(values: Floats) -> Gpu:
            return with_fit(gpu, dict(zip(PRIORS, map(float, values), strict=True)))

        def residuals(values: Floats) -> Floats:
            return np.log(self.attention_ns(trial(values))[rows] / self.measured_ns[rows])

        return trial(fit_map(residuals, list(PRIORS.values())))

    def left_out(self, gpu: Gpu) -> dict[str, Floats]:
        """Return the attention of each group's rows, fitted to the rows of no such kind."""
        found = {}
        for name, rows in self.groups().items():
            found[name] = self.attention_ns(self.fit(gpu, ~rows))[rows]
        return found


def launch_table(folder: Path) -> list[str]:
    """Return the Markdown table of errors by group: as shipped, and with the group left out."""
    launches = Launches(folder / FILE)
    gpu = load_gpu(GPU)
    shipped = launches.attention_ns(gpu)
    lines = [
        "| launches | rows | attention, fitted here | step, fitted here | step, left out | "
        "step, naive |",
        "|---|---|---|---|---|---|",
    ]
    left_out = launches.left_out(gpu)
    naive = launches.attention_ns(naive_gpu(gpu))
    for name, rows in launches.groups().items():
        blind = shipped.copy()
        blind[rows] = left_out[name]
        cells = (
            cell((shipped / launches.measured_ns - 1)[rows]),
            cell(launches.step_errors(gpu, shipped)[rows]),
            cell(launches.step_errors(gpu, blind)[rows]),
            cell(launches.step_errors(gpu, naive)[rows]),
        )
        lines.append(f"| {name} | {int(rows.sum())} | {' | '.join(cells)} |")
    return lines
