"""What differs between the scenarios of runs, key by key, and in what they came to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from replay.report.compare.sides import Side
from replay.report.tables import Table

# Beside the scenario: what it left to the hardware and the trace, and what was replayed by what.
CAME_TO = (
    ("trace", "name"), ("trace", "sha256"), ("trace", "requests"), ("cache", "block_size"),
    ("cache", "capacity_blocks"), ("cache", "kv_bytes_per_token"), ("step_times", "overhead_a0_ns"),
    ("step_times", "overhead_a1_ns_per_token"), ("step_times", "server"),
)  # fmt: skip


def differences(sides: Sequence[Side]) -> Table:
    """Return the keys whose values are not the same in all runs, a column a run.

    Keys of the scenario are called as in its file; what it came to has `replayed.` before it. Null
    where a run has no such key, as those of older versions.
    """
    found = [dict(_facts(side.manifest)) for side in sides]
    keys = dict.fromkeys(key for facts in found for key in facts)
    rows = [
        (key, *values)
        for key in keys
        if len(set(values := [facts.get(key) for facts in found])) > 1
    ]
    columns = ("key", *(side.letter for side in sides))
    title = "What differs in the scenarios" if rows else "The scenarios do not differ"
    return Table(columns, rows, title, ("VARCHAR",) * len(columns))


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in _leaves("", manifest.get("scenario") or {}):
        yield key, _text(value)
    for part, name in CAME_TO:
        value = (manifest.get(part) or {}).get(name)
        for key, leaf in _leaves("", {name: value} if value is not None else {}):
            yield f"replayed.{part}.{key}", _text(leaf)
    if "replay_version" in manifest:
        yield "replayed.by_version", _text(manifest["replay_version"])


def _leaves(path: str, section: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{path}{name}.", value)
        else:
            yield f"{path}{name}", value


def _text(value: object) -> str:
    """Return a value as a scenario file would hold it."""
    if isinstance(value, str):
        return value
    return json.dumps(value)
