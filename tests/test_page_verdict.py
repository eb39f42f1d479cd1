"""What a run comes to: the heading, the sentences below it and the five numbers, rule by rule."""

from __future__ import annotations

import pytest

from replay.report.page.verdict import headline, lede, tiles
from tests.page_facts import RATES, facts

UNTIMED = {"mode": "untimed", "paired_requests": 0, "overloaded": None, "no_cache_overloaded": None}
GROWING = {"overload": {"growing": True}}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


HEADLINES = {
    "a saving": (
        facts(),
        "The prefix cache cut the average wait for the first token by 48%, from 668 ms to 348 ms.",
    ),
    "a loss": (
        facts(ttft_saving=-0.2, ttft_saving_mean_ms=-100.0, no_cache_ttft_mean_ms=500.0),
        "The prefix cache lengthened the average wait for the first token by 20%, "
        "from 500 ms to 600 ms.",
    ),
    "a difference inside the model's error": (
        facts(ttft_saving=0.08),
        "The prefix cache made no difference to the wait for the first token that the GPU model "
        "can tell.",
    ),
    "no pair": (
        facts(paired_requests=0),
        "The prefix cache reused 23% of the prompt tokens; run with engine.baseline=true to see "
        "what that saved.",
    ),
    "untimed": (facts(**UNTIMED), "The prefix cache would reuse 23% of the prompt tokens."),
    "a queue that grows": (
        facts(overloaded=True, queue_growth=3.87, manifest=GROWING),
        "This GPU cannot carry this load: the queue grows by 3.9 s every second.",
    ),
    "a burst": (
        facts(overloaded=True, waiting_share=0.62, manifest={"overload": {"growing": False}}),
        "This GPU cannot carry this load: 62% of the requests wait longer than they are served.",
    ),
    "overload without the cache only": (
        facts(no_cache_overloaded=True),
        "With the prefix cache this GPU carries the load; without it, it does not.",
    ),
    "the cache off": (
        facts(cache_enabled=False, token_hit_rate=0.0),
        "The prefix cache was off in this run: nothing was reused.",
    ),
    "lengths only": (
        facts(lacking=("content",), token_hit_rate=None),
        "What a prefix cache would reuse of this trace is unknown: it has lengths only.",
    ),
    "nothing completed": (facts(completed=0), "No request of this trace was completed."),
}


@pytest.mark.parametrize("case", HEADLINES)
def test_the_heading_is_the_finding(case):
    given, expected = HEADLINES[case]
    assert plain(headline(given)) == expected


def test_overload_comes_before_what_was_saved():
    given = facts(overloaded=True, queue_growth=0.5, no_cache_overloaded=True, manifest=GROWING)
    assert "cannot carry" in headline(given)
    assert "saved" not in lede(given)
    first, *others = tiles(given)
    assert (first.label, first.value, first.bad) == ("Load", "too much", True)
    assert not [tile for tile in others if "wait, first" in tile.label]


LEDES = {
    "evicted": (
        facts(),
        "23% of all prompt tokens were reused, of 55% that repeat. The rest was evicted before it "
        "came back. In the same memory a perfect policy would have reused 45%; twice the memory, "
        "31%.",
    ),
    "in part evicted": (
        facts(capacity_miss_tokens=200_000, in_flight_tokens=120_000),
        "23% of all prompt tokens were reused, of 55% that repeat. Most of the rest was evicted "
        "before it came back. In the same memory a perfect policy would have reused 45%; twice "
        "the memory, 31%.",
    ),
    "never evicted": (
        facts(capacity_miss_tokens=0, in_flight_tokens=320_000),
        "23% of all prompt tokens were reused, of 55% that repeat. The rest was still being "
        "computed when it was asked for. Memory is not the limit.",
    ),
    "everything reused": (
        facts(
            token_hit_rate=0.55, capacity_miss_tokens=0, rates={"the same memory, optimum": 0.55}
        ),
        "55% of all prompt tokens were reused, of 55% that repeat. Hardly more could have been. "
        "Memory is not the limit.",
    ),
    "in whole blocks": (
        facts(block_ceiling_tokens=500_000),
        "23% of all prompt tokens were reused, of 55% that repeat (50% in whole blocks). The rest "
        "was evicted before it came back. In the same memory a perfect policy would have reused "
        "45%; twice the memory, 31%.",
    ),
    "no policy is better": (
        facts(rates={"the same memory, optimum": 0.23}),
        "23% of all prompt tokens were reused, of 55% that repeat. The rest was evicted before it "
        "came back. No policy would reuse more in the same memory; twice the memory, 31%.",
    ),
    "requests that were rejected count for the curve": (
        facts(
            completed=1900,
            rejected=100,
            token_hit_rate=0.25,
            rates={"this run": 0.2, "the same memory, optimum": 0.24},
        ),
        "25% of all prompt tokens were reused, of 55% that repeat. The rest was evicted before it "
        "came back. Of all requests, completed or not, that is 20%; in the same memory a perfect "
        "policy would have reused 24%; twice the memory, 31%.",
    ),
    "of a run that stopped early only what completed counts": (
        facts(
            requests=2000,
            completed=6,
            unfinished=1994,
            token_hit_rate=0.08,
            cold_tokens=920_000,
            capacity_miss_tokens=0,
            rates=dict.fromkeys(RATES),
        ),
        "Counted are the 6 requests that completed: the run stopped before 1,994 more had ended, "
        "so nobody can tell what other memory would do. 8% of their prompt tokens were "
        "reused, of 8% that repeat. Hardly more could have been.",
    ),
    "nothing repeats": (
        facts(token_hit_rate=0.0, content_ceiling_tokens=0),
        "No prompt repeats what an earlier one contained: there is nothing to reuse.",
    ),
    "nothing fits": (
        facts(completed=0, rejected=1999, unfinished=1),
        "1,999 requests can never fit into the KV memory and 1 request had not ended when the run "
        "stopped.",
    ),
    "no curve": (
        facts(rates=dict.fromkeys(("the same memory, optimum", "twice the memory"))),
        "23% of all prompt tokens were reused, of 55% that repeat. The rest was evicted before it "
        "came back.",
    ),
}


@pytest.mark.parametrize("case", LEDES)
def test_the_sentences_below_say_what_became_of_the_rest(case):
    given, expected = LEDES[case]
    assert plain(lede(given)) == expected


def test_of_an_old_run_what_repeats_is_what_was_not_cold():
    given = facts(content_ceiling_tokens=None, block_ceiling_tokens=None, cold_tokens=300_000)
    assert "of 70% that repeat." in lede(given)


def test_nothing_is_claimed_of_unknown_content():
    given = facts(lacking=("content",), token_hit_rate=None, hit_tokens=None, paired_requests=0)
    shown = " ".join([lede(given), *(f"{tile.value} {tile.context}" for tile in tiles(given))])
    assert "%" not in shown


def test_a_run_without_time_has_no_waits_and_no_load():
    labels = [tile.label for tile in tiles(facts(**UNTIMED))]
    assert labels == ["Prompt tokens reused", "Prefill spared", "Evicted", "Cache"]


def test_the_strip_holds_the_waits_against_those_without_the_cache():
    shown = {tile.label: (plain(tile.value), plain(tile.context)) for tile in tiles(facts())}
    assert shown["Mean wait, first token"] == ("348 ms", "668 ms without the cache")
    assert shown["Slowest 1 in 100 waits"] == ("1.56 s", "3.48 s without (p99)")
    assert shown["Prompt tokens reused"] == ("23.0%", "of 55% that repeat")
    assert shown["Prefill spared"] == ("230 k", "of 1 M prompt tokens")
    assert shown["Load"] == ("kept up", "no growing queue, with the cache or without")


def test_a_capacity_of_one_block_is_one_block():
    given = facts(**UNTIMED, kv_bytes_per_token=None)
    assert plain(given.room(1)) == "1 block"
    assert plain(given.room(884)) == "884 blocks"


def test_what_was_computed_again_is_not_spared():
    shown = {tile.label: tile.value for tile in tiles(facts(recomputed_tokens=30_000))}
    assert plain(shown["Prefill spared"]) == "200 k"
