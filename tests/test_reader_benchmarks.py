"""Readers of what benchmarks measured: AIPerf's records and vLLM's detailed results."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.aiperf import looks_like_aiperf, read_aiperf
from replay.trace.readers.vllm_bench import looks_like_vllm_bench, read_vllm_bench
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

AIPERF_SAMPLE = SHARED / "samples" / "aiperf_profile_export.jsonl"
VLLM_SAMPLE = SHARED / "samples" / "vllm_bench_serve_detailed.json"
START = 1_762_551_534_797_067_827
records = reading(read_aiperf)
results = reading(read_vllm_bench, "a.json")


def record(start=START, asked=100, given=200, ttft=31.5, error=None, metrics=(), **metadata):
    found = {
        "input_sequence_length": {"value": asked, "unit": "tokens"},
        "output_sequence_length": {"value": given, "unit": "tokens"},
        "time_to_first_token": {"value": ttft, "unit": "ms"},
        "request_latency": {"value": 3.25, "unit": "s"},
        **dict(metrics),
    }
    told = {
        "x_request_id": "r", "x_correlation_id": "c", "conversation_id": None, "turn_index": 0,
        "request_start_ns": start, "benchmark_phase": "profiling", "was_cancelled": False,
    }  # fmt: skip
    return {"metadata": {**told, **metadata}, "metrics": found, "error": error}


def result(**more):
    return {
        "backend": "vllm", "model_id": "m", "request_throughput": 1.5, "total_input_tokens": 300,
        "input_lens": [100, 200, 50], "output_lens": [3, 2, 0], "ttfts": [0.1, 0.2, 0.0],
        "itls": [[0.05, 0.07], [0.1], []], "start_times": [11.5, 10.0, 12.0],
        "errors": ["", "", "refused"], **more,
    }  # fmt: skip


def text_of(*rows):
    return "\n".join(map(json.dumps, rows))


def test_records_become_requests_with_what_was_measured():
    rows = [record(START + 5), record(given=9.0, x_request_id="q", turn_index=1)]
    trace = records(text_of(*rows))
    assert trace.frame["arrival_ns"].to_list() == [0, 5]
    assert trace.frame["output_tokens"].to_list() == [9, 200]
    assert trace.frame["recorded_ttft_ns"].to_list() == [31_500_000] * 2
    assert trace.frame["recorded_e2e_ns"].to_list() == [3_250_000_000] * 2
    assert trace.frame["source_request_id"].to_list() == ["q", "r"]
    assert trace.frame["source_session_id"].to_list() == ["c", "c"]
    assert trace.meta.clock_start_ns == START


def test_records_that_are_not_measured_are_put_aside():
    rows = [
        record(), record(benchmark_phase="warmup"), record(was_cancelled=True),
        record(error={"code": 500}), record(given=0),
    ]  # fmt: skip
    trace = records(text_of(*rows))
    assert trace.requests == 1
    assert [row.line for row in trace.rejected] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (record(asked="a"), "a.jsonl:1: metrics.input_sequence_length.value must be an integer"),
        (record(asked=1.5), "a.jsonl:1: metrics.input_sequence_length.value must be an integer"),
        (record(start=None), "a.jsonl:1: lacks metadata.request_start_ns"),
        (record(metrics={"request_latency": {"value": 3, "unit": "h"}}), "unit must be one of ns,"),
        (record(metrics={"input_sequence_length": None}), "lacks metrics.input_sequence_length"),
        ({"metadata": {"request_start_ns": 1}}, "a.jsonl:1: lacks metrics"),
    ],
)
def test_faults_of_records_are_told_with_their_line(row, fault):
    with pytest.raises(TraceError, match=fault):
        records(text_of(row))


@pytest.mark.parametrize("indent", [None, 1])
def test_lists_of_a_result_become_requests(indent):
    trace = results(json.dumps(result(), indent=indent))
    assert trace.frame["arrival_ns"].to_list() == [0, 1_500_000_000]
    assert trace.frame["input_tokens"].to_list() == [200, 100]
    assert trace.frame["recorded_ttft_ns"].to_list() == [200_000_000, 100_000_000]
    assert trace.frame["recorded_e2e_ns"].to_list() == [300_000_000, 220_000_000]
    assert trace.frame["model"].to_list() == ["m", "m"]
    assert [row.line for row in trace.rejected] == [3]


def test_a_result_without_times_is_read_with_a_note():
    trace = results(text_of(result(start_times=None)))
    assert trace.frame["arrival_ns"].to_list() == [0, 1_000_000_000]
    assert trace.meta.notes[0].startswith("the source has no times")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"input_lens": None}, "a.json:1: the result has no lists of requests"),
        ({"ttfts": [0.1]}, r"a.json:1: ttfts must have 3 entries \(got 1\)"),
        ({"errors": 3}, "a.json:1: errors must be a list"),
        ({"input_lens": [100, -2, 3]}, "a.json:2: input_lens must be between 1"),
        ({"itls": [[0.1], ["x"], []]}, r"a.json:2: itls\[0\] must be a number"),
    ],
)
def test_faults_of_results_are_told_by_request(change, fault):
    with pytest.raises(TraceError, match=fault):
        results(text_of(result(**change)))


def test_the_formats_are_known_by_their_rows():
    assert looks_like_aiperf(text_of(record()).encode())
    assert looks_like_vllm_bench(text_of(result()).encode())
    assert not looks_like_vllm_bench(text_of(record()).encode())


@needs(AIPERF_SAMPLE)
def test_the_samples_are_read():
    assert load_trace(AIPERF_SAMPLE).frame["input_tokens"].to_list() == [100, 100]
    assert load_trace(VLLM_SAMPLE).frame["output_tokens"].to_list() == [3, 2]


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        mutated(text_of(record(), record())),
        mutated(text_of(result())),
        json_lines(rows_of(**{name: st.just(value) for name, value in record().items()})),
        json_lines(rows_of(**{name: st.just(value) for name, value in result().items()})),
        any_json.map(repr),
    ),
    st.sampled_from([records, results]),
)
def test_anything_is_read_or_refused(text, trace_of):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
