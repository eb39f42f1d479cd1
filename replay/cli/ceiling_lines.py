"""What a trace may hit, in one line, for commands that make another trace of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.trace.frame import Trace


def ceiling_line(trace: Trace, block_size: int) -> str:
    """Return both ceilings of a trace of known content, in blocks of so many tokens."""
    from replay.trace.ceilings import ceilings
    from replay.trace.tree import build_tree

    found = ceilings(build_tree(trace), block_size)
    content = found.content_ceiling_tokens / found.input_tokens
    blocks = found.block_ceiling_tokens / found.input_tokens
    return (
        f"block ceiling {blocks:.1%} of prompt tokens in blocks of {block_size}, "
        f"content ceiling {content:.1%}"
    )
