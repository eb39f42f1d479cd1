"""The one way to write: what is never replaced, and what a killed process leaves behind."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.errors import InputError, OutputError, OutputExistsError
from replay.writing import whole
from replay.writing.partial import partial_file, partial_folder, remove_leftovers
from replay.writing.target import check_file
from replay.writing.whole import whole_file

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"


def write(path: Path, content: bytes = b"new", *, force: bool = False) -> None:
    with whole_file(path, force=force) as sink:
        sink.write(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What is never replaced


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path):
    target = tmp_path / "out"
    write(target, b"old")
    with pytest.raises(OutputExistsError, match="is there already"):
        write(target)
    assert target.read_bytes() == b"old"
    write(target, force=True)
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("exists", [False, True])
def test_a_link_stays_and_what_it_names_is_written(tmp_path, exists):
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    if exists:
        write(real, b"old")
        with pytest.raises(OutputExistsError):
            write(link)
    write(link, force=exists)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert names(tmp_path) == ["link", "real"]


@pytest.mark.parametrize("force", [False, True])
def test_a_device_is_written_and_stays_a_device(force):
    before = Path("/dev/null").stat()
    write(Path("/dev/null"), force=force)
    assert os.path.samestat(before, Path("/dev/null").stat())


def test_a_full_device_is_an_output_error():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OutputError, match="the disk is full"):
        write(Path("/dev/full"))


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join()
    assert got == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_that_nobody_reads_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "_READER_WAIT_S", 0.0)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="nobody reads this pipe"):
        write(tmp_path / "pipe")


def test_an_open_descriptor_is_appended_to(tmp_path):
    with (tmp_path / "log").open("ab") as file:
        file.write(b"first ")
        file.flush()
        write(Path(f"/dev/fd/{file.fileno()}"))
    assert (tmp_path / "log").read_bytes() == b"first new"


def test_a_file_that_appears_meanwhile_stays(tmp_path):
    def race() -> None:
        with whole_file(tmp_path / "out", force=False) as sink:
            sink.write(b"new")
            (tmp_path / "out").write_bytes(b"mine")

    with pytest.raises(OutputExistsError, match="appeared"):
        race()
    assert (tmp_path / "out").read_bytes() == b"mine"
    assert names(tmp_path) == ["out"]


# What is never written to: inputs


def test_an_input_is_no_output_whatever_it_is_called(tmp_path):
    source = tmp_path / "in"
    write(source)
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    for same in (source, tmp_path / "link", tmp_path / "hard", tmp_path / "." / "in"):
        with pytest.raises(InputError, match="is the input itself"):
            check_file(same, force=True, inputs=[None, source])


@pytest.mark.parametrize("place", ["in/out", "in/deep/out"])
def test_nothing_is_written_into_a_folder_that_is_read(tmp_path, place):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    with pytest.raises(InputError, match="lies in the folder that is read"):
        check_file(tmp_path / place, force=False, inputs=[tmp_path / "in"])


def test_nothing_is_written_that_a_pattern_would_read(tmp_path):
    write(tmp_path / "a.jsonl")
    pattern = str(tmp_path / "*.jsonl")
    for name in ("a.jsonl", "b.jsonl"):
        with pytest.raises(InputError, match="is one of the inputs"):
            check_file(tmp_path / name, force=True, inputs=[pattern])
    (tmp_path / "deep").mkdir()
    check_file(tmp_path / "deep" / "b.jsonl", force=False, inputs=[pattern])
    check_file(tmp_path / "b.parquet", force=False, inputs=[pattern])


READING = [
    ("describe", SAMPLE), ("check", SAMPLE), ("curve", SAMPLE), ("policies", SAMPLE),
    ("gain", SAMPLE), ("convert", SAMPLE), ("anonymize", SAMPLE), ("run", SAMPLE),
]  # fmt: skip


@pytest.mark.parametrize("command", [name for name, _ in READING if name != "run"])
def test_no_command_overwrites_its_own_input(tmp_path, command):
    source = tmp_path / "t.jsonl"
    source.write_bytes(SAMPLE.read_bytes()[:5000].rsplit(b"\n", 1)[0])
    before = source.read_bytes()
    done = CliRunner().invoke(main, [command, str(source), "-o", str(source), "--force"])
    assert (done.exit_code, source.read_bytes()) == (2, before), done.output
    assert "is the input itself" in done.output


@pytest.mark.parametrize("command", [name for name, _ in READING])
def test_no_command_writes_into_the_folder_it_reads(tmp_path, command):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "t.jsonl").write_bytes(SAMPLE.read_bytes())
    done = CliRunner().invoke(main, [command, str(folder), "-o", str(folder / "o.jsonl")])
    assert done.exit_code == 2
    assert "folder that is read" in done.output
    assert names(folder) == ["t.jsonl"]


# What is told before any work


UNWRITABLE = {
    "nowhere/o.jsonl": "no such folder", "file/o.jsonl": "is a file", "folder": "folder",
    f"{'n' * 300}.jsonl": "name is too long",
}  # fmt: skip


@pytest.mark.parametrize("command", [name for name, _ in READING if name != "run"])
@pytest.mark.parametrize("place", UNWRITABLE)
def test_a_place_that_cannot_be_written_is_told_before_the_trace_is_read(
    tmp_path, command, place, monkeypatch
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    # Reading would fail. The importing module first: it must not take the None for the function.
    monkeypatch.setattr("replay.engine.prepare.load_trace", None)
    monkeypatch.setattr("replay.trace.readers.load_trace", None)
    target = str(tmp_path / place)
    done = CliRunner().invoke(main, [command, str(SAMPLE), "-o", target])
    assert done.exit_code == 2
    assert UNWRITABLE[place] in done.output
    assert names(tmp_path) == ["file", "folder"]


def test_what_the_operating_system_refuses_is_told_before_the_work(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "no")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match="the file system is read-only"):
        check_file(tmp_path / "out", force=False)


# How it appears


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_is_respected(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write(tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == mode


def test_size_and_digest_are_known_when_it_is_written(tmp_path):
    import hashlib

    with whole_file(tmp_path / "out", force=False) as sink:
        sink.write(b"one ")
        sink.write(memoryview(b"two"))
    assert (sink.size_bytes, sink.sha256) == (7, hashlib.sha256(b"one two").hexdigest())


def test_a_disk_error_is_told_in_its_own_words_whatever_a_library_makes_of_it(tmp_path):
    class Full:
        def write(self, _: object) -> None:
            raise OSError(errno.ENOSPC, "no")

    def attempt() -> None:
        with whole_file(tmp_path / "out", force=False) as sink:
            sink._file = Full()
            try:
                sink.write(b"x")
            except OSError as error:
                raise RuntimeError("the encoder is out of specification") from error

    with pytest.raises(OutputError, match="the disk is full"):
        attempt()
    assert names(tmp_path) == []


# What killed processes leave


def test_leftovers_are_removed_at_the_next_write_unless_somebody_still_writes(tmp_path):
    (tmp_path / ".out.replay-partial-1").write_bytes(b"half")
    (tmp_path / ".run.replay-partial-1-2").mkdir()
    (tmp_path / ".run.replay-partial-1-2" / "x").write_bytes(b"half")
    (tmp_path / ".mine.partial").write_bytes(b"mine")
    with partial_file(tmp_path / "busy") as (busy, descriptor), partial_folder(tmp_path / "b") as b:
        write(tmp_path / "out")
        assert names(tmp_path) == sorted([".mine.partial", busy.name, b.name, "out"])
        os.close(descriptor)
    assert names(tmp_path) == [".mine.partial", "out"]


def test_a_run_that_was_moved_aside_is_named_and_kept(tmp_path):
    aside = tmp_path / ".run.replay-replaced-1"
    aside.mkdir()
    assert remove_leftovers(tmp_path) == ([], [aside])
    assert aside.is_dir()


def test_a_link_under_the_name_of_a_leftover_is_left_alone(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / ".x.replay-partial-1").symlink_to(tmp_path / "mine")
    assert remove_leftovers(tmp_path) == ([], [])
    assert names(tmp_path) == [".x.replay-partial-1", "mine"]


def test_a_command_names_what_it_removed(tmp_path):
    (tmp_path / ".out.csv.replay-partial-1").write_bytes(b"half")
    done = CliRunner().invoke(main, ["list", "formats", "-o", str(tmp_path / "out.csv")])
    said = " ".join(done.stderr.split())  # a note is folded, and the folder's name may be long
    assert ".out.csv.replay-partial-1, half-written by a replay that was killed" in said
    assert names(tmp_path) == ["out.csv"]


_WRITER = """
import pathlib, sys, time
from replay.writing.whole import whole_file, whole_folder
target, kind = pathlib.Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
while True:
    if kind == "file":
        with whole_file(target, force=True) as sink:
            for _ in range(50):
                sink.write(bytes(20))
    else:
        with whole_folder(target, check=lambda: None) as partial:
            for name in "abc":
                (partial / name).write_bytes(bytes(1000))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_at_any_moment_leaves_a_whole_one_and_the_next_start_cleans(tmp_path, kind):
    """Kills a process that does nothing but write, twenty times."""
    target = tmp_path / "out"
    for number in range(20):
        command = [sys.executable, "-c", _WRITER, str(target), kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            deadline = time.monotonic() + 30
            while not target.exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.003 * number)
            writer.send_signal(signal.SIGKILL)
        sizes = (
            [target.stat().st_size]
            if kind == "file"
            else [(target / name).stat().st_size for name in "abc"]
        )
        assert sizes == ([1000] if kind == "file" else [1000] * 3)
        remove_leftovers(tmp_path)
        assert names(tmp_path) == ["out"]


def test_a_dash_is_no_file_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="names no file"):
        check_file(Path("-"), force=True)
