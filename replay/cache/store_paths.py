"""The prefix tree as a session store sees it: in tokens, cut where a prefix may be stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from replay.cache.blocks import BlockPaths
from replay.errors import InputError

MOST_EDGES = 10_000_000


@dataclass(frozen=True, slots=True)
class StorePaths:
    """Paths in single tokens; of each edge `parent` int32, -1 at a root, and `storable` bool."""

    paths: BlockPaths
    parent: np.ndarray
    storable: np.ndarray


def prefix_lengths(
    lengths: tuple[int, ...], step: int | None, *, shortest: int, longest: int
) -> np.ndarray:
    """Return the lengths at which a prefix may be stored, int64, ascending, of at least `shortest`.

    Those listed, or every multiple of `step` up to `longest`, the longest path of the tree.
    """
    if step is None:
        wanted = np.asarray(lengths, np.int64)
        return np.unique(wanted[wanted >= shortest])
    lowest = -(-shortest // step) * step
    return np.arange(lowest, longest + 1, step, dtype=np.int64)


def store_paths(paths: BlockPaths, lengths: np.ndarray) -> StorePaths:
    """Return paths in blocks of one token with every edge cut at the depths in `lengths`.

    Afterwards a stored prefix covers an edge whole or not at all, as does everything else that is
    kept, so one count of holders an edge is exact. Raises InputError above MOST_EDGES pieces.
    """
    start, stop = paths.first, paths.first + paths.blocks
    low = np.searchsorted(lengths, start, side="right")
    pieces = np.maximum(np.searchsorted(lengths, stop, side="left") - low, 0) + 1
    if pieces.sum() > MOST_EDGES:
        raise InputError(
            f"prefixes of so many lengths cut the trace's content into {pieces.sum():,} pieces, "
            f"more than {MOST_EDGES:,}",
            hint="give a larger prefix_length_step, or fewer prefix_lengths",
        )
    offset = np.cumsum(pieces) - pieces
    edge = np.repeat(np.arange(len(start)), pieces)
    place = np.arange(len(edge)) - offset[edge]
    padded = np.append(lengths, 0)
    cut = padded[np.minimum(low[edge] + place, len(lengths))]
    before = padded[np.minimum(low[edge] + place - 1, len(lengths))]
    first = np.where(place == 0, start[edge], before)
    last = np.where(place == pieces[edge] - 1, stop[edge], cut)
    upto = np.zeros(len(paths.path_edges) + 1, np.int64)
    np.cumsum(pieces[paths.path_edges], out=upto[1:])
    of_place = np.repeat(np.arange(len(paths.path_edges)), pieces[paths.path_edges])
    path_edges = offset[paths.path_edges][of_place] + np.arange(upto[-1]) - upto[of_place]
    cut_paths = replace(
        paths,
        first=first,
        blocks=last - first,
        stop_tokens=last,
        path_edges=path_edges.astype(np.int32),
        start=upto[paths.start],
        prompt_stop=upto[paths.prompt_stop],
        stop=upto[paths.stop],
        tree_edge=paths.tree_edge[edge],
    )
    parent = np.full(len(edge), -1, np.int32)
    parent[path_edges[1:]] = path_edges[:-1]
    parent[path_edges[cut_paths.start]] = -1
    return StorePaths(cut_paths, parent, np.isin(last, lengths))
