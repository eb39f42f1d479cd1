"""Build a path-compressed prefix tree from content known to the token: token ids, or segments.

A request is a string of *units*; token i of a unit is the same token wherever the unit stands, so
two requests share exactly as many tokens as their strings of (unit, offset) agree. Token ids are
units of one token. Requests are inserted one by one, as into any radix tree: walk down while the
content agrees, split the edge where it stops agreeing, hang the rest below. Worked example, with
units a of 3 tokens, b of 2, and only the first 2 tokens of a in request 1:

    request 0: a b   5 tokens        edges: a[0:2]  a[2:3] b        request 0
    request 1: a     2 tokens               a[0:2]                  request 1

An edge ends where two requests part, where a prompt ends and where a response ends; whoever was
recorded to end on an edge keeps it, because a split puts the new edge above the old one.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

_EMPTY = -1


@jit
def _slot(node, unit, offset, mask):
    """Return the home slot of a child: the edge below `node` that starts with this token."""
    mixed = np.uint64(unit) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed += np.uint64(np.int64(node) + 2**33) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= np.uint64(offset) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(32)
    return np.int64((mixed * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask


@jit
def insert_units(offsets, prompt_stops, units, unit_tokens, roots, slots):
    """Return (parent, first, skip, tokens, prompt_edge, last_edge, edges): the tree, unordered.

    Request r is `units[offsets[r]:offsets[r + 1]]`, its prompt the units before `prompt_stops[r]`;
    `unit_tokens` is empty where every unit is one token. Requests of different `roots` share
    nothing. Edge e hangs below `parent[e]` (negative at a root) and holds `tokens[e]` tokens from
    offset `skip[e]` of `units[first[e]]` on. `slots` is a power of two, over eight times the
    number of requests.
    """
    requests = offsets.size - 1
    single = unit_tokens.size == 0
    most = 4 * requests + 1
    parent = np.empty(most, np.int32)
    first = np.empty(most, np.int64)
    skip = np.empty(most, np.int32)
    tokens = np.empty(most, np.int64)
    prompt_edge = np.empty(requests, np.int32)
    last_edge = np.empty(requests, np.int32)
    table = np.full(slots, _EMPTY, np.int32)
    mask = slots - 1
    edges = 0
    for request in range(requests):
        node = np.int32(-1 - roots[request])
        at = offsets[request]
        offset = np.int32(0)
        for part in range(2):
            end = prompt_stops[request] if part == 0 else offsets[request + 1]
            while at < end:
                slot = _slot(node, units[at], offset, mask)
                edge = table[slot]
                while edge != _EMPTY and not (
                    parent[edge] == node
                    and units[first[edge]] == units[at]
                    and skip[edge] == offset
                ):
                    slot = (slot + 1) & mask
                    edge = table[slot]
                if edge == _EMPTY:  # nothing of this content below: the rest is one new edge
                    table[slot] = edges
                    parent[edges] = node
                    first[edges] = at
                    skip[edges] = offset
                    length = end - at if single else unit_tokens[at:end].sum()
                    tokens[edges] = length - offset
                    node = np.int32(edges)
                    edges += 1
                    at = end
                    offset = np.int32(0)
                    break
                along = first[edge]
                inside = skip[edge]
                left = tokens[edge]
                while left > 0 and at < end:
                    if units[at] != units[along] or offset != inside:
                        break
                    own = np.int32(1) if single else unit_tokens[at]
                    other = np.int32(1) if single else unit_tokens[along]
                    step = min(np.int64(min(own - offset, other - inside)), left)
                    left -= step
                    offset += np.int32(step)
                    inside += np.int32(step)
                    if offset == own:
                        at += 1
                        offset = np.int32(0)
                    if inside == other:
                        along += 1
                        inside = np.int32(0)
                if left == 0:
                    node = edge
                    continue
                upper = np.int32(edges)
                edges += 1
                table[slot] = upper
                parent[upper] = node
                first[upper] = first[edge]
                skip[upper] = skip[edge]
                tokens[upper] = tokens[edge] - left
                parent[edge] = upper
                first[edge] = along
                skip[edge] = inside
                tokens[edge] = left
                slot = _slot(upper, units[along], inside, mask)
                while table[slot] != _EMPTY:
                    slot = (slot + 1) & mask
                table[slot] = edge
                node = upper
            if part == 0:
                prompt_edge[request] = node
        last_edge[request] = node
    return parent, first, skip, tokens, prompt_edge, last_edge, edges


@jit
def order_edges(parent, first, skip, tokens, prompt_edge, last_edge, edges, units, unit_tokens):
    """Return (parent, start, stop, last_unit, path_offsets, prompt_stops, path_edges).

    Edges are numbered in the order in which requests first use them, so a parent comes before its
    children; `last_unit` is the unit of an edge's last token.
    """
    requests = last_edge.size
    single = unit_tokens.size == 0
    number = np.full(edges, _EMPTY, np.int32)
    edge_parent = np.empty(edges, np.int32)
    start = np.empty(edges, np.int64)
    stop = np.empty(edges, np.int64)
    last_unit = np.empty(edges, np.uint64)
    path_offsets = np.zeros(requests + 1, np.int64)
    prompt_stops = np.empty(requests, np.int64)
    for request in range(requests):
        length = 0
        edge = last_edge[request]
        while edge >= 0:
            length += 1
            edge = parent[edge]
        path_offsets[request + 1] = path_offsets[request] + length
    path_edges = np.empty(path_offsets[requests], np.int32)
    numbered = 0
    for request in range(requests):
        to = path_offsets[request + 1]
        edge = last_edge[request]
        prompt_stops[request] = path_offsets[request]
        while edge >= 0:
            to -= 1
            path_edges[to] = edge
            if edge == prompt_edge[request]:
                prompt_stops[request] = to + 1
            edge = parent[edge]
        for at in range(path_offsets[request], path_offsets[request + 1]):
            edge = path_edges[at]
            if number[edge] == _EMPTY:
                before = parent[edge]
                number[edge] = numbered
                edge_parent[numbered] = number[before] if before >= 0 else -1
                start[numbered] = stop[number[before]] if before >= 0 else 0
                stop[numbered] = start[numbered] + tokens[edge]
                along = first[edge]
                if single:
                    along += tokens[edge] - 1
                else:
                    left = tokens[edge] - (unit_tokens[along] - skip[edge])
                    while left > 0:
                        along += 1
                        left -= unit_tokens[along]
                last_unit[numbered] = units[along]
                numbered += 1
            path_edges[at] = number[edge]
    return edge_parent, start, stop, last_unit, path_offsets, prompt_stops, path_edges
