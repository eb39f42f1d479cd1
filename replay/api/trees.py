"""Prefix trees in Python: what the prompts of a trace or a run share."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from replay.answers.shared_tree import (
    SharedTree,
    is_told_in_words,
    tree_of_run,
    tree_of_trace,
    tree_with_words,
)
from replay.answers.sources import FileSource
from replay.answers.tree_rows import DRAWN, LEAST, SHOWN, Choice, account, tree_rows
from replay.api.answers import Answer
from replay.api.progress import Progress, working
from replay.api.runs import Run, open_run
from replay.api.traces import source_of
from replay.compiling.parts import CONTENT, READING
from replay.errors import InputError
from replay.progress import Hook
from replay.report.frames import table_frame
from replay.runs.layout import is_run
from replay.runs.trace_path import trace_path

if TYPE_CHECKING:
    import altair

    from replay.api.runs import TraceLike
    from replay.trace import frame as canonical


def tree(
    source: TraceLike | Run,
    *,
    by: str = "saved",
    depth: int | None = None,
    limit: int | None = None,
    min_requests: int = LEAST,
    no_sessions: bool = False,
    trace: TraceLike | None = None,
    progress: Progress = False,
) -> Answer:
    """Return what the prompts of a trace or a run share: its prefix tree, a shared prefix a row.

    Hit tokens of a trace are those of a cache without limit, token by token; of a run, a `Run` or
    the folder of one, what it hit. The frame `prefixes` has the `limit` (20, drawn 60) with most of
    `by`, there and below: `saved` (hit tokens), `requests` or `tokens` (sent); to a `depth`, of
    `min_requests`. The frame `account` says where all hit tokens are. Prefixes of text are named by
    first and last words; `trace` is that of a run, where it moved. Raises InputError for a trace of
    lengths alone, UnknownNameError, and what reading raises.
    """
    choice = Choice(by, depth, SHOWN if limit is None else limit, min_requests)
    drawn = Choice(by, depth, DRAWN if limit is None else limit, min_requests)
    with working(progress, READING, CONTENT) as hook:
        run = _run_of(source)
        if run is not None:
            if no_sessions:
                raise InputError("no_sessions is for traces: a run is as it was made")
            found = _tree_of(run, trace, hook)
        elif trace is not None:
            raise InputError("trace says where the trace of a run lies, and this is no run")
        else:
            read = source_of(source).trace(hook)  # type: ignore[arg-type]  # a run is told above
            found = tree_of_trace(read, sessions=not no_sessions, progress=hook)
        rows = tree_rows(found, choice)

    def draw() -> altair.TopLevelMixin:
        from replay.answers.tree_picture import tree_picture

        return tree_picture(found, tree_rows(found, drawn)).chart()

    return Answer(
        {"prefixes": rows, "account": table_frame(account(found, rows))},
        title=f"Prefix tree of {found.name}",
        warnings=found.warnings,
        notes=found.notes,
        draw=draw,
    )


def _run_of(source: TraceLike | Run) -> Run | None:
    """Return the run that is asked about, None for a trace."""
    if isinstance(source, Run):
        return source
    if isinstance(source, str | PathLike) and is_run(Path(source)):
        return open_run(source)
    return None


def _tree_of(run: Run, trace: TraceLike | None, hook: Hook) -> SharedTree:
    """Return the tree of a run; its trace is read, or taken from memory, where that is text."""
    found = tree_of_run(run.manifest, run.frame("requests"), run.frame("prefixes"))
    held = trace if trace is not None else run._trace
    if trace is None and not is_told_in_words(run.manifest):
        return found

    def read() -> tuple[canonical.Trace, Path | str]:
        source = FileSource(trace_path(run._there)) if held is None else source_of(held)
        name = source.path if isinstance(source, FileSource) else "the trace"
        return source.trace(hook), name

    return tree_with_words(found, run._there, read, required=trace is not None)
