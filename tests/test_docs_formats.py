"""docs/formats/README.md is made from the table of formats: `python -m tests.test_docs_formats`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replay.trace.readers import READERS, load_trace
from replay.trace.readers.options import OPTION_NAMES
from replay.trace.writers import WRITERS

PAGE = Path(__file__).parents[1] / "docs" / "formats" / "README.md"


def render() -> str:
    """Return the page: what each format is, what identifies content, sessions, what is assumed."""
    lines = [
        "# Trace formats",
        "",
        "Formats are told by content; `--format-in NAME` forces one. Each has a page with an",
        "example, its units and the faults that are told. `.gz` and `.zst` files are unpacked, `-`",
        "is standard input, and a folder or a quoted pattern is read as one trace.",
        "",
        "| format | what it is | content is identified by | sessions | assumed | options |",
        "|---|---|---|---|---|---|",
    ]
    for reader in sorted(READERS, key=lambda one: one.name):
        takes = ", ".join(f"`{OPTION_NAMES[name]}`" for name in reader.takes)
        lines.append(
            f"| [{reader.name}]({reader.name}.md) | {reader.meaning} | {reader.content} "
            f"| {reader.sessions} | {reader.assumes} | {takes} |"
        )
    lines += [
        "",
        "`--max-rejected` goes with all but `parquet`, which is taken whole or not at all.",
        "",
        "Written are, by the suffix of the file or `--format-out NAME`:",
        "",
        "| format | suffixes | what it keeps |",
        "|---|---|---|",
    ]
    for writer in WRITERS:
        suffixes = " ".join(f"`{suffix}`" for suffix in writer.suffixes)
        lines.append(f"| {writer.name} | {suffixes} | {writer.meaning} |")
    return "\n".join(lines) + "\n"


def test_the_page_is_that_of_the_table():
    assert PAGE.read_text() == render(), "write it again: python -m tests.test_docs_formats"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_every_format_says_what_it_takes_for_granted(reader):
    assert reader.content
    assert reader.sessions
    assert reader.assumes
    assert set(reader.takes) <= set(OPTION_NAMES)


# Pages whose first example is a mapping, or is cut short where the file is not.
CUT_SHORT = {"parquet", "columns", "bailian", "weka", "llmservingsim"}


@pytest.mark.parametrize(
    "reader", [one for one in READERS if one.name not in CUT_SHORT], ids=lambda one: one.name
)
def test_the_example_of_a_page_is_read_as_its_format(reader, tmp_path):
    page = (PAGE.parent / f"{reader.name}.md").read_text()
    example = re.search(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert example
    suffix = (reader.suffixes or (".txt",))[0]
    path = tmp_path / f"example{suffix}"
    path.write_text(example[1])
    trace = load_trace(path)
    assert trace.meta.format == reader.name
    assert trace.requests >= 1


if __name__ == "__main__":
    PAGE.write_text(render())
