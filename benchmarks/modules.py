"""Attention modules with latents and with keys picked by an index, against kernel tables.

A row of aiconfigurator_core's tables (0.12.0, vLLM's layers, Apache-2.0) is the attention of one
layer with its projections, block-scaled FP8, on an H100 or a B200: prompts over cached context,
or decodes. Predicted are the projections, the copies and the launch, and half the fixed time of a
layer. The tables launch modules outside a graph; what that adds is fitted here by module and GPU,
is no part of the model, and is printed. Each model, or where there is one each count of heads, is
predicted with the time added to the others.
"""

from __future__ import annotations

import csv
import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import cell
from benchmarks.naive import naive_gpu
from replay.config.hardware import BYTES_PER_VALUE, AttentionGroup
from replay.gpu.attention import attention_table
from replay.gpu.gemms import attention_gemms
from replay.gpu.least_squares import Prior, fit_map
from replay.gpu.linear import gemms_ns, latent_values
from replay.gpu.replica import Replica
from replay.gpu.spec import Model, load_gpu, load_model
from replay.kernels import attention as kernel
from replay.kernels.steps import StepList, attend_all

FILE = "attention_modules_mla_sparse.csv"
GPUS = ("h100-sxm", "b200-sxm")
MODELS = {
    "DeepSeek-V3": "deepseek-v3",
    "DeepSeek-V3.2": "deepseek-v3.2",
    "GLM-5": "glm-5",
    "DeepSeek-V4-Flash-FP8": "deepseek-v4-flash",
    "DeepSeek-V4-Pro": "deepseek-v4-pro",
    "DeepSeek-V4-Pro-FP8": "deepseek-v4-pro",
    "MiniMax-M3": "minimax-m3",
}
RATIOS = {"dsv4_csa": 4, "dsv4_hca": 128}  # tokens an entry, of the two kinds in one model
ATTENTION_SHARE = 0.5  # of the fixed time of a layer

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Modules:
    """The rows of one module on one GPU, and what the model says of them, in microseconds."""

    models: NDArray[np.str_]
    heads: NDArray[np.int64]
    measured_us: Floats
    predicted_us: Floats
    naive_us: Floats

    def added_us(self, rows: NDArray[np.bool_]) -> float:
        """Return what launches outside a graph add, fitted to some of the rows."""

        def residuals(values: Floats) -> Floats:
            return np.log((self.predicted_us[rows] + values[0]) / self.measured_us[rows])

        return float(fit_map(residuals, [Prior(40.0, 1.5)])[0])

    def left_out(self) -> Floats:
        """Return relative errors, each model or count of heads with what the others are added."""
        several = len(set(self.models.tolist())) > 1
        keys = self.models if several else self.heads.astype(str)
        errors = np.full(len(keys), np.nan)
        for key in set(keys.tolist()):
            own = keys == key
            predicted = self.predicted_us[own] + self.added_us(~own)
            errors[own] = predicted / self.measured_us[own] - 1
        return errors


def read_modules(path: Path) -> dict[tuple[str, str], Modules]:
    """Return the rows of each module and GPU."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for op in sorted({row["op"] for row in rows}):
        for gpu in GPUS:
            some = [row for row in rows if row["op"] == op and row["gpu"] == gpu]
            found[op, gpu] = Modules(
                models=np.array([row["model"] for row in some]),
                heads=np.array([int(row["heads"]) for row in some]),
                measured_us=np.array([float(row["measured_us"]) for row in some]),
                predicted_us=np.array([_predict_us(row) for row in some]),
                naive_us=np.array([_predict_us(row, naive=True) for row in some]),
            )
    return found


@cache
def _replica(
    gpu_name: str, name: str, heads: int, op: str, naive: bool
) -> tuple[Replica, AttentionGroup]:
    """Return one GPU's share of one layer of that module, its weights in block-scaled FP8."""
    model = load_model(MODELS[name])
    model = Model.model_validate(model.model_dump() | {"weight_dtype": "fp8"})
    ratio = RATIOS.get(op.rsplit("_", 2)[0])
    group = next(group for group in model.attention_groups if ratio is None or group.ratio == ratio)
    gpu = naive_gpu(load_gpu(gpu_name)) if naive else load_gpu(gpu_name)
    replica = Replica(gpu, model, model.heads // heads)
    return replica, dataclasses.replace(group, layers=1)


def _predict_us(row: dict[str, str], *, naive: bool = False) -> float:
    replica, group = _replica(row["gpu"], row["model"], int(row["heads"]), row["op"], naive)
    gpu, gpus = replica.gpu, replica.tensor_parallel
    batch, new, cached = (int(row[name]) for name in ("batch", "isl", "cached_tokens"))
    prompts = "context" in row["op"]
    tokens = np.array([float(batch * (new if prompts else 1))])
    gemms = attention_gemms(replica.model, group, gpus)
    times = gemms_ns(replica, gemms, tokens, replica.weights("linear"))[0]
    if replica.model.mla is not None:
        values = latent_values(replica.model.mla) * group.heads / gpus
        bytes_per_s = gpu.hbm_bytes_per_s * gpu.fit.elementwise_efficiency
        times += tokens[0] * values * BYTES_PER_VALUE / bytes_per_s * 1e9
    table = attention_table(replica, (group,))
    integers = [[0, batch], [new] * batch, [cached] * batch, [0], [0], [0], [0]]
    if not prompts:
        keys = cached + 1
        integers = [[0, 0], [], [], [batch], [batch * keys], [keys], [0]]
    steps = StepList(*(np.array(one, np.int64) for one in integers))
    attention = np.empty(1)
    attend_all(table, steps, np.zeros((len(table), kernel.SUMS)), attention)
    return float(times + attention[0] + ATTENTION_SHARE * gpu.fit.layer_ns) / 1e3


def module_table(folder: Path) -> list[str]:
    """Return the Markdown table of errors by module, and the time that launches add."""
    found = read_modules(folder / FILE)
    lines = [
        "| module | rows | left out, both GPUs | naive | h100-sxm | launches add | b200-sxm | "
        "launches add |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for op in sorted({op for op, _ in found}):
        parts = [found[op, gpu] for gpu in GPUS]
        errors = [part.left_out() for part in parts]
        cells = " | ".join(
            f"{cell(wrong)} | {part.added_us(np.ones(len(wrong), bool)):,.0f} µs"
            for part, wrong in zip(parts, errors, strict=True)
        )
        count = sum(len(wrong) for wrong in errors)
        naive = np.concatenate([part.naive_us / part.measured_us - 1 for part in parts])
        shown = f"{cell(np.concatenate(errors))} | {cell(naive)}"
        lines.append(f"| {op} | {count:,} | {shown} | {cells} |")
    return lines
