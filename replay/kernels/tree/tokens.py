"""Token ids made up for segments: the same id for the same place of the same segment, always.

A token is a function of (segment, offset) alone, so prompts are filled in any order and a segment
reads the same wherever it stands. The first token of a segment is a permutation of its number
modulo the vocabulary; the others are outputs of SplitMix64 (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", 2014), its counter started from the segment's number, mixed.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_FIRST = np.uint64(0x9E3779B185EBCA87)  # a prime above any vocabulary, so it has a common factor
# with none and multiplication by it permutes the residues


@jit
def _mixed(value):
    value = (value ^ (value >> np.uint64(30))) * _MIX1
    value = (value ^ (value >> np.uint64(27))) * _MIX2
    return value ^ (value >> np.uint64(31))


@jit
def fill_segments(offsets, stops, segments, segment_tokens, starts, vocabulary):
    """Return the token ids uint32[T] of all requests; `vocabulary` is uint64, 2 to 2^32.

    Request r holds the segments at places `offsets[r]` to `stops[r]`, and of each as many tokens
    as `segment_tokens` says; its tokens are written from `starts[r]` on.
    """
    tokens = np.empty(starts[starts.size - 1], np.uint32)
    for request in range(stops.size):
        at = starts[request]
        for place in range(offsets[request], stops[request]):
            segment = np.uint64(segments[place])
            first = (segment % vocabulary) * (_FIRST % vocabulary) % vocabulary
            seed = _mixed(segment + _STEP)
            for offset in range(segment_tokens[place]):
                drawn = _mixed(seed + _STEP * np.uint64(offset)) >> np.uint64(32)
                tokens[at + offset] = np.uint32((drawn * vocabulary) >> np.uint64(32))
            if segment_tokens[place] > 0:
                tokens[at] = np.uint32(first)
            at += segment_tokens[place]
    return tokens
