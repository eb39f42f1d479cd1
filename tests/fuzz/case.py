"""One input: some files, and the command that reads them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Case:
    """`files` by name, one of which was `changed`; `argv` is a command of replay, run beside them.

    `process` says that it takes a process of its own, as it may end its own by design.
    """

    files: dict[str, bytes]
    argv: tuple[str, ...]
    changed: str = ""
    process: bool = False

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, data in self.files.items():
            path = folder / name
            if "/" in name:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def with_changed(self, data: bytes) -> Case:
        """Return the case with another content of the file that was changed."""
        return Case({**self.files, self.changed: data}, self.argv, self.changed, self.process)

    @property
    def command(self) -> str:
        """The command as one types it."""
        return shlex.join(("replay", *self.argv))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a case must not do: `kind` names it, `what` says where, and the same cause alike."""

    kind: str
    what: str
    target: str = ""
    index: int = -1
    detail: str = field(default="", compare=False)

    @property
    def cause(self) -> tuple[str, str]:
        """What findings of one cause have in common."""
        return self.kind, self.what
