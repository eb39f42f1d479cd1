"""Files are read whole: pipes to their end, what has no end not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from replay import reading
from replay.reading import read_whole


def fifo(tmp_path: Path, *pieces: bytes) -> Path:
    """Return a FIFO that a thread writes pieces to, none without pieces."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)

    if pieces:
        threading.Thread(target=write, daemon=True).start()
    return path


def test_a_pipe_is_read_to_its_end(tmp_path):
    assert read_whole(fifo(tmp_path, b"a", b"bc", b"x" * 300_000)) == b"abc" + b"x" * 300_000


def test_a_pipe_that_nobody_writes_to_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PATIENCE_S", 0.05)
    with pytest.raises(OSError, match="nobody writes to this pipe"):
        read_whole(fifo(tmp_path))


def test_the_end_of_an_anonymous_pipe_is_its_end(tmp_path):
    read, write = os.pipe()
    os.write(write, b"abc")
    os.close(write)
    assert read_whole(f"/dev/fd/{read}") == b"abc"
    os.close(read)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/random", "/dev/full"])
def test_a_device_without_end_is_refused(device):
    with pytest.raises(OSError, match="is a device"):
        read_whole(device)


def test_a_file_is_read_up_to_a_bound(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_whole(path, most_bytes=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_whole(path, most_bytes=4)
    assert read_whole("/dev/null") == b""


def test_a_pipe_is_read_up_to_half_of_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "half_of_memory", lambda: 10)
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_whole(fifo(tmp_path, b"x" * 11))
