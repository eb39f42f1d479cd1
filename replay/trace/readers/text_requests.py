"""Requests known by their text: what readers tell of each, and assume where it is silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from replay.trace.chat_template import UNDATED, ChatTemplate, load_template
from replay.units import NS_PER_S

if TYPE_CHECKING:
    from replay.trace.readers.options import ReadOptions

START_GAP_NS = 1 * NS_PER_S
TURN_GAP_NS = 30 * NS_PER_S
ASSUMED_PACE = "a conversation starts each second, and a turn follows 30 s after the one before it"
ASSUMED_TIMES = f"the source has no times; assumed: {ASSUMED_PACE}"
NO_RESPONSE = "no response: a failed request"
UNDATED_NOTE = (
    "the chat template asks for the day, which the source's clock does not tell; assumed: "
    f"{UNDATED:%Y-%m-%d}"
)


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One request as text: `line` is where it stands, `session` the name of its conversation.

    `response_tokens` is the length of the response, for one whose text is not all there. Where it
    is None, the text is counted, and held against `counted_tokens`, the source's own count.
    `other` are the source's own values, by column.
    """

    line: int
    arrival_ns: int
    prompt: str
    response: str
    session: str | None = None
    response_tokens: int | None = None
    counted_tokens: int | None = None
    other: Mapping[str, object] = field(default_factory=dict)


def assumed_arrival_ns(conversation: int, turn: int) -> int:
    """Return when a turn of a conversation arrives, both counted from 0, in a file of no times."""
    return conversation * START_GAP_NS + turn * TURN_GAP_NS


def date_of(arrival_ns: int, *, dated: bool) -> datetime:
    """Return the time of a request for its template, in UTC; `dated` says it counts from 1970."""
    return datetime.fromtimestamp(arrival_ns // NS_PER_S, UTC) if dated else UNDATED


def template_of(options: ReadOptions) -> ChatTemplate:
    """Return the template that turns messages into prompts under these options."""
    return load_template(options.chat_template, options.tokenizer)


def writable(name: str | None) -> str | None:
    """Return a name as UTF-8 can write it: JSON may hold half of a surrogate pair."""
    return None if name is None else name.encode(errors="backslashreplace").decode()
