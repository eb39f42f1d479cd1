"""Who may import whom, and that the command line starts light."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("polars", "duckdb", "numba", "numpy", "pydantic", "yaml", "rich", "altair")
MAX_MODULES = 170  # a budget in modules, because times differ from machine to machine


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_imports_point_down_the_layers():
    linter = Path(sys.executable).with_name("lint-imports")
    assert linter.is_file(), "import-linter is not installed; see `make test`"
    done = subprocess.run([linter], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["replay", "replay.cli"])
def test_importing_brings_in_nothing_heavy(module):
    loaded = run_python(f"import sys, {module}; print(*sys.modules)")
    assert [name for name in HEAVY if name in loaded] == []


def test_help_brings_in_nothing_heavy():
    loaded = run_python(
        "import sys; from replay.cli import main; main(['--help'], standalone_mode=False);"
        "print('modules', *sys.modules)"
    )
    modules = loaded[loaded.index("modules") + 1 :]
    assert [name for name in HEAVY if name in modules] == []
    assert len(modules) < MAX_MODULES
