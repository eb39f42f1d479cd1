"""Real traces and measurements beside the checkout; tests skip where they are not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.sessions import infer_sessions
from replay.trace.tree import PrefixTree, build_tree

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
CONVERSATION = SHARED / "traces" / "mooncake" / "conversation_trace.jsonl"


def needs(path: Path) -> pytest.MarkDecorator:
    """Return a mark that skips a test where `path` is absent."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not beside the checkout")


@cache
def conversation() -> tuple[Trace, PrefixTree]:
    """Return the Mooncake conversation trace, sessions inferred, and its tree."""
    trace = infer_sessions(load_trace(CONVERSATION))
    return trace, build_tree(trace)
