"""What a caller may tell a reader that a trace file does not say itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of all readers; one that a format has no use for is refused by its reader.

    `block_size` in tokens, for formats that do not state it. `tokenizer` is a tokenizer.json that
    turns text into token ids. `columns` is a YAML file that says which column means what.
    `max_rejected` is the share of rows, 0..1, that may be put aside as faulty.
    """

    block_size: int | None = None
    tokenizer: Path | None = None
    columns: Path | None = None
    max_rejected: float = 0.0

    def refuse(self, format_name: str, *names: str) -> None:
        """Raise InputError where an option is given that this format has no use for."""
        for name in names:
            if getattr(self, name) is not None:
                option = "--" + name.replace("_", "-")
                raise InputError(
                    f"{option} has no effect on the {format_name} format", hint="leave it out"
                )


DEFAULTS = ReadOptions()
