"""What SGLang 0.5.23's own scheduler did: settings of its recordings, as twin and users have them.

Recordings and their traces: `recorded_schedules.py`.
"""

from __future__ import annotations

from pathlib import Path

from replay.config.scenario import Scenario
from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree
from tests.naive.sglang_scheduler import Request, Rules
from tests.recorded_schedules import (
    GOLDEN,
    LINEAR,
    Recording,
    Settings,
    arrivals_ns,
    files_in,
    read_recording,
    recorded_trace,
    token_rows,
)

FOLDER = GOLDEN / "scheduler_sglang"
FILES = files_in(FOLDER)
_ORDERS = {"lpm": "lpm", "dfs": "dfs-weight", "spf": "spf", "hrrn": "hrrn", "lof": "lof"}


def recording(path: Path) -> Recording:
    """Return what was recorded, and how."""
    return read_recording(path, "sglang_sched_oracle")


def priority_of(index: int, settings: Settings) -> int:
    """Return the priority that a request was given; greater is more urgent."""
    return (100 if settings["prio"] else 1) * (index * 7919 // 13 % 3)


def naive_rules(settings: Settings) -> Rules:
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


def order_of(settings: Settings) -> str:
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


def scenario(settings: Settings) -> Scenario:
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


def trace_of(made: Recording) -> tuple[Trace, PrefixTree]:
    """Return the trace of a recording with its arrivals and priorities, and its tree."""
    return recorded_trace(made, priority_of)
