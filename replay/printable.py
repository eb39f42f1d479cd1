"""Text of files and people on its way to a terminal: shown, never obeyed."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return lines without control characters: whatever a file calls its things, it is shown.

    Ends of lines stay. Everything else that is no printable character (escape sequences, marks of
    writing direction, halves of surrogate pairs) is written as Python escapes it.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def on_one_line(text: str) -> str:
    """Return a text as a cell or a title may hold it: its ends of lines are written out as well."""
    return printable(text).replace("\n", "\\n")
