"""Chromium without a window, spoken to in its own protocol over a pair of pipes.

No more of the protocol than a page needs: open a file, ask it things, hear of its console and of
every address it asks for.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
_QUIET = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
)

# The browser reads descriptor 3 and writes to 4.
_AS_THREE_AND_FOUR = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)


class BrowserError(Exception):
    """The browser refused, or a script of the page failed."""


@dataclass
class Tab:
    """An open page: what it wrote to the console, and the addresses it asked for."""

    browser: Browser
    session: str
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def ask(self, script: str) -> object:
        """Return what a script gives in the page, promises awaited."""
        found = self.browser.call(
            "Runtime.evaluate", self.session,
            expression=script, returnByValue=True, awaitPromise=True,
        )  # fmt: skip
        if "exceptionDetails" in found:
            raise BrowserError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")


class Browser:
    """A browser with a profile of its own, gone when it is closed."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        given = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]
        words = [PROGRAM or "", *_QUIET.split(), f"--user-data-dir={self._profile.name}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _AS_THREE_AND_FOUR, *map(str, given), *words],
            pass_fds=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (to_read, to_write, *given):
            os.close(end)
        self._buffer = b""
        self._number = 0
        self._tabs: dict[str, Tab] = {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self._profile.cleanup()

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict:
        """Return what the browser answers; what it tells meanwhile goes to its tab."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                if "error" in found:
                    raise BrowserError(f"{method}: {found['error']['message']}")
                return found["result"]
            self._note(found)

    def open(self, file: Path, *, width: int, scheme: str) -> Tab:
        """Open a file in a window of a width, in the colours of a scheme: light or dark."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable", session)
        self.call(
            "Emulation.setDeviceMetricsOverride", session,
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", session, features=[feature])
        self.call("Page.navigate", session, url=file.absolute().as_uri())
        tab.ask(
            "new Promise(done => { const look = () => document.readyState === 'complete' && "
            "(document.documentElement.dataset.drawn || !document.querySelector('[data-view]')) ? "
            "done() : setTimeout(look, 50); look() })"
        )
        return tab

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise BrowserError("the browser has gone")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _note(self, told: dict) -> None:
        tab = self._tabs.get(told.get("sessionId", ""))
        if tab is None:
            return
        of = told["params"]
        if told["method"] == "Runtime.consoleAPICalled":
            tab.console.append(" ".join(str(one.get("value")) for one in of["args"]))
        elif told["method"] == "Runtime.exceptionThrown":
            tab.console.append(of["exceptionDetails"]["text"])
        elif told["method"] == "Log.entryAdded":
            tab.console.append(of["entry"]["text"])
        elif told["method"] == "Network.requestWillBeSent":
            tab.requests.append(of["request"]["url"])
