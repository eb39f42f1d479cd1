"""What scenarios and profiles are made of: sections that know their keys, and durations in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic_core import InitErrorDetails

from replay.errors import InputError
from replay.units import MAX_DURATION_NS, parse_duration_ns

_UNITS_NS = (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3))


class Section(BaseModel):
    """A part of a document: no unknown keys, no changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def refused_at(path: tuple[str, ...], what: str) -> ValidationError:
    """Return an error for a validator to raise that stands at a key below what it validates."""
    details = InitErrorDetails(
        type="value_error", loc=path, input={}, ctx={"error": ValueError(what)}
    )
    return ValidationError.from_exception_data("section", [details])


def _duration(value: object) -> object:
    """Return nanoseconds for `80ms`-like text and for plain seconds."""
    if value is None or isinstance(value, bool):
        return value
    try:
        return parse_duration_ns(str(value))
    except InputError as error:
        raise ValueError(f"{error.message}; {error.hint or ''}".rstrip("; ")) from error


def write_duration(duration_ns: int) -> str:
    """Return a duration as a scenario has it, exactly: `80ms`, `90s`, `1500ns`."""
    for unit, size in _UNITS_NS:
        if duration_ns % size == 0:
            return f"{duration_ns // size}{unit}"
    return f"{duration_ns}ns"


DurationNs = Annotated[
    int,
    Field(ge=1, le=MAX_DURATION_NS),
    BeforeValidator(_duration),
    PlainSerializer(write_duration, when_used="json-unless-none"),
]
