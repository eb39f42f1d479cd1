"""Profiles by name, from the files under `traces/` or from the user's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from replay import __version__
from replay.config.catalogue import CATALOGUE_FILE
from replay.config.load import load_document
from replay.config.profile import Profile
from replay.errors import UnknownNameError
from replay.resources import data_folder

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class NamedProfile:
    """A profile, its name and where it was read."""

    profile: Profile
    name: str
    path: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the trace: equal ones mean equal traces."""
        text = f"{__version__} {self.profile.model_dump_json()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def changed(
        self,
        *,
        requests: int | None = None,
        duration_ns: int | None = None,
        seed: int | None = None,
        sessions_per_s: float | None = None,
    ) -> NamedProfile:
        """Return the profile with another length, seed or rate; None leaves what it says."""
        changes: dict[str, object] = {}
        if requests is not None or duration_ns is not None:
            changes |= {"requests": requests, "duration": duration_ns}
        if seed is not None:
            changes["seed"] = seed
        if sessions_per_s is not None:
            arrivals = self.profile.arrivals
            changes["arrivals"] = arrivals.model_copy(update={"sessions_per_s": sessions_per_s})
        return replace(self, profile=self.profile.model_copy(update=changes))


def profile_names() -> list[str]:
    """Return the profiles that ship with replay, sorted."""
    files = data_folder("traces").glob("*.yaml")
    return sorted(path.stem for path in files if path.name != CATALOGUE_FILE)


def load_profile(name_or_path: str | Path) -> NamedProfile:
    """Return a profile by its shipped name, or from a YAML file.

    Raises UnknownNameError for a name that does not ship, and as `load_document` for a file.
    """
    path = Path(name_or_path)
    if path.suffix not in SUFFIXES and len(path.parts) == 1:
        if str(name_or_path) not in profile_names():
            raise UnknownNameError("profile", str(name_or_path), profile_names())
        path = data_folder("traces") / f"{name_or_path}.yaml"
    return NamedProfile(load_document(path, Profile), path.stem, str(name_or_path))
