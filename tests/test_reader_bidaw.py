"""The Bidaw reader: prompts made of all that a user said and was told, in parts and together."""

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.continuation import continue_sessions
from replay.trace.readers import load_trace
from replay.trace.readers.bidaw import looks_like_bidaw, read_bidaw
from tests.reader_fuzz import mutated, reading, requests_or_refusal

HEADER = "user_id time_stamp(seconds) query_length response_length round_index\n"
SAMPLE = f"""{HEADER}17 7200 26 38 0
4 7210 8 2 0
17 7243 10 40 1
4 7243 9 50 1
17 7300 5 6 2
"""
LATER = f"""{HEADER}17 7400 7 8 3
99 7401 20 30 0
17 7500 9 9 4
"""
trace_of = reading(read_bidaw, "a.txt")


def test_prompts_are_all_that_was_said_before_and_the_query():
    trace = trace_of(SAMPLE)
    assert trace.frame["input_tokens"].to_list() == [26, 8, 26 + 38 + 10, 8 + 2 + 9, 74 + 40 + 5]
    assert trace.frame["output_tokens"].to_list() == [38, 2, 40, 50, 6]
    assert trace.frame["query_length"].to_list() == [26, 8, 10, 9, 5]
    assert "prompts are all earlier queries and responses" in trace.meta.notes[0]


def test_users_are_sessions_on_a_clock_that_parts_share():
    trace = trace_of(SAMPLE)
    assert trace.frame["session_id"].to_list() == [0, 1, 0, 1, 0]
    assert trace.frame["turn"].to_list() == trace.frame["round_index"].to_list() == [0, 0, 1, 1, 2]
    assert trace.frame["source_session_id"].to_list() == ["17", "4", "17", "4", "17"]
    assert trace.frame["arrival_ns"].to_list()[1] == 10_000_000_000
    assert trace.meta.clock_start_ns == 7_200_000_000_000
    assert trace.meta.content == "unknown: lengths only"


def test_every_later_round_continues_its_session_when_content_is_assumed():
    trace = continue_sessions(trace_of(SAMPLE))
    assert "(3 of 5 requests continue)" in trace.meta.notes[-1]
    assert trace.frame["segment_tokens"].to_list()[4] == [26, 38, 10, 40, 5]


def test_lengths_are_those_of_adding_up_user_by_user():
    draw = random.Random(7)
    rounds, said, rows, wanted = defaultdict(int), defaultdict(int), [], []
    for second in range(400):
        user, query, response = draw.randrange(20), draw.randrange(1, 90), draw.randrange(1, 90)
        rows.append(f"{user} {second // 3} {query} {response} {rounds[user]}")
        wanted.append(said[user] + query)
        rounds[user] += 1
        said[user] += query + response
    assert trace_of(HEADER + "\n".join(rows)).frame["input_tokens"].to_list() == wanted


def test_rows_may_be_sorted_by_user():
    lines = SAMPLE.splitlines()
    by_user = "\n".join([lines[0], *sorted(lines[1:], key=lambda line: line.split()[0])])
    names = ["source_session_id", "round_index", "arrival_ns", "input_tokens", "turn"]
    rows, wanted = (trace_of(text).frame.select(names).sort(names) for text in (by_user, SAMPLE))
    assert rows.equals(wanted)


def test_a_part_without_the_first_rounds_says_what_its_prompts_lack():
    trace = trace_of(LATER)
    assert trace.frame["input_tokens"].to_list() == [7, 20, 7 + 8 + 9]
    assert "1 users start after round 0" in trace.meta.notes[1]


def test_parts_put_together_in_one_file_have_the_whole_history():
    trace = trace_of(SAMPLE + LATER)
    assert trace.frame["input_tokens"].to_list()[5:] == [125 + 7, 20, 125 + 15 + 9]
    assert len(trace.meta.notes) == 1
    assert trace.frame["turn"].to_list()[-1] == 4


def test_parts_read_together_join_their_users(tmp_path):
    for name, text in (("part1.txt", SAMPLE), ("part2.txt", LATER)):
        (tmp_path / name).write_text(text)
    trace = load_trace(tmp_path / "part*.txt")
    rounds = trace.frame.filter(trace.frame["source_session_id"] == "17")
    assert rounds["turn"].to_list() == [0, 1, 2, 3, 4]
    assert rounds["arrival_ns"].to_list()[-1] == 300_000_000_000
    assert any("1 users start after round 0" in note for note in trace.meta.notes)


@pytest.mark.parametrize("row", ["17 7400 7 8 0", "17 7400 7 8 9"])
def test_in_a_new_part_rounds_may_start_anywhere(row):
    trace = trace_of(f"{SAMPLE}{HEADER}{row}\n17 7500 9 9 {int(row[-1]) + 1}\n")
    assert trace.frame["input_tokens"].to_list()[5:] == [7, 24]


def test_a_round_without_a_response_is_left_out_and_of_no_later_prompt():
    trace = trace_of(SAMPLE.replace("17 7243 10 40 1", "17 7243 10 0 1"))
    assert trace.requests == 4
    assert trace.rejected[0].reason == "no response: a failed request"
    assert trace.frame["input_tokens"].to_list()[-1] == 26 + 38 + 5


def test_a_history_that_starts_with_a_round_left_out_has_nothing_of_the_one_before():
    trace = trace_of(f"{SAMPLE}{HEADER}17 7400 7 0 0\n17 7500 9 9 1\n")
    assert trace.frame["input_tokens"].to_list()[5:] == [9]


def test_spaces_and_line_ends_change_nothing():
    plain = trace_of(SAMPLE).frame
    spaced = SAMPLE.replace(" ", "  \t").replace("\n", " \n ")
    assert trace_of(spaced).frame.equals(plain)
    assert trace_of(SAMPLE.replace("\n", "\r\n")).frame.equals(plain)
    assert trace_of(SAMPLE.replace("\n", " \r\n")).frame.equals(plain)


def test_other_columns_are_kept():
    lines, more = SAMPLE.splitlines(), ["_part", "1", "2", "3", "4", "5"]
    text = "\n".join(f"{line} {value}" for line, value in zip(lines, more, strict=True))
    assert trace_of(text).frame["source__part"].to_list() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("17 7400 7 8 4", "round_index of user 17 must be 3, one more than in the row of"),
        ("17 7400 7 8 2", "round_index of user 17 must be 3"),
        ("17 7400 7 8 0", "round_index of user 17 must be 3"),
        ("17 7299 7 8 3", "round 3 of user 17 is before the round it follows"),
        ("17 x 7 8 3", "time_stamp(seconds) must be a number (got 'x')"),
        ("17 -1 7 8 3", "time_stamp(seconds) is out of range (got '-1')"),
        ("17 7400 7.5 8 3", "query_length must be an integer (got '7.5')"),
        ("17 7400 0 8 3", "query_length must be at least 1 where there is a response (got 0)"),
        ("17 7400 7 -8 3", "response_length must be between 0 and 16777216 (got '-8')"),
        ("17 7400 7 16777217 3", "response_length must be between 0 and 16777216"),
        ("17 7400 7 8 three", "round_index must be an integer (got 'three')"),
        ("17 7400 7 8 -1", "round_index must be between 0 and 16777216 (got '-1')"),
        ("17 7400 16777216 8 3", "with all that was said before, the prompt has 16777341"),
        ("17 7400 7 8", "must have 5 values, as the header (got 4)"),
        ('"" 7400 7 8 0', "lacks user_id"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(row, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{SAMPLE}{row}\n")
    assert str(caught.value).startswith("a.txt:7: ")
    assert message in str(caught.value)


def test_a_row_put_aside_is_kept_as_it_stood_and_of_no_later_prompt():
    text = f"{SAMPLE}17  7400 x 8 3\n17 7500 9 9 4\n"
    trace = trace_of(text, max_rejected=0.5)
    assert [row.text for row in trace.rejected] == ["17  7400 x 8 3"]
    assert trace.frame["input_tokens"].to_list()[-1] == 125 + 9


def test_a_missing_column_is_named():
    with pytest.raises(TraceError, match=r"a\.txt:1: the header lacks round_index"):
        trace_of("user_id time_stamp(seconds) query_length response_length\n1 2 3 4\n")


@pytest.mark.parametrize("text", [HEADER, HEADER + HEADER])
def test_a_file_of_headers_alone_is_refused(text):
    with pytest.raises(TraceError, match="no requests"):
        trace_of(text)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        (SAMPLE, True),
        (SAMPLE.replace(" ", "\t"), True),
        (HEADER.replace(" ", ","), False),
        ("user_id time query_length response_length round_index\n", False),
        (f"1 2 3 4 5\n{HEADER}", False),
    ],
)
def test_only_this_format_is_recognised(text, looks):
    assert looks_like_bidaw(text.encode()) is looks


@settings(max_examples=100, deadline=None)
@given(mutated(SAMPLE) | mutated(SAMPLE + LATER), st.sampled_from([0.0, 0.5]))
def test_any_bytes_give_a_trace_or_an_error_of_replay(text, allowed):
    requests_or_refusal(trace_of, text, max_rejected=allowed)
