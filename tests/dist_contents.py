"""Look into a built wheel and sdist: `python -m tests.dist_contents dist`.

What a user needs is in them, what only this checkout has is not, and the long description has no
link that leads nowhere on a package index.
"""

from __future__ import annotations

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import replay

WHEEL = (
    "replay/py.typed", "replay/cli/demo.py", "replay/report/sql/summary.sql",
    "replay/data/traces/chat-small.jsonl", "replay/data/traces/catalogue.yaml",
    "replay/data/hardware/gpus/h100-sxm.yaml", "dist-info/licenses/LICENSE",
    "dist-info/entry_points.txt",
)  # fmt: skip
SDIST = (
    "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff",
    "Makefile", "pyproject.toml", "replay/py.typed", "hardware/README.md", "docs/architecture.md",
    "tests/golden/vllm.parquet", "tests/sql/summary.csv", "benchmarks/run.py", ".ci/run",
)  # fmt: skip
NOWHERE = re.compile(r"__pycache__|\.pyc$|^(build|dist|runs|\.venv|\.hypothesis)/")
RELATIVE_LINK = re.compile(r"\]\((?!https?:)[^)]+\)")


def main(folder: Path) -> None:
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("dist-info/METADATA"))
        described = email.message_from_bytes(archive.read(metadata))
    _look(wheel, names, WHEEL)
    if extra := {name.split("/")[0] for name in names} - {"replay", metadata.split("/")[0]}:
        sys.exit(f"{wheel}: puts {sorted(extra)} beside the package")
    with tarfile.open(sdist) as archive:
        inside = [name.partition("/")[2] for name in archive.getnames()]
    _look(sdist, inside, SDIST)
    if described["Version"] != replay.__version__:
        sys.exit(f"{wheel}: is of {described['Version']}, not {replay.__version__}")
    if links := RELATIVE_LINK.findall(described.get_payload()):
        sys.exit(f"{wheel}: the long description links to files beside it: {links[:3]}")
    print(f"{wheel.name}: {len(names)} files; {sdist.name}: {len(inside)} files")


def _look(archive: Path, names: list[str], needed: tuple[str, ...]) -> None:
    missing = [one for one in needed if not any(name.endswith(one) for name in names)]
    if missing:
        sys.exit(f"{archive}: lacks {', '.join(missing)}")
    if stray := [name for name in names if NOWHERE.search(name)]:
        sys.exit(f"{archive}: holds {', '.join(stray[:3])}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
