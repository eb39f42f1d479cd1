"""Replay LLM request traces through prefix (KV) caches.

In a notebook: `replay.load_trace(path)`, `replay.prepare(path, replay.load_scenario())`,
`replay.execute(prepared)`, `replay.RunDatabase(folder).query(sql)`. Nothing heavy is imported
before it is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "RunDatabase": "replay.report.db",
    "block_hashes": "replay.trace.hashing",
    "block_ids_of": "replay.trace.content",
    "build_tree": "replay.trace.tree",
    "cache_gains": "replay.engine.gain",
    "describe": "replay.trace.describe",
    "execute": "replay.engine.run",
    "generate": "replay.workload.generate",
    "infer_sessions": "replay.trace.sessions",
    "load_profile": "replay.workload.profiles",
    "load_scenario": "replay.config.load",
    "load_trace": "replay.trace.readers",
    "open_run": "replay.runs.open",
    "prepare": "replay.engine.prepare",
    "prepare_trace": "replay.engine.prepare",
    "prefix_digests": "replay.trace.hashing",
    "separated": "replay.trace.separation",
    "tokens_of": "replay.trace.tokens",
    "vllm_block_hashes": "replay.trace.vllm_hashes",
    "write_mooncake": "replay.trace.writers.mooncake",
    "write_run": "replay.runs.write",
    "write_trace": "replay.trace.parquet",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'replay' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
