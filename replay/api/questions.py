"""Questions in Python: what is in a trace, what a cache makes of it, what a step costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Literal, Unpack

import polars as pl

from replay.api.answers import Answer
from replay.api.progress import Progress, working
from replay.api.scenarios import CACHE_KEYS, SCENARIO_KEYS, CacheKeys, ScenarioKeys, scenario_of
from replay.api.traces import Path_, Trace, share_of, source_of
from replay.compiling.parts import CONTENT, CURVES, QUEUES, RANKS, READING, part_of
from replay.report.frames import table_frame
from replay.units import parse_duration_ns

if TYPE_CHECKING:
    import altair

    from replay.analysis.curves import CurveAnswer
    from replay.answers.questions import Words
    from replay.report.copying import ArrowStream

    TraceLike = Trace | Path_ | ArrowStream

Names = str | Iterable[str]
Numbers = str | int | Iterable[int]


class Check(Answer):
    """What the trace doctor found, a finding a row."""

    @property
    def sound(self) -> bool:
        """Whether there is no warning and no fault among the findings."""
        from replay.trace.check import FAULT, WARNING

        return not self.frame()["verdict"].is_in([WARNING, FAULT]).any()


def describe(trace: TraceLike, *, no_sessions: bool = False, progress: Progress = False) -> Answer:
    """Return the facts of a trace as one row: load, lengths, sessions, how much content repeats.

    Hit rates in it are those of an unbounded cache. `no_sessions` looks for no sessions in a trace
    without them. Raises what reading the trace raises.
    """
    from replay.answers.describe_tables import flat_table
    from replay.answers.looking import described
    from replay.answers.trace_picture import trace_picture

    with working(progress, READING, CONTENT) as hook:
        found = source_of(trace).trace(hook)
        seen = described(found, sessions=not no_sessions, progress=hook)
    return Answer(
        {"facts": table_frame(flat_table(seen.facts, seen.notes))},
        title=f"Facts of {found.meta.name}",
        notes=seen.notes,
        draw=lambda: trace_picture(seen.trace, seen.tree, seen.facts).chart(),
    )


def check(
    trace: TraceLike,
    *,
    context: int | None = None,
    max_rejected: str | float = 0,
    progress: Progress = False,
) -> Check:
    """Return what in a trace would make a replay of it mislead, a finding a row.

    `context` is the longest prompt and response together that the model took, in tokens. Of a
    file all rows are looked at: `max_rejected` is the share of faulty ones that is no fault yet.
    """
    from replay.answers.looking import checked, finding_table
    from replay.answers.sources import FileSource
    from replay.trace.readers.options import ReadOptions

    source = source_of(trace)
    if isinstance(source, FileSource):
        source = FileSource(source.path, source.format_name, ReadOptions(max_rejected=1.0))
    with working(progress, READING, CONTENT) as hook:
        found = source.trace(hook)
        findings = checked(
            found, context_tokens=context, rejected_allowed=share_of(max_rejected), progress=hook
        )
    table = table_frame(finding_table(findings))
    return Check({"findings": table}, title=f"Check of {found.meta.name}")


def curve(
    trace: TraceLike,
    *,
    policy: Names = "lru",
    capacity: Names | int | None = None,
    block_size: Numbers | None = None,
    unit: str | None = None,
    ttl: str | None = None,
    threads: int | None = None,
    by: str | None = None,
    window: str | None = None,
    points: int | None = None,
    sample: str | float | None = None,
    progress: Progress = False,
    **scenario: Unpack[CacheKeys],
) -> Answer:
    """Return the hit rate of a trace over the capacity of the cache, requests one by one.

    `policy`, `capacity` and `block_size` are lists, or texts with commas: `"lru,min"`, `"40GiB,
    auto"`. LRU is exact at every capacity from one pass. `by` makes a curve for each session,
    tenant, `window` of time or other column; `points` spaces so many capacities; `sample` estimates
    LRU from a share of the prefixes. The other keywords are those of `CacheKeys`.

    The frame `curve` has a row for each group, block size, policy and capacity, `summary` what
    could be hit and where the curve bends. Raises InputError, UnknownNameError, ConfigError, and
    what reading the trace raises.
    """
    from replay.analysis.curves import answer_curves
    from replay.answers.curve_picture import curve_picture
    from replay.answers.questions import question_about

    words = _words(policy, capacity, block_size, unit, ttl, threads, points, sample, by)
    found = scenario_of(scenario, CACHE_KEYS, {"engine.mode": "untimed"})
    window_ns = None if window is None else parse_duration_ns(window)
    with working(progress, READING, CONTENT, CURVES) as hook:
        question = question_about(source_of(trace), found, words, hook)
        answer = answer_curves(question, by=by, window_ns=window_ns, progress=hook)

    def draw() -> altair.TopLevelMixin:
        smooth = question_about(source_of(trace), found, replace(words, drawn=True))
        between = answer_curves(smooth, by=by, window_ns=window_ns)
        return curve_picture(smooth, between, by).chart()

    return Answer(
        {
            "curve": answer.points,
            "summary": _summary(answer),
        },
        title=f"Hit rate by capacity of {question.prepared.trace.meta.name}",
        warnings=question.preface,
        notes=question.notes,
        draw=draw if question.prepared.content_known else None,
    )


def _summary(answer: CurveAnswer) -> pl.DataFrame:
    """Return a row for each group and block size; a curve of all has no group."""
    rows = [asdict(one) for one in answer.summaries]
    return pl.DataFrame(rows, schema_overrides={"group": pl.String})


def policies(
    trace: TraceLike,
    *,
    policy: Names = (),
    capacity: Names | int = "auto",
    block_size: Numbers | None = None,
    unit: str | None = None,
    ttl: str | None = None,
    threads: int | None = None,
    progress: Progress = False,
    **scenario: Unpack[CacheKeys],
) -> Answer:
    """Return eviction policies side by side, all that can run by default, best hit rate first.

    `capacity` is the GPU's memory by default. `gap_closed_share` is 0 for LRU and 1 for the
    optimum `min`. Lists and keywords as `curve` takes them; raises as it does.
    """
    from replay.analysis.policy_table import compare_policies
    from replay.answers.policy_picture import policy_picture
    from replay.answers.policy_tables import policy_table
    from replay.answers.questions import question_about

    words = _words(policy, capacity, block_size, unit, ttl, threads)
    found = scenario_of(scenario, CACHE_KEYS, {"engine.mode": "untimed"})
    every = () if words.policies else (QUEUES, RANKS)
    with working(progress, READING, CONTENT, CURVES, *every) as hook:
        question = question_about(source_of(trace), found, words, hook)
        lines = compare_policies(question, progress=hook)
    table, name = table_frame(policy_table(lines)), question.prepared.trace.meta.name
    return Answer(
        {"policies": table},
        title=f"Eviction policies on {name}",
        warnings=question.preface,
        notes=question.notes,
        draw=(lambda: policy_picture(question, lines).chart())
        if question.prepared.content_known
        else None,
    )


def gain(
    trace: TraceLike, *, progress: Progress = False, **scenario: Unpack[ScenarioKeys]
) -> Answer:
    """Return what a session cache and a store of shared prefixes are worth, alone and together.

    Four replays through a session store; savings are paired with the same requests without any
    cache. The keywords are those of `ScenarioKeys`. Raises ConfigError, and what reading raises.
    """
    from replay.answers.gain_picture import gain_picture
    from replay.answers.gains import gain_answer, gain_table

    found = scenario_of(scenario, SCENARIO_KEYS, {"cache.kind": "session_store"})
    part = part_of(found)
    with working(progress, READING, CONTENT, CURVES, part) as hook:
        answer = gain_answer(source_of(trace), found, hook)
    table = table_frame(gain_table(answer))
    return Answer(
        {"gain": table},
        title="What each cache is worth",
        warnings=answer.preface,
        notes=answer.notes,
        draw=(lambda: gain_picture(answer).chart()) if answer.content_known else None,
    )


def cost(
    *,
    gpu: str = "h100-sxm",
    model: str = "llama-3.1-8b",
    tp: int = 1,
    pp: int = 1,
    new: int = 0,
    cached: int = 0,
    decode: str | None = None,
    budget: int = 8192,
    weight_dtype: str = "native",
    kv_dtype: str = "bf16",
    all_reduce: str = "graph",
    backend: str = "roofline",
    table: Path_ | None = None,
    host: str | None = None,
    over: Literal["new", "cached"] = "cached",
) -> Answer:
    """Return what one engine step costs: `new` prompt tokens after `cached` ones, and decodes.

    `decode` is a count and a context, `"32x4096"`. The frame `step` has the parts, their sum and
    the floor that no software beats; `load_or_recompute` says from which length a cached prefix
    is faster loaded from each tier of the `host`. The picture ranges `over` new or cached tokens.
    Raises UnknownNameError, DoesNotFitError and InputError.
    """
    from replay.answers.cost_picture import cost_picture
    from replay.answers.cost_tables import cost_answer

    tables, question = cost_answer(
        {
            "gpu": gpu, "model": model, "tp": tp, "pp": pp, "new": new, "cached": cached,
            "budget": budget, "weight_dtype": weight_dtype, "kv_dtype": kv_dtype,
            "all_reduce": all_reduce, "backend": backend, "table_file": table, "host": host,
        },
        decode,
    )  # fmt: skip
    return Answer(
        {name: table_frame(one) for name, one in tables.items()},
        title=f"One step of {model} on {tp} x {gpu}",
        notes=question.notes,
        draw=lambda: cost_picture(question, over).chart(),
    )


def names(kind: str, *chosen: str) -> Answer:
    """Return what can be named: gpus, models, engines, hosts, policies, formats, profiles, ...

    GPUs, models, engines and hosts may be picked by name, or given as files. Raises
    UnknownNameError, which lists the kinds, and InputError.
    """
    from replay.answers.name_tables import names_table

    return Answer({kind: table_frame(names_table(kind, chosen))}, title=f"Known {kind}")


def _words(
    policy: Names,
    capacity: Names | int | None,
    block_size: Numbers | None,
    unit: str | None,
    ttl: str | None,
    threads: int | None,
    points: int | None = None,
    sample: str | float | None = None,
    by: str | None = None,
) -> Words:
    """Return a question in words, lists as texts."""
    from replay.answers.questions import Words

    return Words(
        policies=_texts(policy),
        block_sizes=None if block_size is None else ",".join(_texts(block_size)),
        capacities=() if capacity is None else _texts(capacity),
        unit=unit,
        ttl=ttl,
        points=points,
        threads=threads,
        sample=None if sample is None else share_of(sample),
        by=by,
    )


def _texts(given: Names | Numbers) -> tuple[str, ...]:
    if isinstance(given, str | int):
        return (str(given),)
    return tuple(map(str, given))
