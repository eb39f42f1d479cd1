"""Traces in Python: loaded, made of any DataFrame, drawn, changed, written."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from replay.answers.changing import Change, changed, joined, key_in
from replay.answers.sources import FileSource, HeldSource, Source
from replay.api.answers import Answer, one_row
from replay.api.frames import as_polars, is_frame
from replay.api.given import Path_, path_if, path_of, path_text, whole_number
from replay.api.mapping import mapping_of
from replay.api.progress import Progress, working
from replay.compiling.parts import CONTENT, GENERATOR, READING
from replay.config.columns import MAX_BLOCK_SIZE
from replay.errors import InputError
from replay.trace.anonymize import anonymize as anonymized
from replay.trace.content import natural_block_size
from replay.trace.readers import load_trace as read
from replay.trace.readers import reader_named
from replay.trace.readers.held_frame import (
    CANONICAL,
    trace_of_canonical,
    trace_of_columns,
    trace_of_rows,
)
from replay.trace.readers.options import ReadOptions
from replay.trace.rejected import rejected_beside, write_rejected
from replay.trace.separation import AUTO, separated, sharing_notes
from replay.trace.writers import writer_for
from replay.units import NS_PER_S, parse_bytes, parse_duration_ns, parse_share, parse_window
from replay.writing.target import check_file

if TYPE_CHECKING:
    import altair

    from replay.report.copying import ArrowStream
    from replay.trace import frame as canonical

FRAME = "the DataFrame"
_PATHS = "give a file, a folder or a pattern of files; from_frame takes DataFrames"


def _drawn(trace: canonical.Trace) -> altair.TopLevelMixin:
    """Return arrivals, lengths and reuse, as `describe` draws them."""
    from replay.answers.looking import described
    from replay.answers.trace_picture import trace_picture

    seen = described(trace)
    return trace_picture(seen.trace, seen.tree, seen.facts).chart()


class Trace(Answer):
    """Requests in replay order, held in memory with the trees that questions grew from them.

    The tables are `trace`, with the columns of docs/traces.md and the source's own, and
    `rejected`, the rows that were put aside. `source` is the trace as `replay.trace` has it.
    """

    def __init__(self, source: canonical.Trace, notes: tuple[str, ...] = ()) -> None:
        tables = {"trace": source.frame}
        if source.rejected:
            names = ("file", "line", "reason", "text")
            tables["rejected"] = pl.DataFrame(
                {name: [getattr(row, name) for row in source.rejected] for name in names}
            )
            notes += (f"{len(source.rejected):,} rows were put aside: frame('rejected') has them",)
        shared = sharing_notes(source, content_known=source.has_content)
        super().__init__(
            tables,
            title=f"Trace {source.meta.name}",
            notes=(*source.meta.notes, *shared, *notes),
            draw=lambda: _drawn(source),
        )
        self.source = source
        self._held = HeldSource(source)

    @property
    def requests(self) -> int:
        """Number of requests."""
        return self.source.requests

    @property
    def block_size(self) -> int | None:
        """Tokens in a block of its content, None where that is not in blocks."""
        return self.source.meta.block_size

    def save(
        self,
        path: Path_,
        *,
        format_out: str | None = None,
        block_size: int | None = None,
        force: bool = False,
    ) -> list[str]:
        """Write it as canonical Parquet, Mooncake or LLMServingSim, by the file's suffix.

        Rows that were put aside go to a file beside it. Returns in words what the format cannot
        hold. Raises UnknownNameError, InputError, OutputExistsError and OutputError.
        """
        path = path_of("path", path)
        writer = writer_for(path, format_out)
        beside = rejected_beside(path)
        check_file(beside, force=force)
        lost = writer.write(self.source, path, block_size=block_size, force=force)
        write_rejected(self.source.rejected, beside, force=force)
        return lost

    def _shown(self) -> pl.DataFrame:
        meta, frame = self.source.meta, self.source.frame
        return one_row(
            {
                "requests": self.requests,
                "duration_s": int(frame["arrival_ns"][-1]) / NS_PER_S,
                "input_tokens": int(frame["input_tokens"].sum()),
                "output_tokens": int(frame["output_tokens"].sum()),
                "content": meta.content,
                "block_size": meta.block_size,
                "sessions": meta.sessions,
                "rejected_rows": meta.rejected_rows or None,
            }
        )


def load_trace(
    path: Path_,
    *,
    format_in: str | None = None,
    trace_block_size: int | None = None,
    tokenizer: Path_ | None = None,
    chat_template: Path_ | None = None,
    columns: Path_ | None = None,
    separate_by: str = AUTO,
    max_rejected: str | float = 0,
    max_unpacked: str | int | None = None,
    progress: Progress = False,
) -> Trace:
    """Return the trace in a file, a folder or a pattern of files, in any format replay reads.

    `format_in` names the format where its content cannot tell; `trace_block_size` is in tokens.
    `tokenizer` (tokenizer.json) and `chat_template` are for traces of text, `columns` is a YAML
    file that says what the columns of any table mean. `separate_by` names columns whose requests
    share no KV, or `none`. `max_rejected` is the share of faulty rows to put aside rather than
    fail, such as `"0.1%"`. Raises InputError, UnknownNameError, TraceError and ConfigError.
    """
    file = path_text("the path of a trace", path, hint=_PATHS)
    options = ReadOptions(
        block_size=_block_size("trace_block_size", trace_block_size),
        max_rejected=share_of(max_rejected),
        tokenizer=path_if("tokenizer", tokenizer),
        chat_template=path_if("chat_template", chat_template),
        columns=path_if("columns", columns),
        max_unpacked_bytes=parse_bytes(max_unpacked)
        if isinstance(max_unpacked, str)
        else max_unpacked,
    )
    with working(progress, READING, CONTENT) as hook:
        hook("Reading the trace", 0, 0)
        trace = read(file, format_name=format_in, options=options, progress=hook)
    return Trace(separated(trace, separate_by))


def from_frame(
    data: object,
    *,
    columns: Mapping[str, Any] | Path_ | None = None,
    block_size: int | None = None,
    block_ids_chained: bool = True,
    format_in: str | None = None,
    tokenizer: Path_ | None = None,
    chat_template: Path_ | None = None,
    separate_by: str = AUTO,
    max_rejected: str | float = 0,
    name: str = FRAME,
) -> Trace:
    """Return the trace in a DataFrame of Polars, pandas, Arrow or whatever hands out Arrow.

    `columns` maps what replay knows to the frame's columns, `{"arrival": "ts", "input_tokens":
    "prompt_len", ...}`, as in docs/formats/columns.md; a time that the column's type leaves open
    is `{"name": "ts", "unit": "ms"}`. Without it the frame has the columns of docs/traces.md
    (`arrival_ns`, `input_tokens`, `output_tokens`, `block_ids` with a `block_size`, ...). With
    `format_in` each row is an object of that format, such as a logged call of `openai`.

    Raises TraceError, which names rows from 0, InputError, UnknownNameError and ConfigError.
    """
    frame = as_polars(data)
    if not frame.height:
        raise InputError(f"{name} has no rows")
    allowed = share_of(max_rejected)
    block_size = _block_size("block_size", block_size)
    if format_in is not None:
        if columns is not None or block_size is not None:
            raise InputError("format_in says what columns mean: leave columns and block_size out")
        texts = path_if("tokenizer", tokenizer), path_if("chat_template", chat_template)
        options = ReadOptions(None, allowed, *texts)
        made = trace_of_rows(frame, reader_named(format_in), name=name, options=options)
    elif tokenizer is not None or chat_template is not None:
        raise InputError("a tokenizer means nothing without format_in, a format of text")
    elif columns is not None:
        mapping, frame = mapping_of(
            columns, frame, block_size=block_size, block_ids_chained=block_ids_chained
        )
        made = trace_of_columns(frame, mapping, name=name, max_rejected=allowed)
    else:
        _check_canonical(frame, name)
        made = trace_of_canonical(frame, name=name, block_size=block_size)
    return Trace(separated(made, separate_by))


def generate(
    profile: Path_,
    *,
    output: Path_ | None = None,
    requests: int | None = None,
    duration: str | None = None,
    rate: float | None = None,
    seed: int | None = None,
    tokens: bool = False,
    format: str | None = None,
    force: bool = False,
    progress: Progress = False,
) -> Trace:
    """Return a trace drawn from a profile: a name of `names("profiles")`, or a YAML file.

    The keywords stand in for what the profile says: `requests` or `duration` ("30m"), `rate` in
    requests per second, `seed`; `tokens` adds token ids. One seed gives one trace. `output` is a
    file to write it to as well. Raises InputError, UnknownNameError and ConfigError.
    """
    from replay.answers.drawing import drawn
    from replay.workload.profiles import load_profile

    if requests is not None and duration is not None:
        raise InputError("requests and duration exclude each other", hint="give one of them")
    requests = None if requests is None else whole_number("requests", requests, least=1)
    seed = None if seed is None else whole_number("seed", seed, least=0)
    text = path_text("a profile", profile, hint='a name of names("profiles"), or a YAML file')
    _check_output(output, format, profile, force=force)
    duration_ns = None if duration is None else parse_duration_ns(str(duration))
    named = load_profile(text if isinstance(profile, str) else Path(text))
    named = named.changed(requests=requests, duration_ns=duration_ns, seed=seed)
    with working(progress, GENERATOR) as hook:
        made, notes = drawn(named, rate, tokens=tokens, progress=hook)
    return _written(Trace(made, tuple(notes)), output, format_out=format, force=force)


def convert(
    *traces: Trace | Path_ | ArrowStream,
    output: Path_ | None = None,
    format_out: str | None = None,
    block_size: int | None = None,
    merge: bool = False,
    window: str | None = None,
    sample: str | float | None = None,
    by: str = "session",
    seed: int = 0,
    speedup: float | None = None,
    force: bool = False,
    progress: Progress = False,
) -> Trace:
    """Return a trace cut, sampled, sped up or merged of several, and write it to `output`.

    `window` is such as `"10m..40m"`; `sample` keeps a random share (`"10%"`) of what `by` names,
    session or request; `speedup` divides arrival times; `merge` makes one of several. Notes say
    what the format of `output` could not hold. Raises InputError and what reading them raises.
    """
    if not traces or (len(traces) > 1 and not merge):
        raise InputError(
            f"{len(traces)} traces were given", hint="merge=True makes one trace of them"
        )
    _check_output(output, format_out, *traces, force=force)
    bounds = None if window is None else parse_window(str(window))
    change = Change(bounds, None if sample is None else share_of(sample), by, seed, speedup)
    with working(progress, READING, CONTENT) as hook:
        read_ones = [source_of(one).trace(hook) for one in traces]
        names = [one.meta.path for one in read_ones]
        made = Trace(changed(joined(read_ones, names), change))
    return _written(made, output, format_out=format_out, block_size=block_size, force=force)


def anonymize(
    trace: Trace | Path_ | ArrowStream,
    *,
    output: Path_ | None = None,
    block_size: int | None = None,
    key_file: Path_ | None = None,
    round: str | None = None,
    jitter: str | None = None,
    force: bool = False,
    progress: Progress = False,
) -> Trace:
    """Return a trace of lengths, times and sharing, and nothing else: one to show to others.

    Sharing is kept in blocks of `block_size` tokens, the trace's own or 16 by default. `key_file`
    holds a secret of 16 bytes or more, else one is drawn and forgotten; `round` cuts arrivals to a
    multiple of a time, `jitter` moves them by up to one. `output` is a Mooncake file to write.
    Raises InputError and what reading the trace raises.
    """
    tokens = _block_size("block_size", block_size)
    _check_output(output, "mooncake", trace, key_file, force=force)
    key = None if key_file is None else key_in(path_of("key_file", key_file))
    with working(progress, READING, CONTENT) as hook:
        given = source_of(trace).trace(hook)
        hook("Hashing", 0, 0)
        made = anonymized(
            given,
            tokens or natural_block_size(given),
            key=key,
            round_ns=None if round is None else parse_duration_ns(str(round)),
            jitter_ns=None if jitter is None else parse_duration_ns(str(jitter)),
        )
    removed = ", ".join(made.removed) or "nothing but names of blocks"
    notes = (f"times: {made.times}", f"removed: {removed}")
    size = made.trace.meta.block_size
    return _written(
        Trace(made.trace, notes), output, format_out="mooncake", block_size=size, force=force
    )


def source_of(trace: Trace | Path_ | ArrowStream) -> Source:
    """Return where a question gets a trace: one that is held, a file, or a DataFrame."""
    if isinstance(trace, Trace):
        return trace._held
    if isinstance(trace, str | PathLike):
        return FileSource(path_text("a trace", trace, hint=_PATHS))
    if is_frame(trace):
        return from_frame(trace)._held
    raise InputError(
        f"not a trace (got {type(trace).__name__})",
        hint="give a path, a DataFrame, or what load_trace, from_frame or generate return",
    )


def share_of(share: str | float) -> float:
    """Return a share 0..1 that is a number, or text as `0.1%`."""
    if isinstance(share, str):
        return parse_share(share)
    if not 0 <= share <= 1:
        raise InputError(f"{share!r} is no share between 0 and 1", hint='give 0.001 or "0.1%"')
    return float(share)


def _block_size(name: str, given: object) -> int | None:
    """Return the tokens in a block, if they were given; raises InputError."""
    return None if given is None else whole_number(name, given, least=1, most=MAX_BLOCK_SIZE)


def _check_canonical(frame: pl.DataFrame, name: str) -> None:
    lacking = [column for column in CANONICAL if column not in frame.columns]
    if lacking:
        raise InputError(
            f"{name} has no column {' and no '.join(lacking)} (it has {', '.join(frame.columns)})",
            hint='columns={"arrival": "ts", "input_tokens": ..., "output_tokens": ...} says which '
            "of its columns mean that; docs/formats/columns.md has all that can be named",
        )


def _check_output(
    output: Path_ | None, format_out: str | None, *inputs: object, force: bool
) -> None:
    """Refuse before the work what could only fail after it."""
    if output is not None:
        target = path_of("output", output)
        writer_for(target, format_out)
        files = [str(one) for one in inputs if isinstance(one, str | PathLike)]
        check_file(target, force=force, inputs=files)


def _written(
    made: Trace,
    output: Path_ | None,
    *,
    format_out: str | None = None,
    block_size: int | None = None,
    force: bool,
) -> Trace:
    """Return a trace, written where that was asked for, with notes on what the file lost."""
    if output is None:
        return made
    lost = made.save(output, format_out=format_out, block_size=block_size, force=force)
    made.notes += tuple(f"not in {output}: {text}" for text in lost)
    return made
