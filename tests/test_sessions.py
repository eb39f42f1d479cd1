"""Sessions by prefix chaining: each kind of link, the slow twin, the published counts."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from replay.trace.blocks import HOT_SHARE, MIN_HOT_REQUESTS
from replay.trace.frame import SESSIONS_INFERRED, Trace
from replay.trace.readers import load_trace
from replay.trace.sessions import (
    JOINING,
    LINKS,
    RETRY_TOKENS,
    SLACK_TOKENS,
    infer_sessions,
    link_requests,
)
from tests import random_traces
from tests.trace_samples import CONVERSATION, mooncake_text, needs_conversation, row, trace_of

SIZE = 4
ASK = tuple(range(100, 110))  # two full blocks of 4 tokens and half of a third


def inferred(prompts, outputs=None):
    """The frame of prompts of tokens after sessions were inferred."""
    return infer_sessions(trace_of(mooncake_text(prompts, SIZE, outputs=outputs), SIZE)).frame


def naive_links(trace: Trace):
    """Kind and parent of each request, in plain dicts: the oracle of link_requests."""
    size = trace.meta.block_size
    rows = trace.frame.select("block_ids", "input_tokens", "output_tokens").rows()
    users = Counter(block for ids, _, _ in rows for block in ids)
    hot = {b for b, n in users.items() if n > max(len(rows) // HOT_SHARE, MIN_HOT_REQUESTS)}
    latest_user, latest_end, found = {}, {}, []
    for request, (ids, input_tokens, _) in enumerate(rows):
        known = [b for b in ids if b in latest_user and b not in hot]
        ends = [b for b in known if b in latest_end]
        kind, parent = "root", -1
        if ends:
            parent = latest_end[ends[-1]]
            grown = input_tokens - rows[parent][1]
            if ends[-1] != known[-1]:
                kind = "continuation_branch"
            elif grown >= rows[parent][2] - SLACK_TOKENS:
                kind = "continuation"
            elif abs(grown) <= RETRY_TOKENS:
                kind = "retry"
            else:
                kind = "sibling_end"
        elif known:
            kind, parent = "branch", latest_user[known[-1]]
        found.append((kind, parent))
        full = ids[: input_tokens // size]
        if full and full[-1] not in hot:
            latest_end[full[-1]] = request
        latest_user.update(dict.fromkeys(ids, request))
    return found


def naive_sessions(links):
    """Session and turn of each request."""
    session, sizes = [], Counter()
    turns = []
    for kind, parent in links:
        joins = LINKS.index(kind) in JOINING
        session.append(session[parent] if joins else len(set(session)))
        turns.append(sizes[session[-1]])
        sizes[session[-1]] += 1
    return session, turns


def test_a_prompt_that_holds_an_earlier_one_and_its_response_continues_it():
    frame = inferred([ASK, ASK + tuple(range(40))], outputs=[30, 1])
    assert frame["link"].to_list() == ["root", "continuation"]
    assert frame["session_id"].to_list() == [0, 0]
    assert frame["turn"].to_list() == [0, 1]
    assert frame["parent_request_id"].to_list() == [None, 0]


def test_a_turn_may_lack_a_few_tokens_of_the_response_before_it():
    fits = inferred([ASK, ASK + tuple(range(30 - SLACK_TOKENS))], outputs=[30, 1])
    short = inferred([ASK, ASK + tuple(range(30 - SLACK_TOKENS - 1))], outputs=[30, 1])
    assert fits["link"][1] == "continuation"
    assert short["link"][1] == "sibling_end"


def test_a_sibling_end_opens_its_own_session_and_names_its_parent():
    frame = inferred([ASK, (*ASK[:8], 7, 7, 7, 7, 7)], outputs=[90, 1])
    assert frame["link"][1] == "sibling_end"
    assert frame["session_id"].to_list() == [0, 1]
    assert frame["parent_request_id"][1] == 0


def test_the_same_prompt_again_is_a_retry_of_the_same_session():
    frame = inferred([ASK[:8], (*ASK[:8], 1, 1)], outputs=[90, 1])
    assert frame["link"][1] == "retry"
    assert frame["session_id"].to_list() == [0, 0]


def test_a_conversation_taken_up_behind_an_earlier_turn_joins_it():
    second = ASK + tuple(range(30))
    again = (*second[:24], *([9] * 20))
    frame = inferred([ASK, second, again], outputs=[10, 5, 5])
    assert frame["link"][2] == "continuation_branch"
    assert frame["parent_request_id"][2] == 0
    assert frame["session_id"].to_list() == [0, 0, 0]


def test_prompts_that_part_before_any_request_ends_are_a_branch():
    document = tuple(range(16))
    frame = inferred([(*document, 1, 1, 1, 1), (*document, 2, 2, 2, 2)])
    assert frame["link"].to_list() == ["root", "branch"]
    assert frame["session_id"].to_list() == [0, 1]
    assert frame["parent_request_id"][1] == 0


def test_the_latest_of_several_parents_is_taken():
    frame = inferred([ASK, ASK, ASK + tuple(range(30))], outputs=[90, 9, 1])
    assert frame["parent_request_id"][2] == 1


def test_a_system_prompt_that_many_share_links_nobody():
    system = tuple(range(8))
    frame = inferred([(*system, 100 + n, 1, 1, 1) for n in range(MIN_HOT_REQUESTS + 1)])
    assert set(frame["link"]) == {"root"}
    frame = inferred([(*system, 100 + n, 1, 1, 1) for n in range(MIN_HOT_REQUESTS)])
    assert set(frame["link"]) == {"root", "branch"}


def test_the_counts_and_the_caveat_are_noted():
    trace = infer_sessions(trace_of(mooncake_text([(1, 2), ASK], SIZE), SIZE))
    assert trace.meta.sessions == SESSIONS_INFERRED
    assert trace.meta.notes[0].startswith("sessions inferred by prefix chaining: 2 root, 0 ")
    assert trace.meta.notes[1].startswith("turns are under-counted: 1 requests have no full block")


def test_sessions_of_the_source_are_kept():
    trace = trace_of("\n".join(row(session_id=name) for name in "ab"), 512)
    assert infer_sessions(trace) is trace


def test_a_trace_of_lengths_alone_gets_no_sessions():
    trace = trace_of(row(), 512)
    bare = Trace(trace.frame.drop("block_ids"), replace(trace.meta, block_size=None))
    assert infer_sessions(bare) is bare


@settings(max_examples=200, deadline=None)
@given(random_traces.rows(most=40))
def test_links_equal_those_of_the_slow_twin(drawn):
    trace = random_traces.trace_of(
        [{**one, "output_tokens": one["output_tokens"] * 2} for one in drawn]
    )
    trace = Trace(trace.frame.drop("session_id"), trace.meta)
    links = link_requests(trace)
    expected = naive_links(trace)
    assert [LINKS[kind] for kind in links.kind] == [kind for kind, _ in expected]
    assert links.parent.tolist() == [parent for _, parent in expected]
    frame = infer_sessions(trace).frame
    session, turn = naive_sessions(expected)
    assert frame["session_id"].to_list() == session
    assert frame["turn"].to_list() == turn


@pytest.fixture(scope="module")
def conversation():
    return load_trace(CONVERSATION)


@needs_conversation
def test_links_of_the_conversation_trace_are_the_published_ones(conversation):
    links = link_requests(conversation)
    counts = np.bincount(links.kind, minlength=len(LINKS))
    assert dict(zip(LINKS, counts.tolist(), strict=True)) == {
        "root": 7_373,
        "continuation": 3_645,
        "branch": 683,
        "sibling_end": 212,
        "continuation_branch": 113,
        "retry": 5,
    }
    assert int((~links.linkable).sum()) == 1_354


@needs_conversation
def test_the_slow_twin_links_the_conversation_trace_alike(conversation):
    links = link_requests(conversation)
    found = [(LINKS[kind], parent) for kind, parent in zip(links.kind, links.parent, strict=True)]
    assert found == naive_links(conversation)
