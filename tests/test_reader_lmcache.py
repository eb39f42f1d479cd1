"""The LMCache reader: raw text in, and the hit rate in characters that its corpora are known by."""

import json
import os
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.lmcache import looks_like_lmcache, read_lmcache
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.reuse import edge_uses, ideal_hit_rates
from replay.trace.separation import separated
from replay.trace.tree import build_tree
from tests.shared_data import SHARED, needs

AGENTS = SHARED / "traces" / "lmcache_agent"
START = 1_760_428_258_635_837


def line(timestamp=START, input="Fix the bug.", output="Done.", session_id="a", **more):
    return json.dumps(
        {
            "timestamp": timestamp, "input": input, "output": output, "session_id": session_id,
            **more,
        }
    )  # fmt: skip


SAMPLE = "\n".join(
    [
        line(),
        line(START + 7, "Fix the bug. Done. Test it.", "", model="m"),
        line(START + 5, "Other words", "Yes", "b"),
    ]
)


def trace_of(text, **options) -> Trace:
    data = text if isinstance(text, bytes) else text.encode()
    return read_lmcache(Source("a.jsonl", "a.jsonl", data, "0" * 64), ReadOptions(**options))


def test_rows_become_requests_in_order_of_time_with_sessions_and_turns():
    trace = trace_of(SAMPLE)
    assert trace.frame["arrival_ns"].to_list() == [0, 5000, 7000]
    assert trace.frame["session_id"].to_list() == [0, 1, 0]
    assert trace.frame["turn"].to_list() == [0, 0, 1]
    assert trace.frame["parent_request_id"].to_list() == [None, None, 0]
    assert trace.frame["source_session_id"].to_list() == ["a", "b", "a"]
    assert trace.frame["model"].to_list() == [None, None, "m"]
    assert trace.meta.clock_start_ns == START * 1000


def test_equal_starts_of_text_are_equal_starts_of_tokens():
    first, _, second = trace_of(SAMPLE).frame["tokens"].to_list()
    assert second[: len(first)] == first


def test_an_empty_output_is_one_token_of_unknown_content():
    trace = trace_of(SAMPLE)
    assert trace.frame["output_tokens"].to_list()[2] == 1
    assert trace.frame["response_tokens"].to_list()[2] is None
    assert "empty outputs are taken for calls of tools, one token long" in trace.meta.notes


def test_a_row_without_input_is_put_aside_and_said_why():
    trace = trace_of(f"{SAMPLE}\n{line(input='')}")
    assert trace.requests == 3
    (aside,) = trace.rejected
    assert (aside.line, aside.reason) == (4, "the input is empty: its text was not recorded")


def test_an_array_is_read_like_lines():
    rows = ",\n".join(SAMPLE.split("\n"))
    assert trace_of(f"[{rows}]").frame.equals(trace_of(SAMPLE).frame)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line("12"), "timestamp must be an integer (got '12')"),
        (line(1.7e15), "timestamp must be an integer (got 1700000000000000.0)"),
        (line(True), "timestamp must be an integer (got True)"),
        (line(1_760_428_258_635), "timestamp must be microseconds since 1970"),
        (line(10**40), "timestamp must be microseconds since 1970"),
        (line(-START), "timestamp must be microseconds since 1970"),
        (line(9_300_000_000_000_000), "timestamp must be microseconds since 1970"),
        (line(input=["x"]), "input must be text (got ['x'])"),
        (line(output=None), "output must be text (got None)"),
        (line(session_id=7), "session_id must be text (got 7)"),
        ('{"timestamp": 1}', "lacks input, output, session_id (got 'timestamp')"),
        ("{}", "lacks timestamp, input, output, session_id (got no keys)"),
        (line()[:-1] + ', "input": "x"}', "key 'input' given twice"),
        (line()[:-1] + ', "x": NaN}', "NaN is not a number"),
        ("[1]", "expected a JSON object"),
        (line()[:-4], "not valid JSON"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(bad, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{line()}\n{bad}\n{line()}\n")
    assert str(caught.value).startswith("a.jsonl:2:")
    assert message in str(caught.value)


def test_all_faults_are_told_together_and_may_be_put_aside():
    text = "\n".join([line(3), line(), line(input=1), "{", line(), line()])
    with pytest.raises(TraceError) as caught:
        trace_of(text)
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4]
    trace = trace_of(text, max_rejected=0.5)
    assert (trace.requests, trace.meta.rejected_rows) == (3, 3)


def test_a_file_of_nothing_but_empty_inputs_is_refused():
    with pytest.raises(TraceError, match="no request with a response"):
        trace_of(line(input=""))


def test_half_a_surrogate_pair_is_harmless():
    trace = trace_of(line(input="\ud800 x", output="\udc00", session_id="\ud800"))
    assert trace.frame["source_session_id"].to_list() == ["\\ud800"]


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        (SAMPLE, True),
        (f"\n[{line()}]", True),
        (line(START // 1000), False),
        (line(output=[{"type": "message"}]), False),
        (json.dumps({"messages": SAMPLE, "timestamp": START}), False),
    ],
)
def test_only_this_format_is_recognised(text, looks):
    assert looks_like_lmcache(text.encode()) is looks


def told_or_read(text):
    """Whether there is a trace, or an error that names the file; anything else is raised."""
    try:
        return trace_of(text, max_rejected=0.4).requests > 0
    except ReplayError as error:
        return "a.jsonl" in str(error)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_give_a_trace_or_an_error_of_replay(data):
    sample = bytearray(SAMPLE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        sample[data.draw(st.integers(0, len(sample) - 1))] = data.draw(st.integers(0, 255))
    assert told_or_read(bytes(sample))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "timestamp": st.integers()
                | st.just(START)
                | st.floats(allow_nan=False)
                | st.none(),
                "input": st.text() | st.integers(),
                "output": st.text() | st.lists(st.text()),
                "session_id": st.text() | st.booleans(),
                "more": st.recursive(st.text() | st.integers(), st.lists),
            },
        ),
        max_size=5,
    )
)
def test_any_rows_give_a_trace_or_an_error_of_replay(rows):
    assert told_or_read("\n".join(map(json.dumps, rows)) or "[]")


def rows_of(application):
    for path in sorted((AGENTS / application).glob("*.jsonl")):
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def hit_by_comparing_strings(rows):
    """Shared characters of each input with its best earlier one of the session, and all of them."""
    earlier = defaultdict(list)
    hit = total = 0
    for row in sorted(rows, key=lambda row: row["timestamp"]):
        known = earlier[row["session_id"]]
        shared = (os.path.commonprefix([row["input"], text]) for text in known)  # noqa: RUF071
        hit += max(map(len, shared), default=0)
        total += len(row["input"])
        known.append(row["input"])
    return hit, total


def tokenizer_of_characters(texts, path):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    known = {character: ord(character) for character in set().union(*texts)}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="\0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.save(str(path))
    return path


@needs(AGENTS)
@pytest.mark.parametrize(
    ("application", "requests", "aside", "hit", "total"),
    [
        ("miniswe", 51, 0, 369_922, 433_013),
        ("taubench", 12, 0, 635, 1_053),
        ("magagent", 93, 2, 308_223, 400_928),
    ],
)
def test_hits_in_characters_are_those_of_comparing_strings(
    application, requests, aside, hit, total, tmp_path
):
    pytest.importorskip("tokenizers")
    rows = list(rows_of(application))
    assert hit_by_comparing_strings(rows) == (hit, total)
    characters = tokenizer_of_characters(
        [row["input"] + row["output"] for row in rows], tmp_path / "characters.json"
    )
    trace = load_trace(AGENTS / application, options=ReadOptions(tokenizer=characters))
    assert (trace.requests, len(trace.rejected)) == (requests, aside)
    assert trace.column("input_tokens").sum() == total
    uses = edge_uses(build_tree(separated(trace, ("session_id",))), 1)
    assert uses.hits_by_request(uses.tokens).sum() == hit
    assert ideal_hit_rates(uses, 1)["ideal_token_hit_rate"] == hit / total


@needs(AGENTS)
def test_the_whole_folder_is_one_trace_on_one_clock():
    trace = load_trace(AGENTS)
    assert trace.requests == 156
    assert trace.frame["session_id"].n_unique() == 15
    assert {row.reason for row in trace.rejected} == {
        "the input is empty: its text was not recorded"
    }
    assert trace.meta.clock_start_ns == 1_760_428_258_635_837_000
