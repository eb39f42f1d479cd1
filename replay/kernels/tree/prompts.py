"""Prompts as chains of messages: cut them, fit them into a context window, write them out.

A message is a node: `tokens` of a segment, the node before it in `previous` (-1: none), the tokens
before it in `starts` and the nodes before it in `depths`. A prompt is all that leads to its last
node; prompts that share a beginning share its nodes. What a prompt has forgotten is one stretch of
tokens after the protected ones at its head:

    protected | forgotten | kept        node.start >= protected + forgotten: kept
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit


@jit
def nodes_holding(tips, positions, starts, previous):
    """Return for each chain the node that holds the token before a position, -1 for position 0."""
    found = np.empty(tips.size, np.int64)
    for i in range(tips.size):
        node = tips[i]
        while node >= 0 and starts[node] >= positions[i]:
            node = previous[node]
        found[i] = node
    return found


@jit
def fit_windows(
    tips, response_tokens, protected, forgotten, dropped, limit, filled, tokens, previous, starts,
    depths, protected_nodes,
):  # fmt: skip
    """Forget whole messages, oldest first, until prompt and response fit into `limit` tokens.

    Once something must go, as much goes as leaves at most `filled` tokens. The newest message
    always stays; returns by how many tokens it is too long on its own. `forgotten` counts tokens
    and `dropped` nodes; both are updated.
    """
    excess = np.zeros(tips.size, np.int64)
    for i in range(tips.size):
        tip = tips[i]
        stop = starts[tip] + tokens[tip]
        if stop - forgotten[i] + response_tokens[i] <= limit:
            continue
        oldest = protected[i] + forgotten[i]
        room = filled - response_tokens[i] - protected[i]
        first = tip
        while (
            previous[first] >= 0
            and starts[previous[first]] >= oldest
            and stop - starts[previous[first]] <= room
        ):
            first = previous[first]
        forgotten[i] = starts[first] - protected[i]
        dropped[i] = depths[first] - protected_nodes[i]
        excess[i] = max(0, stop - forgotten[i] + response_tokens[i] - limit)
    return excess


@jit
def write_prompts(
    tips, heads, protected, forgotten, offsets, segments, tokens, previous, starts, to_segments,
    to_tokens,
):  # fmt: skip
    """Write the segments of each prompt to `offsets[i]` and following, in order.

    `heads` is the last protected node of each prompt, from where it goes on once the forgotten
    stretch is reached.
    """
    for i in range(tips.size):
        place = offsets[i + 1]
        node = tips[i]
        oldest = protected[i] + forgotten[i]
        while node >= 0 and starts[node] >= oldest:
            place -= 1
            to_segments[place] = segments[node]
            to_tokens[place] = tokens[node]
            node = previous[node]
        node = heads[i] if forgotten[i] > 0 else node
        while node >= 0:
            place -= 1
            to_segments[place] = segments[node]
            to_tokens[place] = tokens[node]
            node = previous[node]
