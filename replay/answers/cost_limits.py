"""How large the numbers of a step may be."""

from __future__ import annotations

MOST_NEW = 2**20  # as many as a step of an engine may have
MOST_TOKENS = 2**24
MOST_DECODES = 65_536
MOST_GPUS = 64
ALL_REDUCES = ("graph", "nccl")
