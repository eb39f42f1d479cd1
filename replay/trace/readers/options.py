"""What a caller may tell a reader that a trace file does not say itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of all readers.

    `block_size` in tokens, for formats that do not state it. `max_rejected` is the share of rows,
    0..1, that may be faulty and put aside; a canonical file is taken whole or not at all.
    """

    block_size: int | None = None
    max_rejected: float = 0.0


DEFAULTS = ReadOptions()
