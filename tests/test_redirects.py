"""Where redirects may lead a download, and where not."""

import io
import urllib.request
from email.message import Message

import pytest

from replay.errors import FetchError
from replay.trace.download import CHUNK_BYTES, Download, download
from replay.trace.redirects import SafeRedirects
from tests.local_server import serve

CONTENT = bytes(range(256)) * 1024
CUT = CHUNK_BYTES + 5


@pytest.fixture
def fetch(monkeypatch, tmp_path):
    """Download the file of a site, without a proxy and without waiting."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def fetch(site):
        return download(Download(site.address), tmp_path / "part", sleep=lambda _: None)

    return fetch


def test_a_redirect_on_the_same_server_is_followed(fetch):
    with serve(CONTENT, redirects={"/trace.jsonl": "/there"}) as site:
        assert fetch(site).hosts == ()
    assert [path for path, _ in site.asked] == ["/trace.jsonl", "/there"]


def test_a_redirect_to_another_host_is_followed_and_named(fetch):
    with serve(CONTENT, cuts=[CUT]) as store, serve(b"") as site:
        site.redirects["/trace.jsonl"] = store.address
        fetched = fetch(site)
    assert fetched.hosts == (store.address.split("/")[2],)
    assert store.asked[1] == ("/trace.jsonl", f"bytes={CUT}-")


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("file:///etc/hostname", "must start with https://"),
        ("ftp://127.0.0.1/x", "must start with https://"),
        ("http://example.org/x", "http is for this machine itself"),
        ("https://me:secret@example.org/x", "must hold no user name"),
        ("http://[::1", "is no address: Invalid IPv6 URL"),
    ],
)
def test_a_redirect_to_where_nothing_is_downloaded_from_is_refused(fetch, where, why):
    refused = pytest.raises(FetchError, match="redirects to")
    with serve(b"", redirects={"/trace.jsonl": where}) as site, refused as caught:
        fetch(site)
    assert why in caught.value.message
    assert len(site.asked) == 1


@pytest.mark.parametrize("header", ["Location", "URI"])
def test_a_redirect_out_of_https_is_refused(header):
    headers = Message()
    headers[header] = "http://127.0.0.1/t.jsonl"
    request = urllib.request.Request("https://example.org/t.jsonl")
    with pytest.raises(FetchError, match="which leaves https"):
        SafeRedirects(request.full_url).http_error_302(request, io.BytesIO(), 302, "", headers)


def test_redirects_without_end_are_an_error(fetch):
    refused = pytest.raises(FetchError, match="redirects without end")
    with serve(b"", redirects={"/trace.jsonl": "/trace.jsonl"}) as site, refused:
        fetch(site)


def test_a_redirect_to_nowhere_is_an_error(fetch):
    refused = pytest.raises(FetchError, match=r"redirects without saying where \(got 302\)")
    with serve(b"", statuses=[302]) as site, refused:
        fetch(site)
