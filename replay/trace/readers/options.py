"""What a caller may tell a reader that a trace file does not say itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of all readers; each takes those that its entry in the table of formats names.

    `block_size` in tokens, for formats that do not state it, and for the size of blocks that
    unchained ids are chained into. `max_rejected` is the share of rows, 0..1, that may be faulty
    and put aside. `tokenizer` is a tokenizer.json and `chat_template` a Jinja template, for
    formats of text. `columns` is a YAML file that says which column means what.
    `max_unpacked_bytes` is how much a packed file may unpack to; None leaves it to its size.
    """

    block_size: int | None = None
    max_rejected: float = 0.0
    tokenizer: Path | None = None
    chat_template: Path | None = None
    columns: Path | None = None
    max_unpacked_bytes: int | None = None


DEFAULTS = ReadOptions()
OPTION_NAMES = {
    "block_size": "--trace-block-size",
    "tokenizer": "--tokenizer",
    "chat_template": "--chat-template",
    "columns": "--columns",
}
