"""What an unbounded cache hits in each of the 60 WEKA sessions beside the checkout."""

from __future__ import annotations

import json
from functools import cache

import pytest

from replay.trace.describe import describe
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.tree import build_tree
from tests.shared_data import SHARED, needs

CORPUS = SHARED / "traces" / "weka"
# Share of prompt tokens, as counted from the files block by block without this reader.
RATES = {
    "0002": 0.9340, "0016": 0.9105, "0026": 0.6174, "0036": 0.8692, "0043": 0.9340, "0054": 0.8867,
    "0066": 0.8152, "0074": 0.8838, "0080": 0.7864, "0089": 0.7833, "0098": 0.9373, "0106": 0.9165,
    "0112": 0.8519, "0120": 0.8320, "0126": 0.9378, "0134": 0.9364, "0153": 0.8695, "0167": 0.9335,
    "0179": 0.9361, "0189": 0.7293, "0202": 0.9653, "0212": 0.7445, "0226": 0.8841, "0234": 0.8883,
    "0248": 0.9117, "0259": 0.9017, "0272": 0.9341, "0291": 0.8973, "0298": 0.9466, "0312": 0.9303,
    "0326": 0.8777, "0336": 0.7411, "0349": 0.8572, "0358": 0.9125, "0364": 0.9418, "0371": 0.9188,
    "0375": 0.9781, "0408": 0.9312, "0438": 0.9188, "0456": 0.7441, "0471": 0.9277, "0476": 0.7399,
    "0484": 0.7410, "0489": 0.9086, "0505": 0.7220, "0515": 0.8919, "0527": 0.9703, "0537": 0.7415,
    "0549": 0.9446, "0565": 0.8913, "0576": 0.9212, "0606": 0.9002, "0616": 0.9257, "0630": 0.9217,
    "0666": 0.9591, "0676": 0.8598, "0693": 0.8524, "0704": 0.8791, "0711": 0.9654, "0720": 0.8864,
}  # fmt: skip
pytestmark = needs(CORPUS)


@cache
def sessions() -> dict[str, Trace]:
    """Return the traces by the number in the name of their file."""
    return {path.stem[6:]: load_trace(path) for path in sorted(CORPUS.glob("trace_*.json"))}


def ideal_rate(trace: Trace) -> float:
    """Return the hit rate in tokens that `describe` gives."""
    rate = describe(trace, build_tree(trace))["ideal"]["ideal_token_hit_rate"]
    assert isinstance(rate, float)
    return rate


def test_each_session_hits_what_was_counted():
    assert {name: round(ideal_rate(trace), 4) for name, trace in sessions().items()} == RATES


def test_the_folder_is_one_trace_without_hits_across_files():
    together = load_trace(CORPUS)
    assert (together.requests, len(together.rejected)) == (1070, 0)
    assert ideal_rate(together) == pytest.approx(64_376_640 / 71_308_412, abs=1e-12)
    by_file = sum(ideal_rate(one) * one.column("input_tokens").sum() for one in sessions().values())
    assert by_file == pytest.approx(64_376_640)


def test_the_files_state_totals_that_their_requests_add_up_to():
    for name, trace in sessions().items():
        stated = json.loads((CORPUS / f"trace_{name}.json").read_text())["totals"]
        found = {
            "input": int(trace.column("input_tokens").sum()),
            "output": int(trace.column("output_tokens").sum()),
        }
        assert stated["combined_tokens"] == found


def test_nested_requests_fall_into_the_time_that_their_sub_agent_took():
    rows = json.loads((CORPUS / "trace_0291.json").read_text())["requests"]
    agents = {row["agent_id"]: row for row in rows if row["type"] == "subagent"}
    frame = sessions()["0291"].frame
    assert len(agents) == 2
    for name, agent in agents.items():
        arrivals = frame.filter(frame["agent_id"] == name)["arrival_ns"]
        assert len(arrivals) == len(agent["requests"])
        start = round(agent["t"] * 1e9)
        assert start <= arrivals.min() <= arrivals.max() <= start + agent["duration_ms"] * 10**6
