"""What tests of readers share: text as a source, and inputs that are nearly right."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import strategies as st

from replay.errors import ReplayError
from replay.trace.frame import Trace
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.reader import Read
from replay.trace.readers.source import Source

PIECES = [b"", b"\n", b"\r", b"}", b"]", b"null", b"1e3", b'"', b"-", b"\\", b"7", b",", b"[", b"."]

any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["\ud800", 1e300, -1]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def source_of(text: str | bytes, name: str = "a.jsonl", sha256: str = "0" * 64) -> Source:
    """The text as a file of that name."""
    return Source(name, name, text if isinstance(text, bytes) else text.encode(), sha256)


def reading(read: Read, name: str = "a.jsonl") -> Callable[..., Trace]:
    """A function from text and options to the trace that the reader makes of it."""

    def trace_of(text: str | bytes, *, sha256: str = "0" * 64, **options) -> Trace:
        return read(source_of(text, name, sha256), ReadOptions(**options))

    return trace_of


def requests_or_refusal(trace_of: Callable[..., Trace], text: str | bytes, **options) -> int | None:
    """Number of requests, None where the text is refused as it should be."""
    try:
        return trace_of(text, **options).requests
    except ReplayError:
        return None


@st.composite
def mutated(draw: st.DrawFn, sample: str | bytes) -> bytes:
    """The sample with a few bytes replaced by others."""
    whole = sample if isinstance(sample, bytes) else sample.encode()
    start = draw(st.integers(0, len(whole)))
    stop = draw(st.integers(start, min(start + 9, len(whole))))
    return whole[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=4)) + whole[stop:]


def json_lines(row: st.SearchStrategy, most: int = 4) -> st.SearchStrategy:
    """Text of a few rows of JSON."""
    return st.lists(row, min_size=1, max_size=most).map(
        lambda rows: "\n".join(json.dumps(one) for one in rows)
    )


def rows_of(**values: st.SearchStrategy) -> st.SearchStrategy:
    """Rows with some of these keys, each with a value of its own kind or with any."""
    return st.fixed_dictionaries({}, optional={k: v | any_json for k, v in values.items()})
