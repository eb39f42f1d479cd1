"""Sessions whose rows say what each turn adds, and how they are told from whole prompts."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.mooncake_agentic import read_mooncake_agentic
from replay.trace.tree import build_tree
from tests.reader_fuzz import reading
from tests.shared_data import SHARED, needs

CASE = SHARED / "cases" / "formats" / "mooncake_delta.jsonl"
trace_of = reading(read_mooncake_agentic)


def turn(session, tokens, ids, output=3, **more):
    row = {"session_id": session, "input_length": tokens, "output_length": output}
    return json.dumps({**row, "hash_ids": ids, **more})


DELTAS = [
    turn("a", 20, [0, 1, 2], timestamp=0.0, group_id=4),
    turn("b", 20, [0, 1, 3], timestamp=0.0, group_id=4),
    turn("a", 5, [100], output=2, delay=1000.5),
    turn("a", 9, [101, 102], output=1, delay=10),
]


def hits(trace):
    return content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()


def test_prompts_are_put_together_from_what_turns_add():
    trace = trace_of("\n".join(DELTAS), block_size=8)
    by_session = trace.frame.sort("source_session_id", "turn")
    assert by_session["input_tokens"].to_list() == [20, 28, 39, 20]
    assert hits(trace) == [0, 16, 22, 29]  # blocks 0 and 1; all before but the last token computed
    assert trace.meta.block_size is None
    assert any("2 of 2 follow-ups are shorter" in note for note in trace.meta.notes)
    assert trace.frame.columns.count("segments") == 1


@needs(CASE)
def test_the_case_has_the_lengths_that_its_sender_sends():
    trace = load_trace(CASE)
    assert trace.frame["input_tokens"].to_list() == [42277, 44467, 47657, 50244]
    assert sum(hits(trace)) >= 134_401  # prompts alone; the responses between them as well


def test_whole_prompts_stay_whole():
    """They start with the blocks of the prompt before, or are longer than it and its response."""
    wholes = [
        turn("a", 20, [0, 1, 2], timestamp=0),
        turn("a", 30, [0, 1, 5, 6], delay=5),
        turn("a", 18, [0, 1, 7], delay=5),
    ]
    trace = trace_of("\n".join(wholes), block_size=8)
    assert trace.frame["input_tokens"].to_list() == [20, 30, 18]
    assert trace.has_blocks
    longer = [turn("a", 8, [0], timestamp=0), turn("a", 30, [1, 2, 3, 4], delay=5)]
    assert trace_of("\n".join(longer), block_size=8).frame["input_tokens"].to_list() == [8, 30]


def test_one_reset_among_whole_prompts_is_no_addition_but_is_noted():
    rows = [
        turn("a", 20, [0, 1, 2], timestamp=0),
        turn("a", 30, [0, 1, 5, 6], delay=5),
        turn("a", 10, [8, 9], delay=5),
    ]
    trace = trace_of("\n".join(rows), block_size=8)
    assert trace.frame["input_tokens"].to_list() == [20, 30, 10]
    assert any("all rows are taken for whole prompts" in note for note in trace.meta.notes)


def test_short_unlike_prompts_of_one_user_with_times_are_whole():
    rows = [turn("u", 20, [0, 1, 2], timestamp=0), turn("u", 10, [3, 4], timestamp=7.5)]
    assert trace_of("\n".join(rows), block_size=8).frame["input_tokens"].to_list() == [20, 10]


def test_a_stated_mode_settles_it():
    whole = [turn("a", 20, [0, 1, 2], timestamp=0, context_mode="message_array_with_responses"),
             turn("a", 5, [9], delay=5, context_mode="message_array_with_responses")]  # fmt: skip
    assert trace_of("\n".join(whole), block_size=8).frame["input_tokens"].to_list() == [20, 5]
    held = [one.replace("message_array", "deltas") for one in whole]
    assert trace_of("\n".join(held), block_size=8).frame["input_tokens"].to_list() == [20, 25]
    live = [one.replace("_with_responses", "_without_responses") for one in held]
    assert trace_of("\n".join(live), block_size=8).frame["input_tokens"].to_list() == [20, 28]


def test_a_row_that_names_what_it_waits_for_is_whole():
    rows = [
        turn("a", 20, [0, 1, 2], timestamp=0, request_id="r1"),
        turn("a", 5, [9], delay=5, request_id="r2", wait_for=["r1"]),
    ]
    assert trace_of("\n".join(rows), block_size=8).frame["input_tokens"].to_list() == [20, 5]


def test_turns_without_ids_add_lengths():
    rows = [
        {"session_id": "abc-123", "input_length": 300, "output_length": 40},
        {"session_id": "abc-123", "delay": 2, "input_length": 150, "output_length": 20},
        {"session_id": "other", "input_length": 10, "output_length": 4},
    ]
    trace = trace_of("\n".join(map(json.dumps, rows)))
    assert trace.frame["input_tokens"].to_list() == [300, 490, 10]
    assert trace.frame["arrival_ns"].to_list() == [0, 2 * 10**6, 10**9]
    assert any("the source has no times" in note for note in trace.meta.notes)
    assert not trace.has_content


def test_what_follows_a_faulty_turn_cannot_be_put_together():
    rows = [DELTAS[0], turn("a", 0, [100], delay=1), DELTAS[3], DELTAS[1]]
    with pytest.raises(TraceError, match=":2: input_length must be between 1"):
        trace_of("\n".join(rows), block_size=8)
    trace = trace_of("\n".join([*rows, turn("b", 2, [7], delay=1)]), block_size=8, max_rejected=0.5)
    assert [one.line for one in trace.rejected] == [2, 3]
    assert "adds to a prompt that line 2 is a part of" in trace.rejected[1].reason


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_hits_equal_those_of_prompts_spelled_out(seed):
    """A twin that writes every token of every prompt down."""
    rng = random.Random(seed)
    size, rows, spelled = 4, [], []
    fresh = iter(range(100, 10_000))
    said: dict[str, list] = {}
    last: dict[str, int] = {}
    for number in range(rng.randint(2, 12)):
        session = rng.choice("abc")
        first = session not in said
        blocks = (
            [0, 1, rng.choice([2, 3])] if first else [next(fresh) for _ in range(rng.randint(1, 2))]
        )
        tokens = size * (len(blocks) - 1) + rng.randint(1, size)
        output = rng.randint(1, 3)
        when = {"timestamp": number} if first else {"delay": number - last[session]}
        last[session] = number
        rows.append(turn(session, tokens, blocks, output, **when))
        new = [
            (block, place, tokens - size * at if at == len(blocks) - 1 else size)
            for at, block in enumerate(blocks)
            for place in range(min(size, tokens - size * at))
        ]
        prompt = said.get(session, []) + new
        answer = [("said", number, place) for place in range(output)]
        spelled.append((prompt, answer))
        said[session] = prompt + answer
    if not any("delay" in one for one in rows):
        return
    trace = trace_of("\n".join(rows), block_size=size)
    assert trace.frame["input_tokens"].to_list() == [len(prompt) for prompt, _ in spelled]
    longest = [
        max((_common(prompt, p + a[:-1]) for p, a in spelled[:at]), default=0)
        for at, (prompt, _) in enumerate(spelled)
    ]
    assert hits(trace) == longest


def _common(one, other) -> int:
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    return same
