"""Single operators against the kernel tables of one vendor's tool, in microseconds.

A row of the tables is one kernel on one GPU: a product, a launch of attention, a layer's experts or
an all-reduce. The model's own functions predict it, of one layer made to its shape.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replay.config.hardware.layers import Window
from replay.gpu.attention import attention_table
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, Model, load_model
from replay.kernels import cost as kernel
from replay.kernels.steps import StepList, attend_all

WINDOW_TOKENS = 128  # of the rows with a window, as in gpt-oss

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
    spread: str
    measured_us: float


def read_operators(path: Path, gpu: str) -> list[Operator]:
    """Return the rows of one GPU, of vLLM's kernels."""
    with path.open(newline="") as file:
        return [
            Operator(
                kind=row["kind"],
                first=int(row["a"]),
                second=int(float(row["b"])),
                third=int(row["h"]),
                fourth=int(row["k"]),
                width=int(row["hd"]),
                spread=row["dist"],
                measured_us=float(row["measured_us"]),
            )
            for row in csv.DictReader(file)
            if row["gpu"] == gpu
        ]


def one_layer(heads: int, kv_heads: int, width: int, *, window: bool = False) -> Model:
    """Return a model of one layer of attention of that shape."""
    shape = {"layers": 1, "heads": heads, "kv_heads": kv_heads, "head_dim": width}
    fields = load_model("llama-3.1-8b").model_dump() | shape | {"declared_parameters": None}
    if window:
        fields["window"] = Window(tokens=WINDOW_TOKENS, layers=1).model_dump()
    return Model.model_validate(fields)


def attention_us(gpu: Gpu, row: Operator) -> float:
    """Return one launch of attention: prompts from their start, or decodes."""
    model = one_layer(row.third, row.fourth, row.width, window="window" in row.kind)
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
