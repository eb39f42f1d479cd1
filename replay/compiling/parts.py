"""What there is to compile, in parts that processes can share, and how to see that one is done.

Nothing heavy is imported here: whether kernels must be compiled is asked before each command.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from replay.errors import InputError

if TYPE_CHECKING:
    from replay.config.scenario import Scenario


class Part(NamedTuple):
    """Kernels that are compiled together.

    `marks` are names, as `code_cache.is_compiled` takes them, of kernels that are compiled when
    all of the part is; `seconds` is about how long that takes one core.
    """

    name: str
    seconds: int
    marks: tuple[str, ...]


_TABLES = {"block": "Tables", "radix": "RadixTables", "session_store": "StoreTables"}

READING = "reading"
CONTENT = "other content"
CURVES = "curves"
QUEUES = "queue policies"
RANKS = "ranked policies"
COSTS = "costs"
GENERATOR = "generator"
SGLANG = "timed radix sglang"


def engine_part(mode: str, kind: str) -> str:
    """Return the part that replays in a mode, `timed` or `untimed`, with a kind of cache.

    That is with vLLM's scheduler, where time passes; SGLang's is a part of its own.
    """
    return f"{mode} {kind}"


def part_of(scenario: Scenario) -> str:
    """Return the part that replays a scenario, by what the engine it names brings."""
    from replay.engine.named_engine import with_engine  # hardware is read where one is named

    with suppress(InputError):  # who replays it says what is wrong
        scenario = with_engine(scenario)
    engine = scenario.engine
    if engine.mode == "timed" and engine.scheduler == "sglang":
        return SGLANG
    return engine_part(engine.mode, scenario.cache.kind)


# The longest first, so that two processes end at about the same time.
PARTS = (
    Part(SGLANG, 25, ("replay_sglang-RadixTables",)),
    *(
        Part(engine_part(mode, kind), seconds, (f"replay_{mode}-{tables}",))
        for mode, seconds in (("timed", 10), ("untimed", 6))
        for kind, tables in _TABLES.items()
    ),
    Part(QUEUES, 9, ("replay_recency", "replay_two_queues")),
    Part(RANKS, 9, ("replay_ranked", "replay_levelled")),
    Part(READING, 4, ("reuse_distances", "scan_lines")),
    Part(CONTENT, 4, ("codes_of_any_ids", "batch_paths", "insert_units")),
    Part(CURVES, 3, ("stack_depths", "replay_optimum")),
    Part(GENERATOR, 5, ("write_prompts", "murmur3_prefixes")),
    Part(COSTS, 3, ("time_all", "attend_all")),
)
NAMES = tuple(part.name for part in PARTS)


def uncompiled(*names: str) -> list[Part]:
    """Return which of these parts, or of all, must be compiled still, the longest first."""
    from replay.kernels.code_cache import is_compiled

    return [
        part
        for part in PARTS
        if (part.name in names or not names) and not all(map(is_compiled, part.marks))
    ]
