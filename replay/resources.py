"""Where the shipped data lies: in a wheel beside the package, in a checkout beside `replay/`."""

from __future__ import annotations

from pathlib import Path


def data_folder(name: str) -> Path:
    """Return the shipped folder `hardware` or `traces`."""
    here = Path(__file__).resolve().parent
    packaged = here / "data" / name
    return packaged if packaged.is_dir() else here.parent / name
