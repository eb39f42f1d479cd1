"""A notebook's use of replay for a strict type checker: `make check` reads it, nothing runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import polars as pl

import replay


def traces(frame: pl.DataFrame, mapping: Mapping[str, str]) -> replay.Trace:
    """Make and change traces."""
    made = replay.from_frame(frame, columns=mapping, block_size=16, max_rejected="0.1%")
    loaded = replay.load_trace(Path("t.jsonl"), tokenizer="tokenizer.json", progress=True)
    both = replay.convert(made, loaded, "other.parquet", merge=True, window="1m..2m", sample=0.5)
    drawn = replay.generate("chat", requests=10, seed=1)
    hidden = replay.anonymize(drawn, key_file=Path("key"), round="1s")
    assert_type(hidden.save("out.jsonl"), list[str])
    assert_type(both.requests, int)
    return hidden


def questions(trace: replay.Trace, frame: pl.DataFrame) -> None:
    """Ask questions."""
    assert_type(replay.describe(trace), replay.Answer)
    assert_type(replay.check("t.jsonl", context=8192).sound, bool)
    curve = replay.curve(trace, policy=["lru", "min"], capacity="1GiB,2GiB", gpu="h100-sxm")
    assert_type(curve.frame(), pl.DataFrame)
    assert_type(curve.notes, tuple[str, ...])
    replay.policies(frame, capacity=1000, set={"trace.sessions": "off"}).plot()
    replay.gain(trace, untimed=True).sql("FROM gain").write(Path("gain.csv"), force=True)
    replay.cost(new=512, decode="32x4096", over="new")
    assert_type(replay.names("gpus", "h100-sxm").tables, tuple[str, ...])


def runs(trace: replay.Trace) -> float:
    """Run, and look at runs."""
    run = replay.run(trace, gpu="h100-sxm", capacity="40GiB", tp=2, set=["cache.kind=radix"])
    assert_type(run, replay.Run)
    assert_type(run.save("runs/a"), Path)
    assert_type(run.explain(3).text, str)
    assert_type(run.report("ttft").frame(), pl.DataFrame)
    assert_type(replay.open_run("runs/a").query("FROM requests", timeout="5s"), replay.Answer)
    assert_type(run.page(static=True, trace=trace).write(Path("a.html"), force=True), Path)
    assert_type(replay.page("runs/a", progress=True).html, str)
    assert_type(replay.compare(run, "runs/a").page(static=True).write("c.html"), Path)
    assert_type(replay.page(replay.compare(run, "runs/a")).html, str)
    return float(run.sql("SELECT avg(hit_tokens) AS mean FROM requests").frame().item())


def mistakes(trace: replay.Trace) -> str | None:
    """Catch what is raised."""
    try:
        replay.run(trace, capacity="much")
    except replay.ConfigError as error:
        return error.hint
    except replay.ReplayError as error:
        return error.message
    return None
