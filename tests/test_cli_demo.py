"""`replay demo` runs the main job on what ships, wherever it is started."""

from __future__ import annotations

from click.testing import CliRunner

from replay.cli import main
from replay.runs.open import open_run


def test_the_demo_runs_in_an_empty_folder_and_names_what_it_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["demo"])
    assert done.exit_code == 0, done.output
    assert "2,132 completed" in done.stdout
    for title in ("token hit rate", "The prefix cache cut", "Where the prompt tokens went"):
        assert title in done.stdout
    assert "Run written to replay-demo" in done.stderr
    assert "Page written to replay-demo.html" in done.stderr
    run = open_run(tmp_path / "replay-demo")
    assert run.manifest["trace"]["name"] == "chat-small.jsonl"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replay-demo", "replay-demo.html"]
    assert "The slowest request waited" in (tmp_path / "replay-demo.html").read_text()
    again = CliRunner().invoke(main, ["demo"])
    assert again.exit_code == 2
    assert "replay-demo" in again.output
    assert CliRunner().invoke(main, ["demo", "--force"]).exit_code == 0
