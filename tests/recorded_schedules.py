"""What real schedulers did under a virtual clock: recordings beside the checkout, and their traces.

A recording is two tables, requests and steps, and the settings it was made with, in the metadata
of the files. Arrivals are those of the trace at a speed-up; outputs can be replaced by unique ids,
so that no prompt meets a response. Whose recording says what its settings mean is in
`vllm_recordings.py` and `sglang_recordings.py`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree, build_tree
from tests.shared_data import CONVERSATION, SHARED, conversation
from tests.test_golden_vllm import known_tokens

GOLDEN = SHARED / "golden"
NS_PER_MS = 10**6
LINEAR = {"step_ns": 5_000_000, "token_ns": 20_000, "context_ns": 30}
Settings = dict[str, int | bool | str | None]
_SUFFIX = ".requests.parquet"
_UNIQUE_FROM = 10**9
_BLOCK = 512
_TRACES = {
    "hand": GOLDEN / "scheduler" / "hand_trace.jsonl",
    "tiny": GOLDEN / "scheduler" / "tiny_trace.jsonl.gz",
    "random": GOLDEN / "random_trace.jsonl.gz",
    "long": GOLDEN / "scheduler_sglang" / "long_trace.jsonl.gz",
}


@dataclass(frozen=True)
class Recording:
    requests: pl.DataFrame
    steps: pl.DataFrame
    tag: str
    speed_up: tuple[int, int]
    settings: Settings
    blocks: int | None  # that can be used, where the recording tells


def files_in(folder: Path) -> list[Path]:
    """Return the tables of requests of all recordings in a folder."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def name_of(path: Path) -> str:
    """Return the name that both files of a recording share."""
    return path.name.removesuffix(_SUFFIX)


def read_recording(path: Path, made_by: str) -> Recording:
    """Return what was recorded, and how; `made_by` is the key of that in the metadata."""
    made = json.loads(pl.read_parquet_metadata(path)[made_by])
    return Recording(
        pl.read_parquet(path),
        pl.read_parquet(path.with_name(f"{name_of(path)}.steps.parquet")),
        made["tag"],
        tuple(made["speedup"]),
        made["settings"],
        made.get("usable_blocks"),
    )


@cache
def token_rows(tag: str) -> pl.DataFrame:
    """Return (timestamp in ms, input_ids, output_ids) of every request of a trace."""
    if tag == "conv1k":
        return _conversations(1000)
    path = _TRACES[tag.removesuffix("u")]
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = pl.DataFrame([json.loads(line) for line in text.splitlines()])
    if tag not in _TRACES:  # unique outputs
        rows = rows.with_columns(output_ids=_unique(rows["output_ids"].list.len().to_list()))
    return rows


def _unique(lengths: list[int]) -> pl.Series:
    ids, first = [], _UNIQUE_FROM
    for length in lengths:
        ids.append(list(range(first, first + length)))
        first += length
    return pl.Series(ids, dtype=pl.List(pl.Int64))


def _conversations(count: int) -> pl.DataFrame:
    """Return the first requests of the conversation trace: token j of block h is h * 512 + j."""
    rows = []
    with CONVERSATION.open() as file:
        for _, line in zip(range(count), file, strict=False):
            row = json.loads(line)
            ids = [h * _BLOCK + at for h in row["hash_ids"] for at in range(_BLOCK)]
            rows.append((row["timestamp"], ids[: row["input_length"]], row["output_length"]))
    frame = pl.DataFrame(rows, schema=["timestamp", "input_ids", "length"], orient="row")
    return frame.with_columns(output_ids=_unique(frame["length"].to_list()))


def arrivals_ns(rows: pl.DataFrame, speed_up: tuple[int, int]) -> list[int]:
    """Return when each request arrives, counted from the first."""
    times, (faster, slower) = rows["timestamp"].to_list(), speed_up
    return [(time - times[0]) * NS_PER_MS * slower // faster for time in times]


@cache
def tree_of(tag: str) -> tuple[Trace, PrefixTree]:
    """Return a trace as it was before arrivals were set, and its tree."""
    if tag.removesuffix("u") == "conv1k":
        trace, _ = conversation()
        trace = trace.changed(trace.frame.head(1000))
        return trace, build_tree(trace)
    return known_tokens(token_rows(tag))


def recorded_trace(
    made: Recording, priority_of: Callable[[int, Settings], int]
) -> tuple[Trace, PrefixTree]:
    """Return the trace of a recording with its arrivals and priorities, and its tree."""
    trace, tree = tree_of(made.tag)
    arrivals = arrivals_ns(token_rows(made.tag), made.speed_up)
    ranks = [priority_of(index, made.settings) for index in range(len(arrivals))]
    columns = {"arrival_ns": pl.Series(arrivals), "priority": pl.Series(ranks)}
    return trace.changed(trace.frame.with_columns(**columns)), tree
