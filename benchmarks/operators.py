"""Single operators against the kernel tables of one vendor's tool, in microseconds.

A row of aiconfigurator_core's tables (0.12.0, vLLM's kernels, Apache-2.0) is one launch of
attention, a product, a layer's routed experts or an all-reduce on one GPU. The model's own
functions predict it, of one layer made to its shape.

The tables launch each product by itself and quantise its inputs beside it, which a step's graph
hides or fuses; that time is fitted here by GPU and type (`TABLE`), is no part of the model, and is
printed. They also repeat one operator on the same data, so what fits the L2 cache is read from it:
rows whose weights or keys do are counted in their own column.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import cell
from benchmarks.naive import naive_gpu
from replay.config.hardware import WEIGHT_DTYPE_BITS
from replay.config.hardware.layers import Moe, Window
from replay.gpu.attention import attention_table
from replay.gpu.calibrate import with_fit
from replay.gpu.gemms import Gemm
from replay.gpu.least_squares import Prior, fit_map
from replay.gpu.linear import all_reduces_ns, experts_ns, gemms_ns
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, Model, load_gpu, load_model
from replay.kernels import cost as kernel
from replay.kernels.steps import StepList, attend_all

FILE = "ops_aiconfigurator.csv"
GPUS = ("a100-sxm-80gb", "h100-sxm", "b200-sxm", "l40s", "rtx-pro-6000")
WINDOW_TOKENS = 128  # of the rows with a window, as in gpt-oss
SHARE_OF_L2 = 0.7  # from which a cache no longer holds what is read again and again
FOLDS = 4

# The tables' names of types: of the other weights, of experts, and whether a choice or published.
TYPES = {
    "bfloat16": ("bf16", "bf16", "native"),
    "fp8": ("bf16", "bf16", "fp8"),
    "fp8_block": ("fp8", "fp8", "native"),
    "nvfp4": ("bf16", "fp4", "native"),
    "int4_wo": ("bf16", "int4", "native"),
    "w4a16_mxfp4": ("bf16", "mxfp4", "native"),
    "w4a8_mxfp4_mxfp8": ("fp8", "mxfp4", "native"),
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Operator:
    """One measured kernel; what the counts mean depends on its kind.

    Attention: `first` requests of `second` tokens, heads, KV heads, width of a head. Products:
    rows, columns, inner width. Experts: tokens, experts, hidden width, experts a token, width of
    one. All-reduce: GPUs, bytes.
    """

    kind: str
    first: int
    second: int
    third: int
    fourth: int
    width: int
    measured_us: float


def read_operators(path: Path, gpu: str) -> list[Operator]:
    """Return the rows of one GPU."""
    with path.open(newline="") as file:
        return [
            Operator(
                kind=row["kind"],
                first=int(row["a"]),
                second=int(float(row["b"])),
                third=int(row["h"]),
                fourth=int(row["k"]),
                width=int(row["hd"]),
                measured_us=float(row["measured_us"]),
            )
            for row in csv.DictReader(file)
            if row["gpu"] == gpu and float(row["b"]) > 0
        ]


# --- one operator -----------------------------------------------------------------------------


@cache
def _model(**changes: object) -> Model:
    fields = load_model("llama-3.1-8b").model_dump() | {"declared_parameters": None, "layers": 1}
    if "moe" in changes:
        fields.pop("ffn")
    return Model.model_validate(fields | changes)


def attention_us(gpu: Gpu, row: Operator) -> float:
    """Return one launch of attention: prompts from their start, or decodes."""
    window = Window(tokens=WINDOW_TOKENS, layers=1) if "window" in row.kind else None
    model = _model(heads=row.third, kv_heads=row.fourth, head_dim=row.width, window=window)
    table = attention_table(Replica(gpu, model))
    chunks = row.first if "context" in row.kind else 0
    decodes = row.first if "generation" in row.kind else 0
    integers = [
        [0, chunks], [row.second] * chunks, [0] * chunks, [decodes], [decodes * row.second],
        [row.second], [0],
    ]  # fmt: skip
    steps = StepList(*(np.array(one, np.int64) for one in integers))
    times = np.empty(1)
    attend_all(table, steps, np.zeros((len(table), kernel.SUMS)), times)
    return float(times[0]) / 1e3


def product_us(gpu: Gpu, row: Operator) -> float:
    """Return one product of `first` rows with weights of that type."""
    weights, experts, dtype = TYPES[row.kind.split()[1]]
    if experts == "fp4":
        dtype = "fp4"
    replica = Replica(gpu, _model(weight_dtype=weights), weight_dtype=dtype)
    rows = np.array([float(row.first)])
    times = gemms_ns(replica, [Gemm(row.third, row.second, 1)], rows, replica.weights("linear"))
    return float(times[0]) / 1e3


def experts_us(gpu: Gpu, row: Operator) -> float:
    """Return the routed experts of one layer, were each as likely to be picked."""
    weights, experts, dtype = TYPES[row.kind.split()[1]]
    moe = Moe(layers=1, experts=row.second, experts_per_token=row.fourth, ffn=row.width)
    model = _model(hidden=row.third, moe=moe, weight_dtype=weights, expert_weight_dtype=experts)
    replica = Replica(gpu, model, weight_dtype=dtype)
    return float(experts_ns(replica, np.array([float(row.first)]))[0]) / 1e3


def all_reduce_us(gpu: Gpu, row: Operator) -> float:
    """Return one all-reduce of so many bytes."""
    model = _model()
    tokens = np.array([row.second / (2.0 * model.hidden)])
    return float(all_reduces_ns(Replica(gpu, model, row.first), tokens)[0]) / 2 / 1e3


PREDICT: dict[str, Callable[[Gpu, Operator], float]] = {
    "attention": attention_us,
    "gemm": product_us,
    "moe": experts_us,
    "all-reduce": all_reduce_us,
}


def predict_us(gpu: Gpu, rows: list[Operator]) -> Floats:
    """Return the predicted time of each row, without what the tables add to it."""
    return np.array([PREDICT[row.kind.split()[0]](gpu, row) for row in rows])


def in_cache(gpu: Gpu, rows: list[Operator]) -> NDArray[np.bool_]:
    """Return which rows read so few weights or keys that the L2 cache keeps them."""
    return np.array([_read_bytes(row) < SHARE_OF_L2 * (gpu.l2_bytes or 0) for row in rows])


def _read_bytes(row: Operator) -> float:
    op, *kind = row.kind.split()
    if op == "attention" and kind[0] == "generation":
        keys = min(row.second, WINDOW_TOKENS) if "window" in kind else row.second
        return 4.0 * row.first * keys * row.fourth * row.width
    if op not in ("gemm", "moe"):
        return np.inf
    weights, experts, dtype = TYPES[kind[0]]
    bits = WEIGHT_DTYPE_BITS[dtype if dtype != "native" else experts if op == "moe" else weights]
    if op == "gemm":
        return float(bits / 8) * row.second * row.third
    touched = row.second * (1 - (1 - row.fourth / row.second) ** row.first)
    return float(bits / 8) * 3 * touched * row.third * row.width


# --- what the tables add ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableTime:
    """What the tables add to products of one type on one GPU: a launch, and inputs quantised."""

    launch_us: float
    quantise_bytes_per_s: float

    def of(self, rows: list[Operator]) -> Floats:
        """Return the added time of each row in microseconds."""
        if rows[0].kind == "gemm bfloat16":
            return np.full(len(rows), self.launch_us)
        moved = np.array([3.0 * row.first * row.third for row in rows])  # bf16 in, 8 bits out
        return self.launch_us + moved / self.quantise_bytes_per_s * 1e6


def fit_table_time(rows: list[Operator], predicted: Floats) -> TableTime:
    """Return what the tables add to products of one type, fitted to their rows."""
    measured = np.array([row.measured_us for row in rows])

    def residuals(values: Floats) -> Floats:
        added = TableTime(float(values[0]), float(values[1]) * 1e12).of(rows)
        return np.log((predicted + added) / measured)

    launch, rate = fit_map(residuals, [Prior(8.0, 1.0), Prior(1.5, 1.0)])
    return TableTime(float(launch), float(rate) * 1e12)


# --- shapes left out ----------------------------------------------------------------------------


def experts_left_out(gpu: Gpu, rows: list[Operator]) -> Floats:
    """Return the relative errors of experts of one type, each width from a fit to the others."""
    own = TYPES[rows[0].kind.split()[1]]
    widths = sorted({row.width for row in rows})
    fold = np.array([widths.index(row.width) % FOLDS for row in rows])
    measured = np.array([row.measured_us for row in rows])
    errors = np.full(len(rows), np.nan)
    for left in set(fold.tolist()):
        rest = [row for row, at in zip(rows, fold, strict=True) if at != left]
        if not rest:
            continue
        fitted = _fit_experts(gpu, rest, own)
        mine = fold == left
        shown = [row for row, at in zip(rows, mine, strict=True) if at]
        errors[mine] = predict_us(fitted, shown) / measured[mine] - 1
    return errors


def _fit_experts(gpu: Gpu, rows: list[Operator], own: tuple[str, str, str]) -> Gpu:
    """Return the GPU with efficiency, padded rows and fixed time of one type fitted to rows."""
    moe = Moe(layers=1, experts=8, experts_per_token=1, ffn=64)
    model = _model(weight_dtype=own[0], expert_weight_dtype=own[1], moe=moe)
    name = Replica(gpu, model, weight_dtype=own[2]).weights("expert").name
    measured = np.array([row.measured_us for row in rows])
    mine = gpu.fit.experts.get(name)
    start = (gpu.fit.moe_efficiency, gpu.fit.moe_padded_rows, gpu.fit.moe_layer_ns)
    if mine is not None:
        start = (gpu.fit.moe_efficiency * mine.share, mine.padded_rows, mine.layer_ns)

    def trial(values: Floats) -> Gpu:
        reached, padded, fixed = map(float, values)
        if mine is None:
            update = {"moe_efficiency": reached, "moe_padded_rows": padded, "moe_layer_ns": fixed}
            return with_fit(gpu, update)
        share = reached / gpu.fit.moe_efficiency
        changed = mine.model_copy(update={"share": share, "padded_rows": padded, "layer_ns": fixed})
        experts = gpu.fit.experts | {name: changed}
        return gpu.model_copy(update={"fit": gpu.fit.model_copy(update={"experts": experts})})

    def residuals(values: Floats) -> Floats:
        return np.log(predict_us(trial(values), rows) / measured)

    priors = [Prior(start[0], 0.5, 1.0), Prior(max(start[1], 1.0), 0.5), Prior(start[2], 0.7)]
    return trial(fit_map(residuals, priors))


# --- tables -------------------------------------------------------------------------------------


def operator_errors(folder: Path, gpu_name: str) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """Return the relative errors of each kind of operator on a GPU, and which are in its cache."""
    gpu = load_gpu(gpu_name)
    found = {}
    rows = read_operators(folder / FILE, gpu_name)
    for kind in sorted({row.kind for row in rows}):
        some = [row for row in rows if row.kind == kind]
        predicted = predict_us(gpu, some)
        if kind.startswith("gemm"):
            predicted = predicted + fit_table_time(some, predicted).of(some)
        measured = np.array([row.measured_us for row in some])
        found[kind] = predicted / measured - 1, in_cache(gpu, some)
    return found


def operator_table(folder: Path) -> list[str]:
    """Return the Markdown table of operators by kind, over all GPUs, and each GPU's median."""
    by_gpu = {name: operator_errors(folder, name) for name in GPUS}
    kinds = sorted({kind for found in by_gpu.values() for kind in found})
    heads = " | ".join(GPUS)
    lines = [
        "| operator | rows | fitted here, all GPUs | not in the L2 cache | width left out | "
        f"naive | {heads} |",
        "|---|---|---|---|---|---|" + "---|" * len(GPUS),
    ]
    for kind in kinds:
        parts = [found[kind] for found in by_gpu.values() if kind in found]
        errors = np.concatenate([part[0] for part in parts])
        cached = np.concatenate([part[1] for part in parts])
        naive = np.concatenate([_naive(folder, name, kind) for name in GPUS])
        left_out = "-"
        if kind.startswith("moe"):
            left_out = cell(_left_out(folder, kind))
        each = " | ".join(
            cell(by_gpu[name][kind][0]) if kind in by_gpu[name] else "-" for name in GPUS
        )
        lines.append(
            f"| {kind} | {len(errors):,} | {cell(errors)} | {cell(errors[~cached])} | "
            f"{left_out} | {cell(naive)} | {each} |"
        )
    return lines


def _naive(folder: Path, gpu_name: str, kind: str) -> Floats:
    rows = [row for row in read_operators(folder / FILE, gpu_name) if row.kind == kind]
    measured = np.array([row.measured_us for row in rows])
    return predict_us(naive_gpu(load_gpu(gpu_name)), rows) / measured - 1


def _left_out(folder: Path, kind: str) -> Floats:
    errors = []
    for name in GPUS:
        rows = [row for row in read_operators(folder / FILE, name) if row.kind == kind]
        if rows:
            errors.append(experts_left_out(load_gpu(name), rows))
    return np.concatenate(errors)
