"""What is compiled ahead of time leaves nothing to compile."""

from __future__ import annotations

import sys
from pathlib import Path

import numba
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.compiling.parts import NAMES, PARTS, uncompiled
from replay.compiling.processes import Compiled, compile_apart
from replay.compiling.warm import compile_kernels
from replay.kernels import code_cache

SAMPLE = str(Path(__file__).parents[1] / "traces" / "chat-small.jsonl")
pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


def called_kernels() -> dict[str, object]:
    """Return the compiled functions that modules outside `replay.kernels` import, by name."""
    return {
        name: value
        for module in list(sys.modules)
        if module.startswith("replay.") and not module.startswith("replay.kernels")
        for name, value in vars(sys.modules[module]).items()
        if hasattr(value, "signatures")
    }


def test_compiling_leaves_no_kernel_uncompiled():
    compile_kernels()
    kernels = called_kernels()
    assert {"replay_timed", "replay_untimed", "link_blocks"} <= kernels.keys()
    assert [name for name, kernel in kernels.items() if not kernel.signatures] == []
    assert uncompiled() == []


# What each kind of cache does that two requests do not: expire, hold, be watched, be full.
VARIANTS = [
    ("--untimed", "--capacity", "300blocks", "--set", "cache.ttl=5s", "--set", "engine.hold=2s"),
    ("--set", "cache.ttl=5s", "--capacity", "300blocks"),
    ("--set", "cache.kind=radix", "--set", "cache.policy=slru", "--set", "cache.ttl=5s"),
    ("--untimed", "--set", "cache.kind=radix", "--set", "cache.policy=lfu"),
    ("--set", "cache.kind=session_store", "--set", "cache.commit=incremental"),
    ("--no-cache",),
]


@pytest.mark.slow
@pytest.mark.parametrize("options", VARIANTS, ids=" ".join)
def test_no_variant_of_a_run_compiles_anything_more(options, tmp_path, monkeypatch):
    compile_kernels()
    written = []
    monkeypatch.setattr(code_cache, "write_entry", lambda path, _: written.append(path.name))
    run = str(tmp_path / "run")
    done = CliRunner().invoke(main, ["run", SAMPLE, "--gpu", "h100-sxm", *options, "-o", run])
    assert done.exit_code == 0, done.output
    if "cache.kind=session_store" not in options and "--no-cache" not in options:
        assert CliRunner().invoke(main, ["explain", run, "1002"]).exit_code == 0
    assert written == []


def test_parts_are_handed_to_processes_that_compile_them(monkeypatch):
    """Costs are compiled already, so this asks the processes and not the compiler."""
    compile_kernels()
    done = list(compile_apart(["costs", "curves", "costs"]))
    assert sorted(one.part for one in done) == ["costs", "costs", "curves"]
    assert [one.trouble for one in done] == [None] * 3


def test_a_part_that_fails_is_told_and_the_rest_are_compiled():
    done = {one.part: one for one in compile_apart(["no such part", "curves"], processes=1)}
    assert done["no such part"] == Compiled("no such part", 0.0, "KeyError: 'no such part'")
    assert done["curves"].trouble is None


def test_every_part_has_a_name_of_its_own():
    assert len(set(NAMES)) == len(PARTS)
