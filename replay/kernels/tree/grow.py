"""Build a path-compressed prefix tree from prefix-chained block codes.

An edge is a maximal run of blocks that every request uses whole or not at all: it is cut where
two requests diverge and where any request ends. Worked example, blocks of 4 tokens:

    request 0: codes 0 1 2     12 tokens        edges: [0 1] [2]      [0 1] ends where 1 ends
    request 1: codes 0 1        8 tokens               [0 1]
    request 2: codes 0 1 3     10 tokens               [0 1] [3]      3 is partial: 2 tokens

Invariant: a code's parent has a smaller code, because codes count first appearances.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

CHAINED, TWO_PARENTS, TWO_LENGTHS = 0, 1, 2


@jit
def link_blocks(offsets, codes, input_tokens, block_size, distinct):
    """Return (fault, request, parent, tokens, children, ends, first): the trie, code by code.

    `fault` is CHAINED, or what the first offending `request` breaks: a code with two parents, or
    one that is a block of two lengths. `first` int64 is where each code stands first.
    """
    parent = np.full(distinct, -2, np.int32)
    tokens = np.zeros(distinct, np.int32)
    children = np.zeros(distinct, np.int32)
    ends = np.zeros(distinct, np.bool_)
    first = np.zeros(distinct, np.int64)
    for request in range(offsets.size - 1):
        previous = np.int32(-1)
        left = input_tokens[request]
        for at in range(offsets[request], offsets[request + 1]):
            code = codes[at]
            length = min(block_size, left)
            left -= length
            if parent[code] == -2:
                parent[code] = previous
                tokens[code] = length
                first[code] = at
                if previous >= 0:
                    children[previous] += 1
            elif parent[code] != previous:
                return TWO_PARENTS, request, parent, tokens, children, ends, first
            elif tokens[code] != length:
                return TWO_LENGTHS, request, parent, tokens, children, ends, first
            previous = code
        if previous >= 0:
            ends[previous] = True
    return CHAINED, -1, parent, tokens, children, ends, first


@jit
def compress_edges(parent, tokens, children, ends):
    """Return (edge_of_code, is_head, edge_parent, edge_start, edge_stop, edge_last_code).

    A code heads a new edge unless it is the only child of a code where no request ends.
    """
    distinct = parent.size
    edge_of_code = np.empty(distinct, np.int32)
    is_head = np.zeros(distinct, np.bool_)
    edges = 0
    for code in range(distinct):
        before = parent[code]
        if before < 0 or children[before] != 1 or ends[before]:
            is_head[code] = True
            edges += 1
    edge_parent = np.empty(edges, np.int32)
    edge_start = np.empty(edges, np.int64)
    edge_stop = np.empty(edges, np.int64)
    edge_last_code = np.empty(edges, np.int32)
    edges = 0
    for code in range(distinct):
        before = parent[code]
        if is_head[code]:
            edge = edges
            edges += 1
            edge_parent[edge] = edge_of_code[before] if before >= 0 else -1
            edge_start[edge] = edge_stop[edge_parent[edge]] if before >= 0 else 0
            edge_stop[edge] = edge_start[edge]
        else:
            edge = edge_of_code[before]
        edge_of_code[code] = edge
        edge_stop[edge] += tokens[code]
        edge_last_code[edge] = code
    return edge_of_code, is_head, edge_parent, edge_start, edge_stop, edge_last_code


@jit
def request_paths(offsets, codes, edge_of_code, is_head):
    """Return (path_offsets int64[R+1], path_edges int32[P]): the edges of each prompt in order."""
    requests = offsets.size - 1
    path_offsets = np.zeros(requests + 1, np.int64)
    for request in range(requests):
        edges = 0
        for at in range(offsets[request], offsets[request + 1]):
            edges += is_head[codes[at]]
        path_offsets[request + 1] = path_offsets[request] + edges
    path_edges = np.empty(path_offsets[requests], np.int32)
    for request in range(requests):
        to = path_offsets[request]
        for at in range(offsets[request], offsets[request + 1]):
            if is_head[codes[at]]:
                path_edges[to] = edge_of_code[codes[at]]
                to += 1
    return path_offsets, path_edges
