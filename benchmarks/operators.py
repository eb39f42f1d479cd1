"""Single operators against the kernel tables of one vendor's tool, in microseconds.

A row of aiconfigurator_core's tables (0.12.0, vLLM's kernels, Apache-2.0) is one launch of
attention, a product, a layer's routed experts or an all-reduce on one GPU. The model's own
functions predict it, of one layer made to its shape.

Four things belong to how a row was measured and not to the model; each is told to the prediction
here. The tables launch each product by itself and quantise its inputs beside it, which a step's
graph hides or fuses: that time is fitted by GPU and type (`TableTime`). They repeat decodes and
experts on the same data, so keys and weights that fit the L2 cache are read from there, where a
step's next layer has long evicted them: how much faster that is than memory is fitted by GPU
(`fit_cache_speed`). And they say how tokens were routed, which is how many experts they touched
(`benchmarks.routing`), and of two models that their experts have no gate (`UNGATED`). Half of
the B200's experts were run by a kernel that engines have since replaced there: how much longer it
takes is fitted by type (`older_factor`).
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
from benchmarks.routing import touched
from replay.config.hardware import WEIGHT_DTYPE_BITS
from replay.config.hardware.gpu import ExpertFit
from replay.config.hardware.layers import Moe, Window
from replay.gpu.attention import attention_table
from replay.gpu.calibrate import with_fit
from replay.gpu.gemms import Gemm
from replay.gpu.least_squares import Prior, fit_map
from replay.gpu.linear import all_reduces_ns, experts_ns, gemms_ns
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, Model, load_gpu, load_model
from replay.kernels import attention as kernel
from replay.kernels.steps import StepList, attend_all

FILE = "ops_aiconfigurator.csv"
GPUS = ("a100-sxm-80gb", "h100-sxm", "b200-sxm", "l40s", "rtx-pro-6000")
WINDOW_TOKENS = 128  # of the rows with a window, as in gpt-oss
UNGATED = {(512, 2048, 22), (128, 2688, 6)}  # experts, width, chosen: Nemotron 3 Super and Nano
OLDER_KERNEL = "vllm_fused_moe"  # where a GPU's rows have others too
CACHED_READS = ("kv_read_efficiency", "moe_memory_efficiency")
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
    routing: str = ""
    kernel: str = ""


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
                routing=row["dist"],
                kernel=row["src"],
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
    """Return the routed experts of one layer, as many touched as were."""
    weights, experts, dtype = TYPES[row.kind.split()[1]]
    moe = Moe(layers=1, experts=row.second, experts_per_token=row.fourth, ffn=row.width)
    model = _model(
        hidden=row.third, moe=moe, weight_dtype=weights, expert_weight_dtype=experts,
        gated_mlp=_gated(row),
    )  # fmt: skip
    replica = Replica(gpu, model, weight_dtype=dtype)
    tokens, chosen = np.array([float(row.first)]), np.array([_touched(row)])
    return float(experts_ns(replica, tokens, chosen)[0]) / 1e3


def _gated(row: Operator) -> bool:
    return (row.second, row.third, row.fourth) not in UNGATED


def _touched(row: Operator) -> float:
    return touched(row.routing, row.first, row.second, row.fourth)


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


def predict_us(gpu: Gpu, rows: list[Operator], cache_speed: float = 1.0) -> Floats:
    """Return the predicted time of each row, without what the tables add to it.

    Keys and weights in the L2 cache are read `cache_speed` times as fast as from memory.
    """
    reads = {name: getattr(gpu.fit, name) * cache_speed for name in CACHED_READS}
    gpus = gpu, with_fit(gpu, reads)
    return np.array(
        [
            PREDICT[row.kind.split()[0]](gpus[int(cached)], row)
            for row, cached in zip(rows, in_cache(gpu, rows), strict=True)
        ]
    )


def in_cache(gpu: Gpu, rows: list[Operator]) -> NDArray[np.bool_]:
    """Return which rows read again what the L2 cache keeps of the time before.

    Between all of the cache and a fifth more, a decode's keys come to be read as slowly as any.
    """
    return np.array([_read_bytes(row) <= (gpu.l2_bytes or 0) for row in rows])


def _read_bytes(row: Operator) -> float:
    op, *kind = row.kind.split()
    if op == "attention" and kind[0] == "generation":
        keys = min(row.second, WINDOW_TOKENS) if "window" in kind else row.second
        return 4.0 * row.first * keys * row.fourth * row.width
    if op != "moe":  # products are repeated on other weights
        return np.inf
    _, experts, dtype = TYPES[kind[0]]
    bits = WEIGHT_DTYPE_BITS[experts if dtype == "native" else dtype]
    weights = (3 if _gated(row) else 2) * row.third * row.width
    return float(bits / 8) * weights * _touched(row)


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


def fit_cache_speed(gpu: Gpu, rows: list[Operator]) -> float:
    """Return how many times as fast as memory the L2 cache is read.

    Fitted to decodes whose keys fill a quarter of it or more: of fewer, launches are most.
    """
    cache_bytes = gpu.l2_bytes or 0
    decodes = [row for row in rows if row.kind == "attention generation"]
    cached = [row for row in decodes if cache_bytes / 4 <= _read_bytes(row) <= cache_bytes]
    measured = np.array([row.measured_us for row in cached])

    def residuals(values: Floats) -> Floats:
        return np.log(predict_us(gpu, cached, float(values[0])) / measured)

    return float(fit_map(residuals, [Prior(2.0, 0.3)])[0])


def older_factor(rows: list[Operator], predicted: Floats) -> Floats:
    """Return how much longer each row's kernel takes than those in use; 1 where it is one."""
    older = np.array([row.kernel == OLDER_KERNEL for row in rows])
    factor = np.ones(len(rows))
    if older.any() and not older.all():
        measured = np.array([row.measured_us for row in rows])
        factor[older] = np.median((measured / predicted)[older])
    return factor


# --- shapes left out ----------------------------------------------------------------------------


def experts_left_out(gpu: Gpu, rows: list[Operator], cache_speed: float) -> Floats:
    """Return the relative errors of experts of one type, each width from a fit to the others."""
    own = TYPES[rows[0].kind.split()[1]]
    widths = sorted({row.width for row in rows})
    fold = np.array([widths.index(row.width) % FOLDS for row in rows])
    measured = np.array([row.measured_us for row in rows])
    errors = np.full(len(rows), np.nan)
    for left in set(fold.tolist()):
        mine = fold == left
        rest = [row for row, out in zip(rows, mine, strict=True) if not out]
        if not rest:
            continue
        factor = older_factor(rest, predict_us(gpu, rest, cache_speed))
        fitted = _fit_experts(gpu, rest, own, cache_speed, factor)
        shown = [row for row, out in zip(rows, mine, strict=True) if out]
        older = np.array([row.kernel == OLDER_KERNEL for row in shown])
        slower = np.where(older, factor.max(), 1.0)
        errors[mine] = predict_us(fitted, shown, cache_speed) * slower / measured[mine] - 1
    return errors


def _fit_experts(
    gpu: Gpu,
    rows: list[Operator],
    own: tuple[str, str, str],
    cache_speed: float,
    factor: Floats,
) -> Gpu:
    """Return the GPU with efficiency, padded rows and fixed times of one type fitted to rows."""
    moe = Moe(layers=1, experts=8, experts_per_token=1, ffn=64)
    model = _model(weight_dtype=own[0], expert_weight_dtype=own[1], moe=moe)
    name = Replica(gpu, model, weight_dtype=own[2]).weights("expert").name
    measured = np.array([row.measured_us for row in rows])
    fit = gpu.fit
    start = fit.experts.get(name) or ExpertFit(
        share=1.0, padded_rows=fit.moe_padded_rows, layer_ns=fit.moe_layer_ns,
        expert_ns=fit.moe_expert_ns,
    )  # fmt: skip

    def trial(values: Floats) -> Gpu:
        reached, padded, fixed, each = map(float, values)
        changed = start.model_copy(
            update={
                "share": reached / fit.moe_efficiency, "padded_rows": padded, "layer_ns": fixed,
                "expert_ns": each,
            }
        )  # fmt: skip
        if name == "bf16":
            update = {"moe_efficiency": reached, "moe_padded_rows": padded}
            return with_fit(gpu, update | {"moe_layer_ns": fixed, "moe_expert_ns": each})
        return with_fit(gpu, {"experts": fit.experts | {name: changed}})

    def residuals(values: Floats) -> Floats:
        return np.log(predict_us(trial(values), rows, cache_speed) * factor / measured)

    priors = [
        Prior(fit.moe_efficiency * start.share, 0.5, 1.0), Prior(max(start.padded_rows, 1.0), 0.5),
        Prior(start.layer_ns, 0.7), Prior(max(start.expert_ns, 1.0), 1.0),
    ]  # fmt: skip
    return trial(fit_map(residuals, priors))


# --- tables -------------------------------------------------------------------------------------


def operator_errors(folder: Path, gpu_name: str) -> dict[str, tuple[Floats, NDArray[np.bool_]]]:
    """Return the relative errors of each kind of operator on a GPU, and which are in its cache."""
    gpu = load_gpu(gpu_name)
    found = {}
    rows = read_operators(folder / FILE, gpu_name)
    cache_speed = fit_cache_speed(gpu, rows)
    for kind in sorted({row.kind for row in rows}):
        some = [row for row in rows if row.kind == kind]
        predicted = predict_us(gpu, some, cache_speed)
        if kind.startswith("moe"):
            predicted = predicted * older_factor(some, predicted)
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
    return np.concatenate([kind_left_out(folder, name, kind) for name in GPUS])


def kind_left_out(folder: Path, gpu_name: str, kind: str) -> Floats:
    """Return the errors of one type of experts on a GPU, each width from a fit to the others."""
    gpu, rows = load_gpu(gpu_name), read_operators(folder / FILE, gpu_name)
    own = [row for row in rows if row.kind == kind]
    return experts_left_out(gpu, own, fit_cache_speed(gpu, rows)) if own else np.empty(0)
