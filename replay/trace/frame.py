"""The canonical trace: one Polars frame with fixed columns, and where it came from.

Every reader ends in `canonical_trace`, so that all later code may rely on the columns of
`replay.schema.TRACE`, on rows in replay order, and on request ids that count from zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from replay import __version__
from replay.errors import Problem, TraceError
from replay.schema import TRACE, column_names
from replay.trace.content_names import with_content_columns
from replay.trace.free_names import with_free_names
from replay.trace.problems import ProblemList

SESSIONS_NONE = "none"
SESSIONS_SOURCE = "from the source"
SESSIONS_INFERRED = "inferred by prefix chaining"

CONTENT_COLUMNS = (
    "block_ids", "response_block_ids", "segments", "segment_tokens", "response_segment", "tokens",
    "response_tokens",
)  # fmt: skip
MOST_TOKENS = 2**24  # of a prompt or a response: beyond any context window
_DTYPES: dict[str, pl.DataType] = {
    "Int32": pl.Int32(),
    "Int64": pl.Int64(),
    "UInt64": pl.UInt64(),
    "String": pl.String(),
    "Boolean": pl.Boolean(),
    "List(UInt64)": pl.List(pl.UInt64),
    "List(Int32)": pl.List(pl.Int32),
    "List(UInt32)": pl.List(pl.UInt32),
}
MOST_SPAN_NS = 2**61  # 73 years from first to last: with any duration added, a time still
_LOWEST = {
    "arrival_ns": 0, "input_tokens": 1, "output_tokens": 1,
    "session_id": 0, "turn": 0, "parent_request_id": 0, "forgotten_tokens": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TraceMeta:
    """Where a trace came from and how far to trust it.

    `content` says how content identity was obtained, `sessions` how sessions were, `sha256` is
    of the file as read; `notes` are sentences for people, among them whatever was done to it.
    `clock_start_ns` is where the trace starts on a clock that other files share (since 1970, or
    since the day they were recorded); None where the clock is the file's own. `shared_ids` says
    that a block id names the same content in every file of this source. `separate_by` are the
    columns whose requests share nothing, where somebody named them: see trace/separation.py.
    """

    path: str
    name: str
    sha256: str
    format: str
    block_size: int | None
    content: str
    sessions: str = SESSIONS_NONE
    rejected_rows: int = 0
    notes: tuple[str, ...] = ()
    tool_version: str = __version__
    clock_start_ns: int | None = None
    shared_ids: bool = False
    separate_by: tuple[str, ...] | None = None

    def noting(self, *notes: str) -> TraceMeta:
        """Return the same with further notes."""
        return replace(self, notes=self.notes + notes)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not used: `line` of `file` counts from 1, `text` is the row as it stood.

    It `is_fault` of the file, or the row is no request to replay: one that failed, say.
    """

    file: str
    line: int
    reason: str
    text: str
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in replay order, with the columns of `replay.schema.TRACE` and the source's own.

    Optional canonical columns may be absent. Build one with `canonical_trace`. `rejected` are the
    rows of the source that were put aside; a trace that was written and read again has none.
    """

    frame: pl.DataFrame
    meta: TraceMeta
    rejected: tuple[Rejected, ...] = ()

    @property
    def requests(self) -> int:
        """Number of requests."""
        return self.frame.height

    @property
    def has_blocks(self) -> bool:
        """Whether content is known: prompts have block ids of a known size."""
        return "block_ids" in self.frame.columns and self.meta.block_size is not None

    @property
    def has_block_responses(self) -> bool:
        """Whether responses are known by the ids of the blocks they complete."""
        return self.has_blocks and "response_block_ids" in self.frame.columns

    @property
    def has_segments(self) -> bool:
        """Whether prompts are known as segments, exact to the token."""
        return "segments" in self.frame.columns and "segment_tokens" in self.frame.columns

    @property
    def has_tokens(self) -> bool:
        """Whether the token ids of prompts are known."""
        return "tokens" in self.frame.columns

    @property
    def has_content(self) -> bool:
        """Whether prompts can be compared at all: by blocks, by segments or by tokens."""
        return self.has_blocks or self.has_segments or self.has_tokens

    @property
    def has_sessions(self) -> bool:
        """Whether requests are grouped into sessions."""
        return "session_id" in self.frame.columns

    def changed(self, frame: pl.DataFrame, meta: TraceMeta | None = None) -> Trace:
        """Return the trace with another frame, and other facts where given."""
        return replace(self, frame=frame, meta=meta or self.meta)

    def column(self, name: str) -> np.ndarray:
        """Return a numeric column without nulls as an int64 array."""
        return self.frame[name].to_numpy().astype(np.int64)


def canonical_trace(frame: pl.DataFrame, meta: TraceMeta) -> Trace:
    """Return the frame as a trace: columns checked, cast and ordered, rows in replay order.

    Without `request_id`, rows are sorted by arrival, ties in the order given, and numbered;
    `parent_request_id` then counts rows of the frame given. Arrivals are moved to start at zero,
    on a clock that `meta` says is shared too, and `clock_start_ns` by as much. What the source
    calls model, adapter, salt or tenant becomes the column of that name, and other columns get
    names that neither a trace nor a run has for something else.
    Raises TraceError, which numbers requests from 0, where a column is missing, of another type
    or out of range.
    """
    frame, notes = with_content_columns(frame)
    frame, renamed = with_free_names(frame)
    meta = meta.noting(*notes, *renamed)
    frame = _typed(frame, meta.path)
    _check_ranges(frame, meta.path)
    frame = _in_order(frame, meta.path)
    _check_links(frame, meta.path)
    first, last = int(frame["arrival_ns"][0]), int(frame["arrival_ns"][-1])
    if last - first > MOST_SPAN_NS:
        years = (last - first) / (365.25 * 86_400e9)
        text = f"request {frame.height - 1} arrives {years:.0f} years after the first one"
        raise TraceError([Problem(meta.path, text)], hint="are all times in one unit?")
    if first:
        frame = frame.with_columns(pl.col("arrival_ns") - first)
        if meta.clock_start_ns is None:
            meta = meta.noting(f"the source's clock starts at {first / 1e9:g} s; moved to zero")
        else:
            meta = replace(meta, clock_start_ns=meta.clock_start_ns + first)
    names = [name for name in column_names(TRACE) if name in frame.columns]
    return Trace(frame.select(*names, pl.exclude(names)), meta)


def _typed(frame: pl.DataFrame, path: str) -> pl.DataFrame:
    problems = ProblemList(path)
    casts = []
    for column in TRACE:
        if column.name not in frame.columns:
            if column.required and column.name != "request_id":
                problems.add(f"column {column.name} is missing")
            continue
        series, wanted = frame[column.name], _DTYPES[column.dtype]
        if not _castable(series.dtype, wanted):
            problems.add(f"column {column.name} must be {column.dtype} (got {series.dtype})")
            continue
        if column.required and series.null_count():
            problems.add(f"column {column.name} has {series.null_count():,} nulls")
            continue
        cast = series.cast(wanted, strict=False)
        if cast.null_count() > series.null_count() or _inner_nulls(cast):
            problems.add(f"column {column.name} has values that are not {column.dtype}")
        casts.append(cast)
    if ("segments" in frame.columns) != ("segment_tokens" in frame.columns):
        problems.add("columns segments and segment_tokens mean something together only")
    if not frame.height:
        problems.add("no requests")
    problems.raise_any()
    return frame.with_columns(casts)


def _castable(got: pl.DataType, wanted: pl.DataType) -> bool:
    if isinstance(wanted, pl.List):
        return isinstance(got, pl.List) and got.inner.is_integer()
    if isinstance(wanted, pl.String):
        return isinstance(got, pl.String)
    if isinstance(wanted, pl.Boolean):
        return isinstance(got, pl.Boolean)
    return got.is_integer()


def _inner_nulls(series: pl.Series) -> bool:
    if not isinstance(series.dtype, pl.List):
        return False
    return bool(series.explode(empty_as_null=False, keep_nulls=False).null_count())


def _check_ranges(frame: pl.DataFrame, path: str) -> None:
    problems = ProblemList(path)
    for name in ("input_tokens", "output_tokens"):
        problems.add_rows(
            np.flatnonzero((frame[name] > MOST_TOKENS).to_numpy()),
            lambda row, name=name: (  # type: ignore[misc]
                f"request {row}: {name} must be at most {MOST_TOKENS:,} (got {frame[name][row]})"
            ),
            lines=None,
        )
    for name, lowest in _LOWEST.items():
        if name in frame.columns:
            low = frame.select((pl.col(name) < lowest).fill_null(False)).to_series()
            values = frame[name]
            problems.add_rows(
                np.flatnonzero(low.to_numpy()),
                lambda row, name=name, lowest=lowest, values=values: (  # type: ignore[misc]
                    f"request {row}: {name} must be at least {lowest} (got {values[row]})"
                ),
                lines=None,
            )
    problems.raise_any()


def _in_order(frame: pl.DataFrame, path: str) -> pl.DataFrame:
    arrival = frame["arrival_ns"].to_numpy()
    rows = np.arange(frame.height, dtype=np.int64)
    if "request_id" in frame.columns:
        if not np.array_equal(frame["request_id"].to_numpy(), rows):
            raise TraceError([Problem(path, "request_id must count 0, 1, 2 ... in file order")])
        if (np.diff(arrival) < 0).any():
            row = int(np.flatnonzero(np.diff(arrival) < 0)[0]) + 1
            text = f"request {row} arrives before request {row - 1}: not in replay order"
            raise TraceError([Problem(path, text)])
        return frame
    order = np.argsort(arrival, kind="stable")
    if np.array_equal(order, rows):
        return frame.with_columns(request_id=pl.Series(rows))
    frame = frame[order]
    if "parent_request_id" in frame.columns:
        place = pl.Series(np.argsort(order, kind="stable"))
        parents = frame["parent_request_id"]
        if (parents.max() or 0) < frame.height:  # type: ignore[operator]
            frame = frame.with_columns(parent_request_id=place.gather(parents.cast(pl.UInt32)))
    return frame.with_columns(request_id=pl.Series(rows))


def _check_links(frame: pl.DataFrame, path: str) -> None:
    if "parent_request_id" not in frame.columns:
        return
    late = frame["parent_request_id"] >= frame["request_id"]
    problems = ProblemList(path)
    problems.add_rows(
        np.flatnonzero(late.fill_null(False).to_numpy()),
        lambda row: (
            f"request {row}: parent_request_id must be of an earlier request "
            f"(got {frame['parent_request_id'][row]})"
        ),
        lines=None,
    )
    problems.raise_any()
