"""A session cache and a cross-request prefix store over one budget of KV tokens.

What is kept are prefixes, each a path from the root of the tree to an edge: for every session the
sequence it wrote last, prompt and response; and stored prefixes of the lengths asked for. Whoever
keeps a prefix holds every edge of its path, and an edge's KV exists once however many hold it:

    HOLDERS + USERS > 0    the edge is in memory, shared; USERS are running requests
    USERS = 0              it is idle: evicting all its holders frees it

A look-up takes the longest common prefix with the request's own session, then the longest stored
prefix; the longer one is the hit. A running request owns what it computes until that is published:
as far as a storable length or the end of the prompt, and to the end of the response once done.
Publishing makes the edges shared (its own copy of one that is shared already is freed), hands them
to its session in place of what that held, and stores every storable prefix it computed. When
memory runs out, whichever was used longest ago goes first: the oldest session, or the stored
prefix its policy would evict. Tables and their columns: layout/; blocks are single tokens here.
"""

from __future__ import annotations

from replay.kernels.jit import inner
from replay.kernels.layout import (
    BLOCKS,
    BY_AGE,
    BY_FREQUENCY,
    COMPUTING,
    CURSOR,
    ENTRIES,
    ENTRY,
    ENTRY_FREE,
    ENTRY_ORDER,
    ENTRY_TOP,
    EVER,
    EVICTED,
    EVICTIONS,
    FIRST,
    HELD,
    HELD_EDGE,
    HOLDERS,
    IDLE,
    LAST_EDGE,
    LAST_USED,
    MAX_ENTRIES,
    MIN_PREFIX_TOKENS,
    NEWER_SESSION,
    NONE,
    NOW_NS,
    OLDER_SESSION,
    OLDEST_SESSION,
    PARENT,
    PATH_PROMPT_STOP,
    PATH_START,
    PATH_STOP,
    PLACE,
    PREFIX_STORE,
    PUBLISHED,
    RANK_FIRST,
    RANK_NEXT,
    REUSED,
    SESSION,
    SESSION_CACHE,
    SESSION_KEPT,
    SESSION_TTL_NS,
    STOP_TOKENS,
    STORABLE,
    UNKEYED,
    USED,
    USED_NS,
    USERS,
    USES,
    WHOLE_PROMPTS,
    WRITER,
    YOUNGEST_SESSION,
)

# --- edges: who holds them, and what that costs ---------------------------------------------


@inner
def _let_go(t, edge, evicting):
    """Take one holder off an edge; the last one frees it unless a running request uses it."""
    t.marks[edge, HOLDERS] -= 1
    if t.marks[edge, HOLDERS] == 0 and t.marks[edge, USERS] == 0:
        tokens = t.edges[edge, BLOCKS]
        t.counters[IDLE] -= tokens
        t.counters[UNKEYED] += tokens
        if evicting:
            t.counters[EVICTIONS] += tokens
            t.totals[edge, EVICTED] += tokens


# --- the sessions, least recently used first ------------------------------------------------


@inner
def _unlink_session(t, session):
    older = t.sessions[session, OLDER_SESSION]
    newer = t.sessions[session, NEWER_SESSION]
    if older == NONE:
        t.counters[OLDEST_SESSION] = newer
    else:
        t.sessions[older, NEWER_SESSION] = newer
    if newer == NONE:
        t.counters[YOUNGEST_SESSION] = older
    else:
        t.sessions[newer, OLDER_SESSION] = older


@inner
def _touch_session(t, session, known):
    """Make a session the most recently used one; `known` says whether it is in the list."""
    if known:
        _unlink_session(t, session)
    youngest = t.counters[YOUNGEST_SESSION]
    t.sessions[session, OLDER_SESSION] = youngest
    t.sessions[session, NEWER_SESSION] = NONE
    if youngest == NONE:
        t.counters[OLDEST_SESSION] = session
    else:
        t.sessions[youngest, NEWER_SESSION] = session
    t.counters[YOUNGEST_SESSION] = session
    t.counters[USES] += 1
    t.sessions[session, USED] = t.counters[USES]
    t.sessions[session, USED_NS] = t.counters[NOW_NS]


@inner
def _drop_session(t, session):
    edge = t.sessions[session, HELD_EDGE]
    while edge != NONE:
        _let_go(t, edge, True)
        edge = t.cuts[edge, PARENT]
    t.sessions[session, HELD_EDGE] = NONE
    _unlink_session(t, session)


@inner
def expire(t):
    """Drop the sessions that were last used longer ago than they may be kept."""
    session = t.counters[OLDEST_SESSION]
    while session != NONE and (
        t.counters[NOW_NS] - t.sessions[session, USED_NS] > t.rules[SESSION_TTL_NS]
    ):
        _drop_session(t, session)
        session = t.counters[OLDEST_SESSION]


@inner
def _give_to_session(t, session, request, edge):
    """Let a session keep the request's path up to `edge` in place of what it kept."""
    old = t.sessions[session, HELD_EDGE]
    _touch_session(t, session, old != NONE)
    t.sessions[session, HELD_EDGE] = edge
    t.sessions[session, WRITER] = request
    new = edge
    while old != new:  # climb from whichever ends deeper until the two paths meet
        if old == NONE or (new != NONE and t.edges[new, STOP_TOKENS] >= t.edges[old, STOP_TOKENS]):
            t.marks[new, HOLDERS] += 1
            new = t.cuts[new, PARENT]
        else:
            _let_go(t, old, False)
            old = t.cuts[old, PARENT]


# --- the stored prefixes, a heap by what the policy evicts first ----------------------------


@inner
def _goes_before(t, one, other):
    first, second = t.entries[one, RANK_FIRST], t.entries[other, RANK_FIRST]
    return first < second or (
        first == second and t.entries[one, RANK_NEXT] < t.entries[other, RANK_NEXT]
    )


@inner
def _sift(t, place):
    """Move the entry at a place of the heap to where it belongs."""
    entry = t.by_worth[place]
    while place > 0:
        above = (place - 1) // 2
        other = t.by_worth[above]
        if not _goes_before(t, entry, other):
            break
        t.by_worth[place] = other
        t.entries[other, PLACE] = place
        place = above
    count = t.counters[ENTRIES]
    while True:
        below = 2 * place + 1
        if below >= count:
            break
        if below + 1 < count and _goes_before(t, t.by_worth[below + 1], t.by_worth[below]):
            below += 1
        other = t.by_worth[below]
        if not _goes_before(t, other, entry):
            break
        t.by_worth[place] = other
        t.entries[other, PLACE] = place
        place = below
    t.by_worth[place] = entry
    t.entries[entry, PLACE] = place


@inner
def _use_entry(t, entry):
    t.counters[USES] += 1
    uses = t.counters[USES]
    t.entries[entry, LAST_USED] = uses
    order = t.rules[ENTRY_ORDER]
    if order == BY_AGE:
        return
    if order == BY_FREQUENCY:
        t.entries[entry, RANK_FIRST] += 1
    t.entries[entry, RANK_NEXT] = uses
    _sift(t, t.entries[entry, PLACE])


@inner
def _drop_entry(t, entry):
    last = t.entries[entry, LAST_EDGE]
    t.marks[last, ENTRY] = NONE
    edge = last
    while edge != NONE:
        _let_go(t, edge, True)
        edge = t.cuts[edge, PARENT]
    t.counters[ENTRIES] -= 1
    place = t.entries[entry, PLACE]
    moved = t.by_worth[t.counters[ENTRIES]]
    if moved != entry:
        t.by_worth[place] = moved
        _sift(t, place)
    t.entries[entry, PLACE] = t.counters[ENTRY_FREE]
    t.counters[ENTRY_FREE] = entry


@inner
def _store_prefix(t, edge):
    """Store the prefix that ends with `edge`, in place of another where the store is full."""
    if t.counters[ENTRIES] == t.rules[MAX_ENTRIES]:
        _drop_entry(t, t.by_worth[0])
    entry = t.counters[ENTRY_FREE]
    if entry == NONE:
        entry = t.counters[ENTRY_TOP]
        t.counters[ENTRY_TOP] += 1
    else:
        t.counters[ENTRY_FREE] = t.entries[entry, PLACE]
    t.counters[USES] += 1
    uses = t.counters[USES]
    t.entries[entry, LAST_EDGE] = edge
    t.entries[entry, RANK_FIRST] = 0
    t.entries[entry, RANK_NEXT] = uses
    t.entries[entry, LAST_USED] = uses
    t.marks[edge, ENTRY] = entry
    place = t.counters[ENTRIES]
    t.counters[ENTRIES] += 1
    t.by_worth[place] = entry
    _sift(t, place)
    above = edge
    while above != NONE:
        t.marks[above, HOLDERS] += 1
        above = t.cuts[above, PARENT]


# --- memory ---------------------------------------------------------------------------------


@inner
def take_tokens(t, wanted):
    """Take `wanted` tokens of memory, evicting until they are free; the caller has checked."""
    while t.counters[UNKEYED] < wanted:
        session = t.counters[OLDEST_SESSION]
        entry = NONE
        if t.counters[ENTRIES] > 0:
            entry = t.by_worth[0]
        if entry == NONE or (
            session != NONE and t.sessions[session, USED] < t.entries[entry, LAST_USED]
        ):
            _drop_session(t, session)
        else:
            _drop_entry(t, entry)
    t.counters[UNKEYED] -= wanted


# --- look-up --------------------------------------------------------------------------------


@inner
def _longest(t, request):
    """Return (stop, from_session, stored, entry): the longest prefix of a prompt that is kept.

    It ends before place `stop` of the request's path; `from_session` and `stored` tokens of it
    are what its session and the store could give, `entry` the stored prefix, NONE for none.
    """
    start = t.plan[request, PATH_START]
    prompt_stop = t.plan[request, PATH_PROMPT_STOP]
    stop = start
    from_session = 0
    session = t.plan[request, SESSION]
    if session != NONE and t.sessions[session, HELD_EDGE] != NONE:
        last = t.sessions[session, HELD_EDGE]
        other = t.plan[t.sessions[session, WRITER], PATH_START]
        while stop < prompt_stop:
            edge = t.path_edges[stop]
            if edge != t.path_edges[other]:
                break
            from_session = t.edges[edge, STOP_TOKENS]
            stop += 1
            other += 1
            if edge == last:
                break
    stored = 0
    entry = NONE
    if t.counters[ENTRIES] > 0:
        for at in range(start, prompt_stop):
            edge = t.path_edges[at]
            if t.marks[edge, ENTRY] != NONE:
                stored = t.edges[edge, STOP_TOKENS]
                entry = t.marks[edge, ENTRY]
                stop = max(stop, at + 1)
    return stop, from_session, stored, entry


@inner
def match_prefix(t, request, limit):
    """Return (tokens, idle): the prefix that can be reused, at most `limit`; changes nothing.

    Reusing it takes `idle` tokens of memory out of what could be evicted.
    """
    stop, from_session, stored, _ = _longest(t, request)
    tokens = min(max(from_session, stored), limit)
    idle = 0
    if tokens > 0:
        for at in range(t.plan[request, PATH_START], stop):
            edge = t.path_edges[at]
            if t.marks[edge, USERS] == 0:
                idle += t.edges[edge, BLOCKS]
    return tokens, idle


@inner
def share_prefix(t, request, tokens):
    """Let a request use the `tokens` that `match_prefix` found; return how many are its session's.

    It shares the prefix whole, also where its last token is computed again. Sets the request's
    CURSOR, PUBLISHED and HELD, and how much its session kept.
    """
    start = t.plan[request, PATH_START]
    stop = start
    from_session = 0
    session = t.plan[request, SESSION]
    kept = 0
    if session != NONE and t.sessions[session, HELD_EDGE] != NONE:
        kept = t.edges[t.sessions[session, HELD_EDGE], STOP_TOKENS]
    t.outcome[request, SESSION_KEPT] = kept
    if tokens > 0:
        stop, from_session, stored, entry = _longest(t, request)
        from_session = min(from_session, tokens)
        for at in range(start, stop):
            edge = t.path_edges[at]
            if t.marks[edge, USERS] == 0:
                t.counters[IDLE] -= t.edges[edge, BLOCKS]
            t.marks[edge, USERS] += 1
            t.totals[edge, REUSED] += min(t.edges[edge, STOP_TOKENS], tokens) - t.edges[edge, FIRST]
        if from_session > 0:
            _touch_session(t, session, True)
        if min(stored, tokens) > from_session:
            _use_entry(t, entry)
    t.holdings[request, CURSOR] = stop
    t.holdings[request, PUBLISHED] = tokens
    t.holdings[request, HELD] = tokens
    return from_session


@inner
def start_computing(t, request):
    """Count the rest of a prompt as being computed, from the moment the request is admitted."""
    for at in range(t.holdings[request, CURSOR], t.plan[request, PATH_PROMPT_STOP]):
        t.marks[t.path_edges[at], COMPUTING] += 1


# --- publishing and giving back -------------------------------------------------------------


@inner
def publish_tokens(t, request, upto):
    """Share what the request has computed up to token `upto`, as far as it may be seen."""
    at = t.holdings[request, CURSOR]
    prompt_stop = t.plan[request, PATH_PROMPT_STOP]
    stop = t.plan[request, PATH_STOP]
    visible = at
    for place in range(at, stop):
        edge = t.path_edges[place]
        if t.edges[edge, STOP_TOKENS] > upto:
            break
        whole = place + 1 == prompt_stop or place + 1 == stop
        if whole or (t.cuts[edge, STORABLE] and place < prompt_stop):
            visible = place + 1
    fresh = 0
    for place in range(at, visible):
        edge = t.path_edges[place]
        if t.marks[edge, HOLDERS] + t.marks[edge, USERS] == 0:
            fresh += t.edges[edge, BLOCKS]
        elif t.marks[edge, USERS] == 0:
            t.counters[IDLE] -= t.edges[edge, BLOCKS]
        t.marks[edge, USERS] += 1
        t.marks[edge, EVER] = 1
        if place < prompt_stop:
            t.marks[edge, COMPUTING] -= 1
    t.holdings[request, CURSOR] = visible
    if visible == t.plan[request, PATH_START]:
        return
    depth = min(t.edges[t.path_edges[visible - 1], STOP_TOKENS], upto)
    if depth <= t.holdings[request, PUBLISHED]:
        return
    t.counters[UNKEYED] += depth - t.holdings[request, PUBLISHED] - fresh  # copies are freed
    t.holdings[request, PUBLISHED] = depth
    session = t.plan[request, SESSION]
    if t.rules[SESSION_CACHE] and session != NONE:
        _give_to_session(t, session, request, t.path_edges[visible - 1])
    if t.rules[PREFIX_STORE]:
        for place in range(at, min(visible, prompt_stop)):
            edge = t.path_edges[place]
            storable = t.cuts[edge, STORABLE] == 1
            if t.rules[WHOLE_PROMPTS] and place + 1 == prompt_stop:
                storable = t.edges[edge, STOP_TOKENS] >= t.rules[MIN_PREFIX_TOKENS]
            if storable and t.marks[edge, ENTRY] == NONE:
                _store_prefix(t, edge)


@inner
def give_back(t, request):
    """Free what only this request used; what others hold becomes idle."""
    t.counters[UNKEYED] += t.holdings[request, HELD] - t.holdings[request, PUBLISHED]
    cursor = t.holdings[request, CURSOR]
    for place in range(t.plan[request, PATH_START], cursor):
        edge = t.path_edges[place]
        t.marks[edge, USERS] -= 1
        if t.marks[edge, USERS] == 0:
            if t.marks[edge, HOLDERS] > 0:
                t.counters[IDLE] += t.edges[edge, BLOCKS]
            else:
                t.counters[UNKEYED] += t.edges[edge, BLOCKS]
    for place in range(cursor, t.plan[request, PATH_PROMPT_STOP]):
        t.marks[t.path_edges[place], COMPUTING] -= 1
    t.holdings[request, HELD] = 0
    t.holdings[request, PUBLISHED] = 0
    t.holdings[request, CURSOR] = 0
