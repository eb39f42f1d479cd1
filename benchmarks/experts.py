"""Layers of routed experts in bf16 by how many of them are touched, of another laboratory.

Rows of LLMServingSim's profiles (forks, vLLM 0.19, MIT): H100 and B200, Qwen3 30B and 235B.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import cell
from benchmarks.naive import naive_gpu
from replay.gpu.linear import experts_ns
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, load_gpu, load_model

FILE = "moe_layer_bf16_h100_b200.csv"
GPUS = {"H100": "h100-sxm", "B200": "b200-sxm"}


def expert_errors(
    path: Path, change: Callable[[Gpu], Gpu] = lambda gpu: gpu
) -> dict[str, NDArray[np.float64]]:
    """Return the relative errors of each GPU's rows, with as many experts touched as measured.

    `change` makes another GPU of each.
    """
    found: dict[str, list[float]] = {name: [] for name in GPUS}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            model = load_model(row["model"])
            replica = Replica(change(load_gpu(GPUS[row["gpu"]])), model)
            tokens = np.array([float(row["tokens"])])
            touched = np.array([float(row["activated"])])
            layers = model.moe.layers if model.moe else 1
            predicted = experts_ns(replica, tokens, touched)[0] / layers / 1e3
            found[row["gpu"]].append(predicted / float(row["meas_us"]) - 1)
    return {name: np.array(errors) for name, errors in found.items()}


def expert_table(folder: Path) -> list[str]:
    """Return the Markdown table of errors by GPU."""
    lines = ["| GPU | rows | fitted here | naive |", "|---|---|---|---|"]
    naive = expert_errors(folder / FILE, naive_gpu)
    for name, errors in expert_errors(folder / FILE).items():
        lines.append(f"| {GPUS[name]} | {len(errors)} | {cell(errors)} | {cell(naive[name])} |")
    return lines
