"""What vLLM 0.33's own scheduler did under a virtual clock: recordings beside the checkout.

A recording is two tables, requests and steps, and the settings it was made with, in the metadata
of the files. Its traces are those of `tests/sglang_recordings.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from replay.config.scenario import Scenario
from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree
from tests.naive.engine import Request, Rules
from tests.sglang_recordings import LINEAR, arrivals_ns, token_rows, tree_of
from tests.shared_data import SHARED

FOLDER = SHARED / "golden" / "scheduler"
_SUFFIX = ".requests.parquet"
FILES = sorted(FOLDER.glob(f"*{_SUFFIX}"))
Settings = dict[str, int | bool | None]


@dataclass(frozen=True)
class Recording:
    requests: pl.DataFrame
    steps: pl.DataFrame
    tag: str
    speed_up: tuple[int, int]
    settings: Settings
    blocks: int


def name_of(path: Path) -> str:
    """Return the name that both files of a recording share."""
    return path.name.removesuffix(_SUFFIX)


def recording(path: Path) -> Recording:
    """Return what was recorded, and how."""
    made = json.loads(pl.read_parquet_metadata(path)["vllm_sched_oracle"])
    return Recording(
        pl.read_parquet(path),
        pl.read_parquet(path.with_name(f"{name_of(path)}.steps.parquet")),
        made["tag"],
        tuple(made["speedup"]),
        made["settings"],
        made["usable_blocks"],
    )


def priority_of(index: int, settings: Settings) -> int:
    """Return the priority that a request was given; smaller is more urgent."""
    return index * 7919 // 13 % 3 if settings["prio"] else 0


def naive_rules(made: Recording) -> Rules:
    """Return the settings of a recording as the twin's rules."""
    settings = made.settings
    return Rules(
        block_size=settings["bs"],
        capacity=made.blocks,
        enabled=not settings["nocache"],
        max_batched_tokens=settings["bt"],
        max_sequences=settings["seqs"],
        max_active=settings["active"],
        chunked_prefill=not settings["nochunk"],
        asynchronous=settings["async"],
        priority=settings["prio"],
        long_prefill_tokens=settings["lp"],
        long_prefill_adaptive=settings["lpadapt"],
        reserve_full=not settings["noisl"],
        watermark_blocks=int(settings["wm"] / 1000 * (made.blocks + 1)),
        prefill_interval=settings["psi"],
    )


def naive_requests(made: Recording) -> list[Request]:
    """Return the requests of a recording as the twin takes them."""
    rows = token_rows(made.tag)
    columns = zip(arrivals_ns(rows, made.speed_up), *rows["input_ids", "output_ids"], strict=True)
    return [
        Request(
            index=index,
            arrival_ns=arrival,
            prompt=tuple(prompt),
            response=tuple(response)[:-1],
            output_tokens=len(response),
            priority=priority_of(index, made.settings),
        )
        for index, (arrival, prompt, response) in enumerate(columns)
    ]


def scenario(settings: Settings) -> Scenario:
    """Return the settings of a recording as a user would give them; every step is kept."""
    return Scenario(
        cache={"enabled": not settings["nocache"]},
        gpu={"backend": "linear", "linear": LINEAR},
        engine={
            "steps": True,
            "order": "priority" if settings["prio"] else "fcfs",
            "async_scheduling": settings["async"],
            "max_sequences": settings["seqs"],
            "max_active_sequences": settings["active"],
            "max_batched_tokens": settings["bt"],
            "chunked_prefill": not settings["nochunk"],
            "long_prefill_token_threshold": settings["lp"],
            "long_prefill_adaptive": settings["lpadapt"],
            "reserve_full_prompt": not settings["noisl"],
            "watermark": settings["wm"] / 1000,
            "prefill_schedule_interval": settings["psi"],
        },
    )


def trace_of(made: Recording) -> tuple[Trace, PrefixTree]:
    """Return the trace of a recording with its arrivals and priorities, and its tree."""
    trace, tree = tree_of(made.tag)
    arrivals = arrivals_ns(token_rows(made.tag), made.speed_up)
    ranks = [priority_of(index, made.settings) for index in range(len(arrivals))]
    columns = {"arrival_ns": pl.Series(arrivals), "priority": pl.Series(ranks)}
    return trace.changed(trace.frame.with_columns(**columns)), tree
