"""What may be asked of an export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from replay.errors import InputError
from replay.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What may be asked of a target; None is the target's default.

    `window_ns` and `most_requests` are of a timeline, `step_ns`, `start_ns` (since 1970) and
    `dashboard`, a file to write, of metrics.
    """

    window_ns: tuple[int, int | None] | None = None
    most_requests: int | None = None
    step_ns: int | None = None
    start_ns: int | None = None
    dashboard: Path | None = None


def parse_start_ns(text: str) -> int:
    """Return the ns since 1970 of a date and time, UTC unless it says otherwise.

    Raises InputError.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"not a date and time (got {text!r})", hint="write 2026-01-31T12:00 or with +02:00"
        ) from error
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return int(found.timestamp()) * NS_PER_S
