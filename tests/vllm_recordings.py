"""What vLLM 0.33's own scheduler did: settings of its recordings, as twin and users have them.

Recordings and their traces: `recorded_schedules.py`.
"""

from __future__ import annotations

from pathlib import Path

from replay.config.scenario import Scenario
from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree
from tests.naive.pool import Request, Rules
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

FOLDER = GOLDEN / "scheduler"
FILES = files_in(FOLDER)


def recording(path: Path) -> Recording:
    """Return what was recorded, and how."""
    return read_recording(path, "vllm_sched_oracle")


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
        max_active_sequences=settings["active"],
        chunked_prefill=not settings["nochunk"],
        async_scheduling=settings["async"],
        order="priority" if settings["prio"] else "fcfs",
        long_prefill_token_threshold=settings["lp"],
        long_prefill_adaptive=settings["lpadapt"],
        reserve_full_prompt=not settings["noisl"],
        watermark=settings["wm"] / 1000,
        prefill_schedule_interval=settings["psi"],
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
    return recorded_trace(made, priority_of)
