"""Requests known by numbers, made into a trace: what no reader has to check itself."""

import pytest

from replay.errors import TraceError
from replay.trace.frame import MOST_TOKENS
from replay.trace.problems import ProblemList
from replay.trace.readers.content_requests import ContentRequest, content_trace, source_meta
from replay.trace.readers.source import Source

SOURCE = Source("a.jsonl", "a.jsonl", b"{}\n" * 9, "0" * 64)
META = source_meta(SOURCE, format_name="x", content="unknown")


def trace_of(lengths, allowed=0.0):
    requests = [ContentRequest(3 + place, place, *both) for place, both in enumerate(lengths)]
    problems = ProblemList("a.jsonl", allowed=allowed)
    return content_trace(requests, SOURCE, problems, META, read=len(requests))


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_a_length_that_no_trace_has_is_told_with_its_line(name):
    bad = (MOST_TOKENS + 1, 1) if name == "input_tokens" else (1, MOST_TOKENS + 1)
    rows = [(MOST_TOKENS, MOST_TOKENS), bad, (5, 1)]
    with pytest.raises(TraceError, match=rf"a\.jsonl:4: {name} must be at most 16777216 \(got 1"):
        trace_of(rows)
    kept = trace_of(rows, allowed=0.5)
    assert kept.frame["input_tokens"].to_list() == [MOST_TOKENS, 5]
    assert [one.line for one in kept.rejected] == [4]
