"""Every command the README shows runs, and prints what the README says it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from replay.cli import main

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = FENCED.findall((ROOT / "README.md").read_text())


def commands() -> list[tuple[str, list[str]]]:
    """Return each command of the README's blocks, in order, with the output lines shown."""
    found: list[tuple[str, list[str]]] = []
    for language, block in BLOCKS:
        if language:
            continue
        for line in block.splitlines():
            if line.startswith(("$ replay ", "replay ")):
                found.append((line.removeprefix("$ "), []))
            elif found and block.startswith("$ ") and line:
                found[-1][1].append(line)
    return found


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, str]:
    """Run all of them in a folder that has the sample trace, as in a checkout."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "traces").symlink_to(ROOT / "traces")
    outputs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command, _ in commands():
            done = CliRunner().invoke(main, shlex.split(command)[1:])
            assert done.exit_code == 0, f"{command}\n{done.output}"
            outputs[command] = done.stdout
    return outputs


@pytest.mark.slow
def test_the_commands_run_and_print_what_is_shown(printed):
    assert len(printed) > 7
    for command, lines in commands():
        for line in lines:
            assert line in printed[command].splitlines(), command


@pytest.mark.slow
def test_the_python_runs(monkeypatch, capsys):
    (code,) = (block for language, block in BLOCKS if language == "python")
    monkeypatch.chdir(ROOT)
    exec(code, {})
    assert capsys.readouterr().out.count("ttft_ms") == 2


def test_every_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    assert [name for name in main.commands if f"`replay {name}" not in text] == []


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
