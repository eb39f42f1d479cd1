"""The page of a comparison: its figures and sentences, what it draws, and runs that lack much."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

import pytest

from replay.report.compare.compare import asked_runs, comparison
from replay.report.compare.page import waits, whom
from replay.report.compare.page.build import compose, page_text
from replay.report.compare.page.gallery import FIGURES, LACKS, SECTIONS
from replay.report.compare.page.verdict import headline
from replay.report.page.drawn import Data
from replay.runs.open import open_run
from tests import dense_run, run_fixture
from tests.naive import compare as naive_compare
from tests.page_reader import PageReader
from tests.test_compare import FITTED, written

COMMAND = "replay compare a b --html page.html"
PAIR = [
    "differences", "waits", "parts", "scatter", "gained_hits", "gained_waits", "curve",
    "waits_over_time", "timeline", "requests",
]  # fmt: skip


def faster(rows: list[dict], share: float = 0.8) -> list[dict]:
    """Return requests that reuse more and wait less, but some, which wait longer or never end."""
    made = []
    for row in rows:
        longer = row["request_id"] % 7 == 3
        more = min(16, row["cold_tokens"])
        changed = {"cold_tokens": row["cold_tokens"] - more}
        for name in ("hit_tokens", "cross_request_hit_tokens"):
            changed[name] = row[name] + more
        for name in ("ttft_ns", "queue_ns", "e2e_ns"):
            if row[name] is not None:
                changed[name] = int(row[name] * (1.4 if longer else share))
        if row["request_id"] % 31 == 5:
            changed["status"] = "unfinished"
        made.append({**row, **changed})
    return made


def composed(*folders, names=None):
    runs = [open_run(folder) for folder in folders]
    with asked_runs(runs, names=names) as asked:
        return compose(asked, comparison(asked))


def read(page, *, static: bool = False) -> PageReader:
    return PageReader(page_text(page, command=COMMAND, static=static))


def texts(page) -> list[str]:
    """Return every sentence of a page."""
    found = [headline(page.found), page.lede]
    return found + [shown.drawn.caption for shown in page.figures]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return folders of runs that differ, and of kinds that lack something."""
    folder = tmp_path_factory.mktemp("pages")
    rows = dense_run.rows()
    scenario = run_fixture.manifest()["scenario"]
    fp8 = scenario | {"model": {"kv_dtype": "fp8"}}
    trace = run_fixture.manifest()["trace"] | {"name": "other.jsonl", "sha256": "cd" * 32}
    overload = run_fixture.overloaded_manifest()["overload"]
    bare = run_fixture.manifest(mode="untimed", gpu=None, overload=None, no_cache_overload=None)
    reuse = [name for name in rows[0] if name.endswith(("hit_tokens", "miss_tokens"))]
    lengths = [row | dict.fromkeys(reuse) for row in faster(rows)]
    runs = {
        "before": written(folder / "before", rows),
        "after": written(folder / "after", faster(rows), scenario=fp8),
        "slower": written(folder / "slower", faster(rows, 1.5)),
        "other": written(folder / "other", faster(rows), trace=trace),
        "full": written(folder / "full", faster(rows, 3.0), overload=overload),
        "lengths": written(folder / "lengths", lengths, content_known=False),
        "table": written(folder / "table", faster(rows), step_times={"backend": "table"}),
    }
    for name in ("u1", "u2"):
        own = run_fixture.untimed_rows()
        own[1]["hit_tokens"] += 8 * (name == "u2")
        runs[name] = run_fixture.write(folder / name, bare, requests=own, timeline=None)
    return runs


@pytest.fixture(scope="module")
def pair(made):
    return composed(made["before"], made["after"])


def test_two_runs_have_every_figure_of_pairs(pair):
    assert [shown.name for shown in pair.figures] == PAIR
    assert pair.left_out == ()
    seen = read(pair)
    assert [one.name for one in seen.figures] == [
        shown.name for section in SECTIONS for shown in pair.figures if shown.section == section
    ]
    for figure in seen.figures:
        assert figure.caption.endswith("."), figure.name
        assert re.search(r"\d", figure.caption), figure.name
        assert figure.tables, figure.name
        assert figure.sql, figure.name
        assert all(figure.labels), figure.name
    content = seen.content
    for view, spec in content["specs"].items():
        assert content["data"][spec["data"]["name"]]["rows"], view
    assert all(len(data["rows"]) <= 1600 for data in content["data"].values())


def test_it_asks_for_nothing_and_says_how_it_was_made(pair):
    seen = read(pair)
    assert all(address.startswith("#") for address in seen.addresses)
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert COMMAND in seen.text
    assert "`a` is" not in seen.text  # what stands in backticks is code


def test_a_static_page_draws_every_view(pair):
    seen = read(pair, static=True)
    assert seen.scripts == []
    views = {shown.name: len(shown.drawn.views) for shown in pair.figures}
    assert {one.name: one.svgs for one in seen.figures} == views


def test_a_run_with_itself_says_that_nothing_differs(made):
    page = composed(made["before"], made["before"])
    assert headline(page.found) == "Nothing differs between a and b."
    captions = {shown.name: shown.drawn.caption for shown in page.figures}
    assert captions["differences"] == "The scenarios do not differ."
    assert captions["scatter"].startswith("No request of ")
    assert captions["gained_hits"] == "A and b reuse the same of every group of requests."
    assert captions["gained_waits"].startswith("Of no group the mean wait in b differs")
    assert captions["waits"].endswith(": a tie.")
    assert "requests" not in captions  # none changed
    assert not [text for text in texts(page) if re.search("sooner|later|gains|loses", text)]


def test_overloaded_runs_are_told_first_and_their_waits_not_compared(made):
    page = composed(made["before"], made["full"])
    seen = read(page)
    assert seen.text.index("OVERLOADED") < seen.text.rindex(headline(page.found))
    assert "so their waits are not compared" in headline(page.found)
    names = [shown.name for shown in page.figures]
    assert "scatter" not in names
    assert ("waits pair by pair", LACKS["judged"]) in page.left_out
    tags = {shown.name for shown in page.figures if shown.drawn.tag == waits.TAG}
    assert tags == {"waits", "waits_over_time", "gained_waits"}
    assert "sooner" not in " ".join((headline(page.found), page.lede))


def test_step_times_of_an_untold_error_are_not_judged(made):
    page = composed(made["before"], made["table"])
    assert "by times of unknown error" in headline(page.found)
    captions = {shown.name: shown.drawn.caption for shown in page.figures}
    assert captions["gained_waits"].endswith("nobody can tell what differs in table.")
    assert captions["waits"].endswith("whether that differs nobody can tell.")
    assert "scatter" not in captions


def test_untimed_runs_are_compared_by_reuse(made):
    page = composed(made["u1"], made["u2"])
    assert [shown.name for shown in page.figures] == [
        "differences", "parts", "gained_hits", "curve", "requests",
    ]  # fmt: skip
    left = dict(page.left_out)
    assert left["waits ranked"] == "a run is untimed"
    assert "wait" not in " ".join(texts(page))


def test_two_traces_are_told_by_quantiles_only(made):
    page = composed(made["before"], made["other"])
    names = {shown.name for shown in page.figures}
    assert "quantiles" in names
    assert not names & {"scatter", "gained_hits", "gained_waits", "requests", "ranking"}
    assert "runs of different requests, compared by quantiles" in headline(page.found)
    assert "Two traces: trace.jsonl and other.jsonl." in read(page).text
    assert page.left_out == ()
    assert not [text for text in texts(page) if "sooner" in text or "gains" in text]
    captions = {shown.name: shown.drawn.caption for shown in page.figures}
    assert captions["differences"] == "The scenarios do not differ; the traces do."


def test_sets_are_ranked_and_drawn_up_to_five(made):
    three = composed(made["before"], made["after"], made["slower"])
    assert [shown.name for shown in three.figures] == [
        "differences", "ranking", "dots", "waits", "parts", "curve", "waits_over_time", "timeline",
    ]  # fmt: skip
    assert "after has the first token soonest, on average" in headline(three.found)
    six = composed(*[made["before"]] * 3, *[made["after"]] * 3)
    assert [shown.name for shown in six.figures] == ["differences", "ranking", "dots"]
    assert ("waits ranked", LACKS["few"]) in six.left_out
    assert len(read(three, static=True).figures) == len(three.figures)


def test_unknown_content_leaves_reuse_out(made):
    page = composed(made["before"], made["lengths"])
    names = {shown.name for shown in page.figures}
    assert not names & {"parts", "gained_hits", "curve"}
    assert {"waits", "scatter", "gained_waits", "requests"} <= names
    assert "reuse" not in headline(page.found)
    assert "Reuse is left out" in read(page).text


def test_names_are_text_wherever_they_stand(made):
    hostile = ["<b>&\"'x", "</script>\\u0041"]
    page = composed(made["before"], made["after"], names=hostile)
    seen = read(page)
    assert hostile[0] in seen.headings[0][1]
    assert hostile[1] in seen.text
    assert seen.open == []
    assert len(seen.scripts) == 3
    assert read(page, static=True).scripts == []


def test_every_lack_of_a_figure_is_in_words():
    for figure in FIGURES:
        assert set(figure.needs) <= LACKS.keys()
        assert figure.section in SECTIONS


# --- what is drawn, counted one by one ------------------------------------------------------------


def data_of(page, name: str) -> list[dict]:
    return next(
        query.data.records
        for shown in page.figures
        for query in shown.queries
        if query.name == name
    )


def both_done() -> list[dict[int, dict]]:
    rows = dense_run.rows()
    return naive_compare.completed(rows, faster(rows))


def test_ranked_waits_are_quantiles(pair):
    for letter, done in zip("ab", both_done(), strict=True):
        times = sorted(row["ttft_ns"] / 1e6 for row in done.values())
        drawn = [row for row in data_of(pair, "waits") if row["run"] == letter]
        assert len(drawn) == 200
        for row in drawn:
            assert row["ms"] == pytest.approx(naive_compare.quantile(times, row["share"]), rel=1e-5)


def test_parts_add_up_to_the_prompts(pair):
    for letter, done in zip("ab", both_done(), strict=True):
        drawn = [row for row in data_of(pair, "parts") if row["run"] == letter]
        assert sum(row["tokens"] for row in drawn) == sum(
            row["input_tokens"] for row in done.values()
        )
        assert drawn[0]["low"] == 0
        assert drawn[-1]["high"] == 1
        for before, after in itertools.pairwise(drawn):
            assert before["high"] == after["low"]
        session = next(row for row in drawn if row["part"] == "reused: same session")
        assert session["tokens"] == sum(row["session_hit_tokens"] for row in done.values())


def test_windows_hold_the_median_of_their_requests(pair):
    windows = data_of(pair, "waits_over_time")
    for letter, done in zip("ab", both_done(), strict=True):
        mine = [row for row in windows if row["run"] == letter]
        assert len(mine) > 2
        for row in mine:
            inside = [
                one["ttft_ns"] / 1e6
                for one in done.values()
                if row["from_s"] <= one["arrival_ns"] / 1e9 < row["to_s"]
            ]
            assert row["requests"] == len(inside)
            assert row["median_ms"] == pytest.approx(naive_compare.quantile(inside, 0.5), rel=1e-5)


def test_squares_hold_every_pair_once_by_its_verdict(pair):
    a, b = both_done()
    band = 1 + FITTED["prefill_error_p90_percent"] / 100
    told: Counter[str] = Counter()
    for request, row in a.items():
        one, other = row["ttft_ns"], b[request]["ttft_ns"]
        way = "sooner" if other < one else "later"
        told[way if naive_compare.differ(one, other, band) else "tie"] += 1
    squares = data_of(pair, "scatter")
    drawn: Counter[str] = Counter()
    for row in squares:
        drawn[row["verdict"]] += row["requests"]
        assert row["a_to_ms"] / row["a_from_ms"] == pytest.approx(
            row["b_to_ms"] / row["b_from_ms"], rel=1e-4
        )
    assert drawn == told
    times = [row["ttft_ns"] / 1e6 for done in (a, b) for row in done.values()]
    steps = math.log2(max(times) / min(times)) / 40
    assert math.log2(squares[0]["a_to_ms"] / squares[0]["a_from_ms"]) == pytest.approx(
        steps, rel=1e-4
    )
    caption = next(shown.drawn.caption for shown in pair.figures if shown.name == "scatter")
    assert f"{told['sooner']:,} have their first token sooner, {told['later']:,} later" in caption


# --- sentences ------------------------------------------------------------------------------------


GROUP = {"slice": "turn", "requests": 40, "verdict": "tie", "a_ttft_mean_ms": 10.0,
         "b_ttft_mean_ms": 10.0, "a_token_hit_rate": 0.5, "b_token_hit_rate": 0.5}  # fmt: skip


def groups(*changes: dict) -> Data:
    rows = [GROUP | {"bucket": str(at)} | change for at, change in enumerate(changes)]
    return Data(tuple(rows[0]), [tuple(row.values()) for row in rows])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([{}, {}], "Before and after reuse the same of every group of requests."),
        ([{"b_token_hit_rate": 0.7}, {}], "Turn 0 gains most, from 50% to 70%; nobody loses."),
        ([{"b_token_hit_rate": 0.7}, {"b_token_hit_rate": 0.4}],
         "Turn 0 gains most, from 50% to 70%; turn 1 loses most, 10\u00a0points."),
        ([{"b_token_hit_rate": 0.2}, {}], "Nobody gains; turn 0 loses most, 30\u00a0points."),
        ([{}, {"b_token_hit_rate": 0.9, "requests": 3}],
         "Before and after reuse the same of every group of requests."),
    ],
)  # fmt: skip
def test_who_gains_reuse_is_told_of_large_groups(pair, changes, said):
    assert whom.hits_caption(groups(*changes), pair.found) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([{}, {}], "Of no group the mean wait in after differs by more than the model's error."),
        ([{"verdict": "stands", "b_ttft_mean_ms": 5.0}, {}],
         "The mean wait is shorter in after for 1 of 2 groups; 1 are ties."),
        ([{"verdict": "stands", "b_ttft_mean_ms": 5.0},
          {"verdict": "stands", "b_ttft_mean_ms": 20.0}],
         "The mean wait is shorter in after for 1 of 2 groups, longer for 1."),
        ([{"verdict": None}], "Mean waits of groups in both runs; nobody can tell what differs in "
         "after."),
    ],
)  # fmt: skip
def test_who_gains_time_is_told_beyond_the_error(pair, changes, said):
    assert whom.waits_caption(groups(*changes), pair.found) == said
