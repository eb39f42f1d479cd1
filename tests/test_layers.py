"""Who may import whom, and that the command line starts light."""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.trace.sessions import infer_sessions

ROOT = Path(__file__).parents[1]
SAMPLE = str(ROOT / "traces" / "chat-small.jsonl")
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


def test_no_module_imports_itself_through_others():
    """Also not in a function or for its types alone, and no folder's `__init__` either."""
    graph = grimp.build_graph("replay", cache_dir=None)
    imports = {one: graph.find_modules_directly_imported_by(one) for one in graph.modules}
    assert len(imports) == len([*(ROOT / "replay").rglob("*.py")])
    TopologicalSorter(imports).prepare()  # names the circle, where there is one


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


# What a command must not bring in: it takes longer to import than the command takes to answer.
SPARED = ("replay.gpu", "replay.config.hardware", "duckdb", "altair", "vl_convert", "tokenizers")
QUESTIONS = [
    ("curve", SAMPLE),
    ("curve", SAMPLE, "--by", "session"),
    ("policies", SAMPLE, "--capacity", "5000blocks", "--policy", "lru,arc,min"),
    ("run", SAMPLE, "--untimed", "--capacity", "5000blocks", "-o", "run"),
]


@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_a_question_to_the_cache_alone_brings_in_no_hardware_and_no_database(command, tmp_path):
    if command[-1] == "run":
        command = (*command[:-1], str(tmp_path / "run"))
    loaded = run_python(
        f"import sys; from replay.cli import main; main({list(command)}, standalone_mode=False);"
        "print('modules', *sys.modules)"
    )
    modules = loaded[loaded.index("modules") + 1 :]
    assert [name for name in modules if name.startswith(SPARED)] == []
    assert "polars" in modules


@pytest.mark.parametrize(
    ("options", "inferred"),
    [
        (("--policy", "lru,arc,min"), False),
        (("--policy", "lru,workload_aware"), True),
        ((), False),
        (("--by", "session"), True),
    ],
)
def test_sessions_are_inferred_where_the_answer_depends_on_them(options, inferred, monkeypatch):
    called = []

    def infer(trace):
        called.append(True)
        return infer_sessions(trace)

    monkeypatch.setattr("replay.engine.growing.infer_sessions", infer)
    done = CliRunner().invoke(main, ["curve", SAMPLE, "--capacity", "5000blocks", *options])
    assert done.exit_code == 0, done.output
    assert bool(called) == inferred
    assert ("sessions inferred" in done.stderr) == inferred
