"""Trace formats: one table, one file a format, recognised by content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from replay.errors import Problem, TraceError, UnknownNameError
from replay.progress import Hook, ignore
from replay.trace.frame import Trace
from replay.trace.merge import merge_traces
from replay.trace.parquet_check import check_parquet
from replay.trace.problems import ProblemList
from replay.trace.readers.aibrix import AIBRIX
from replay.trace.readers.aiperf import AIPERF
from replay.trace.readers.aiperf_inputs import AIPERF_INPUTS
from replay.trace.readers.applied_compute import APPLIED_COMPUTE
from replay.trace.readers.azure import AZURE
from replay.trace.readers.azure_apim import AZURE_APIM
from replay.trace.readers.bailian import BAILIAN
from replay.trace.readers.bedrock import BEDROCK
from replay.trace.readers.bidaw import BIDAW
from replay.trace.readers.burstgpt import BURSTGPT
from replay.trace.readers.canonical import PARQUET, looks_like_parquet, parquet_columns
from replay.trace.readers.claude_code import CLAUDE_CODE
from replay.trace.readers.cline import CLINE
from replay.trace.readers.codex import CODEX
from replay.trace.readers.columns import COLUMNS
from replay.trace.readers.dynamo import DYNAMO
from replay.trace.readers.files import passed_over, trace_files
from replay.trace.readers.gemini_cli import GEMINI_CLI
from replay.trace.readers.guidellm import GUIDELLM
from replay.trace.readers.head import head_rows
from replay.trace.readers.helicone import HELICONE
from replay.trace.readers.inference_perf import INFERENCE_PERF
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.langfuse import LANGFUSE
from replay.trace.readers.litellm import LITELLM
from replay.trace.readers.llmservingsim import LLMSERVINGSIM
from replay.trace.readers.llmservingsim_bench import LLMSERVINGSIM_BENCH
from replay.trace.readers.lmcache import LMCACHE
from replay.trace.readers.lmcache_lookups import LMCACHE_LOOKUPS
from replay.trace.readers.messages import MESSAGES
from replay.trace.readers.mooncake import MOONCAKE
from replay.trace.readers.mooncake_agentic import MOONCAKE_AGENTIC
from replay.trace.readers.openai import OPENAI
from replay.trace.readers.opencode import OPENCODE
from replay.trace.readers.openrouter import OPENROUTER
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.otel import OTEL
from replay.trace.readers.ragpulse import RAGPULSE
from replay.trace.readers.reader import Reader
from replay.trace.readers.sagemaker import SAGEMAKER
from replay.trace.readers.sglang_log import SGLANG_LOG
from replay.trace.readers.shapes import nearest_in
from replay.trace.readers.sharegpt import SHAREGPT
from replay.trace.readers.source import EmptyFileError, Source, read_source
from replay.trace.readers.tair import TAIR
from replay.trace.readers.tracelab import TRACELAB
from replay.trace.readers.vertex import VERTEX
from replay.trace.readers.vllm_bench import VLLM_BENCH
from replay.trace.readers.vllm_log import VLLM_LOG
from replay.trace.readers.vllm_multiturn import VLLM_MULTITURN
from replay.trace.readers.weka import WEKA
from replay.trace.repeated import once_each

_HEAD_BYTES = 1 << 20
_LATER_ROWS = 20
_WRITTEN = re.compile(rb"\S")
_SHOWN_FILES = 5

# The first that recognises a file reads it: narrow formats stand before those that take more.
READERS = (
    CLAUDE_CODE,
    CODEX,
    GEMINI_CLI,
    OPENCODE,
    CLINE,
    SGLANG_LOG,
    AIPERF,
    AIPERF_INPUTS,
    AIBRIX,
    INFERENCE_PERF,
    GUIDELLM,
    LLMSERVINGSIM_BENCH,
    VLLM_BENCH,
    APPLIED_COMPUTE,
    VLLM_LOG,
    LITELLM,
    LANGFUSE,
    HELICONE,
    OPENROUTER,
    BEDROCK,
    VERTEX,
    SAGEMAKER,
    AZURE_APIM,
    BIDAW,
    BURSTGPT,
    AZURE,
    TRACELAB,
    BAILIAN,
    MOONCAKE_AGENTIC,
    WEKA,
    RAGPULSE,
    MOONCAKE,
    LLMSERVINGSIM,
    DYNAMO,
    TAIR,
    LMCACHE,
    LMCACHE_LOOKUPS,
    MESSAGES,
    SHAREGPT,
    VLLM_MULTITURN,
    OPENAI,
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

    Each file's format is recognised by content, unless named; several files are merged, and empty
    ones among them passed over with a note. Raises InputError for a file that cannot be read and
    for options its format does not take, UnknownNameError for a format that stands in no table,
    TraceError for a broken one.
    """
    reader = None if format_name is None else reader_named(format_name)
    files = trace_files(path, suffixes_of(READERS))
    if files is None:
        return _read(path, reader, options)
    traces, empty = [], []
    for number, file in enumerate(files):
        progress("Reading the traces", number, len(files))
        try:
            traces.append(_read(file, reader, options))
        except EmptyFileError as error:
            empty.append(error)
    if not traces:
        raise empty[0]
    traces = once_each(traces, {one.name: one.call_column for one in READERS if one.call_column})
    trace = merge_traces(traces, path=str(path), name=Path(path).name or str(path))
    notes = []
    if empty:
        names = _shown([Path(one.problems[0].file).name for one in empty])
        what = "are empty or hold no requests and were passed over"
        notes.append(f"{len(empty):,} of {len(files):,} files {what}: {names}")
    if others := passed_over(path, suffixes_of(READERS)):
        found = "one file" if len(others) == 1 else f"{len(others):,} files"
        notes.append(
            f"not read, for want of a suffix of traces: {found} in the folder, "
            f"{_shown([str(one) for one in others])}; a pattern in quotes names files of any suffix"
        )
    meta = trace.meta
    for note in notes:
        meta = meta.noting(note)
    return trace.changed(trace.frame, meta) if notes else trace


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_FILES:,} more" if len(names) > _SHOWN_FILES else ""
    return ", ".join(names[:_SHOWN_FILES]) + more


def suffixes_of(readers: Iterable[Reader]) -> tuple[str, ...]:
    """Return the suffixes that these formats name their files with."""
    return tuple(sorted({suffix for reader in readers for suffix in reader.suffixes}))


def _read(path: str | Path, reader: Reader | None, options: ReadOptions) -> Trace:
    source = read_source(path, max_unpacked_bytes=options.max_unpacked_bytes)
    if looks_like_parquet(source.data[:_HEAD_BYTES]):
        # Some damage would end this process, and some small files are very large ones.
        check_parquet(source.data, source.path, most_bytes=options.max_unpacked_bytes)
    if reader is None:
        reader = COLUMNS if options.columns is not None else _recognised(source)
    reader.refuse_others(options)
    return reader.read(source, options)


def reader_named(name: str) -> Reader:
    """Return the reader of a format; UnknownNameError for one that stands in no table."""
    for reader in READERS:
        if reader.name == name:
            return reader
    raise UnknownNameError("trace format", name, [reader.name for reader in READERS])


def _recognised(source: Source) -> Reader:
    start = _WRITTEN.search(source.data)
    head = source.data[start.start() : start.start() + _HEAD_BYTES] if start else b""
    if looks_like_parquet(head):
        columns = parquet_columns(source.data)
        for reader in READERS:
            if reader.parquet_columns and reader.parquet_columns <= columns:
                return reader
    for reader in READERS:
        if reader.sniff(head):
            return reader
    # The first row may be faulty, or of a request that failed: some look at no other.
    for row in head_rows(head)[1:_LATER_ROWS]:
        text = json.dumps(row).encode()
        for reader in READERS:
            if not reader.shapes and reader.sniff(text):
                return reader
    raise _unknown(source, head)


def _unknown(source: Source, head: bytes) -> TraceError:
    """Return what can be said of a file in no known format: its JSON is broken, or what is near."""
    names = ", ".join(sorted(reader.name for reader in READERS))
    hint = f"--format-in names a format ({names}); --columns says what any table's columns mean"
    problems = ProblemList(source.path)
    what = f"starts with {source.data[:24]!r}"
    if source.data.lstrip()[:1] in (b"{", b"["):
        _, row = next(walk_objects(as_lines(source, problems).data, problems), (0, None))
        if row is None and problems.total:
            return TraceError(problems.found[:1], hint=hint)
        if row is not None:
            what = f"its first object has {', '.join(map(str, row)) or 'no keys'}"
    near = nearest_in(head, [(reader.name, reader.shapes) for reader in READERS])
    what = f"not a known trace format ({what})" + (f"; {near}" if near else "")
    return TraceError([Problem(source.path, what)], hint=hint)
