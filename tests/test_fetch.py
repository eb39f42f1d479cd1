"""Downloads: whole or not at all, continued after a break, and only from where they should."""

import fcntl
import hashlib
import os
import resource
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from replay.config.catalogue import PublicTrace
from replay.config.columns import Columns
from replay.config.load import load_document
from replay.errors import (
    FetchError,
    OutputError,
    OutputExistsError,
)
from replay.trace.download import ATTEMPTS, CHUNK_BYTES, Download, download
from replay.trace.fetch import cached_path, fetch_trace, is_cached, pin_beside
from tests.local_server import serve

CONTENT = bytes(range(256)) * 1024  # four chunks
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CUT = CHUNK_BYTES + 5
BROKEN = [CUT] + [0] * (ATTEMPTS - 1)
NOBODY = 65534


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Keep traces in a folder of the test, and go to local servers without a proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "replay" / "traces"


@pytest.fixture
def waits():
    """The waits that a download asked for; none of them took place."""
    return []


@pytest.fixture
def fetch(waits):
    """Fetch the trace of a site."""

    def fetch(site, output=None, *, sha256=SHA256, size=SIZE, **options):
        trace = trace_at(site.address, sha256=sha256, size_bytes=size)
        return fetch_trace(trace, output, sleep=waits.append, **options)

    return fetch


def trace_at(address, **changes):
    facts = {"licence": "x", "citation": "x", "description": "x", "format": "mooncake"}
    return PublicTrace(name="t", address=address, **{**facts, **changes})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_download_is_verified_and_leaves_nothing_else(fetch, cache, waits):
    with serve(CONTENT) as site:
        fetched = fetch(site)
    assert (fetched.path, fetched.size_bytes, fetched.sha256) == (
        cache / "t.jsonl",
        len(CONTENT),
        SHA256,
    )
    assert fetched.path.read_bytes() == CONTENT
    assert names(cache) == ["t.jsonl"]
    assert (waits, fetched.hosts, fetched.pinned) == ([], (), False)


def test_a_verified_file_is_not_downloaded_again(fetch):
    with serve(CONTENT) as site:
        fetch(site)
        again = fetch(site)
        assert (len(site.asked), again.hosts, again.sha256) == (1, None, SHA256)
        fetch(site, force=True)
        assert len(site.asked) == 2


def test_a_damaged_file_of_the_cache_is_downloaded_again(fetch, cache):
    with serve(CONTENT) as site:
        fetch(site)
        (cache / "t.jsonl").write_bytes(CONTENT[:-1] + b"x")
        assert fetch(site).path.read_bytes() == CONTENT
        assert len(site.asked) == 2


def test_a_broken_connection_is_continued_where_it_broke(fetch, waits):
    with serve(CONTENT, cuts=[CUT, 10]) as site:
        assert fetch(site).path.read_bytes() == CONTENT
    assert [asked for _, asked in site.asked] == [None, f"bytes={CUT}-", f"bytes={CUT + 10}-"]
    assert waits == [1.0, 1.0]  # each brought something


def test_a_later_call_continues_what_an_earlier_one_left(fetch, cache):
    with serve(CONTENT, cuts=[*BROKEN]) as site:
        with pytest.raises(FetchError, match=r"the connection ended after 65,541 of 262,144 bytes"):
            fetch(site)
        assert names(cache) == ["t.jsonl.part", "t.jsonl.part.json"]
        site.asked.clear()
        assert fetch(site).sha256 == SHA256
        assert site.asked == [("/trace.jsonl", f"bytes={CUT}-")]
    assert names(cache) == ["t.jsonl"]


def test_ctrl_c_leaves_what_the_next_call_continues(fetch, cache):
    def stop(title, done, total):
        if done >= 2 * CHUNK_BYTES:
            raise KeyboardInterrupt

    with serve(CONTENT) as site:
        with pytest.raises(KeyboardInterrupt):
            fetch(site, progress=stop)
        assert (cache / "t.jsonl.part").stat().st_size == 2 * CHUNK_BYTES
        assert fetch(site).sha256 == SHA256
    assert site.asked[1] == ("/trace.jsonl", f"bytes={2 * CHUNK_BYTES}-")


def test_a_server_without_ranges_begins_anew(fetch):
    with serve(CONTENT, ranges=False, cuts=[CUT]) as site:
        assert fetch(site).path.read_bytes() == CONTENT
    assert len(site.asked) == 2


def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one(fetch, cache):
    with serve(b"old" * CHUNK_BYTES, cuts=[*BROKEN]) as site:
        with pytest.raises(FetchError):
            fetch(site, sha256=None, size=None)
        site.content, site.etag = CONTENT, '"v2"'
        assert fetch(site, sha256=None, size=None).path.read_bytes() == CONTENT
    assert site.asked[-1] == ("/trace.jsonl", f"bytes={CUT}-")


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_part_that_nothing_vouches_for_is_begun_anew(fetch, etag):
    with serve(CONTENT, etag=etag, cuts=[*BROKEN]) as site:
        with pytest.raises(FetchError):
            fetch(site, sha256=None)
        assert fetch(site, sha256=None).path.read_bytes() == CONTENT
    assert site.asked[-1] == ("/trace.jsonl", None)


def test_a_part_of_another_address_is_begun_anew(fetch):
    with serve(b"x" * SIZE, cuts=[*BROKEN]) as other, pytest.raises(FetchError):
        fetch(other)
    with serve(CONTENT) as site:
        assert fetch(site).sha256 == SHA256
        assert site.asked == [("/trace.jsonl", None)]


def test_a_wrong_checksum_leaves_nothing(fetch, cache):
    with serve(CONTENT) as site, pytest.raises(FetchError) as caught:
        fetch(site, sha256="0" * 64)
    assert f"another file than the catalogue knows (got sha256 {SHA256}" in caught.value.message
    assert names(cache) == []


def test_a_wrong_checksum_spares_the_file_that_was_there(fetch, tmp_path):
    target = tmp_path / "mine"
    target.write_text("precious")
    with serve(CONTENT) as site, pytest.raises(FetchError, match="another file"):
        fetch(site, target, sha256="0" * 64, force=True)
    assert target.read_text() == "precious"


def test_another_size_is_refused_before_the_download(fetch, cache):
    with serve(CONTENT) as site, pytest.raises(FetchError, match=r"got 262,144 bytes, not 7\)"):
        fetch(site, size=7)
    assert (cache / "t.jsonl.part").stat().st_size == 0


def test_a_file_longer_than_it_should_be_is_refused(fetch, cache):
    longer = pytest.raises(FetchError, match="the file is longer than 7 bytes")
    with serve(CONTENT, length=False) as site, longer:
        fetch(site, size=7)
    assert not (cache / "t.jsonl").exists()


def test_an_empty_answer_is_no_file(fetch):
    with serve(b"") as site, pytest.raises(FetchError, match="the server sent nothing"):
        fetch(site, sha256=None, size=None)


def test_an_unknown_digest_is_pinned_by_the_first_download(fetch, cache):
    with serve(CONTENT) as site:
        assert fetch(site, sha256=None).pinned
        assert names(cache) == ["t.jsonl", "t.jsonl.pin.json"]
        assert fetch(site, sha256=None).hosts is None
        (cache / "t.jsonl").unlink()
        assert not fetch(site, sha256=None).pinned


def test_a_pinned_digest_refuses_another_file_unless_forced(fetch, cache):
    changed = bytes(len(CONTENT))
    with serve(CONTENT) as site:
        fetch(site, sha256=None)
        (cache / "t.jsonl").unlink()
        site.content, site.etag = changed, '"v2"'
        with pytest.raises(FetchError, match="another file than the first download knows") as error:
            fetch(site, sha256=None)
        assert error.value.hint == "--force takes the file that is there now"
        assert fetch(site, sha256=None, force=True).pinned
        assert fetch(site, sha256=None).path.read_bytes() == changed


def test_a_pin_holds_for_its_address_only(fetch, cache):
    with serve(bytes(9)) as other:
        fetch(other, sha256=None, size=None)
    with serve(CONTENT) as site:
        assert fetch(site, sha256=None, size=None).path.read_bytes() == CONTENT


def test_a_missing_file_is_an_error_at_once(fetch, waits, cache):
    with serve(CONTENT, statuses=[404]) as site, pytest.raises(FetchError) as caught:
        fetch(site)
    assert caught.value.message == f"{site.address}: the server says 404 Not Found"
    assert caught.value.hint == (
        f"by hand: put the file of that address at {cache / 't.jsonl'} (sha256 {SHA256})"
    )
    assert waits == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(fetch, waits, status):
    with serve(CONTENT, statuses=[status] * 3) as site:
        assert fetch(site).sha256 == SHA256
    assert waits == [1.0, 2.0, 4.0]


def test_a_server_that_stays_in_trouble_is_an_error(fetch, waits):
    given_up = pytest.raises(FetchError, match=r"500 Internal Server Error \(5 times\)")
    with serve(CONTENT, statuses=[500] * 99) as site, given_up:
        fetch(site)
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_refused_connection_is_tried_again(fetch, waits):
    with serve(CONTENT) as site:
        pass
    with pytest.raises(FetchError, match=r"the connection failed: Connection refused \(5 times\)"):
        fetch(site)
    assert len(waits) == ATTEMPTS - 1


def test_without_a_network_the_error_says_what_to_do_by_hand(fetch, waits, monkeypatch):
    def offline(*_arguments, **_options):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.OpenerDirector.open", offline)
    with pytest.raises(FetchError, match="the host is not found: Name or service") as caught:
        fetch_trace(trace_at("https://example.org/t.jsonl"), sleep=waits.append)
    assert str(caught.value.hint).startswith("by hand: put the file of that address at /")
    assert waits == []


def test_a_part_that_is_whole_already_is_not_asked_for(tmp_path, fetch, cache):
    with serve(CONTENT, cuts=[*BROKEN]) as site:
        with pytest.raises(FetchError):
            fetch(site)
        (cache / "t.jsonl.part").write_bytes(CONTENT)
        site.asked.clear()
        assert fetch(site).sha256 == SHA256
        assert site.asked == []


def test_a_part_that_the_server_finds_too_long_is_begun_anew(fetch, cache):
    with serve(CONTENT, cuts=[*BROKEN]) as site:
        with pytest.raises(FetchError):
            fetch(site, size=None)
        (cache / "t.jsonl.part").write_bytes(CONTENT + b"x")
        assert fetch(site, size=None).path.read_bytes() == CONTENT


def test_two_downloads_of_one_file_do_not_mix(fetch, cache):
    cache.mkdir(parents=True)
    with serve(CONTENT) as site, (cache / "t.jsonl.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="is being downloaded by another replay"):
            fetch(site)
    assert site.asked == []


def test_progress_tells_how_much_there_is(tmp_path):
    told = []
    with serve(CONTENT) as site:
        download(Download(site.address), tmp_path / "part", progress=lambda *now: told.append(now))
    assert told[0] == ("Downloading", 0, len(CONTENT))
    assert told[-1] == ("Downloading", len(CONTENT), len(CONTENT))


def test_a_file_elsewhere_is_left_alone_unless_it_is_the_trace(fetch, tmp_path, cache):
    target = tmp_path / "mine.jsonl"
    target.write_text("precious")
    with serve(CONTENT) as site:
        with pytest.raises(OutputExistsError, match="is not t"):
            fetch(site, target)
        assert site.asked == []
        assert fetch(site, target, force=True).path == target
        assert fetch(site, target).hosts is None
    assert not cache.exists()


def test_a_cache_that_cannot_be_is_an_output_error(fetch, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with serve(CONTENT) as site, pytest.raises(OutputError, match="Not a directory") as caught:
        fetch(site)
    assert str(caught.value.hint).startswith("-o FILE writes elsewhere")


@pytest.fixture
def locked():
    """Give a folder that this process may read and not write, root or not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    yield folder
    os.seteuid(was)
    folder.rmdir()


def test_a_read_only_folder_is_an_output_error(fetch, locked):
    with serve(CONTENT) as site, pytest.raises(OutputError) as caught:
        fetch(site, locked / "t.jsonl")
    assert caught.value.message == f"cannot write {locked}/t.jsonl.part: Permission denied"
    assert site.asked == []


def test_a_full_disk_keeps_what_came(fetch, cache):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serve(CONTENT) as site:
        resource.setrlimit(resource.RLIMIT_FSIZE, (CUT, hard))
        try:
            with pytest.raises(OutputError, match="File too large") as caught:
                fetch(site)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(caught.value.hint).startswith("what came is kept; free some space")
        assert (cache / "t.jsonl.part").read_bytes() == CONTENT[:CUT]
        assert fetch(site).sha256 == SHA256
    assert site.asked[1] == ("/trace.jsonl", f"bytes={CUT}-")


def test_a_trace_is_kept_once_it_is_verified(fetch):
    with serve(CONTENT) as site:
        trace = trace_at(site.address, size_bytes=len(CONTENT))
        assert not is_cached(trace)
        fetch(site)
        assert is_cached(trace)
        cached_path(trace).write_bytes(b"short")
        assert not is_cached(trace)


def test_what_columns_mean_is_kept_beside_the_file(tmp_path):
    names = {"arrival": {"name": "ts", "unit": "ms"}, "input_tokens": "in", "output_tokens": "1"}
    meaning = Columns.model_validate({"columns": names, "delimiter": ";"})
    with serve(CONTENT) as site:
        fetched = fetch_trace(trace_at(site.address, format="columns", columns=meaning))
    assert fetched.columns == fetched.path.with_name("t.jsonl.columns.yaml")
    assert load_document(fetched.columns, Columns) == meaning


def test_a_pin_lies_beside_its_file():
    assert pin_beside(Path("a/t.jsonl")) == Path("a/t.jsonl.pin.json")
