"""docs/python.md and docs/notebook.ipynb run, and print what they show.

The cells of the notebook are run in order in one process of their own, as a script: it has no magic
commands, and a kernel would be much to install for that.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:```\n(.*?)^```\n)?", PAGE, re.DOTALL | re.MULTILINE)
NOTEBOOK = json.loads((DOCS / "notebook.ipynb").read_text())


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Stand in a folder that has the sample traces, as in a checkout."""
    (tmp_path / "traces").symlink_to(ROOT / "traces")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_blocks_of_the_page_print_what_stands_under_them(checkout):
    pytest.importorskip("altair")
    assert len(BLOCKS) > 7
    names: dict[str, object] = {}
    for code, shown in BLOCKS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/python.md", "exec"), names)
        assert printed.getvalue() == shown, code


def test_the_notebook_runs_from_its_first_cell_to_its_last(checkout):
    pytest.importorskip("altair")
    cells = [one for one in NOTEBOOK["cells"] if one["cell_type"] == "code"]
    assert len(cells) > 5
    code = "\n".join("".join(cell["source"]) for cell in cells)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_notebook_keeps_no_outputs():
    """Outputs change with versions and say nothing that running it does not: it ships without."""
    assert NOTEBOOK["nbformat"] == 4
    for cell in NOTEBOOK["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (DOCS / link).exists()] == []
