"""A short sweep on a machine with a GPU: step times put together from its own kernels.

Four things are timed: matrix products, attention with cached context, copies in device memory, and
transfers between host and device. A step is its products and attention in every layer, the
element-wise kernels at the rate of a copy, and the LM head. What is timed with is a `Device`, so
that the sweep can be tried without one; `torch_device` makes the real one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from replay.errors import InputError
from replay.gpu.gemms import attention_gemms, mlp_gemms
from replay.gpu.linear import RESIDUAL_PASSES
from replay.gpu.measured import COLUMNS
from replay.gpu.spec import Model
from replay.progress import Hook, ignore
from replay.units import NS_PER_S
from replay.writing.whole import whole_file

NEW = (16, 64, 256, 1024, 2048, 4096, 8192)
CACHED = (0, 2048, 8192, 32768)
DECODES = (1, 4, 16, 64, 256)
CONTEXTS = (512, 2048, 8192, 32768)
TRANSFERS = (2**16, 2**20, 2**24, 2**28)
MOST_KEYS = 2**21  # of one step's decodes: what fits beside everything else
COPIED_BYTES = 2**28


class Device(Protocol):
    """What a sweep times with; each method returns the median time of one call in ns."""

    name: str

    def gemm_ns(self, rows: int, inner: int, columns: int) -> float:
        """Time a product of bf16 matrices."""
        ...

    def prefill_ns(self, new: int, cached: int, heads: int, kv_heads: int, dim: int) -> float:
        """Time causal attention of new tokens after cached ones."""
        ...

    def decode_ns(self, requests: int, context: int, heads: int, kv_heads: int, dim: int) -> float:
        """Time attention of one query each of several requests over their contexts."""
        ...

    def copy_ns(self, size_bytes: int) -> float:
        """Time a copy within device memory; it reads and writes that many bytes."""
        ...

    def transfer_ns(self, size_bytes: int, *, to_device: bool) -> float:
        """Time a transfer between pinned host memory and the device."""
        ...


@dataclass(frozen=True, slots=True)
class Sweep:
    """Step times in the columns of `replay.gpu.measured`, and transfers as (bytes, to, ms)."""

    rows: list[tuple[object, ...]]
    transfers: list[tuple[int, str, float]]


def sweep(device: Device, model: Model, *, gpus: int = 1, progress: Hook = ignore) -> Sweep:
    """Return the measured steps of one model's share on one GPU of a group of `gpus`.

    Raises InputError for a model whose layers the sweep has no kernels for.
    """
    groups = model.attention_groups
    if len(groups) != 1 or groups[0].kind != "full" or model.moe is not None:
        raise InputError(
            f"{model.name}: the sweep times dense models with full attention",
            hint="use llama-3.1-8b, or another dense model of `replay list models`",
        )
    if gpus != 1:
        raise InputError(f"the sweep times one GPU: no all-reduce is measured (got {gpus})")
    prompts = [(new, cached) for new in NEW for cached in CACHED]
    batches = [(b, c) for b in DECODES for c in CONTEXTS if b * c <= MOST_KEYS]
    total = len(prompts) + len(batches) + 2 * len(TRANSFERS)
    rows: list[tuple[object, ...]] = []
    copy_rate = 2 * COPIED_BYTES / device.copy_ns(COPIED_BYTES)
    linear: dict[int, float] = {}
    for done, (new, cached) in enumerate(prompts):
        progress("Timing prefill", done, total)
        attention = device.prefill_ns(new, cached, *_heads(model))
        step = _step_ns(device, model, new, copy_rate, attention, linear, sampled=1)
        rows.append((device.name, model.name, 1, "prefill", new, cached, 1, 0, step / 1e6))
    for done, (requests, context) in enumerate(batches, len(prompts)):
        progress("Timing decode", done, total)
        attention = device.decode_ns(requests, context, *_heads(model))
        step = _step_ns(device, model, requests, copy_rate, attention, linear, sampled=requests)
        rows.append(
            (device.name, model.name, 1, "decode", requests, context, requests, 0, step / 1e6)
        )
    transfers = list(_transfers(device, total - 2 * len(TRANSFERS), total, progress))
    progress("Timing transfers", total, total)
    return Sweep(rows, transfers)


def _heads(model: Model) -> tuple[int, int, int]:
    return model.heads, model.kv_heads, model.head_dim


def _step_ns(
    device: Device,
    model: Model,
    tokens: int,
    copy_rate: float,
    attention_ns: float,
    linear: dict[int, float],
    *,
    sampled: int,
) -> float:
    """Return a step from its kernels; products of one count of tokens are timed once."""
    if tokens not in linear:
        gemms = [*attention_gemms(model, model.attention_groups[0], 1), *mlp_gemms(model, 1)]
        products = sum(device.gemm_ns(tokens, int(g.inner), int(g.columns)) for g in gemms)
        rotary = 2 * (model.heads + model.kv_heads) * model.head_dim
        values = RESIDUAL_PASSES * model.hidden + rotary + model.mlp_matrices * model.ffn
        linear[tokens] = products + 2 * tokens * values / copy_rate
    head = device.gemm_ns(sampled, model.hidden, model.vocab)
    return model.layers * (linear[tokens] + attention_ns) + head


def _transfers(
    device: Device, done: int, total: int, progress: Hook
) -> Iterator[tuple[int, str, float]]:
    for to_device in (True, False):
        for size in TRANSFERS:
            progress("Timing transfers", done, total)
            done += 1
            word = "host_to_device" if to_device else "device_to_host"
            yield size, word, device.transfer_ns(size, to_device=to_device) / 1e6


def link_of(transfers: list[tuple[int, str, float]], direction: str) -> tuple[float, float]:
    """Return (fixed ns, bytes per s) of one direction: a line through the least and the most."""
    points = sorted((size, ms * 1e6) for size, word, ms in transfers if word == direction)
    (small, first), (large, last) = points[0], points[-1]
    rate = (large - small) / max(last - first, 1.0)
    return max(first - small / rate, 0.0), rate * NS_PER_S


def transfers_beside(path: Path) -> Path:
    """Return the name of the file for the transfers of a sweep, beside that of its steps."""
    return path.with_name(f"{path.stem}-transfers.csv")


def write_sweep(found: Sweep, path: Path, *, force: bool = False) -> Path:
    """Write the steps, and the transfers beside them; return where the transfers are.

    Raises OutputExistsError for files that are there already unless `force`, and OutputError.
    """
    beside = transfers_beside(path)
    header = [*COLUMNS[:-1], "decode_ctx", COLUMNS[-1]]
    for target, names, rows in (
        (path, header, found.rows),
        (beside, ["bytes", "direction", "measured_ms"], found.transfers),
    ):
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows(rows)
        with whole_file(target, force=force) as sink:
            sink.write(text.getvalue().encode())
    return beside
