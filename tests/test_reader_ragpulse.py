"""The RAGPulse reader: prompts of parts whose lengths lie beside the trace."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.ragpulse import _LENGTHS, looks_like_ragpulse, read_ragpulse
from replay.trace.tree import build_tree
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

CASE = SHARED / "cases" / "formats" / "ragpulse.jsonl"
trace_of = reading(read_ragpulse)
SIZES = {1: 20, 2: 5, 3: 7, 4: 30, 5: 11, 6: 4}


def row(time=0, parts=((1, 2), (3,), (), (), (6,)), extra=8, **more):
    names = ("sys_prompt", "passages_ids", "history", "web_search", "user_input")
    length = sum(SIZES[one] for part in parts for one in part) + extra
    ids = {name: list(part) for name, part in zip(names, parts, strict=True)}
    return {
        "timestamp": str(time), "input_length": length, "output_length": 9, "hash_ids": ids,
        "session_id": "s", **more,
    }  # fmt: skip


def written(folder, rows, sizes=SIZES):
    for place, name in enumerate(_LENGTHS):
        part = dict(list(sizes.items())[place :: len(_LENGTHS)])
        lines = [json.dumps({"x_id": one, "token_length": size}) for one, size in part.items()]
        (folder / name).write_text("\n".join(lines))
    (folder / "0_trace.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "0_trace.jsonl"


def test_parts_are_shared_from_the_start_of_a_prompt(tmp_path):
    rows = [row(3), row(7, ((1, 2), (3, 4), (), (), (6,))), row(9, ((1,), (3,), (), (), (6,)))]
    trace = load_trace(written(tmp_path, rows))
    assert trace.frame["arrival_ns"].to_list() == [0, 4_000_000_000, 6_000_000_000]
    hits = content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()
    assert hits == [0, 32, 20]
    assert trace.frame["passages_parts"].to_list() == [1, 2, 1]
    assert trace.meta.notes[0].startswith("24 tokens belong to no part")


def test_without_the_lengths_of_parts_only_prompts_have_one():
    trace = trace_of(json.dumps(row()))
    assert not trace.has_content
    assert not trace.has_sessions
    assert trace.meta.notes[0].startswith("how long the parts of prompts are is not known")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"timestamp": "x"}, "a.jsonl:1: timestamp must be a number"),
        ({"timestamp": None}, "a.jsonl:1: lacks timestamp"),
        ({"hash_ids": [1]}, "a.jsonl:1: hash_ids must be an object"),
        ({"hash_ids": {"history": ["a"]}}, "hash_ids.history must hold integers alone"),
        ({"input_length": 0}, "a.jsonl:1: input_length must be between 1"),
    ],
)
def test_faults_are_told_with_their_line(change, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(json.dumps(row() | change))


def test_parts_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(TraceError, match=r"0_trace.jsonl:1: input_length is 3 \(got 36 tokens"):
        load_trace(written(tmp_path, [row() | {"input_length": 3}]))
    with pytest.raises(TraceError, match="no file beside says how long part 6 is"):
        load_trace(written(tmp_path, [row()], dict.fromkeys(range(6), 5)))
    with pytest.raises(TraceError, match=r"1_sys_prompt.jsonl:1: token_length must be"):
        load_trace(written(tmp_path, [row()], SIZES | {1: -1}))


@needs(CASE)
def test_the_public_shape_is_read():
    assert looks_like_ragpulse(CASE.read_bytes())
    assert load_trace(CASE).frame["input_tokens"].to_list() == [3112]


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(
        mutated("\n".join(json.dumps(row(time)) for time in (1, 2))),
        json_lines(rows_of(**{name: st.just(value) for name, value in row().items()})),
        any_json.map(repr),
    )
)
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
