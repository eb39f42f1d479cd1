"""Tab completion of everything that has a name, from the tables that define the names.

Each function is what click calls an option's `shell_complete`: it takes the text typed so far and
returns what it may become. Nothing is imported until somebody presses Tab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _of(known: Callable[[], Iterable[str]], *, files: bool = False) -> Completer:
    """Return the completion of one of the known names; `files` where a path may stand instead."""

    def complete(
        context: click.Context, parameter: click.Parameter, typed: str
    ) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in sorted(known()) if name.startswith(typed)]
        if files and not found:
            return [CompletionItem(typed, type="file")]
        return found

    return complete


def _list_of(known: Callable[[], Iterable[str]]) -> Completer:
    """Return the completion of the last name of a list such as `lru,min`."""

    def complete(
        context: click.Context, parameter: click.Parameter, typed: str
    ) -> list[CompletionItem]:
        before, comma, last = typed.rpartition(",")
        return [
            CompletionItem(before + comma + name)
            for name in sorted(known())
            if name.startswith(last)
        ]

    return complete


def _gpus() -> list[str]:
    from replay.gpu.spec import gpu_names

    return gpu_names()


def _models() -> list[str]:
    from replay.gpu.spec import model_names

    return model_names()


def _engines() -> list[str]:
    from replay.gpu.spec import engine_names

    return engine_names()


def _hosts() -> list[str]:
    from replay.gpu.spec import host_names

    return host_names()


def _links() -> list[str]:
    from replay.gpu.spec import load_links

    return [link.name for link in load_links()]


def _formats_read() -> list[str]:
    from replay.trace.readers import READERS

    return [reader.name for reader in READERS]


def _formats_written() -> list[str]:
    from replay.trace.writers import WRITERS

    return [writer.name for writer in WRITERS]


def _profiles() -> list[str]:
    from replay.workload.profiles import profile_names

    return profile_names()


def _traces() -> list[str]:
    from replay.config.catalogue import load_catalogue

    return [trace.name for trace in load_catalogue().traces]


def _reports() -> list[str]:
    from replay.report.library import report_names

    return report_names()


def _exports() -> list[str]:
    from replay.report.export.targets import TARGETS

    return [target.name for target in TARGETS]


def _compared() -> list[str]:
    from replay.report.compare.names import TABLES

    return list(TABLES)


def _policies() -> list[str]:
    from replay.cache.replacement import REPLACEMENTS

    return [policy.name for policy in REPLACEMENTS]


def _backends() -> list[str]:
    from replay.config.backends import OF_A_GPU

    return list(OF_A_GPU)


def _separations() -> list[str]:
    from replay.trace.content_names import ALIASES
    from replay.trace.separation import AUTO, NONE

    return [AUTO, NONE, *ALIASES]


gpus = _of(_gpus, files=True)
models = _of(_models, files=True)
engines = _of(_engines, files=True)
hosts = _of(_hosts, files=True)
links = _of(_links)
backends = _of(_backends)
formats_read = _of(_formats_read)
formats_written = _of(_formats_written)
profiles = _of(_profiles, files=True)
traces = _of(_traces)
reports = _of(_reports)
exports = _of(_exports)
compared = _of(_compared)
policies = _list_of(_policies)
separations = _list_of(_separations)


def listed(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete the names that `replay list KIND` may be narrowed to."""
    by_kind = {"gpus": gpus, "models": models, "engines": engines, "hosts": hosts}
    complete = by_kind.get(context.params.get("kind") or "")
    return complete(context, parameter, typed) if complete else []


def runs(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete the path of a run: folders, those that hold a manifest first and alone."""
    from replay.runs.layout import MANIFEST

    beside = Path(typed).parent if not typed.endswith("/") else Path(typed)
    start = "" if typed.endswith("/") else Path(typed).name
    try:
        folders = [one for one in beside.iterdir() if one.is_dir() and one.name.startswith(start)]
    except OSError:
        folders = []
    found = sorted(str(one) for one in folders if (one / MANIFEST).is_file())
    return [CompletionItem(name) for name in found] or [CompletionItem(typed, type="dir")]


def settings(
    context: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Complete a key of the scenario as `PATH=`, and after it the values it may have."""
    from replay.config.scenario import Scenario

    choices = dict(_keys("", Scenario))
    path, equals, value = typed.partition("=")
    if not equals:
        return [CompletionItem(f"{key}=") for key in choices if key.startswith(path)]
    return [
        CompletionItem(f"{path}={choice}")
        for choice in choices.get(path, ())
        if choice.startswith(value)
    ]


def _keys(prefix: str, section: type) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every key of a section and of those inside it, with the words it may be set to."""
    from typing import Literal, get_args, get_origin

    for name, field in section.model_fields.items():  # type: ignore[attr-defined]
        annotation = field.annotation
        if hasattr(annotation, "model_fields"):
            yield from _keys(f"{prefix}{name}.", annotation)
            continue
        kinds = [annotation, *get_args(annotation)]
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        yield f"{prefix}{name}", ("true", "false") if annotation is bool else tuple(words)
