"""How a run says what it should be: the size and SHA-256 of every file, and of the manifest itself.

`manifest.json` lists its files and ends with the digest of all its bytes before that line, so a
change of any byte of a run is told. Runs of schemas before `SEALED_SINCE` have neither.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.runs.layout import MANIFEST, REJECTED, SCENARIO, open_regular, table_file
from replay.schema import TABLES

STRANGER = "stranger"  # a file that is in the folder of a run, and not of it
SEALED_SINCE = 4  # version of the run schema
DIGEST_KEY = "manifest_sha256"
_SEAL = re.compile(rb',\n  "manifest_sha256": "([0-9a-f]{64})"\n}\n\Z')
_KNOWN = {SCENARIO, REJECTED, *map(table_file, TABLES)}
_HASHING_THREADS = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file: `damage` says how it differs from what was written, if it does.

    `note` says why nothing can be said of it otherwise.
    """

    file: str
    damage: str | None
    note: str | None = None

    @property
    def verdict(self) -> str:
        """The verdict in a word or two: ok, damaged, not verifiable or stranger."""
        if self.damage is not None:
            return "damaged"
        return {None: "ok", STRANGER: STRANGER}.get(self.note, "not verifiable")


def sealed(record: Mapping[str, Any]) -> str:
    """Return the text of a manifest, its own digest at the end."""
    text = json.dumps({**record}, indent=2, ensure_ascii=False)
    body = text.removesuffix("\n}").encode("utf-8", "backslashreplace").decode()
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{body},\n  "{DIGEST_KEY}": "{digest}"\n}}\n'


def is_sealed(manifest: Mapping[str, Any]) -> bool:
    """Return whether a manifest says how to verify its run: any trace of a seal counts."""
    version = manifest.get("schema_version")
    later = isinstance(version, int) and version >= SEALED_SINCE
    return later or DIGEST_KEY in manifest or "files" in manifest


def manifest_damage(content: bytes) -> str | None:
    """Return how a sealed manifest differs from what was written, None where it does not."""
    found = _SEAL.search(content)
    if found is None:
        return f"its last line is not its {DIGEST_KEY}"
    if hashlib.sha256(content[: found.start()]).hexdigest() != found[1].decode():
        return f"its content is not what its {DIGEST_KEY} says"
    return None


def verdicts(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Verdict]:
    """Yield the verdict of every file that a sealed manifest lists; the manifest's own is not one.

    Reads each file once. Files that the manifest does not list are left alone.
    """
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        yield Verdict(MANIFEST, "it lists no files")
        return
    missing = [table_file(name) for name in TABLES if name in manifest["tables"]]
    for name in missing:
        if name not in files:
            yield Verdict(MANIFEST, f"it has no checksum of {name}")
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:  # hashing leaves other threads free
        listed = [(str(name), facts) for name, facts in files.items()]
        yield from pool.map(lambda entry: _verdict(folder, *entry), listed)


def _verdict(folder: Path, name: str, facts: object) -> Verdict:
    if name not in _KNOWN:  # never a path out of the folder
        return Verdict(MANIFEST, f"it lists a file that no run has (got {name!r})")
    if not isinstance(facts, dict):
        return Verdict(name, "the manifest has no checksum of it")
    try:
        descriptor = open_regular(folder / name)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if size != facts.get("bytes"):
                return Verdict(name, f"{size:,} bytes, not the {facts.get('bytes')} written")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return Verdict(name, "is missing")
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        return Verdict(name, "is a symbolic link" if is_link else f"cannot read: {error.strerror}")
    except ValueError as error:
        return Verdict(name, str(error))
    if digest != facts.get("sha256"):
        return Verdict(name, "its content changed after it was written")
    return Verdict(name, None)
