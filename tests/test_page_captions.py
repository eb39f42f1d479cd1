"""The finding above each figure: every way it can come out, from rows made for it."""

from __future__ import annotations

import pytest

from replay.report.page.figures import causes, engine, memory, prefixes, slowest, waits
from tests.page_facts import data, facts


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


# --- waits ------------------------------------------------------------------------------------


def savings(last_on, last_off):
    share = None if last_off is None else 1 - last_on / last_off
    row = {"statistic": "99%", "ttft_ms": last_on, "no_cache_ttft_ms": last_off}
    return data({**row, "saved_ms": None, "saved_share": share})


@pytest.mark.parametrize(
    ("on", "off", "changes", "said"),
    [
        (1560.0, 3480.0, {}, "within 1.56 s; without the cache, 3.48 s."),
        (1560.0, None, {}, "within 1.56 s."),
        (1560.0, 1600.0, {}, "within 1.56 s, with the cache and without: the difference is inside "
                             "the model's error."),
        (1560.0, 9e6, {"no_cache_overloaded": True}, "within 1.56 s."),
        (9e6, 9e6, {"overloaded": True}, "within 2.5 h."),
    ],
)  # fmt: skip
def test_waits_ranked(on, off, changes, said):
    found = plain(waits.ranked_caption(savings(on, off), facts(**changes)))
    assert found == f"99 of 100 requests have their first token {said}"


def windows(on, off=None):
    rows = []
    for at, wait_on in enumerate(on):
        shared = {"from_s": 60.0 * at, "to_s": 60.0 * at + 60, "statistic": "median"}
        rows.append({**shared, "side": "with cache", "ms": wait_on, "requests": 100})
        if off is not None:
            rows.append({**shared, "side": "without cache", "ms": off[at], "requests": 100})
    return data(*rows)


LATE = data({"slower": 57, "paired": 2132})


@pytest.mark.parametrize(
    ("table", "changes", "said"),
    [
        (windows([100, 200, 300], [200, 150, 400]), {},
         "The median wait was shorter in 2 of 3 windows; 57 of 2,132 requests waited longer than "
         "without."),
        (windows([100, 105, 110]), {}, "The median wait stays at 105 ms."),
        (windows([100, 300, 200]), {},
         "The median wait is 100 ms in the quietest window and 300 ms in the busiest."),
        (windows([1000, 9000, 60_000], [1, 1, 1]), {"overloaded": True},
         "The median wait goes from 1.00 s in the first window to 60 s in the last."),
        (windows([100, 105, 110], [1, 2, 3]), {"no_cache_overloaded": True},
         "The median wait stays at 105 ms."),
    ],
)  # fmt: skip
def test_waits_over_the_run(table, changes, said):
    assert plain(waits.over_time_caption(table, LATE, facts(**changes))) == said


def anatomy(queue_of):
    return data(
        *(
            {"side": side, "band": band, "requests": 10, "part": part, "ms": ms, "wait_ms": 100.0}
            for side in ("with cache", "without cache")
            for band, queue in queue_of.items()
            for part, ms in (("queue", queue), ("prefill", 100.0 - queue))
        )
    )


def test_what_waits_are_made_of():
    bands = {"fastest half": 17.0, "to 90%": 24.0, "to 99%": 43.0, "slowest 1%": 61.0}
    assert waits.made_of_caption(anatomy(bands)) == (
        "The slowest 1% spend 61% of their wait in the queue, the fastest half 17%."
    )
    alike = {"fastest half": 55.0, "slowest 1%": 61.0}
    assert waits.made_of_caption(anatomy(alike)) == (
        "The slowest 1% spend 61% of their wait in the queue."
    )
    one = {"side": "with cache", "band": "fastest half", "part": "prefill", "ms": 5, "wait_ms": 5}
    assert "Nobody waits" in waits.made_of_caption(data(one))


# --- causes -----------------------------------------------------------------------------------


def parts(**tokens):
    names = {
        "own": "reused: same session", "other": "reused: other requests",
        "avoidable": "evicted, avoidable", "unavoidable": "evicted, unavoidable",
        "evicted": "evicted", "rounding": "rounding", "cold": "never seen",
    }  # fmt: skip
    whole = sum(tokens.values())
    return [
        {"part": names[name], "tokens": count, "token_share": count / whole}
        for name, count in tokens.items()
    ]


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ({"own": 3, "other": 20, "avoidable": 22, "unavoidable": 10, "cold": 45},
         "23% of the prompt tokens were reused; another 32% had been in the cache and were "
         "evicted, 22% needlessly."),
        ({"other": 20, "unavoidable": 10, "cold": 70},
         "20% of the prompt tokens were reused; another 10% had been in the cache and were "
         "evicted, none of it needlessly."),
        ({"other": 20, "evicted": 10, "cold": 70},
         "20% of the prompt tokens were reused; another 10% had been in the cache and were "
         "evicted."),
        ({"other": 20, "cold": 70, "rounding": 10},
         "20% of the prompt tokens were reused; nothing was evicted too early, 70% were never "
         "seen."),
        ({"other": 100}, "100% of the prompt tokens were reused."),
    ],
)  # fmt: skip
def test_all_prompt_tokens(tokens, said):
    assert causes.all_caption(data(*parts(**tokens))) == said


def over_time(*windows_of):
    rows = []
    for at, tokens in enumerate(windows_of):
        rows += [{"from_s": 30.0 * at, "to_s": 30.0 * at + 30, **row} for row in parts(**tokens)]
    return data(*rows)


def test_reuse_and_eviction_hold_or_move():
    early, late = (
        {"other": 23, "avoidable": 22, "cold": 55},
        {"other": 24, "avoidable": 41, "cold": 35},
    )
    assert causes.over_time_caption(over_time(early, early, late, late)) == (
        "Reuse holds at 24%; eviction rises from 22% in the first half to 41% in the second."
    )
    fewer = {"other": 10, "avoidable": 22, "cold": 68}
    assert causes.over_time_caption(over_time(early, early, fewer, fewer)) == (
        "Reuse falls from 23% in the first half to 10% in the second; eviction holds at 22%."
    )
    never = {"other": 10, "cold": 90}
    assert causes.over_time_caption(over_time(never, never)) == "Reuse holds at 10%."


def groups(label, **of):
    rows = []
    for name, (requests, tokens) in of.items():
        rows += [{label: name.lstrip("_"), "requests": requests, **row} for row in parts(**tokens)]
    return data(*rows)


def test_groups_are_told_by_what_differs_most():
    table = groups(
        "turn",
        _1=(1000, {"other": 24, "avoidable": 7, "cold": 69}),
        _5=(40, {"other": 20, "avoidable": 72, "cold": 8}),
    )
    assert causes.group_caption(table, causes.turn_name) == (
        "Turn 5: 72% evicted before it was reused; turn 1: 7%."
    )


def test_a_group_of_few_requests_makes_no_sentence():
    table = groups(
        "turn",
        _1=(1000, {"other": 24, "cold": 76}),
        _2=(400, {"other": 40, "cold": 60}),
        _3=(29, {"other": 99, "cold": 1}),
    )
    assert causes.group_caption(table, causes.turn_name) == "Turn 2: 40% reused; turn 1: 24%."


def test_groups_that_are_alike_are_said_to_be():
    table = groups("turn", _1=(90, {"other": 24, "cold": 76}), _2=(90, {"other": 25, "cold": 75}))
    assert causes.group_caption(table, causes.turn_name) == "All are alike: about 24% reused."


def test_a_single_group_and_an_empty_one():
    assert causes.group_caption(
        groups("turn", _1=(5, {"other": 2, "cold": 2})), causes.turn_name
    ) == ("Turn 1: 50% reused.")
    table = groups("turn", _1=(90, {"cold": 76}), _2=(90, {"other": 25, "cold": 75}))
    assert causes.group_caption(table, causes.turn_name) == "Turn 2: 25% reused; turn 1: none."


def test_names_of_groups():
    assert causes.session_name("1") == "single requests"
    assert causes.session_name("5-8") == "sessions of 5-8"
    assert causes.length_name("16k+") == "prompts over 16k"
    assert causes.length_name("<1k") == "prompts under 1k"
    assert causes.length_name("2-4k") == "prompts of 2-4k"


# --- prefixes, engine, memory -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.22, 0.21, 0.17, 0.1], "Three shared prefixes bring 60% of all reuse."),
        ([0.1, 0.72], "One shared prefix brings 72% of all reuse."),
        ([0.1, 0.09, 0.08, 0.07, 0.06, 0.5 - 0.4], "No prefix stands out: the one that saves most "
                                                   "brings 10% of all reuse."),
        ([0.0, None], "None of the shared prefixes was reused."),
    ],
)  # fmt: skip
def test_prefixes(shares, said):
    assert prefixes.caption(data(*({"hit_share": share} for share in shares))) == said


def intervals(*filled):
    return data(
        *(
            {"from_s": 5.0 * at, "held_blocks": held, "cached_blocks": cached}
            for at, (held, cached) in enumerate(filled)
        )
    )


def test_since_when_the_pool_is_full():
    run = facts(capacity_blocks=100)
    filling = [(20, 0), (30, 30), (30, 69), (40, 60), (40, 59)]
    assert plain(engine.caption(intervals(*filling), run)) == (
        "The KV pool is full from 10 s on; 32% of it on average holds requests in progress, the "
        "rest is cache."
    )
    assert engine.caption(intervals((10, 90), (30, 70)), run).startswith(
        "The KV pool is full from the start; 20% of it"
    )
    assert "the rest is free" in engine.caption(
        intervals((10, 90)), facts(capacity_blocks=100, cache_enabled=False)
    )
    assert engine.caption(intervals((10, 50), (30, 70), (20, 10)), run) == (
        "The KV pool is never full for long: at most 100% of it is used at once."
    )
    unlimited = facts(capacity_blocks=None, kv_bytes_per_token=None)
    assert "no limit here; at most 60" in engine.caption(intervals((10, 50)), unlimited)
    assert engine.caption(intervals((None, None)), run) == "The engine did nothing."


def test_the_pool_counts_as_full_when_nearly_all_later_intervals_are():
    full, empty = 100.0, 10.0
    assert engine.full_since([empty, full, full], 100) == 1
    assert engine.full_since([full] + [full] * 17 + [empty] * 2, 100) == 0
    assert engine.full_since([full, empty, empty], 100) is None
    assert engine.full_since([empty] * 3, 100) is None


@pytest.mark.parametrize(
    ("rates", "changes", "said"),
    [
        ({}, {}, "Twice the memory would reuse 31%, a perfect policy in the same memory 45%."),
        ({"the same memory, optimum": 0.23}, {},
         "Twice the memory would reuse 31%; a perfect policy in the same memory no more than this "
         "run, 23%."),
        ({"the same memory, optimum": 0.31}, {},
         "Twice the memory would reuse 31%, as much as a perfect policy in the same memory "
         "(31%)."),
        ({"the same memory, optimum": None}, {}, "Twice the memory would reuse 31%, not 23%."),
        ({"twice the memory": 0.232, "unlimited memory": 0.232}, {},
         "More memory would reuse no more than the 23% of this run."),
        ({"twice the memory": None}, {"capacity_blocks": None},
         "With unlimited memory 55% of the prompt tokens can be reused."),
    ],
)  # fmt: skip
def test_the_curve(rates, changes, said):
    assert memory.curve_caption(facts(rates=rates, **changes)) == said


def curve_of(low, high, run, best, at, **changes):
    """Return the figure of a curve, of a run at a capacity of so many blocks."""
    rows = [
        {"policy": policy, "capacity_blocks": blocks, "token_hit_rate": rate}
        for policy in ("lru", "min")
        for blocks, rate in ((1, low), (1000, high))
    ]
    given = facts(
        kv_bytes_per_token=None, capacity_blocks=at,
        rates={"this run": run, "the same memory, optimum": best, "unlimited memory": high},
        **changes,
    )  # fmt: skip
    for row in given.memory.values():
        row["capacity_blocks"] = at
    return memory.curve({"curve": data(*rows)}, given)


@pytest.mark.parametrize(("low", "high"), [(0.05, 0.5), (0.002, 0.02)])
@pytest.mark.parametrize("run", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("more", [0.0, 0.02, 0.1, 0.4])
@pytest.mark.parametrize("at", [1, 3, 50, 800, 1000])
def test_numbers_beside_dots_keep_off_each_other_and_the_edges(low, high, run, more, at):
    best = min(run + more, 1) * high
    (view,) = curve_of(low, high, run * high, best, at).views
    texts = [one for one in view.spec["layer"] if "dx" in one["mark"]]
    assert len(texts) == 2
    scale = view.spec["height"] / (high * memory.ROOM_ABOVE)
    pixels = [one["data"]["values"][0]["y"] * scale - one["mark"]["dy"] for one in texts]
    assert pixels[0] > 6  # above the axis
    same_side = len({one["mark"]["align"] for one in texts}) == 1
    assert pixels[1] - pixels[0] > 14 or not same_side
    for one in texts:
        assert one["mark"]["align"] == "left" or at > 1
        assert one["mark"]["align"] == "right" or at < 1000


def test_a_curve_of_nothing_is_none():
    found = curve_of(0.0, 0.0, 0.0, 0.0, 10)
    assert found.why == "no prompt repeats what an earlier one contained"


def test_a_curve_says_that_requests_which_were_not_completed_count():
    assert "not completed count" not in curve_of(0.1, 0.5, 0.2, 0.3, 10).subtitle
    partly = curve_of(0.1, 0.5, 0.2, 0.3, 10, completed=1999, rejected=1)
    assert "not completed count, too" in partly.subtitle
    without = curve_of(0.1, 0.5, 0.2, 0.3, 10, completed=0, rejected=2000)
    assert [key.label for key in without.key] == ["LRU", "optimum, which knows the future"]


def wanted(*bins):
    return data(
        *(
            {"from_s": 10.0**at, "to_s": 10.0 ** (at + 1), "part": part, "tokens": tokens,
             "low": 0, "high": 0, "half_within_s": 76.06}
            for at, (avoidable, unavoidable) in enumerate(bins)
            for part, tokens in (("evicted, avoidable", avoidable),
                                 ("evicted, unavoidable", unavoidable))
        )
    )  # fmt: skip


def test_how_soon_evicted_tokens_were_wanted():
    table = wanted((50, 0), (30, 10), (0, 20))
    assert plain(memory.wanted_again_caption(table)) == (
        "Half of the evicted tokens were wanted again within 76 s."
    )
    run = facts()
    drawn = memory.wanted_again({"wanted_again": table}, run)
    assert "18% were wanted after more than 100 s: no policy" in plain(drawn.subtitle)
    drawn = memory.wanted_again({"wanted_again": wanted((50, 0), (30, 10))}, run)
    assert "no policy" not in drawn.subtitle


# --- the slowest ------------------------------------------------------------------------------


def request(**changes):
    row = {
        "request_id": 7, "arrival_s": 0.0, "ttft_ms": 1000.0, "queue_ms": 100.0,
        "prefill_ms": 900.0, "overhead_ms": 0.0, "no_cache_ttft_ms": None, "input_tokens": 4000,
        "hit_tokens": 4000, "capacity_miss_tokens": 0, "preemptions": 0,
    }  # fmt: skip
    return {**row, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Nothing unusual: others were computed at the same time."),
        ({"queue_ms": 540.0}, "Queued 540 ms behind others."),
        ({"capacity_miss_tokens": 3280}, "82% of its prompt had been evicted."),
        ({"input_tokens": 20_563, "hit_tokens": 1536}, "19,027 tokens to compute."),
        ({"queue_ms": 540.0, "preemptions": 2}, "Queued 540 ms behind others; interrupted more "
                                                "than once."),
    ],
)  # fmt: skip
def test_why_a_request_was_slow(changes, said):
    assert plain(slowest.reason(request(**changes))) == said


def test_the_slowest_and_the_one_that_lost_most():
    assert plain(slowest.slowest_caption(data(request(ttft_ms=2370.0, queue_ms=1280.0)))) == (
        "The slowest request waited 2.37 s, 54% of it in the queue."
    )
    lost = data(request(capacity_miss_tokens=3000))
    assert slowest.most_evicted_caption(lost) == (
        "One request lost 3,000 tokens to eviction, 75% of its prompt."
    )
