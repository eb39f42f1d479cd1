"""What can be named, read from where it is defined: a table for each kind of name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from replay.answers.hardware_tables import engines, gpus, hosts, links, models, prices
from replay.errors import InputError, UnknownNameError
from replay.report.tables import Table


def names_table(kind: str, names: Sequence[str] = ()) -> Table:
    """Return the names of one of `KINDS`; some kinds may be picked by name, or given as files.

    Raises UnknownNameError for another kind or name, and InputError for names of a kind that is
    listed whole.
    """
    if kind in BY_NAME:
        return BY_NAME[kind](names)
    if kind not in _WHOLE:
        raise UnknownNameError("kind of names", kind, KINDS)
    if names:
        raise InputError(f"{kind} are listed whole: names may follow {', '.join(BY_NAME)}")
    return _WHOLE[kind]()


def _policies() -> Table:
    from replay.cache.replacement import REPLACEMENTS
    from replay.config.policies import POLICIES

    rows = [
        (one.name, f"run, cache.kind {one.kind}", one.closure, one.meaning, one.reference)
        for one in POLICIES
    ]
    rows += [
        (one.name, "curve, policies", one.closure, one.meaning, one.reference)
        for one in REPLACEMENTS
    ]
    return Table(("name", "used_by", "prefix_closed", "meaning", "reference"), rows)


def _formats() -> Table:
    from replay.trace.readers import READERS

    rows = [(one.name, one.meaning, one.assumes) for one in sorted(READERS, key=lambda r: r.name)]
    return Table(("name", "meaning", "assumes"), rows)


def _profiles() -> Table:
    from replay.workload.profiles import load_profile, profile_names

    rows = [(name, load_profile(name).profile.description) for name in profile_names()]
    return Table(("name", "description"), rows)


def _traces() -> Table:
    from replay.config.catalogue import load_catalogue
    from replay.trace.fetch import is_cached

    columns = ("name", "format", "requests", "size_bytes", "licence", "verified_by", "cached")
    rows = [
        (
            *(getattr(trace, column) for column in columns[:-2]),
            "sha256" if trace.sha256 else "not verified",
            "yes" if is_cached(trace) else "no",
        )
        for trace in load_catalogue().traces
    ]
    return Table(columns, rows)


def _reports() -> Table:
    from replay.report.library import REPORTS

    return Table(("name", "meaning"), [(report.name, report.meaning) for report in REPORTS])


# Kinds whose names, or files of one's own, may be picked.
BY_NAME: dict[str, Callable[[Sequence[str]], Table]] = {
    "gpus": gpus,
    "models": models,
    "engines": engines,
    "hosts": hosts,
}
_WHOLE: dict[str, Callable[[], Table]] = {
    "links": links,
    "prices": prices,
    "policies": _policies,
    "formats": _formats,
    "profiles": _profiles,
    "traces": _traces,
    "reports": _reports,
}
KINDS = (*BY_NAME, *_WHOLE)
