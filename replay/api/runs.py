"""Runs in Python: made, opened, asked, explained, saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack

import polars as pl

from replay.analysis.headline import headline
from replay.answers.running import Ran, replayed, write_ran
from replay.answers.tokens_picture import tokens_picture
from replay.api.answers import TIMEOUT, Answer
from replay.api.given import Path_, path_of, path_text, whole_number
from replay.api.html_page import Page
from replay.api.progress import Progress, working
from replay.api.scenarios import SCENARIO_KEYS, ScenarioKeys, scenario_of
from replay.api.traces import Trace, source_of
from replay.compiling.parts import CONTENT, CURVES, READING, part_of
from replay.config.load import load_scenario
from replay.engine.run import RunResult
from replay.errors import InputError
from replay.report.frames import table_frame
from replay.report.notices import notes, unverified, warnings
from replay.runs.conform import conform
from replay.runs.digest import result_digest
from replay.runs.layout import SCENARIO, check_target
from replay.runs.open import Run as Folder
from replay.runs.open import open_run as open_folder
from replay.runs.rows import rows_of
from replay.runs.write import run_record
from replay.units import NS_PER_S, parse_bytes, parse_duration_ns

if TYPE_CHECKING:
    import altair

    from replay.analysis.explain import Explanation
    from replay.report.copying import ArrowStream
    from replay.report.db import RunDatabase

    TraceLike = Trace | Path_ | ArrowStream


_RUNS = "give what replay.run returns, or the folder that it was saved in"
_ANY_STORY = "`run.explain(request)` tells the story of any request."


class Run(Answer):
    """A run: its tables `requests`, `prefixes`, `timeline` and more (docs/tables.md), and reports.

    `manifest` says of what and how it was made. `folder` is where it lies, None for one that is in
    memory alone: `save` writes it.
    """

    def __init__(
        self,
        tables: Mapping[str, pl.DataFrame],
        manifest: Mapping[str, Any],
        result: RunResult,
        *,
        folder: Folder | None = None,
        ran: Ran | None = None,
        trace: TraceLike | None = None,
        more: Sequence[str] = (),
    ) -> None:
        name = (manifest.get("trace") or {}).get("name", "")
        super().__init__(
            tables,
            title=f"Run of {name}, {manifest['mode']}",
            warnings=warnings(manifest),
            notes=(*more, *notes(manifest)),
            draw=None if manifest.get("content_known") is False else self._tokens_over_time,
        )
        self.manifest: Mapping[str, Any] = manifest
        self._result, self._folder, self._ran, self._trace = result, folder, ran, trace

    @property
    def folder(self) -> Path | None:
        """Where it lies, if it was written or opened."""
        return None if self._folder is None else self._folder.folder

    @property
    def sensitivity(self) -> pl.DataFrame | None:
        """What stands and what is a tie at the edges of the GPU model's error, if that was run."""
        band = self.manifest.get("sensitivity")
        return None if band is None else pl.DataFrame(band["differences"])

    def sql(self, query: str, *, timeout: str = TIMEOUT) -> Answer:
        """Return what one SELECT finds in the tables, the views of docs/tables.md and the reports.

        It can read this run and nothing else. Raises QueryError.
        """
        return self.query(query, timeout=timeout)

    def query(
        self, sql: str, *, timeout: str = TIMEOUT, memory: str | None = None, unsafe: bool = False
    ) -> Answer:
        """Return what a query finds, as `sql` does; `memory` ("2GiB") is how much it may take.

        `unsafe` allows any statement and any file. Raises QueryError.
        """
        limit = None if memory is None else parse_bytes(str(memory))
        with self._database(memory_bytes=limit, unsafe=unsafe) as database:
            found = database.query(sql, timeout_s=parse_duration_ns(str(timeout)) / NS_PER_S)
            return Answer({"result": found.frame()}, title="Result", warnings=self.warnings)

    def report(self, name: str = "summary") -> Answer:
        """Return a shipped report, one of `names("reports")`; raises UnknownNameError.

        What a report needs and this run lacks, sessions say, stands in its warnings.
        """
        from replay.report.library import load_report, unmet_need

        report = load_report(name)
        with self._database() as database:
            lack = unmet_need(database, name)
            frame = database.query(report.sql).frame()
        more = [] if lack is None else [lack]
        return Answer({name: frame}, title=report.meaning, warnings=(*self.warnings, *more))

    def explain(
        self, request: int, *, trace: TraceLike | None = None, progress: Progress = False
    ) -> Story:
        """Return why a request hit what it hit, and missed the rest; see `replay.explain`."""
        return explain(self, request, trace=trace, progress=progress)

    def page(
        self, *, static: bool = False, trace: TraceLike | None = None, progress: Progress = False
    ) -> Page:
        """Return the run as one page of pictures that needs no network; see `replay.page`."""
        return page_of(self, static=static, trace=trace, progress=progress)

    def save(self, folder: Path_, *, force: bool = False) -> Path:
        """Write the run directory, whole or not at all, and return its path.

        Raises OutputExistsError unless `force`, OutputError, and InputError for a run that lies in
        a folder already: copy that.
        """
        if self._ran is None:
            raise InputError(f"the run lies in {self.folder} already", hint="copy the folder")
        target = path_of("folder", folder)
        write_ran(self._ran, target, force=force)
        self._folder = open_folder(target)
        return self._folder.folder

    def _tokens_over_time(self) -> altair.TopLevelMixin:
        name = (self.manifest.get("trace") or {}).get("name", "")
        return tokens_picture(self.report("hit_rate").frame(), name).chart()

    def _shown(self) -> pl.DataFrame:
        lines = headline(self._result)
        if band := self.manifest.get("sensitivity"):
            lines += [(one["metric"], one["verdict"]) for one in band["differences"]]
        return pl.DataFrame([dict(lines)])

    def _head(self) -> object:
        return "\n".join(f"{label:18}{line}" for label, line in headline(self._result))

    @contextmanager
    def _database(self, **limits: Any) -> Iterator[RunDatabase]:
        """Yield the run's tables for SQL: its files, or its frames where there are none."""
        from replay.report.db import RunDatabase

        if self._folder is not None:
            with RunDatabase(self._folder, **limits) as database:
                yield database
            return
        with RunDatabase(self._there, frames=self._tables, **limits) as database:
            yield database

    @property
    def _there(self) -> Folder:
        """Return its folder, or what stands for one where it is in memory alone."""
        return self._folder or Folder(Path("memory"), self.manifest, {}, True)

    @contextmanager
    def _on_disk(self) -> Iterator[Folder]:
        if self._folder is not None:
            yield self._folder
            return
        assert self._ran is not None  # a run is in memory or in a folder
        with TemporaryDirectory(prefix="replay-") as parent:
            write_ran(self._ran, Path(parent) / "run")
            yield open_folder(Path(parent) / "run")


class Story(Answer):
    """Why a request hit and missed: sentences, and its prompt stretch by stretch."""

    def __init__(self, text: Sequence[str], stretches: pl.DataFrame, request: int) -> None:
        super().__init__({"stretches": stretches}, title=f"Request {request}", warnings=text)
        self.text = "\n".join(text)


def run(
    trace: TraceLike,
    *,
    output: Path_ | None = None,
    force: bool = False,
    steps: bool = False,
    sensitivity: bool = False,
    threads: int = 2,
    progress: Progress = False,
    **scenario: Unpack[ScenarioKeys],
) -> Run:
    """Return the run of a trace through a prefix cache: timed by default, `untimed=True` without.

    `gpu`, `model`, `engine`, `kv_dtype`, `tp`, `block_size`, `capacity` ("40GiB", "auto"),
    `no_responses`, `partial_blocks`, `no_cache`, `separate_by` and `seed` are the options of
    `replay run`; `set={"cache.kind": "radix"}` sets any key of docs/scenario.md, laid over the file
    `config`. `output` is a run directory to write as well. `steps` keeps every step of the engine
    in a table of that name, 40 bytes each; `sensitivity` runs again at the edges of the GPU model's
    error; `threads` replay with and without caching side by side.

    A `Trace` keeps the tree that was grown from it, so that a loop over capacities reads and grows
    nothing again, and threads may share it. Raises ConfigError, UnknownNameError, DoesNotFitError,
    OutputExistsError, and what reading the trace raises.
    """
    if threads not in (1, 2):
        raise InputError(f"threads must be 1 or 2 (got {threads!r})")
    found = scenario_of(
        scenario, SCENARIO_KEYS, {"engine.steps": True} if steps else None, fixed_by="steps"
    )
    if output is not None:
        check_target(path_of("output", output), force)
    source = source_of(trace)
    part = part_of(found)
    with working(progress, READING, CONTENT, CURVES, part) as hook:
        prepared = source.prepared(found, hook)
        ran = replayed(prepared, threads=threads, sensitivity=sensitivity, progress=hook)
    frames = conform(ran.result.tables)
    heights = {name: frame.height for name, frame in frames.items()}
    record = run_record(ran.manifest, result_digest(frames), heights)
    made = Run(frames, record, ran.result, ran=ran, trace=trace)
    if output is not None:
        made.save(output, force=force)
    return made


def open_run(folder: Path_) -> Run:
    """Return the run in a folder that `replay run` or `Run.save` wrote; raises InputError."""
    there = open_folder(Path(path_text("the folder of a run", folder, hint=_RUNS)))
    tables = {name: pl.read_parquet(path.read_bytes()) for name, path in there.tables.items()}
    rows = {name: rows_of(frame) for name, frame in tables.items()}
    result = RunResult(rows, dict(there.manifest), load_scenario(there.folder / SCENARIO))
    return Run(tables, there.manifest, result, folder=there, more=unverified(there))


def query(
    run: Run | Path_,
    sql: str,
    *,
    timeout: str = TIMEOUT,
    memory: str | None = None,
    unsafe: bool = False,
) -> Answer:
    """Return what one SELECT over the tables of a run finds; see `Run.query`."""
    return opened(run).query(sql, timeout=timeout, memory=memory, unsafe=unsafe)


def explain(
    run: Run | Path_,
    request: int,
    *,
    trace: TraceLike | None = None,
    progress: Progress = False,
) -> Story:
    """Return why a request of a run hit what it hit, and missed the rest.

    The run is replayed up to it, from the trace it was made of, or from `trace` where that moved
    or was read with options of its own. Raises InputError for a request the cache was never asked
    about, for another trace than the run's, and where this version does not reproduce the run.
    """
    from replay.analysis.story import sentences
    from replay.answers.explain_table import path_table

    of, request = opened(run), whole_number("request", request)
    with of._on_disk() as folder:
        (told,) = explained(of, folder, [request], trace=trace, progress=progress)
    return Story(sentences(told), table_frame(path_table(told)), request)


def page_of(run: Run, *, static: bool, trace: TraceLike | None, progress: Progress) -> Page:
    """Return the page of a run; see `replay.page`."""
    from replay.answers.stories import tell_stories
    from replay.report.bundle import check_extra
    from replay.report.page.build import compose, page_text

    check_extra()
    with run._database() as database:
        made = compose(database)
        shown = database.run
    with run._on_disk() as folder:
        stories = tell_stories(
            folder,
            made.suffering,
            lambda requests: explained(run, folder, requests, trace=trace, progress=progress),
            more=_ANY_STORY,
        )
    text = page_text(made, shown, stories, command=_page_call(run, static=static), static=static)
    return Page(text, title=run._title, warnings=run.warnings, lack=stories.lack)


def _page_call(run: Run, *, static: bool) -> str:
    """Return how a page was made; a run in memory has no name to call it by."""
    made = "run" if run.folder is None else f"replay.open_run({str(run.folder)!r})"
    return f"{made}.page({'static=True' if static else ''})"


def explained(
    run: Run,
    folder: Folder,
    requests: Sequence[int],
    *,
    trace: TraceLike | None,
    progress: Progress,
) -> Iterator[Explanation]:
    """Yield what there is to tell of requests of a run that lies in `folder`; see `explain`."""
    from replay.analysis.explain import explain_requests, explain_with
    from replay.answers.sources import FileSource

    held = trace if trace is not None else run._trace
    engine = part_of(run._result.scenario)
    with working(progress, READING, CONTENT, engine) as hook:
        if held is None:
            yield from explain_requests(folder, requests, progress=hook)
            return
        source = source_of(held)
        name = source.path if isinstance(source, FileSource) else "the trace"
        yield from explain_with(
            folder, requests, lambda wanted: (source.prepared(wanted, hook), name), progress=hook
        )


def opened(run: Run | Path_) -> Run:
    """Return a run, opened where it is named by its folder; raises InputError."""
    if isinstance(run, Run):
        return run
    return open_run(path_text("a run, nor the folder of one", run, hint=_RUNS))
