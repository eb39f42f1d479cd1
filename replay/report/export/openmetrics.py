"""A run as the time series a server would have had: OpenMetrics text with timestamps.

https://prometheus.io/docs/specs/om/open_metrics_spec/. Each metric is written whole, one series
after another, a sample at the end of every step of so many seconds. Prometheus takes the file with
`promtool tsdb create-blocks-from openmetrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from replay.errors import InputError
from replay.report.db import PATIENCE_S, RunDatabase
from replay.report.export.metrics import COUNTERS, GAUGES, HISTOGRAMS, Counter, Gauge, Histogram
from replay.units import NS_PER_S

# Prometheus asks a server every 15 s unless told otherwise.
STEPS_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
MOST_STEPS = 2000
_MOST_STEPS_ASKED_FOR = 1_000_000
_LINES_AT_ONCE = 50_000

Row = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: samples `step_ns` apart, the first at `start_ns` since 1970; `left_out`
    are the metrics of which the run knows nothing."""

    start_ns: int
    step_ns: int
    steps: int
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Clock:
    """The times of samples, and the labels that all of them have."""

    start_ns: int
    step_ns: int
    steps: int
    labels: str

    def ticks(self, rows: Sequence[Row]) -> Iterator[tuple[str, Row | None]]:
        """Yield for each sample its timestamp and the row of its step, where there is one."""
        found: Mapping[int, Row] = {row[0]: row[1:] for row in rows}
        for tick in range(self.steps + 1):
            yield _decimal(self.start_ns + tick * self.step_ns), found.get(tick)

    def labelled(self, *more: str) -> str:
        """Return the labels of a series in braces."""
        return "{" + ",".join([self.labels, *(label for label in more if label)]) + "}"

    def tick_of(self, when: str) -> str:
        """Return SQL for the sample at or after a time.

        Never the first: a counter rises from nothing, or nobody sees that it rose.
        """
        return f"greatest(({when} + {self.step_ns - 1}) // {self.step_ns}, 1)"


def write_metrics(
    database: RunDatabase,
    sink: BinaryIO,
    *,
    start_ns: int | None = None,
    step_ns: int | None = None,
) -> Written:
    """Write the metrics of a run, an unlocked database, to a stream; return what was written.

    The trace's clock starts at `start_ns` since 1970, by default so that the run ends when it was
    made. Samples are `step_ns` apart, by default 15 s, or more where that makes over `MOST_STEPS`
    of them. Raises InputError for a step that makes far too many.
    """
    clock = _clock(database, start_ns, step_ns)
    families = [
        *((one.name, _histogram(database, one, clock)) for one in HISTOGRAMS),
        *((one.name, _counter(database, one, clock)) for one in COUNTERS),
        *((one.name, _gauge(database, one, clock)) for one in GAUGES),
        ("vllm:cache_config", _cache_config(database, clock)),
    ]
    left_out = [name for name, lines in families if not _write(lines, sink)]
    sink.write(b"# EOF\n")
    return Written(clock.start_ns, clock.step_ns, clock.steps + 1, tuple(left_out))


def _clock(database: RunDatabase, start_ns: int | None, step_ns: int | None) -> _Clock:
    run = database.run
    end_ns = _one(
        database,
        "SELECT greatest(max(end_ns), 0) FROM ("
        "SELECT max(arrival_ns + coalesce(e2e_ns, 0)) AS end_ns FROM completed "
        "UNION ALL SELECT max(start_ns + width_ns) FROM timeline)",
    )
    if step_ns is None:
        fitting = (one for one in STEPS_S if one * NS_PER_S * MOST_STEPS >= end_ns)
        step_ns = next(fitting, STEPS_S[-1]) * NS_PER_S
    steps = -(-end_ns // step_ns)
    if steps > _MOST_STEPS_ASKED_FOR:
        raise InputError(
            f"a step that short makes {steps:,} samples of each series",
            hint=f"make it longer; at most {_MOST_STEPS_ASKED_FOR:,} are written",
        )
    if start_ns is None:
        made = datetime.fromisoformat(str(run.manifest["created_at"]))
        start_ns = int(made.timestamp()) * NS_PER_S - steps * step_ns
    model = (run.manifest.get("gpu") or {}).get("model")
    names = {"model_name": model, "engine": "0", "run": run.folder.name, "origin": "replay"}
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in names.items() if value)
    return _Clock(start_ns, step_ns, steps, labels)


def _histogram(database: RunDatabase, metric: Histogram, clock: _Clock) -> Iterator[str]:
    """Yield the lines of a histogram; none where nothing was observed."""
    bounds = [round(bound * metric.scale) for bound in metric.buckets]
    counts = ", ".join(f"count(*) FILTER (value <= {bound})" for bound in bounds)
    rows = _rows(
        database,
        f"SELECT tick, {counts}, count(*), sum(value)::HUGEINT FROM ("
        f"SELECT {clock.tick_of(metric.when)} AS tick, {metric.value} AS value FROM completed"
        ") WHERE value IS NOT NULL GROUP BY tick ORDER BY tick",
    )
    if not rows:
        return
    yield from _head(metric.name, "histogram", metric.help, metric.unit)
    ends = [*map(repr, metric.buckets), "+Inf"]
    names = [f"{metric.name}_bucket{clock.labelled(f'le={chr(34)}{end}{chr(34)}')}" for end in ends]
    plain = clock.labelled()
    so_far = [0] * (len(bounds) + 2)
    for at, row in clock.ticks(rows):
        if row is not None:
            so_far = [before + more for before, more in zip(so_far, row, strict=True)]
        *buckets, total = so_far
        yield from (f"{name} {count} {at}" for name, count in zip(names, buckets, strict=True))
        yield f"{metric.name}_count{plain} {buckets[-1]} {at}"
        written = _decimal(total) if metric.scale == NS_PER_S else str(total)
        yield f"{metric.name}_sum{plain} {written} {at}"


def _counter(database: RunDatabase, metric: Counter, clock: _Clock) -> Iterator[str]:
    """Yield the lines of a counter; none where the run does not know what it counts."""
    sums = ", ".join(f"sum({value})::HUGEINT" for _, value in metric.values)
    rows = _rows(
        database,
        f"SELECT {clock.tick_of(metric.when)} AS tick, {sums} FROM {metric.of} "
        "GROUP BY tick ORDER BY tick",
    )
    known = [
        any(row[place] is not None for row in rows) for place in range(1, 1 + len(metric.values))
    ]
    if not any(known):
        return
    yield from _head(metric.name, "counter", metric.help)
    for place, (label, _) in enumerate(metric.values):
        name, so_far = f"{metric.name}_total{clock.labelled(label)}", 0
        for at, row in clock.ticks(rows) if known[place] else ():
            so_far += 0 if row is None else row[place] or 0
            yield f"{name} {so_far} {at}"


def _gauge(database: RunDatabase, metric: Gauge, clock: _Clock) -> Iterator[str]:
    """Yield the lines of a gauge; none without a clock, and for shares of an endless cache."""
    capacity = _one(database, "SELECT capacity_blocks FROM run") if metric.of_capacity else 1
    rows = _rows(
        database,
        f"SELECT {clock.tick_of('start_ns + width_ns')} AS tick, sum({metric.integral})::HUGEINT, "
        "sum(busy_ns)::HUGEINT FROM timeline GROUP BY tick ORDER BY tick",
    )
    if not rows or not capacity:
        return
    yield from _head(metric.name, "gauge", metric.help)
    name = f"{metric.name}{clock.labelled()}"
    for at, row in clock.ticks(rows):
        value = row[0] / (row[1] * capacity) if row is not None and row[1] else metric.idle
        if value is not None:
            yield f"{name} {value!r} {at}"


def _cache_config(database: RunDatabase, clock: _Clock) -> Iterator[str]:
    block_size, blocks, caching = (
        database.query("SELECT block_size, capacity_blocks, cache_enabled FROM run").table().rows[0]
    )
    yield from _head("vllm:cache_config", "info", "The size of the KV cache.")
    facts = {"block_size": block_size, "num_gpu_blocks": blocks, "enable_prefix_caching": caching}
    labels = (f'{name}="{value}"' for name, value in facts.items() if value is not None)
    name = f"vllm:cache_config_info{clock.labelled(*labels)}"
    yield from (f"{name} 1 {at}" for at, _ in clock.ticks([]))


def _head(name: str, type: str, help: str, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {name} {type}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {_escaped(help)}"


def _write(lines: Iterator[str], sink: BinaryIO) -> bool:
    """Write lines, some at once, and return whether there were any."""
    waiting: list[str] = []
    any_lines = False
    for line in lines:
        any_lines = True
        waiting.append(line)
        if len(waiting) == _LINES_AT_ONCE:
            sink.write(("\n".join(waiting) + "\n").encode("utf-8", "backslashreplace"))
            waiting.clear()
    if waiting:
        sink.write(("\n".join(waiting) + "\n").encode("utf-8", "backslashreplace"))
    return any_lines


def _rows(database: RunDatabase, sql: str) -> Sequence[Row]:
    return database.query(sql, timeout_s=PATIENCE_S).table().rows


def _one(database: RunDatabase, sql: str) -> int:
    return int(_rows(database, sql)[0][0] or 0)


def _decimal(ns: int) -> str:
    """Return nanoseconds as seconds, exactly."""
    sign = "-" if ns < 0 else ""
    seconds, rest = divmod(abs(ns), NS_PER_S)
    return f"{sign}{seconds}.{rest:09d}".rstrip("0").rstrip(".") if rest else f"{sign}{seconds}"


def _escaped(text: object) -> str:
    """Return a text as it stands between quotes."""
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
