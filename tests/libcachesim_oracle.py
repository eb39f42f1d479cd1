"""libCacheSim (PyPI `libcachesim`) as an oracle: hits of single objects, and traces to feed it.

It knows requests for objects, no prompts: what it replays is a flat sequence of blocks, each one
request of size 1. `flattened` gives the sequence of blocks that a replay of `References` accesses,
so found blocks of any policy that references deepest first compare with `hits` exactly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from replay.kernels.policies.references import References

# Policies whose rules are the same there, by the names used here; the optimum needs the future.
CLASSES = {
    "lru": "LRU",
    "lfu": "LFU",
    "optimum": "Belady",
    "fifo": "FIFO",
    "clock": "Clock",
    "sieve": "Sieve",
    "s3fifo": "S3FIFO",
    "2q": "TwoQ",
    "arc": "ARC",
}
RECORD = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])


def next_accesses(ids: np.ndarray) -> np.ndarray:
    """Return the position of each reference's next reference to the same id, int64; -1 for none."""
    order = np.argsort(ids, kind="stable")
    following = np.full(len(ids), -1, np.int64)
    same = ids[order[1:]] == ids[order[:-1]]
    following[order[:-1][same]] = order[1:][same]
    return following


def write_oracle_general(ids: np.ndarray, path: Path) -> Path:
    """Write a sequence of ids in libCacheSim's format that knows the next access of each."""
    records = np.zeros(len(ids), RECORD)  # one moment for all: nothing expires
    records["id"] = ids + 1
    records["size"] = 1
    records["next"] = next_accesses(ids)
    path.write_bytes(records.tobytes())
    return path


def hits(path: Path, name: str, capacity: int) -> int:
    """Return how many references of a file of `write_oracle_general` hit; `name` as in CLASSES."""
    import libcachesim

    reader = libcachesim.TraceReader(str(path), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
    cache = getattr(libcachesim, CLASSES[name])(cache_size=capacity, hashpower=18)
    missed, _ = cache.process_trace(reader)
    return round((1 - missed) * (path.stat().st_size // RECORD.itemsize))


def single_block_requests(ids: np.ndarray) -> References:
    """Return a sequence of ids as requests of one block each."""
    distinct, codes = np.unique(ids, return_inverse=True)
    return References(
        first=np.zeros(len(distinct), np.int64),
        blocks=np.ones(len(distinct), np.int64),
        parent=np.full(len(distinct), -1, np.int32),
        offsets=np.arange(len(ids) + 1),
        edges=codes.astype(np.int32),
        limit=np.ones(len(ids), np.int64),
    )


def flattened(references: References) -> np.ndarray:
    """Return the blocks that `references` access one after another, deepest first per request."""
    counts = references.blocks[references.edges]
    begin = np.cumsum(references.blocks) - references.blocks
    ends = np.concatenate([[0], np.cumsum(counts)])
    root_first = np.arange(ends[-1]) + np.repeat(begin[references.edges] - ends[:-1], counts)
    starts, stops = ends[references.offsets[:-1]], ends[references.offsets[1:]]
    mirrored = np.repeat(starts + stops - 1, stops - starts) - np.arange(ends[-1])
    return root_first[mirrored]


def zipf(*, references: int = 200_000, objects: int = 20_000, alpha: float = 0.9) -> np.ndarray:
    """Return ids drawn independently, id k with a weight of (k + 1) ** -alpha."""
    weights = (1.0 + np.arange(objects)) ** -alpha
    drawn = np.random.default_rng(5).random(references) * weights.sum()
    return np.minimum(np.searchsorted(np.cumsum(weights), drawn), objects - 1)


def sessions(*, requests: int = 6_000, open_at_once: int = 60) -> References:
    """Return conversations that share one of three openings; each turn appends blocks of its own.

    Turns of open conversations interleave at random; a conversation ends with chance 1 in 6.
    """
    rng = np.random.default_rng(7)
    first, blocks, parent = [0, 0, 0], [4, 9, 17], [-1, -1, -1]
    open_paths = [[int(rng.integers(3))] for _ in range(open_at_once)]
    used: list[list[int]] = []
    for _ in range(requests):
        which = int(rng.integers(open_at_once))
        path = open_paths[which]
        first.append(first[path[-1]] + blocks[path[-1]])
        parent.append(path[-1])
        blocks.append(int(rng.geometric(0.1)))
        path.append(len(blocks) - 1)
        used.append(list(path))
        if rng.random() < 1 / 6:
            open_paths[which] = [int(rng.integers(3))]
    blocks_of = np.array(blocks, np.int64)
    return References(
        first=np.array(first, np.int64),
        blocks=blocks_of,
        parent=np.array(parent, np.int32),
        offsets=np.cumsum([0, *map(len, used)]),
        edges=np.array([edge for path in used for edge in path], np.int32),
        limit=np.array([blocks_of[path].sum() for path in used]),
    )
