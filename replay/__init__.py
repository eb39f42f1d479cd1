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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replay.api.answers import Answer as Answer
    from replay.api.questions import (
        check as check,
    )
    from replay.api.questions import (
        cost as cost,
    )
    from replay.api.questions import (
        curve as curve,
    )
    from replay.api.questions import (
        describe as describe,
    )
    from replay.api.questions import (
        gain as gain,
    )
    from replay.api.questions import (
        names as names,
    )
    from replay.api.questions import (
        policies as policies,
    )
    from replay.api.runs import (
        Run as Run,
    )
    from replay.api.runs import (
        explain as explain,
    )
    from replay.api.runs import (
        open_run as open_run,
    )
    from replay.api.runs import (
        query as query,
    )
    from replay.api.runs import (
        run as run,
    )
    from replay.api.traces import (
        Trace as Trace,
    )
    from replay.api.traces import (
        anonymize as anonymize,
    )
    from replay.api.traces import (
        convert as convert,
    )
    from replay.api.traces import (
        from_frame as from_frame,
    )
    from replay.api.traces import (
        generate as generate,
    )
    from replay.api.traces import (
        load_trace as load_trace,
    )
    from replay.errors import (
        ConfigError as ConfigError,
    )
    from replay.errors import (
        DoesNotFitError as DoesNotFitError,
    )
    from replay.errors import (
        InputError as InputError,
    )
    from replay.errors import (
        OutputError as OutputError,
    )
    from replay.errors import (
        OutputExistsError as OutputExistsError,
    )
    from replay.errors import (
        QueryError as QueryError,
    )
    from replay.errors import (
        ReplayError as ReplayError,
    )
    from replay.errors import (
        TraceError as TraceError,
    )
    from replay.errors import (
        UnknownNameError as UnknownNameError,
    )
    from replay.trace.hashing import (
        block_hashes as block_hashes,
    )
    from replay.trace.hashing import (
        prefix_digests as prefix_digests,
    )
    from replay.trace.vllm_hashes import vllm_block_hashes as vllm_block_hashes

__version__ = "0.1.0"

# Where each name is, for the first time it is asked for; the imports above are for type checkers.
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
    "policies": "replay.api.questions",
    "prefix_digests": "replay.trace.hashing",
    "query": "replay.api.runs",
    "run": "replay.api.runs",
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
