"""What pages and pictures are made with, and where it cannot start."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from replay.errors import InputError
from replay.report.bundle import check_extra
from replay.report.pictures.files import check_plot

GIB = 2**30


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that this process may have 8 GiB of addresses, of which its scripts reserve more."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (8 * GIB, resource.RLIM_INFINITY))


def test_a_limit_that_would_end_the_process_is_told_before(limited: None) -> None:
    with pytest.raises(InputError, match=r"a page needs 72GiB of address space.* to 8GiB"):
        check_extra()
    with pytest.raises(InputError, match=r"plots need 72GiB"):
        check_plot(Path("x.svg"))


def test_without_a_limit_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (resource.RLIM_INFINITY, 72 * GIB):
        monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, limit))
        check_extra()
