"""Replay LLM request traces through prefix (KV) caches.

    import replay

    trace = replay.load_trace("trace.jsonl")          # or from_frame(df, columns={...})
    run = replay.run(trace, gpu="h100-sxm", model="llama-3.1-8b", capacity="40GiB")
    run.frame(), run.report("ttft"), run.sql("SELECT avg(ttft_ns) FROM requests")

Every command is a call with the command's options as keywords; `dir(replay)` has all, and
docs/python.md shows them. Nothing heavy is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Where each name is, for the first time it is asked for; type checkers read `__init__.pyi`.
_PUBLIC = {
    "Answer": "replay.api.answers",
    "ConfigError": "replay.errors",
    "DoesNotFitError": "replay.errors",
    "InputError": "replay.errors",
    "OutputError": "replay.errors",
    "OutputExistsError": "replay.errors",
    "QueryError": "replay.errors",
    "ReplayError": "replay.errors",
    "Run": "replay.api.runs",
    "Trace": "replay.api.traces",
    "TraceError": "replay.errors",
    "UnknownNameError": "replay.errors",
    "anonymize": "replay.api.traces",
    "block_hashes": "replay.trace.hashing",
    "check": "replay.api.questions",
    "compare": "replay.api.comparing",
    "convert": "replay.api.traces",
    "cost": "replay.api.questions",
    "curve": "replay.api.questions",
    "describe": "replay.api.questions",
    "explain": "replay.api.runs",
    "from_frame": "replay.api.traces",
    "gain": "replay.api.questions",
    "generate": "replay.api.traces",
    "load_trace": "replay.api.traces",
    "names": "replay.api.questions",
    "open_run": "replay.api.runs",
    "page": "replay.api.paging",
    "policies": "replay.api.questions",
    "prefix_digests": "replay.trace.hashing",
    "query": "replay.api.runs",
    "run": "replay.api.runs",
    "tree": "replay.api.trees",
    "vllm_block_hashes": "replay.trace.vllm_hashes",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'replay' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
