"""docs/caching.md lists every eviction policy, as the code describes it.

`python -m tests.test_docs_caching` writes the table.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from replay.cache.replacement import REPLACEMENTS
from replay.cli import main
from replay.config.policies import POLICIES

PAGE = Path(__file__).parents[1] / "docs" / "caching.md"
MARKS = re.compile(r"(<!-- policies:.*?-->\n).*?(<!-- end of policies -->)", re.DOTALL)


def with_table(text: str) -> str:
    """Return the page with the table of policies in its place."""
    lines = ["| policy | prefix-closed | what is evicted | source |", "|---|---|---|---|"]
    lines += [
        f"| `{one.name}` | {one.closure} | {one.meaning} | {one.reference} |"
        for one in REPLACEMENTS
    ]
    table = "\n".join(lines)
    return MARKS.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


def test_the_table_of_policies_is_current():
    text = PAGE.read_text(encoding="utf-8")
    assert with_table(text) == text, "run `python -m tests.test_docs_caching`"


def test_names_are_told_once_for_each_kind_of_cache():
    names = [one.name for one in REPLACEMENTS]
    assert len(set(names)) == len(names)
    kinds = [(one.kind, one.name) for one in POLICIES]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.slow
def test_the_story_of_a_request_is_what_the_commands_print(tmp_path, monkeypatch):
    block = re.search(r"```\n(\$ replay run .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces").symlink_to(PAGE.parents[1] / "traces")
    commands = [line for line in block[1].splitlines() if line.startswith("$ ")]
    shown = [line for line in block[1].splitlines() if not line.startswith("$ ")]
    printed = ""
    for command in commands:
        done = CliRunner().invoke(main, shlex.split(command)[2:])
        assert done.exit_code == 0, done.output
        printed = done.stdout
    assert len(commands) == 2
    assert shown == printed.splitlines()[: len(shown)]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
