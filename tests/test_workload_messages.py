"""Chains of messages: adding, cutting, forgetting and writing them out, against plain lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from replay.config.context import Context
from replay.kernels.tree.prompts import write_prompts
from replay.workload.context import Window, cut, fitted
from replay.workload.messages import NONE, Messages


def chain(tokens):
    """A store with one chain of messages, and its nodes."""
    messages = Messages(reserved=0)
    tip = np.array([NONE])
    nodes = []
    for count in tokens:
        tip = messages.add(np.array([count]), tip)
        nodes.append(int(tip[0]))
    return messages, nodes


def written(messages, window):
    """The one prompt of a window as a list of (segment, tokens)."""
    offsets = np.array([0, int(window.segments(messages)[0])])
    segments, tokens = np.empty(offsets[1], np.uint64), np.empty(offsets[1], np.int32)
    write_prompts(
        window.tips, window.heads, messages.stops(window.heads), window.forgotten, offsets,
        messages.segments, messages.tokens, messages.previous, messages.starts, segments, tokens,
    )  # fmt: skip
    return list(zip(segments.tolist(), tokens.tolist(), strict=True))


def window_of(nodes, head):
    nothing = np.zeros(1, np.int64)
    head_tip = nodes[head - 1] if head else NONE
    return Window(np.array([nodes[-1]]), np.array([head_tip]), nothing, nothing)


def whole(tokens):
    return list(enumerate(tokens))


def without_oldest(prompt, head, room):
    """Drop messages behind the head, oldest first, until the prompt fits; the newest stays."""
    kept = prompt[head:]
    while len(kept) > 1 and sum(count for _, count in prompt[:head] + kept) > room:
        kept = kept[1:]
    return prompt[:head] + kept


_tokens = st.lists(st.integers(1, 20), min_size=1, max_size=12)


@given(_tokens, st.data())
def test_a_cut_keeps_the_first_tokens(tokens, data):
    messages, nodes = chain(tokens)
    keep = data.draw(st.integers(0, sum(tokens)))
    left, wanted = keep, []
    for segment, count in whole(tokens):
        if left:
            wanted.append((segment, min(count, left)))
            left -= wanted[-1][1]
    assert written(messages, cut(window_of(nodes, 0), np.array([keep]), messages)) == wanted


@given(_tokens, st.data())
def test_the_oldest_messages_go_until_the_rest_fits(tokens, data):
    head = data.draw(st.integers(0, len(tokens) - 1))
    response = data.draw(st.integers(1, 10))
    limit = sum(tokens[:head]) + tokens[-1] + response + data.draw(st.integers(0, 60))
    share = data.draw(st.sampled_from([1.0, 0.5]))
    messages, nodes = chain(tokens)
    context = Context(limit=limit, keep_share=share)
    window = fitted(context, window_of(nodes, head), np.array([response]), messages)
    fits = sum(tokens) + response <= limit
    room = (limit if fits else int(limit * share)) - response
    assert written(messages, window) == without_oldest(whole(tokens), head, room)
    assert window.forgotten[0] == sum(tokens) - window.prompt_tokens(messages)[0]


@given(_tokens, st.data())
def test_a_cut_after_forgetting_counts_in_what_is_left(tokens, data):
    head = data.draw(st.integers(0, len(tokens) - 1))
    limit = sum(tokens[:head]) + tokens[-1] + 5 + data.draw(st.integers(0, 40))
    messages, nodes = chain(tokens)
    short = fitted(Context(limit=limit), window_of(nodes, head), np.array([5]), messages)
    before = [(s, i) for s, count in written(messages, short) for i in range(count)]
    keep = data.draw(st.integers(sum(tokens[:head]), len(before)))
    after = cut(short, np.array([keep]), messages)
    assert [(s, i) for s, n in written(messages, after) for i in range(n)] == before[:keep]
    assert after.segments(messages)[0] == len(written(messages, after))


def test_the_newest_message_loses_its_end_when_it_is_too_long_alone():
    messages, nodes = chain([10, 50, 100])
    window = fitted(Context(limit=60), window_of(nodes, 1), np.array([8]), messages)
    assert written(messages, window) == [(0, 10), (2, 42)]
    assert messages.tokens[nodes[-1]] == 100  # who shares the message still has all of it


def test_new_messages_get_segments_above_the_reserved_ones():
    messages = Messages(reserved=7)
    nodes = messages.add(np.array([1, 1]), np.array([NONE, NONE]))
    assert messages.segments[nodes].tolist() == [7, 8]


def test_the_store_grows_without_changing_what_it_holds():
    messages = Messages(reserved=0)
    tip = messages.add(np.array([3]), np.array([NONE]))
    messages.add(np.full(5_000, 2), np.full(5_000, tip[0]))
    assert messages.count == 5_001
    assert messages.stops(tip)[0] == 3
    assert (messages.starts[1:5_001] == 3).all()
