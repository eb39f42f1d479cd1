"""Trace formats: one table, one file a format, recognised by content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from replay.errors import Problem, TraceError, UnknownNameError
from replay.progress import Hook, ignore
from replay.trace.frame import Trace
from replay.trace.merge import merge_traces
from replay.trace.parquet_check import check_parquet
from replay.trace.problems import ProblemList
from replay.trace.readers.azure import AZURE
from replay.trace.readers.bailian import BAILIAN
from replay.trace.readers.bidaw import BIDAW
from replay.trace.readers.burstgpt import BURSTGPT
from replay.trace.readers.canonical import PARQUET, looks_like_parquet, parquet_columns
from replay.trace.readers.columns import COLUMNS
from replay.trace.readers.dynamo import DYNAMO
from replay.trace.readers.files import trace_files
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.llmservingsim import LLMSERVINGSIM
from replay.trace.readers.lmcache import LMCACHE
from replay.trace.readers.messages import MESSAGES
from replay.trace.readers.mooncake import MOONCAKE
from replay.trace.readers.mooncake_agentic import MOONCAKE_AGENTIC
from replay.trace.readers.openai import OPENAI
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.otel import OTEL
from replay.trace.readers.reader import Reader
from replay.trace.readers.sharegpt import SHAREGPT
from replay.trace.readers.source import Source, read_source
from replay.trace.readers.tair import TAIR
from replay.trace.readers.tracelab import TRACELAB
from replay.trace.readers.vllm_multiturn import VLLM_MULTITURN
from replay.trace.readers.weka import WEKA

_HEAD_BYTES = 1 << 20

# The first that recognises a file reads it: narrow formats stand before those that take more.
READERS = (
    BIDAW,
    BURSTGPT,
    AZURE,
    TRACELAB,
    BAILIAN,
    MOONCAKE_AGENTIC,
    WEKA,
    MOONCAKE,
    LLMSERVINGSIM,
    DYNAMO,
    TAIR,
    LMCACHE,
    MESSAGES,
    SHAREGPT,
    OPENAI,
    VLLM_MULTITURN,
    OTEL,
    PARQUET,
    COLUMNS,
)


def load_trace(
    path: str | Path,
    *,
    format_name: str | None = None,
    options: ReadOptions = DEFAULTS,
    progress: Hook = ignore,
) -> Trace:
    """Return the trace in a file, a folder or a pattern of files, in replay order.

    Each file's format is recognised by content, unless named; several files are
    merged. Raises InputError for a file that cannot be read and for options its format does not
    take, UnknownNameError for a format that stands in no table, TraceError for a broken one.
    """
    reader = None if format_name is None else _named(format_name)
    files = trace_files(path, suffixes_of(READERS))
    if files is None:
        return _read(path, reader, options)
    traces = []
    for number, file in enumerate(files):
        progress("Reading the traces", number, len(files))
        traces.append(_read(file, reader, options))
    return merge_traces(traces, path=str(path), name=Path(path).name or str(path))


def suffixes_of(readers: Iterable[Reader]) -> tuple[str, ...]:
    """Return the suffixes that these formats name their files with."""
    return tuple(sorted({suffix for reader in readers for suffix in reader.suffixes}))


def _read(path: str | Path, reader: Reader | None, options: ReadOptions) -> Trace:
    source = read_source(path)
    if looks_like_parquet(source.data[:_HEAD_BYTES]):
        check_parquet(source.data, source.path)  # some damage would end this process
    if reader is None:
        reader = COLUMNS if options.columns is not None else _recognised(source)
    reader.refuse_others(options)
    return reader.read(source, options)


def _named(name: str) -> Reader:
    for reader in READERS:
        if reader.name == name:
            return reader
    raise UnknownNameError("trace format", name, [reader.name for reader in READERS])


def _recognised(source: Source) -> Reader:
    head = source.data[:_HEAD_BYTES]
    columns = parquet_columns(source.data) if looks_like_parquet(head) else set()
    for reader in READERS:
        if reader.parquet_columns and reader.parquet_columns <= columns:
            return reader
    for reader in READERS:
        if reader.sniff(head):
            return reader
    raise _unknown(source)


def _unknown(source: Source) -> TraceError:
    """Return what can be said of a file in no known format: its JSON is broken, or its keys."""
    names = ", ".join(sorted(reader.name for reader in READERS))
    hint = f"--format-in names a format ({names}); --columns says what any table's columns mean"
    problems = ProblemList(source.path)
    if source.data.lstrip()[:1] in (b"{", b"["):
        _, row = next(walk_objects(as_lines(source, problems).data, problems), (0, None))
        if row is None and problems.total:
            return TraceError(problems.found[:1], hint=hint)
        if row is not None:
            what = f"not a known trace format (its first object has {', '.join(row) or 'no keys'})"
            return TraceError([Problem(source.path, what)], hint=hint)
    what = f"not a known trace format (starts with {source.data[:24]!r})"
    return TraceError([Problem(source.path, what)], hint=hint)
