"""The Azure reader: dates exact to the ns, lengths, and nothing of content."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.describe import describe
from replay.trace.readers import load_trace
from replay.trace.readers.azure import looks_like_azure, read_azure
from tests.reader_fuzz import mutated, reading, requests_or_refusal
from tests.shared_data import SHARED, needs

AZURE = SHARED / "traces" / "azure"
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
SAMPLE = f"""{HEADER}2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319601,3180,8
2023-11-16 18:17:06,110,27
"""
IMAGES = """TIMESTAMP,NumImages,ContextTokens,GeneratedTokens
2024-10-15 00:00:00.000001,0,4808,10
2024-10-15 00:00:00.500000,3,3180,8
"""
trace_of = reading(read_azure, "a.csv")


def with_row(row: str) -> str:
    return f"{SAMPLE}{row}\n"


def test_dates_of_seven_digits_are_exact_and_on_the_clock_of_1970():
    trace = trace_of(SAMPLE)
    assert trace.frame["arrival_ns"].to_list() == [0, 52_000_100, 2_020_040_000]
    assert trace.meta.clock_start_ns == 1_700_158_623_979_960_000
    assert trace.frame["input_tokens"].to_list() == [4808, 3180, 110]
    assert trace.frame["output_tokens"].to_list() == [10, 8, 27]


def test_nothing_is_known_of_content_or_sessions():
    trace = trace_of(SAMPLE)
    assert trace.meta.content == "unknown: lengths only"
    assert not trace.has_content
    assert not trace.has_sessions


def test_dates_of_2024_name_their_offset():
    text = f"{HEADER}2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,2399,6\n"
    trace = trace_of(text)
    assert trace.frame["arrival_ns"].to_list() == [0, 990_070_000]
    assert trace.meta.clock_start_ns == 1_715_299_200_009_930_000


def test_another_offset_moves_the_date():
    trace = trace_of(f"{HEADER}2024-05-10 02:00:00+02:00,1,1\n2024-05-10 00:00:01Z,1,1\n")
    assert trace.frame["arrival_ns"].to_list() == [0, 1_000_000_000]


def test_images_are_counted_beside_the_lengths():
    trace = trace_of(IMAGES)
    assert trace.frame["NumImages"].to_list() == [0, 3]
    assert trace.frame["input_tokens"].to_list() == [4808, 3180]


def test_a_request_without_generated_tokens_is_left_out_and_no_fault():
    trace = trace_of(with_row("2023-11-16 18:17:07,0,0"))
    assert trace.requests == 3
    (aside,) = trace.rejected
    assert (aside.line, aside.text) == (5, "2023-11-16 18:17:07,0,0")
    assert aside.reason == "no response: a failed request"


def test_other_columns_are_kept_under_names_that_are_free():
    trace = trace_of(
        "output_tokens,session_id,arrival_ns,TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "a,7,0.5,2023-11-16 18:17:03,4,10\n"
    )
    assert trace.frame["output_tokens"].to_list() == [10]
    assert trace.frame["source_output_tokens"].to_list() == ["a"]
    assert trace.frame["source_arrival_ns"].to_list() == [0.5]
    assert trace.frame["source_session_id_2"].to_list() == [7]  # readers have a source_session_id
    assert trace.meta.notes == (
        "columns whose names replay has for something else: 'output_tokens' is "
        "'source_output_tokens', 'session_id' is 'source_session_id_2', 'arrival_ns' is "
        "'source_arrival_ns'",
    )
    assert not trace.has_sessions


def test_rows_out_of_order_are_sorted_and_noted():
    trace = trace_of(with_row("2023-11-16 18:17:05,1,1"))
    assert trace.frame["input_tokens"].to_list() == [4808, 3180, 1, 110]
    assert "not in order of time (1 rows" in trace.meta.notes[0]


def test_line_ends_and_quotation_marks_change_nothing():
    plain = trace_of(SAMPLE).frame
    assert trace_of(SAMPLE.replace("\n", "\r\n")).frame.equals(plain)
    assert trace_of(SAMPLE.replace("4808", '"4808"')).frame.equals(plain)
    assert trace_of(SAMPLE.rstrip()).frame.equals(plain)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2023-11-16,1,1", "TIMESTAMP must be a date from 1970 to 2262"),
        ("2023-13-16 18:17:03,1,1", "TIMESTAMP must be a date from 1970 to 2262"),
        ("1969-12-31 23:59:59,1,1", "TIMESTAMP must be a date from 1970 to 2262"),
        ("1700158623,1,1", "(got '1700158623')"),
        (",1,1", "lacks TIMESTAMP"),
        ("2023-11-16 18:17:03,,1", "lacks ContextTokens"),
        ("2023-11-16 18:17:03,1,", "lacks GeneratedTokens"),
        ("2023-11-16 18:17:03,1.0,1", "ContextTokens must be an integer (got '1.0')"),
        ("2023-11-16 18:17:03,nan,1", "ContextTokens must be an integer (got 'nan')"),
        ("2023-11-16 18:17:03,-1,1", "ContextTokens must be between 0 and 16777216 (got '-1')"),
        ("2023-11-16 18:17:03,1,16777217", "GeneratedTokens must be between 0 and 16777216"),
        ("2023-11-16 18:17:03,1,99999999999999999999", "GeneratedTokens must be"),
        ("2023-11-16 18:17:03,0,5", "ContextTokens must be at least 1 where there is a response"),
        ("2023-11-16 18:17:03,1", "must have 3 values, as the header (got 2)"),
        ("2023-11-16 18:17:03,1,1,1", "must have 3 values, as the header (got 4)"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(row, message):
    with pytest.raises(TraceError) as caught:
        trace_of(with_row(row))
    assert str(caught.value).startswith("a.csv:5: ")
    assert message in str(caught.value)


def test_a_bad_count_of_images_is_told():
    with pytest.raises(TraceError, match=r"a\.csv:3: NumImages must be an integer \(got 'few'\)"):
        trace_of(IMAGES.replace(",3,", ",few,"))


def test_a_missing_column_is_named():
    with pytest.raises(TraceError, match=r"a\.csv:1: the header lacks ContextTokens") as caught:
        trace_of(SAMPLE.replace("ContextTokens", "Context"))
    assert "--columns" in caught.value.hint


def test_a_column_that_stands_twice_is_refused():
    with pytest.raises(TraceError, match="column 'ContextTokens' stands twice"):
        trace_of("TIMESTAMP,ContextTokens,ContextTokens,GeneratedTokens\n")


def test_faults_are_told_together_and_may_be_put_aside():
    text = with_row("x,1,1") + "2023-11-16 18:17:09,y,1\n"
    with pytest.raises(TraceError) as caught:
        trace_of(text)
    assert [problem.line for problem in caught.value.problems] == [5, 6]
    trace = trace_of(text, max_rejected=0.5)
    assert (trace.requests, trace.meta.rejected_rows) == (3, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [(HEADER, "no requests"), (f"{HEADER}2023-11-16 18:17:03,4,0\n", "no request with a response")],
)
def test_a_file_without_requests_is_refused(text, message):
    with pytest.raises(TraceError, match=message):
        trace_of(text)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        (SAMPLE, True),
        (IMAGES, True),
        (SAMPLE.replace("\n", "\r\n"), True),
        (HEADER.lower(), False),
        ("timestamp,input_length,output_length\n", False),
        ('{"a": "TIMESTAMP,ContextTokens,GeneratedTokens"}', False),
    ],
)
def test_only_this_format_is_recognised(text, looks):
    assert looks_like_azure(text.encode()) is looks


def test_a_packed_file_is_recognised(tmp_path):
    path = tmp_path / "AzureLMMInferenceTrace_multimodal.csv.gz"
    path.write_bytes(gzip.compress(IMAGES.encode()))
    assert load_trace(path).meta.format == "azure"


@settings(max_examples=60, deadline=None)
@given(mutated(SAMPLE) | mutated(IMAGES), st.sampled_from([0.0, 0.5]))
def test_any_bytes_give_a_trace_or_an_error_of_replay(text, allowed):
    requests_or_refusal(trace_of, text, max_rejected=allowed)


def test_a_carriage_return_alone_ends_no_line():
    with pytest.raises(TraceError, match=r"a\.csv:3: not valid CSV"):
        trace_of(SAMPLE.replace("4808,10", '"4808",10').replace("3180", "3\r180"))


@needs(AZURE)
@pytest.mark.parametrize(
    ("name", "requests", "cv", "input_mean", "output_mean"),
    [("code", 8_819, 13.15, 2_048, 28), ("conv", 19_366, 1.09, 1_155, 211)],
)
def test_the_published_files_have_their_figures(name, requests, cv, input_mean, output_mean):
    trace = load_trace(AZURE / f"AzureLLMInferenceTrace_{name}.csv")
    facts = describe(trace)
    assert trace.requests == requests
    assert trace.rejected == ()
    assert facts["arrivals"]["interarrival_cv"] == pytest.approx(cv, abs=0.005)
    assert facts["lengths"]["input_tokens_mean"] == pytest.approx(input_mean, abs=0.5)
    assert facts["lengths"]["output_tokens_mean"] == pytest.approx(output_mean, abs=0.5)


@needs(AZURE)
def test_files_read_together_keep_their_distance_in_time():
    trace = load_trace(AZURE)
    assert trace.requests == 28_185
    code = trace.frame.filter(trace.frame["source_file"].str.contains("code"))
    assert code["arrival_ns"][0] == 77_299_370_000
