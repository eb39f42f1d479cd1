"""The kernel cache: whatever becomes of an entry, its kernel runs, compiled anew if need be."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from replay.compiling.parts import CURVES, READING
from replay.compiling.warm import compile_part
from replay.kernels import code_cache
from replay.kernels.jit import KeptCode, jit

ROOT = Path(__file__).parents[1]
compiled = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


def tripled(x):
    return 3 * x


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(code_cache, "FOLDER", tmp_path)
    monkeypatch.setattr(code_cache, "troubles", [])
    return tmp_path


def the_entry(folder):
    [entry] = folder.iterdir()
    return entry


def run_once():
    """Return the kernel's answer and whether it was loaded rather than compiled."""
    dispatcher = jit(tripled)
    dispatcher._cache = KeptCode(tripled)
    answer = dispatcher(14)
    return answer, sum(dispatcher.stats.cache_hits.values()) == 1


def flipped(at):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[int(at * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return damage


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def replaced(content):
    return lambda path: path.write_bytes(content)


def made_a_folder(path):
    path.unlink()
    (path / "below").mkdir(parents=True)


def made_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def made_a_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def lengthened(path):
    path.write_bytes(path.read_bytes() + b"\0")


def signed(payload):
    """Write an entry that is whole, by replay's own writing, with other content."""
    return lambda path: code_cache.write_entry(path, payload)


DAMAGES = {
    "empty": replaced(b""),
    "one byte": replaced(b"r"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": replaced(b"<html>404</html>"),
    "cut in the mark": cut(0.0005),
    "cut in the digest": cut(0.002),
    "cut early": cut(0.1),
    "cut in the middle": cut(0.5),
    "cut late": cut(0.999),
    "a byte more": lengthened,
    "flipped in the mark": flipped(0.0),
    **{f"flipped at {at:.0%}": flipped(at) for at in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)},
    "a folder": made_a_folder,
    "a pipe": made_a_pipe,
    "a link to itself": made_a_loop,
    "of no pickle": signed(b"not a pickle"),
    "of another kernel": signed(b"\x80\x04]\x94(K\x01K\x02e."),  # [1, 2]
    "of a lost module": signed(b"cno.such.module\nName\n."),
}


@compiled
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_dropped_and_compiled_anew(folder, damage):
    assert run_once() == (42, False)
    entry = the_entry(folder)
    damage(entry)
    assert run_once() == (42, False)
    assert code_cache.troubles != []
    assert str(entry) in code_cache.troubles[0]
    if entry.is_file():  # a folder in its place stays, and is told each time
        assert run_once() == (42, True)


@compiled
def test_kernels_that_the_digest_does_not_cover_are_not_kept(folder):
    assert jit(tripled)(14) == 42
    assert list(folder.iterdir()) == []


@compiled
def test_every_single_flipped_bit_is_seen(folder):
    run_once()
    entry = the_entry(folder)
    whole = entry.read_bytes()
    assert code_cache.read_entry(entry) is not None
    for at in {*range(64), *range(64, len(whole), 97)}:
        for bit in (1, 128):
            entry.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            assert code_cache.read_entry(entry) is None, at


@compiled
def test_entries_of_other_processors_and_options_lie_beside(folder, monkeypatch):
    assert run_once() == (42, False)
    monkeypatch.setattr("replay.kernels.jit._machine", lambda codegen: ("another",))
    assert run_once() == (42, False)
    assert len(list(folder.iterdir())) == 2
    assert code_cache.troubles == []


@compiled
def test_a_full_disk_is_told_and_leaves_nothing(folder, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "replace", full)
    assert run_once() == (42, False)
    [trouble] = code_cache.troubles
    assert "cannot be kept: No space left on device" in trouble
    assert list(folder.iterdir()) == []


@compiled
def test_a_folder_that_goes_away_is_told(folder):
    folder.rmdir()
    assert run_once() == (42, False)
    assert "cannot be kept: No such file" in code_cache.troubles[0]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_unreadable_entry_is_dropped(folder):
    run_once()
    the_entry(folder).chmod(0)
    assert run_once() == (42, False)


def test_the_digest_covers_subfolders(tmp_path, monkeypatch):
    monkeypatch.setattr(code_cache, "__file__", str(tmp_path / "code_cache.py"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "x.py").write_text("1")
    before = code_cache.source_digest()
    (tmp_path / "below" / "x.py").write_text("2")
    assert code_cache.source_digest() != before


def test_a_folder_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = code_cache.cache_folder()
    assert folder is not None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert code_cache.cache_folder() is None


def test_what_killed_processes_left_is_found(folder):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = folder / f"f.g-0.nbc.partial-{gone.pid}"
    left.touch()
    (folder / f"f.g-1.nbc.partial-{os.getpid()}").touch()
    assert list(code_cache.leftovers()) == [left]


@compiled
@pytest.mark.slow
def test_a_command_heals_its_cache_and_says_so_once(tmp_path):
    """`replay curve` with half of its kernels damaged: the same table, and one note."""
    compile_part(READING)
    compile_part(CURVES)
    assert code_cache.FOLDER is not None
    folder = tmp_path / code_cache.source_digest()
    shutil.copytree(code_cache.FOLDER, folder)
    sample = str(ROOT / "traces" / "chat-small.jsonl")

    def curve():
        return subprocess.run(
            [sys.executable, "-m", "replay", "curve", sample, "--format", "csv"],
            capture_output=True, text=True, check=True, cwd=ROOT,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        )  # fmt: skip

    before = curve()
    assert "ompil" not in before.stderr
    entries = [path for path in folder.iterdir() if path.name.startswith(("grow.", "stack."))]
    assert len(entries) >= 4
    for place, entry in enumerate(entries):
        (flipped(0.5), cut(0.5), replaced(b""))[place % 3](entry)
    after = curve()
    assert after.stdout == before.stdout
    assert after.stderr.count("compiled anew") == 1
    again = curve()
    assert again.stdout == before.stdout
    assert "ompil" not in again.stderr
    assert [code_cache.read_entry(path) for path in entries] != [None] * len(entries)
