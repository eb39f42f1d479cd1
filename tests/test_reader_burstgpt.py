"""The BurstGPT reader: columns by name in all files, failures left out, totals added up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.continuation import continue_sessions
from replay.trace.readers import load_trace
from replay.trace.readers.burstgpt import looks_like_burstgpt, read_burstgpt
from tests.reader_fuzz import mutated, reading, requests_or_refusal

HEADER = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
FIRST = f"""{HEADER}5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
118,GPT-4,417,276,693,API log
"""
HEADER_3 = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
)
THIRD = f"""{HEADER_3}10,a,4,GPT-4,100,20,120,Conversation log
11,7,2,ChatGPT,30,5,35,API log
12,,,ChatGPT,31,5,36,API log
50,a,9,GPT-4,150,30,180,Conversation log
60,b,1,GPT-4,10,1,11,Conversation log
"""
trace_of = reading(read_burstgpt, "a.csv")


def test_the_first_file_has_lengths_models_and_no_sessions():
    trace = trace_of(FIRST)
    assert trace.frame["arrival_ns"].to_list() == [0, 40_000_000_000, 113_000_000_000]
    assert trace.frame["input_tokens"].to_list() == [472, 1087, 417]
    assert trace.frame["output_tokens"].to_list() == [18, 230, 276]
    assert trace.frame["model"].to_list() == ["ChatGPT", "ChatGPT", "GPT-4"]
    assert trace.frame["Log Type"].to_list() == ["Conversation log", "Conversation log", "API log"]
    assert not trace.has_sessions
    assert trace.meta.clock_start_ns == 5_000_000_000


def test_the_third_file_is_read_by_names_and_not_by_places():
    trace = trace_of(THIRD)
    assert trace.frame["input_tokens"].to_list() == [100, 30, 31, 150, 10]
    assert trace.frame["output_tokens"].to_list() == [20, 5, 5, 30, 1]
    assert trace.frame["recorded_e2e_ns"].to_list() == [
        4_000_000_000, 2_000_000_000, None, 9_000_000_000, 1_000_000_000
    ]  # fmt: skip


def test_only_conversations_have_sessions():
    trace = trace_of(THIRD)
    assert trace.frame["source_session_id"].to_list() == ["a", None, None, "a", "b"]
    assert trace.frame["session_id"].to_list() == [0, None, None, 0, 1]
    assert trace.frame["turn"].to_list() == [0, None, None, 1, 0]
    assert trace.frame["parent_request_id"].to_list() == [None, None, None, 0, None]
    assert trace.meta.sessions == "from the source"


def test_a_prompt_that_grew_may_be_assumed_to_continue_its_session():
    segments = continue_sessions(trace_of(THIRD)).frame["segments"].to_list()
    assert segments[3][:2] == [*segments[0], segments[0][0] + 1]


def test_a_session_runs_on_in_another_file(tmp_path):
    for name, rows in (("x.csv", THIRD), ("y.csv", THIRD.replace("10,a", "70,a"))):
        (tmp_path / name).write_text(rows)
    trace = load_trace(tmp_path)
    turns = trace.frame.filter(trace.frame["source_session_id"] == "a")
    assert turns["turn"].to_list() == [0, 1, 2, 3]
    assert turns["arrival_ns"].to_list() == [0, 40_000_000_000, 40_000_000_000, 60_000_000_000]


@pytest.mark.parametrize("row", ["200,GPT-4,50,0,50,API log", "200,GPT-4,0,0,7,API log"])
def test_a_failed_request_is_left_out_and_no_fault(row):
    trace = trace_of(f"{FIRST}{row}\n")
    assert trace.requests == 3
    (aside,) = trace.rejected
    assert (aside.line, aside.reason, aside.text) == (5, "no response: a failed request", row)


def test_other_columns_are_kept():
    extra = "\n".join(
        f"{line},{value}"
        for line, value in zip(FIRST.split("\n"), ["model", "x", "y", "z"], strict=False)
    )
    assert trace_of(extra).frame["source_model"].to_list() == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,m,1,1,2,API log", "Timestamp must be a number (got 'x')"),
        ("-5,m,1,1,2,API log", "Timestamp is out of range (got '-5')"),
        ("inf,m,1,1,2,API log", "Timestamp must be a number (got 'inf')"),
        ("9999999999999,m,1,1,2,API log", "Timestamp is out of range"),
        (",m,1,1,2,API log", "lacks Timestamp"),
        ("5,m,,1,2,API log", "lacks Request tokens"),
        ("5,m,1.5,1,2,API log", "Request tokens must be an integer (got '1.5')"),
        ("5,m,1,true,2,API log", "Response tokens must be an integer (got 'true')"),
        ("5,m,16777217,1,16777218,API log", "Request tokens must be between 0 and 16777216"),
        ("5,m,0,3,3,API log", "Request tokens must be at least 1 where there is a response"),
        ("5,m,10,3,14,API log", "Total tokens must be 10 + 3, what was asked and"),
        ("5,m,10,3,,API log", "lacks Total tokens"),
        ("5,m,10,3,13", "must have 6 values, as the header (got 5)"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(row, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{FIRST}{row}\n")
    assert str(caught.value).startswith("a.csv:5: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("elapsed", ["-1", "soon"])
def test_a_bad_duration_is_refused(elapsed):
    with pytest.raises(TraceError, match=r"a\.csv:2: Elapsed time "):
        trace_of(THIRD.replace("10,a,4,", f"10,a,{elapsed},"))


def test_a_missing_column_is_named():
    with pytest.raises(TraceError, match=r"a\.csv:1: the header lacks Total tokens, Log Type"):
        trace_of("Timestamp,Model,Request tokens,Response tokens\n5,m,1,1\n")


def test_faults_may_be_put_aside():
    trace = trace_of(f"{FIRST}5,m,10,3,14,API log\n", max_rejected=0.25)
    assert (trace.requests, trace.meta.rejected_rows) == (3, 1)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        (FIRST, True),
        (THIRD, True),
        ("Timestamp,Request tokens,Response tokens\n", False),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", False),
        (f"# {HEADER}", False),
    ],
)
def test_only_this_format_is_recognised(text, looks):
    assert looks_like_burstgpt(text.encode()) is looks


@settings(max_examples=80, deadline=None)
@given(mutated(FIRST) | mutated(THIRD), st.sampled_from([0.0, 0.5]))
def test_any_bytes_give_a_trace_or_an_error_of_replay(text, allowed):
    requests_or_refusal(trace_of, text, max_rejected=allowed)
