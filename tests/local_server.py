"""A web server on this machine that fails as told, for tests of downloads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What a server sends, and what it was asked."""

    content: bytes = b""
    etag: str | None = '"v1"'
    ranges: bool = True
    if_range: bool = True
    """Whether a part of another version than the one asked for is refused."""
    length: bool | str = True
    """Whether answers say how long they are, or what they say instead."""
    total: bool = True
    """Whether a part says how long the file is."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next answers break off."""
    statuses: list[int] = field(default_factory=list)
    """Of the next answers, before all is well."""
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of each request."""
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        site = self.server.site
        site.asked.append((self.path, self.headers["Range"]))
        if self.path in site.redirects:
            self._head(302, {"Location": site.redirects[self.path], "Content-Length": "0"})
        elif site.statuses:
            self._head(site.statuses.pop(0), {"Content-Length": "0"})
        else:
            self._send(site)

    def _send(self, site: Site) -> None:
        start, total = 0, len(site.content)
        wanted = self.headers["Range"]
        condition = self.headers["If-Range"]
        if wanted and site.ranges and (condition in (None, site.etag) or not site.if_range):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= total > 0:
            self._head(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
            return
        headers = {"ETag": site.etag} if site.etag else {}
        if site.length is not False:
            length = total - start if site.length is True else site.length
            headers["Content-Length"] = str(length)
        if start:
            whole = total if site.total else "*"
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{whole}"
        self._head(206 if start else 200, headers)
        body = site.content[start:]
        self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the test asks `Site.asked`."""


class _Server(ThreadingHTTPServer):
    site: Site


@contextmanager
def serve(content: bytes, **options: object) -> Iterator[Site]:
    """Yield a site at work; `address` is that of its file."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.site = Site(content, **options)  # type: ignore[arg-type]
        server.site.address = f"http://127.0.0.1:{server.server_port}/trace.jsonl"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.site
        finally:
            server.shutdown()
            thread.join()
