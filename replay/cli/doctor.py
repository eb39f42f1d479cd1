"""`replay doctor`: whether this machine has what replay needs, one verdict a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from replay import __version__

LIBRARIES = ("polars", "duckdb", "numba", "numpy", "pydantic", "click", "rich")
MIN_PYTHON = (3, 11)
LITTLE_MEMORY_BYTES = 2 * 2**30
COMPLETION = {
    "bash": ("~/.bashrc", 'eval "$(_REPLAY_COMPLETE=bash_source replay)"'),
    "zsh": ("~/.zshrc", 'eval "$(_REPLAY_COMPLETE=zsh_source replay)"'),
    "fish": (
        "~/.config/fish/completions/replay.fish",
        "_REPLAY_COMPLETE=fish_source replay | source",
    ),
}


class Check(NamedTuple):
    """One line of the examination: `verdict` is `ok`, `warn` or `fail`."""

    verdict: str
    name: str
    detail: str


@click.command()
@click.option("--warm", is_flag=True, help="Compile all kernels now, so that no run has to.")
@click.pass_context
def doctor(ctx: click.Context, warm: bool) -> None:
    """Check the installation; with --warm, compile the kernels.

    Every kernel compiled before is loaded; one that cannot be is dropped.
    Ends with exit code 1 when something replay needs is missing or broken.
    """
    from replay.cli.output import note, say

    failed = 0
    for check in _checks(warm=warm):
        say(f"{check.verdict:4}  {check.name:12}  {check.detail}")
        failed += check.verdict == "fail"
    if failed:
        note(f"{failed} of the checks failed")
        ctx.exit(1)


def _checks(*, warm: bool) -> Iterator[Check]:
    """Yield the verdicts in the order they are printed, each as soon as it is known."""
    yield _python()
    yield from _libraries()
    yield _processor()
    yield _memory()
    yield from _kernel_cache()
    if warm:
        yield from _warm_kernels()
    yield _data("gpus")
    yield _data("models")
    yield _sample_trace()
    yield _terminal()
    yield _completion()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    verdict = "ok" if sys.version_info >= MIN_PYTHON else "fail"
    return Check(verdict, "python", f"{version} ({sys.executable}), replay {__version__}")


def _libraries() -> Iterator[Check]:
    import importlib
    import importlib.metadata

    for name in LIBRARIES:
        try:
            # Numba asks where its cache is when it is imported, so the kernels come first.
            importlib.import_module("replay.kernels.jit" if name == "numba" else name)
            yield Check("ok", name, importlib.metadata.version(name))
        except (ImportError, OSError) as error:
            yield Check("fail", name, f"cannot be imported: {error}; install kvreplay again")


def _processor() -> Check:
    import platform

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Check("ok", "processor", f"{usable} cores, {platform.machine()}, {platform.system()}")


def _memory() -> Check:
    from replay.units import format_bytes

    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total_bytes = os.sysconf("SC_PHYS_PAGES") * page_bytes
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    usable_bytes = min(total_bytes, int(text)) if text.isdigit() else total_bytes
    verdict = "warn" if usable_bytes < LITTLE_MEMORY_BYTES else "ok"
    return Check(verdict, "memory", format_bytes(usable_bytes))


def _kernel_cache() -> Iterator[Check]:
    """Yield what is known of the cache, every entry of it loaded by a process of its own."""
    from replay.compiling.processes import load_entries
    from replay.kernels.code_cache import FOLDER, FOLDER_VARIABLE, leftovers

    if FOLDER is None:
        detail = f"no private folder can be written; every run compiles. Set {FOLDER_VARIABLE}"
        yield Check("warn", "kernel cache", detail)
        return
    if FOLDER.stat().st_mode & 0o022 or FOLDER.parent.stat().st_mode & 0o022:
        detail = f"{FOLDER} can be written by others, and is run as code"
        yield Check("warn", "kernel cache", detail)
        return
    for partial in leftovers():
        partial.unlink(missing_ok=True)
    loaded = load_entries()
    state = (
        f"{loaded.good} kernels compiled and loaded" if loaded.good else "empty: --warm fills it"
    )
    if loaded.foreign:
        state += f", {loaded.foreign} of another processor or version"
    yield Check("ok", "kernel cache", f"{FOLDER}, private, {state}")
    for trouble in loaded.troubles:
        yield Check("warn", "kernel cache", f"dropped, to be compiled anew: {trouble}")


def _warm_kernels() -> Iterator[Check]:
    """Compile what is not, and yield each part when it is done."""
    import time

    from replay.cli.progress import progress
    from replay.compiling.parts import PARTS, uncompiled
    from replay.compiling.processes import compile_apart
    from replay.kernels.code_cache import FOLDER

    if FOLDER is None:
        yield Check("fail", "kernels", "nothing can be kept: see kernel cache")
        return
    start = time.monotonic()
    left = [part.name for part in uncompiled()]
    there = len(PARTS) - len(left)
    failed = 0
    with progress("Compiling kernels", patience_s=0) as bar:
        bar.update(there, len(PARTS))
        for count, done in enumerate(compile_apart(left), start=there + 1):
            bar.update(count, len(PARTS))
            name = f"kernels {count}/{len(PARTS)}"
            if done.trouble is None:
                yield Check("ok", name, f"{done.part}, {done.seconds:.1f} s")
            else:
                failed += 1
                yield Check("fail", name, f"{done.part}: {done.trouble}")
    ready = f"{len(PARTS) - failed} of {len(PARTS)} parts ready"
    if not failed:
        yield Check("ok", "kernels", f"{ready} in {time.monotonic() - start:.1f} s")


def _data(folder: str) -> Check:
    """Read every shipped file of a kind, so that a damaged one is found here."""
    from replay.errors import ReplayError
    from replay.gpu.spec import gpu_names, load_gpu, load_model, model_names
    from replay.resources import data_folder

    place = data_folder("hardware") / folder
    names = gpu_names() if folder == "gpus" else model_names()
    if not names:
        return Check("fail", folder, f"none found in {place}; install kvreplay again")
    for name in names:
        try:
            (load_gpu if folder == "gpus" else load_model)(name)
        except ReplayError as error:
            return Check("fail", folder, error.message)
    return Check("ok", folder, f"{len(names)} in {place}")


def _sample_trace() -> Check:
    from replay.resources import data_folder

    sample = data_folder("traces") / "chat-small.jsonl"
    if not sample.is_file():
        return Check("warn", "sample trace", f"not found: {sample}")
    return Check("ok", "sample trace", str(sample))


def _terminal() -> Check:
    from replay.cli.output import console

    if not sys.stdout.isatty():
        return Check("ok", "terminal", "none: plain text, no progress bar")
    screen = console()
    if not screen.encoding.startswith("utf"):
        return Check("warn", "terminal", f"{screen.encoding} is not UTF-8; names may be escaped")
    colour = screen.color_system or "no"
    return Check("ok", "terminal", f"{screen.width} columns, {screen.encoding}, {colour} colour")


def _completion() -> Check:
    shell = Path(os.environ.get("SHELL", "bash")).name
    place, line = COMPLETION.get(shell, COMPLETION["bash"])
    return Check("ok", "completion", f"for tab completion, add to {place}: {line}")
