"""Many tenants from one trace: disjoint copies of what its requests reference, interleaved."""

from __future__ import annotations

import numpy as np

from replay.kernels.policies.references import References


def interleaved(references: References, copies: int) -> References:
    """Return `copies` of the references: request i of copy c follows request i of copy c - 1.

    Copies share nothing: the edges of copy c have the numbers of the original plus c times E.
    """
    edges = len(references.blocks)
    lengths = np.diff(references.offsets)
    requests = len(lengths)
    offsets = np.zeros(requests * copies + 1, np.int64)
    np.cumsum(np.repeat(lengths, copies), out=offsets[1:])
    numbers = np.empty(len(references.edges) * copies, np.int32)
    within = np.arange(len(references.edges)) - np.repeat(references.offsets[:-1], lengths)
    for copy in range(copies):
        start = np.repeat(offsets[copy:-1:copies], lengths)
        numbers[start + within] = references.edges + copy * edges
    parent = np.tile(references.parent, (copies, 1))
    parent += np.where(parent < 0, 0, np.arange(copies, dtype=np.int32)[:, None] * edges)
    return References(
        first=np.tile(references.first, copies),
        blocks=np.tile(references.blocks, copies),
        parent=parent.ravel(),
        offsets=offsets,
        edges=numbers,
        limit=np.repeat(references.limit, copies),
    )
