"""Redirects that a download may follow: never out of https, never to a file, hosts remembered."""

from __future__ import annotations

import urllib.request
from email.message import Message
from typing import IO
from urllib.parse import urljoin, urlsplit

from replay.config.catalogue import address_fault
from replay.errors import FetchError


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to good addresses; `hosts` are those beside the first, in order."""

    def __init__(self, address: str) -> None:
        self._first = urlsplit(address).netloc
        self._hosts: dict[str, None] = {}

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts other than that of the address that a redirect has led to."""
        return tuple(self._hosts)

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
    ) -> object:
        """Follow a redirect; raises FetchError for one to where nothing is downloaded from."""
        where = headers.get("Location", headers.get("URI"))  # urllib follows either
        if where is None:
            fp.close()
            raise FetchError(f"{req.full_url}: redirects without saying where (got {code})")
        target, fault = _target(req.full_url, where)
        if fault:
            fp.close()
            raise FetchError(f"{req.full_url}: redirects to {target!r}, which {fault}")
        host = urlsplit(target).netloc
        if host != self._first:
            self._hosts[host] = None
        return super().http_error_302(req, fp, code, msg, headers)  # type: ignore[arg-type]

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _target(here: str, where: str) -> tuple[str, str | None]:
    """Return where a redirect leads, and why it is not followed; None where it is."""
    try:
        target = urljoin(here, where)
    except ValueError as error:
        return where, f"is no address: {error}"
    fault = address_fault(target)
    if fault is None and urlsplit(here).scheme == "https" and urlsplit(target).scheme != "https":
        fault = "leaves https"
    return target, fault
