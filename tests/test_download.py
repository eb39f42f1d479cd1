"""Downloads from servers that do not keep to the rules: no mixed file, no short one, no crash."""

import fcntl

import pytest

from replay.errors import FetchError
from replay.trace.download import ATTEMPTS, CHUNK_BYTES, Download, download, state_beside
from tests.local_server import serve

CONTENT = bytes(range(256)) * 1024  # four chunks
OLD = b"old!" * (len(CONTENT) // 4)
CUT = CHUNK_BYTES + 5
BROKEN = [CUT] + [0] * (ATTEMPTS - 1)


@pytest.fixture
def part(monkeypatch, tmp_path):
    """Return where a download goes; local servers are asked without a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "part"


def ignore_wait(_seconds):
    """Stand in for waiting."""


def whole(site, part, sleep=ignore_wait, **known):
    download(Download(site.address, **known), part, sleep=sleep)
    return part.read_bytes()


def test_a_part_of_another_version_is_not_taken_from_a_server_without_if_range(part):
    with serve(OLD, if_range=False, cuts=[*BROKEN]) as site:
        with pytest.raises(FetchError):
            whole(site, part)
        site.content, site.etag = CONTENT, '"v2"'
        assert whole(site, part) == CONTENT
    assert [asked for _, asked in site.asked[-2:]] == [f"bytes={CUT}-", None]


def test_a_file_that_changes_between_two_attempts_is_begun_anew(part):
    with serve(OLD, if_range=False, cuts=[CUT]) as site:

        def change(_seconds):
            site.content, site.etag = CONTENT, '"v2"'

        assert whole(site, part, change) == CONTENT


def test_a_break_is_not_continued_where_nothing_vouches_for_the_rest(part):
    with serve(OLD, etag=None, cuts=[CUT]) as site:

        def change(_seconds):
            site.content = CONTENT

        assert whole(site, part, change) == CONTENT
    assert [asked for _, asked in site.asked] == [None, None]


def test_a_break_is_continued_where_a_digest_will_tell(part):
    with serve(CONTENT, etag=None, cuts=[CUT]) as site:
        assert whole(site, part, digest_known=True) == CONTENT
    assert [asked for _, asked in site.asked] == [None, f"bytes={CUT}-"]


def test_a_second_break_is_noticed_though_the_server_tells_no_total(part):
    with serve(CONTENT, total=False, cuts=[CUT, 7]) as site:
        assert whole(site, part) == CONTENT
    assert site.asked[-1] == ("/trace.jsonl", f"bytes={CUT + 7}-")


def test_a_file_of_untold_length_is_refused_where_nothing_tells_that_it_is_whole(part):
    untold = pytest.raises(FetchError, match="does not say how long the file is")
    with serve(CONTENT, length=False, cuts=[CUT]) as site, untold as caught:
        whole(site, part)
    assert "size_bytes or sha256" in str(caught.value.hint)
    assert part.read_bytes() == b""


@pytest.mark.parametrize("known", [{"digest_known": True}, {"size_bytes": len(CONTENT)}])
def test_a_file_of_untold_length_is_taken_where_a_digest_or_size_is_known(part, known):
    with serve(CONTENT, length=False) as site:
        assert whole(site, part, **known) == CONTENT


@pytest.mark.parametrize("length", ["9" * 5000, "many", "-1", ""])
def test_a_length_that_is_none_counts_as_untold(part, length):
    with serve(CONTENT, length=length) as site, pytest.raises(FetchError, match="how long"):
        whole(site, part)


def test_the_end_of_a_download_belongs_to_whoever_made_it(part):
    def finish(_got):
        with part.open("ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.replace(part.with_name("whole"))

    with serve(CONTENT) as site:
        download(Download(site.address), part, finish=finish)
    assert part.with_name("whole").read_bytes() == CONTENT
    assert not part.exists()


def test_a_state_that_is_no_state_begins_anew(part):
    part.write_bytes(OLD)
    state_beside(part).write_text("[1]")
    with serve(CONTENT) as site:
        assert whole(site, part) == CONTENT
    assert site.asked == [("/trace.jsonl", None)]
