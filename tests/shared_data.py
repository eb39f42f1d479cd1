"""Real traces and measurements beside the checkout; tests skip where they are not.

Where the folder is there, or REPLAY_SHARED=required says that it should be, a test that skips for
want of something in it fails instead: what is meant to be tested is not left out unseen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.sessions import infer_sessions
from replay.trace.tree import PrefixTree, build_tree

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
CONVERSATION = SHARED / "traces" / "mooncake" / "conversation_trace.jsonl"


EXPECTED = SHARED.is_dir() or os.environ.get("REPLAY_SHARED") == "required"
ABSENT = "beside the checkout"  # what every such skip says


def needs(path: Path) -> pytest.MarkDecorator:
    """Return a mark that skips a test where `path` is absent."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not {ABSENT}")


@cache
def conversation() -> tuple[Trace, PrefixTree]:
    """Return the Mooncake conversation trace, sessions inferred, and its tree."""
    trace = infer_sessions(load_trace(CONVERSATION))
    return trace, build_tree(trace)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Fail a test that was skipped for want of shared data which is expected to be there."""
    report: pytest.TestReport = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        _, _, reason = report.longrepr
        if EXPECTED and ABSENT in reason and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"{reason}, though {SHARED} is expected to be complete"
    return report
