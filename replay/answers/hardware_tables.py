"""What `replay list` shows of GPUs, models, engines, hosts and prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.config.hardware import Engine, Overhead
    from replay.gpu.spec import Gpu, Model
    from replay.report.tables import Table

GIB, GB, TB = 2**30, 1e9, 1e12
BILLION = 1e9
US_NS = 1e3


def gpus(names: Sequence[str] = ()) -> Table:
    """Return GPUs with their dense peaks, links, and how well the cost model fits them."""
    from replay.gpu.spec import gpu_names, load_gpu
    from replay.report.tables import Table

    columns = (
        "name", "memory_gib", "hbm_gb_per_s", "bf16_tflop_per_s", "fp8_tflop_per_s",
        "fp4_tflop_per_s", "link", "link_gb_per_s", "host_gb_per_s", "fit", "prefill_error",
        "decode_error", "unverified",
    )  # fmt: skip
    return Table(columns, [_gpu(load_gpu(name)) for name in names or gpu_names()])


def _gpu(gpu: Gpu) -> tuple[object, ...]:
    error = gpu.fit.error
    return (
        gpu.name,
        round(gpu.memory_bytes / GIB, 1),
        round(gpu.hbm_bytes_per_s / GB),
        _scaled(gpu.bf16_flop_per_s, TB),
        _scaled(gpu.fp8_flop_per_s, TB),
        _scaled(gpu.fp4_flop_per_s, TB),
        "scale-up" if gpu.scale_up else "PCIe",
        _scaled(gpu.link_bytes_per_s, GB),
        _scaled(gpu.host_bytes_per_s, GB),
        "yes" if gpu.calibrated else "uncalibrated",
        f"{error.prefill.median_percent:g}/{error.prefill.p90_percent:g} %",
        f"{error.decode.median_percent:g}/{error.decode.p90_percent:g} %",
        ", ".join(gpu.unverified),
    )


def models(names: Sequence[str] = ()) -> Table:
    """Return models with parameters declared and recomputed, KV sizes and kinds of attention."""
    from replay.gpu.spec import load_model, model_names
    from replay.report.tables import Table

    columns = (
        "name", "declared_b", "computed_b", "gap_percent", "active_b", "weights_gib",
        "weight_dtype", "kv_bytes_per_token", "long_context_bytes_per_token", "sequence_bytes",
        "attention", "experts", "unverified",
    )  # fmt: skip
    return Table(columns, [_model(load_model(name)) for name in names or model_names()])


def _model(model: Model) -> tuple[object, ...]:
    declared, computed = model.declared_parameters, model.parameters
    expert_dtype = model.dtype_of("expert") if model.moe else model.weight_dtype
    return (
        model.name,
        None if declared is None else round(declared / BILLION, 2),
        round(computed / BILLION, 2),
        None if declared is None else round(100 * (computed / declared - 1), 1),
        round(model.active_parameters / BILLION, 2),
        round(model.weight_bytes / GIB, 1),
        model.weight_dtype
        if expert_dtype == model.weight_dtype
        else f"{model.weight_dtype}, experts {expert_dtype}",
        model.kv_bytes_per_token,
        model.pool_token_bytes(),
        model.sequence_bytes(),
        model.attention_kind,
        f"{model.moe.experts_per_token} of {model.moe.experts}" if model.moe else None,
        ", ".join(model.unverified),
    )


def engines(names: Sequence[str] = ()) -> Table:
    """Return serving engines with the defaults of their schedulers and what they add to the GPU.

    Times are those of any replica, with the range that was seen; +1 says that the engine's file
    has one more range for some replicas.
    """
    from replay.config.hardware.server import ServerTimes
    from replay.gpu.spec import engine_names, load_engine
    from replay.report.tables import Table

    added = [field.name.removesuffix("_ns") for field in fields(ServerTimes)]
    columns = (
        "name", "version", "max_batched_tokens", "max_sequences", "rules",
        "async_scheduling", "chunked_prefill", "mixed_steps", "block_size",
        "memory_utilization", "all_reduce", *(f"{name}_us" for name in added), "unverified",
    )  # fmt: skip
    rows = []
    for engine in map(load_engine, names or engine_names()):
        times = [_ranges(getattr(engine, f"{name}_ns")) for name in added]
        rows.append(
            (
                engine.name,
                engine.version,
                _by_memory(engine, "max_batched_tokens"),
                _by_memory(engine, "max_sequences"),
                engine.rules,
                "on" if engine.async_scheduling else "off",
                "on" if engine.chunked_prefill else "off",
                "on" if engine.mixed_steps else "off",
                engine.block_size,
                engine.memory_utilization,
                engine.all_reduce,
                *times,
                ", ".join(engine.unverified),
            )
        )
    return Table(columns, rows)


def _by_memory(engine: Engine, name: str) -> str:
    """Return a default that goes with the GPU's memory as `2,048, from 70 GiB 8,192`."""
    said: list[str] = []
    last = None
    for size in engine.scheduler:
        value, start = getattr(size, name), round(size.memory_from_bytes / GIB)
        if value != last:
            said.append(f"from {start} GiB {value:,}" if start else f"{value:,}")
        last = value
    return ", ".join(said)


def _ranges(found: Sequence[Overhead]) -> str:
    first, *others = found
    more = f" +{len(others)}" if others else ""
    typical, low, high = (f"{value / US_NS:g}" for value in (first.typical, first.low, first.high))
    return f"{typical} ({low} to {high}){more}"


def hosts(names: Sequence[str] = ()) -> Table:
    """Return machines with host memory and the links that KV moves over."""
    from replay.gpu.spec import host_names, load_host, load_links
    from replay.report.tables import Table

    links = {link.name: link for link in load_links()}

    def rate(name: str | None) -> str | None:
        """Return a link as `pcie5-x16 54.5 GB/s`."""
        if name is None or name not in links:
            return name
        return f"{name} {links[name].effective_bytes_per_s / GB:g} GB/s"

    columns = ("name", "gpus", "dram_gib", "dram_gb_per_s", "gpu_link", "drive", "network",
               "unverified")  # fmt: skip
    rows = [
        (
            host.name,
            host.gpus,
            _scaled(host.dram_bytes, GIB),
            _scaled(host.dram_bytes_per_s, GB),
            rate(host.gpu_link),
            rate(host.drive),
            rate(host.network),
            ", ".join(host.unverified),
        )
        for host in map(load_host, names or host_names())
    ]
    return Table(columns, rows)


def links() -> Table:
    """Return the links by name: nominal and effective rate, and the fixed time of a transfer."""
    from replay.gpu.spec import load_links
    from replay.report.tables import Table

    columns = ("name", "kind", "nominal_gb_per_s", "effective_gb_per_s", "fixed_us", "source",
               "unverified")  # fmt: skip
    rows = [
        (
            link.name,
            link.kind,
            _scaled(link.nominal_bytes_per_s, GB),
            _scaled(link.effective_bytes_per_s, GB),
            link.fixed_ns / 1e3,
            link.source,
            ", ".join(link.unverified),
        )
        for link in load_links()
    ]
    return Table(columns, rows)


def prices() -> Table:
    """Return what GPUs cost for an hour, each with its date and source."""
    from replay.gpu.spec import load_prices
    from replay.report.tables import Table

    columns = ("gpu", "terms", "offer", "low", "typical_low", "typical_high", "high", "currency",
               "date", "source")  # fmt: skip
    rows = [
        tuple(
            str(value) if column == "date" else value for column, value in _fields(price, columns)
        )
        for price in load_prices().prices
    ]
    return Table(columns, rows)


def _fields(row: object, columns: Sequence[str]) -> list[tuple[str, object]]:
    return [(column, getattr(row, column)) for column in columns]


def _scaled(value: float | None, unit: float) -> float | None:
    """Return a value in a larger unit, to one decimal; None stays None."""
    return None if value is None else round(value / unit, 1)
