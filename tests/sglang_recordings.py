"""What SGLang 0.5.23's own scheduler did under a virtual clock: recordings beside the checkout.

A recording is two tables, requests and steps, and the settings it was made with, in the metadata
of the files. Arrivals are those of the trace at a speed-up; outputs can be replaced by unique ids,
so that no prompt meets a response.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from replay.config.scenario import Scenario
from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree, build_tree
from tests.naive.sglang_scheduler import Request, Rules
from tests.shared_data import CONVERSATION, SHARED, conversation
from tests.test_golden_vllm import known_tokens

GOLDEN = SHARED / "golden"
FOLDER = GOLDEN / "scheduler_sglang"
_SUFFIX = ".requests.parquet"
FILES = sorted(FOLDER.glob(f"*{_SUFFIX}"))
NS_PER_MS = 10**6
LINEAR = {"step_ns": 5_000_000, "token_ns": 20_000, "context_ns": 30}
_UNIQUE_FROM = 10**9
_BLOCK = 512
_TRACES = {
    "hand": GOLDEN / "scheduler" / "hand_trace.jsonl",
    "tiny": GOLDEN / "scheduler" / "tiny_trace.jsonl.gz",
    "random": GOLDEN / "random_trace.jsonl.gz",
    "long": FOLDER / "long_trace.jsonl.gz",
}
_ORDERS = {"lpm": "lpm", "dfs": "dfs-weight", "spf": "spf", "hrrn": "hrrn", "lof": "lof"}


@dataclass(frozen=True)
class Recording:
    requests: pl.DataFrame
    steps: pl.DataFrame
    tag: str
    speed_up: tuple[int, int]
    settings: dict[str, int | bool | str]


def name_of(path: Path) -> str:
    """Return the name that both files of a recording share."""
    return path.name.removesuffix(_SUFFIX)


def recording(path: Path) -> Recording:
    """Return what was recorded, and how."""
    made = json.loads(pl.read_parquet_metadata(path)["sglang_sched_oracle"])
    return Recording(
        pl.read_parquet(path),
        pl.read_parquet(path.with_name(f"{name_of(path)}.steps.parquet")),
        made["tag"],
        tuple(made["speedup"]),
        made["settings"],
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


def priority_of(index: int, settings: dict[str, int | bool | str]) -> int:
    """Return the priority that a request was given; greater is more urgent."""
    return (100 if settings["prio"] else 1) * (index * 7919 // 13 % 3)


def naive_rules(settings: dict[str, int | bool | str]) -> Rules:
    """Return the settings of a recording as the twin's rules."""
    return Rules(
        capacity=settings["cap"],
        chunk=settings["chunk"],
        rows=settings["rows"],
        page=settings["pg"],
        max_prefill=settings["maxp"],
        conservativeness=settings["cons"],
        order=order_of(settings),
        cached=not settings["nocache"],
        mixed=settings["mixed"],
        ignore_eos=settings["eos"],
        priorities=settings["prio"],
        threshold=settings["thr"],
        interval=settings["pdi"],
        max_requests=settings["pmr"],
        overlap=settings["overlap"],
    )


def order_of(settings: dict[str, int | bool | str]) -> str:
    """Return the word for the order of the queue."""
    return next((order for order in _ORDERS if settings[order]), "fcfs")


def naive_requests(made: Recording) -> list[Request]:
    """Return the requests of a recording as the twin takes them."""
    rows = token_rows(made.tag)
    columns = zip(arrivals_ns(rows, made.speed_up), *rows["input_ids", "output_ids"], strict=True)
    return [
        Request(index, arrival, tuple(prompt), tuple(response), priority_of(index, made.settings))
        for index, (arrival, prompt, response) in enumerate(columns)
    ]


def scenario(settings: dict[str, int | bool | str]) -> Scenario:
    """Return the settings of a recording as a user would give them; every step is kept."""
    order = _ORDERS.get(order_of(settings), "fcfs")
    return Scenario(
        cache={"kind": "radix", "enabled": not settings["nocache"]},
        gpu={"backend": "linear", "linear": LINEAR},
        engine={
            "scheduler": "sglang",
            "steps": True,
            "order": "priority" if settings["prio"] else order,
            "async_scheduling": settings["overlap"],
            "mixed_steps": settings["mixed"],
            "max_sequences": settings["rows"],
            "chunked_prefill": settings["chunk"] > 0,
            "max_batched_tokens": settings["chunk"] or 8192,
            "max_prefill_tokens": settings["maxp"],
            "schedule_conservativeness": settings["cons"] / 100,
            "prefill_decode_interval": settings["pdi"],
            "prefill_max_requests": settings["pmr"] or None,
            "priority_preemption_threshold": settings["thr"],
            "ignore_eos": settings["eos"],
        },
    )


@cache
def tree_of(tag: str) -> tuple[Trace, PrefixTree]:
    if tag.removesuffix("u") == "conv1k":
        trace, _ = conversation()
        trace = trace.changed(trace.frame.head(1000))
        return trace, build_tree(trace)
    return known_tokens(token_rows(tag))


def trace_of(made: Recording) -> tuple[Trace, PrefixTree]:
    """Return the trace of a recording with its arrivals and priorities, and its tree."""
    trace, tree = tree_of(made.tag)
    arrivals = arrivals_ns(token_rows(made.tag), made.speed_up)
    ranks = [priority_of(index, made.settings) for index in range(len(arrivals))]
    columns = {"arrival_ns": pl.Series(arrivals), "priority": pl.Series(ranks)}
    return trace.changed(trace.frame.with_columns(**columns)), tree
