# What `__init__.py` imports once it is asked for, for type checkers, which do not ask.

from replay.api.answers import Answer
from replay.api.comparing import compare
from replay.api.paging import page
from replay.api.questions import check, cost, curve, describe, gain, names, policies
from replay.api.runs import Run, explain, open_run, query, run
from replay.api.traces import Trace, anonymize, convert, from_frame, generate, load_trace
from replay.api.trees import tree
from replay.errors import (
    ConfigError,
    DoesNotFitError,
    InputError,
    OutputError,
    OutputExistsError,
    QueryError,
    ReplayError,
    TraceError,
    UnknownNameError,
)
from replay.trace.hashing import block_hashes, prefix_digests
from replay.trace.vllm_hashes import vllm_block_hashes

__all__ = [
    "Answer",
    "ConfigError",
    "DoesNotFitError",
    "InputError",
    "OutputError",
    "OutputExistsError",
    "QueryError",
    "ReplayError",
    "Run",
    "Trace",
    "TraceError",
    "UnknownNameError",
    "__version__",
    "anonymize",
    "block_hashes",
    "check",
    "compare",
    "convert",
    "cost",
    "curve",
    "describe",
    "explain",
    "from_frame",
    "gain",
    "generate",
    "load_trace",
    "names",
    "open_run",
    "page",
    "policies",
    "prefix_digests",
    "query",
    "run",
    "tree",
    "vllm_block_hashes",
]

__version__: str
