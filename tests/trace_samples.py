"""Small traces for tests: prompts spelled out token by token, and the files made from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replay.trace.frame import Trace
from replay.trace.readers.mooncake import read_mooncake
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source

SHARED = Path(__file__).parents[1] / ".." / "shared" / "traces"
CONVERSATION = SHARED / "mooncake" / "conversation_trace.jsonl"

needs_conversation = pytest.mark.skipif(
    not CONVERSATION.exists(), reason=f"the Mooncake conversation trace is not at {CONVERSATION}"
)


def row(timestamp=0, input_length=5, output_length=3, hash_ids=(0,), **more):
    """One line of a Mooncake trace."""
    return json.dumps(
        {
            "timestamp": timestamp,
            "input_length": input_length,
            "output_length": output_length,
            "hash_ids": list(hash_ids),
            **more,
        }
    )


def chained_ids(prompts, block_size):
    """Block ids of prompts of tokens: an id stands for a whole prefix, numbered as first seen."""
    known = {}
    return [
        [
            known.setdefault(prompt[: start + block_size], len(known))
            for start in range(0, len(prompt), block_size)
        ]
        for prompt in prompts
    ]


def mooncake_text(prompts, block_size=4, *, outputs=None, times=None):
    """A Mooncake file of prompts, each a tuple of tokens."""
    outputs = outputs or [1] * len(prompts)
    times = times or [0] * len(prompts)
    lines = zip(times, prompts, outputs, chained_ids(prompts, block_size), strict=True)
    return "".join(
        row(time, len(prompt), output, ids) + "\n" for time, prompt, output, ids in lines
    )


def trace_of(text, block_size=4, name="sample.jsonl") -> Trace:
    """The trace in the text of a Mooncake file."""
    data = text if isinstance(text, bytes) else text.encode()
    source = Source(name, name, data, "0" * 64)
    return read_mooncake(source, ReadOptions(block_size=block_size))
