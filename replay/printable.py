"""Text that may come from a file, as it may be shown: it cannot steer a terminal or forge lines.

What a trace calls its models, a path, a column or a message of a library may hold escape sequences,
controls of C0 and C1, marks that turn the direction of writing, and other characters that nobody
sees. They are shown as Python writes them in a string, such as `\\x1b`.
"""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """Return a text with every character that cannot be printed escaped, but those of `keep`."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def printable_lines(text: str) -> str:
    """Return `printable` for a text of several lines, which may be indented by tabs."""
    return printable(text, keep="\n\t")
