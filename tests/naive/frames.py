"""The tables of a run from what the twins counted: one plain dictionary a row.

Every column of `replay/schema.py` is worked out here from its wording, request by request, step by
step and token by token, whatever way the fast side came to it.
"""

from __future__ import annotations

from collections import Counter

from tests.naive.pool import Cache, Request
from tests.naive.scheduler import Step


def request_row(row: dict, twin: Request, off: Request | None, size: int, clock: Clock) -> dict:
    """Return the row of a request; `off` is its twin with caching off, None without a pair."""
    prompt = len(twin.prompt)
    found = {
        "request_id": twin.index,
        "session_id": row["session_id"],
        "turn": None,
        "parent_request_id": None,
        "arrival_ns": twin.arrival_ns,
        "input_tokens": prompt,
        "output_tokens": twin.output_tokens,
        "hit_tokens": twin.hit,
        "session_hit_tokens": twin.session_hit,
        "cross_request_hit_tokens": twin.hit - twin.session_hit,
        "cold_tokens": twin.misses["cold"],
        "capacity_miss_tokens": twin.misses["capacity"],
        "in_flight_tokens": twin.misses["in_flight"],
        "granularity_tokens": twin.misses["granularity"],
        "policy_miss_tokens": twin.misses.get("policy", 0),
        "disabled_tokens": twin.misses["disabled"],
        "prefix_cache_event": event(twin),
        "forgotten_tokens": None,
        "input_blocks": -(-prompt // size),
        "hit_blocks": twin.hit_blocks,
        "full_hit_blocks": min(twin.hit_blocks, prompt // size),
        "evicted_blocks": twin.evicted,
        "evicted_by_request_id": twin.evicted_by,
        "evicted_ns": twin.evicted_ns,
        "preemptions": twin.preemptions,
        "recomputed_tokens": twin.recomputed,
    }
    came = twin.response_came_to
    found["response_status"] = None if came == "none" else came
    held = clock.hold_ns and twin.status == "completed"
    found["admitted_ns"] = twin.admitted_ns if held else None
    found["lookup_attempts"] = None if clock.timed else twin.attempts
    found["response_evicted_blocks"] = None if clock.timed else twin.evicted_later
    found |= latencies(twin, clock)
    pair = latencies(off, clock) if off else {}
    for name in ("status", "queue_ns", "prefill_ns", "ttft_ns", "e2e_ns"):
        found[f"no_cache_{name}"] = pair.get(name)
    return found


def global_hits(twins: list[Request]) -> list[int]:
    """Return how many tokens of each request's hits most prompts start with."""
    most = Counter(
        twin.prompt[:depth] for twin in twins for depth in range(1, len(twin.prompt) + 1)
    )
    return [
        sum(2 * most[twin.prompt[: depth + 1]] > len(twins) for depth in range(twin.hit))
        for twin in twins
    ]


def turns(contents: list[tuple], sessions: list[int | None]) -> list[int | None]:
    """Return the request whose turn each contains; `contents` are pairs of prompt and all that is
    known of prompt and response.

    The one before in its session, unless that one's response is known and the prompt does not go on
    with it; then by content, whose response the deepest token was first part of.
    """
    found: list[int | None] = []
    last: dict[int | None, int] = {}
    first: dict[tuple, tuple[int, bool]] = {}  # of a prefix: who had it, and whether as a response
    for number, ((prompt, whole), session) in enumerate(zip(contents, sessions, strict=True)):
        turn = last.get(session) if session is not None else None
        if turn is not None:
            before, said = contents[turn]
            if len(said) > len(before) and prompt[: len(before) + 1] != said[: len(before) + 1]:
                turn = None
        if turn is None:
            authors = [first.get(tuple(prompt[: at + 1])) for at in range(len(prompt))]
            said_by = [one[0] for one in authors if one is not None and one[1]]
            turn = said_by[-1] if said_by else None
        found.append(turn)
        for at in range(len(whole)):
            first.setdefault(tuple(whole[: at + 1]), (number, at >= len(prompt)))
        last[session] = number
    return found


def causality(drawn: list[dict], twins: list[Request], clock: Clock, end_ns: int) -> dict:
    """Return the columns on the turn each request contains, and how far from its end it arrived."""
    known = [row.get("response_segment") is not None for row in drawn]
    contents = [
        (twin.prompt, twin.tokens if knows else twin.prompt)
        for twin, knows in zip(twins, known, strict=True)
    ]
    before = turns(contents, [row["session_id"] for row in drawn])
    early: list[int | None] = []
    for twin, turn in zip(twins, before, strict=True):
        if turn is None or not clock.timed or twins[turn].status == "rejected":
            early.append(None)
            continue
        ended = end_ns
        if twins[turn].status == "completed":
            ended = twins[turn].done_ns + clock.overhead_ns(twins[turn])
        early.append(max(ended - twin.arrival_ns, 0))
    return {"contained_request_id": before, "premature_ns": early}


class Clock:
    """Whether time passes, how long untimed requests are held, and the overhead of a request.

    That is so much for each, for each prompt token, and for each request of the same replay that
    gets a token when it gets its first, itself among them.
    """

    def __init__(
        self,
        *,
        timed: bool,
        hold_ns: int = 0,
        overhead_ns: tuple[int, int, int] = (0, 0, 0),
        replays: tuple[list[Request], ...] = (),
    ) -> None:
        self.timed, self.hold_ns = timed, hold_ns
        self.of_each, self.replays = overhead_ns, replays

    def overhead_ns(self, twin: Request) -> int:
        request_ns, prompt_token_ns, answer_ns = self.of_each
        (beside,) = [twins for twins in self.replays if any(one is twin for one in twins)]
        answers = sum(
            0 < other.first_token_ns <= twin.first_token_ns
            and not 0 < other.done_ns < twin.first_token_ns
            for other in beside
        )
        return request_ns + prompt_token_ns * len(twin.prompt) + answer_ns * answers


def latencies(twin: Request, clock: Clock) -> dict:
    names = ("queue_ns", "overhead_ns", "prefill_ns", "ttft_ns", "itl_mean_ns", "itl_max_ns")
    found: dict = {**dict.fromkeys((*names, "e2e_ns")), "status": twin.status}
    if not clock.timed:
        return found
    extra, first = clock.overhead_ns(twin), twin.first_token_ns
    if first:
        found["queue_ns"] = twin.scheduled_ns - twin.arrival_ns
        found["overhead_ns"] = extra
        found["prefill_ns"] = first - twin.scheduled_ns
        found["ttft_ns"] = first - twin.arrival_ns + extra
    if twin.status == "completed":
        found["e2e_ns"] = twin.done_ns - twin.arrival_ns + extra
        if twin.output_tokens > 1:
            found["itl_mean_ns"] = (twin.done_ns - first) // (twin.output_tokens - 1)
            found["itl_max_ns"] = twin.itl_max_ns
    return found


def event(twin: Request) -> str | None:
    """Return what a completed request's look-up came to."""
    if twin.status != "completed":
        return None
    if twin.hit and twin.hit == len(twin.prompt) - 1:
        return "FULL_HIT_NO_PREFILL_NEEDED"
    if twin.hit:
        others = twin.hit - twin.session_hit
        return "CONVERSATIONAL_HIT" if twin.session_hit >= others else "CROSS_REQUEST_HIT"
    return "CONVERSATIONAL_MISS_UNEXPECTED_PROMPT" if twin.session_kept else "MISS_FULL"


def timeline_rows(steps: list[Step], end_ns: int, *, width_ns: int, most: int) -> list[dict]:
    """Return the intervals up to `end_ns`, twice as wide as long as steps need more than `most`."""
    last_ns = max((step.end_ns for step in steps if step.took_ns), default=0)
    while last_ns // width_ns >= most:
        width_ns *= 2
    rows = []
    for at in range(min(end_ns // width_ns + 1, most)):
        inside = [step for step in steps if min(step.end_ns // width_ns, most - 1) == at]
        rows.append(
            {
                "start_ns": at * width_ns,
                "width_ns": width_ns,
                "steps": sum(step.took_ns > 0 for step in inside),
                "busy_ns": sum(step.took_ns for step in inside),
                "prefill_tokens": sum(step.prompt_tokens for step in inside),
                "decode_tokens": sum(len(step.decodes) for step in inside),
                "running_request_ns": sum(step.running * step.took_ns for step in inside),
                "waiting_request_ns": sum(step.waiting * step.took_ns for step in inside),
                "waiting_max_requests": max(
                    (step.waiting for step in inside if step.took_ns), default=0
                ),
                "used_block_ns": sum(step.in_use * step.took_ns for step in inside),
                "cached_block_ns": sum(step.kept_idle * step.took_ns for step in inside),
                "evicted_blocks": sum(step.evicted_since for step in inside),
                "preemptions": sum(step.preempted_since for step in inside),
            }
        )
    return rows


def cuts(contents: list[tuple]) -> set[tuple]:
    """Return the prefixes at which contents end or part."""
    after: dict[tuple, set] = {}
    for content in contents:
        for depth in range(1, len(content)):
            after.setdefault(content[:depth], set()).add(content[depth])
    parting = {prefix for prefix, following in after.items() if len(following) > 1}
    return parting | {content for content in contents if content}


def prefix_rows(
    rows: list[dict], requests: list[Request], cache: Cache, names: dict[tuple, int]
) -> list[dict]:
    """Return the shared edges, each named by (its first request, where it stops) as its parent is.

    `names` has the source's id of the block that each token lies in, where there are blocks.
    """
    known = [one.tokens for one, row in zip(requests, rows, strict=True)
             if row.get("response_segment") is not None]  # fmt: skip
    ends = cuts([one.prompt for one in requests] + known)
    users: dict[tuple, list[Request]] = {}
    edge_of: dict[tuple, tuple] = {}
    for request in requests:
        start = 0
        for depth in range(1, len(request.prompt) + 1):
            edge = request.prompt[:depth]
            if edge in ends:
                users.setdefault(edge, []).append(request)
                edge_of |= {edge[:at]: edge for at in range(start + 1, depth + 1)}
                start = depth
    size = cache.rules.block_size
    saved, lost = Counter(), Counter()
    for key, count in cache.reused.items():
        partial = key[0] == "ends here"
        tokens = key[1:] if partial else key
        saved[edge_of.get(tokens)] += count * (len(tokens) % size if partial else size)
    for key, count in cache.lost.items():
        lost[edge_of.get(key[1:] if key[0] == "ends here" else key)] += count
    any_session = any(one.session is not None for one in requests)
    found = []
    for edge, those in users.items():
        above = next((edge[:cut] for cut in range(len(edge) - 1, 0, -1) if edge[:cut] in ends), ())
        sessions = {one.session for one in those} - {None}
        if len(those) > 1:
            found.append(
                {
                    "prefix": (those[0].index, len(edge)),
                    "parent": (users[above][0].index, len(above)) if above else None,
                    "start_tokens": len(above),
                    "stop_tokens": len(edge),
                    "requests": len(those),
                    "sessions": len(sessions) if any_session else None,
                    "first_request_id": those[0].index,
                    "last_block_id": names.get(edge),
                    "hit_tokens": saved[edge],
                    "evicted_blocks": lost[edge],
                }
            )
    return sorted(found, key=lambda row: row["prefix"])
