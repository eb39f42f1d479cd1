"""The story of one request in sentences: what it reused, what it missed, what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from replay.analysis import stretches as results
from replay.analysis.explain import Explanation
from replay.analysis.stretches import Stretch
from replay.units import format_bytes, format_duration

_NAMED = 3  # requests named in a sentence; the rest are counted


def sentences(told: Explanation) -> list[str]:
    """Return what there is to say of a request, the most important first."""
    return [*_opening(told), *_reused(told), *_missed(told), *_room(told), *_better(told)]


def _opening(told: Explanation) -> Iterator[str]:
    row = told.row
    who = f"Request {row['request_id']}"
    if row["session_id"] is not None:
        turn = "" if row["turn"] is None else f", turn {row['turn']}"
        who += f" (session {row['session_id']}{turn})"
    when = "at the start of the trace"
    if row["arrival_ns"]:
        when = f"{format_duration(row['arrival_ns'])} into the trace"
    waited = f" and waited {format_duration(row['queue_ns'])}" if row["queue_ns"] else ""
    yield f"{who} arrived {when}{waited}. {_share(row['hit_tokens'], row['input_tokens'])}"
    if row["status"] == "rejected":
        yield "It was interrupted later, and given up: it could not go on even alone."
    if row["status"] == "unfinished":
        yield "It was not finished when the run stopped."


def _share(hit: int, tokens: int) -> str:
    if not hit:
        return f"None of its {tokens:,} prompt tokens was reused."
    return f"{hit:,} of its {tokens:,} prompt tokens ({hit / tokens:.1%}) were reused."


def _reused(told: Explanation) -> Iterator[str]:
    if parts := _with_result(told, results.HIT):
        yield _origin(told, parts, "were")


def _missed(told: Explanation) -> Iterator[str]:
    """Yield a sentence for each reason why tokens were missed."""
    if parts := _with_result(told, results.EVICTED):
        yield f"It missed {_tokens(parts)} that {_evictors(told, parts)}. {_origin(told, parts)}"
    if parts := _with_result(told, results.EXPIRED):
        when = _when(told, max(part.gone_ns or 0 for part in parts))
        yield (
            f"It missed {_tokens(parts)} whose time to live ran out {when}. {_origin(told, parts)}"
        )
    if parts := _with_result(told, results.NOT_KEPT):
        yield (
            f"It missed {_tokens(parts)} that were seen before and are not in the cache: there was "
            "no room to keep them, or whoever computed them was interrupted or is not done."
        )
    if parts := _with_result(told, results.BEHIND_A_GAP):
        yield (
            f"It missed {_tokens(parts)} that are in the cache, but of no use: what precedes them "
            "is not."
        )
    if parts := _with_result(told, results.IN_FLIGHT):
        yield (
            f"It missed {_tokens(parts)} that were being computed at that moment: "
            f"{_listed(_by(parts, 'put_by'), lambda who, _: _writer(told, who))}."
        )
    if parts := _with_result(told, results.ROUNDING):
        yield (
            f"It missed {_tokens(parts)} to rounding: {_whole_blocks(told)} one token of a prompt "
            "is always computed."
        )
    if parts := _with_result(told, results.NEVER_SEEN):
        yield f"{_tokens(parts)} of its prompt had never been seen before."


def _whole_blocks(told: Explanation) -> str:
    if told.block_size == 1:
        return ""
    return f"only whole blocks of {told.block_size:,} tokens are reused, and"


def _room(told: Explanation) -> Iterator[str]:
    if blocks := told.row["evicted_blocks"]:
        yield f"To make room for it {_counted(blocks, 'cached block')} {_was(blocks)} evicted."


def _better(told: Explanation) -> Iterator[str]:
    """Yield what other caches would have done for it."""
    enough, missed = told.sufficient_capacity_blocks, told.row["capacity_miss_tokens"]
    if enough == 0:
        yield "No cache of any capacity would have hit any of it."
        return
    lru = f"an LRU cache of {_size(told, enough)}"
    if not missed:
        yield (
            f"Nothing was missed for want of room. With requests one after another, {lru} is "
            "enough for that."
        )
        return
    has = told.capacity_blocks
    there = "this run's is unlimited" if has is None else f"this run's has {has:,}"
    yield f"With requests one after another, {lru} hits all that can be hit of it; {there}."
    kept = told.avoidable_miss_tokens
    share = "all" if kept == missed else f"{kept:,}" if kept else "none"
    yield (
        f"Of the {_counted(missed, 'token')} missed for want of room, the optimum at this run's "
        f"capacity, which knows the future, would have kept {share}."
    )


def _size(told: Explanation, blocks: int) -> str:
    tokens = blocks * told.block_size
    size = f"{_counted(blocks, 'block')} of {told.block_size:,} tokens"
    if told.block_size == 1:
        size = _counted(tokens, "token")
    if told.kv_bytes_per_token is None:
        return size
    return f"{size} ({format_bytes(tokens * told.kv_bytes_per_token)})"


# --- requests and times ---------------------------------------------------------------------


def _with_result(told: Explanation, result: str) -> list[Stretch]:
    return [part for part in told.stretches if part.result == result]


def _by(parts: list[Stretch], field: str) -> list[tuple[int | None, list[Stretch]]]:
    """Return the stretches by the request in a field, the one with most tokens first."""
    groups: dict[int | None, list[Stretch]] = {}
    for part in parts:
        groups.setdefault(getattr(part, field), []).append(part)
    return sorted(groups.items(), key=lambda group: -sum(part.tokens for part in group[1]))


def _writer(told: Explanation, request: int | None) -> str:
    assert request is not None  # what is in the cache was put there by somebody
    ago = told.row["arrival_ns"] - told.arrivals_ns[request]
    about = [f"{format_duration(ago)} before" if ago else "at the same moment"]
    own = told.row["session_id"]
    if own is not None and told.sessions[request] == own:
        about.insert(0, "same session")
    return f"request {request} ({', '.join(about)})"


def _origin(told: Explanation, parts: list[Stretch], were: str = "had been") -> str:
    groups = _by(parts, "put_by")
    listed = _listed(groups, lambda who, _: _writer(told, who))
    if len(groups) == 1:
        return f"They {were} put there by {listed}."
    return f"They {were} put there: {listed}."


def _evictors(told: Explanation, parts: list[Stretch]) -> str:
    groups = _by(parts, "gone_to")
    if len(groups) == 1:
        who, these = groups[0]
        return f"{_evictor(who)} pushed out {_when(told, _last(these))}"
    listed = _listed(groups, lambda who, these: f"{_evictor(who)}, {_when(told, _last(these))}")
    return f"had been pushed out: {listed}"


def _evictor(request: int | None) -> str:
    return "the growth of running requests" if request is None else f"request {request}"


def _last(parts: list[Stretch]) -> int:
    return max(part.gone_ns or 0 for part in parts)


def _when(told: Explanation, ns: int) -> str:
    ago = told.row["arrival_ns"] - ns
    if ago == 0:
        return "just as it arrived"
    if ago < 0:
        return f"{format_duration(-ago)} after it arrived, while it waited"
    return f"{format_duration(ago)} before it arrived"


def _listed(
    groups: list[tuple[int | None, list[Stretch]]],
    name: Callable[[int | None, list[Stretch]], str],
) -> str:
    """Return the first groups by name, each with its tokens unless there is only one."""
    if len(groups) == 1:
        return name(*groups[0])
    listed = [f"{_tokens(parts)} by {name(who, parts)}" for who, parts in groups[:_NAMED]]
    if others := groups[_NAMED:]:
        rest = [part for _, parts in others for part in parts]
        listed.append(f"{_tokens(rest)} by {_counted(len(others), 'other')}")
    return "; ".join(listed)


def _tokens(parts: list[Stretch]) -> str:
    return _counted(sum(part.tokens for part in parts), "token")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
