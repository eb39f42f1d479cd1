"""The page of a run: what it is made of, that it asks for nothing, and runs that lack much."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from pathlib import Path

import pytest

from replay import report
from replay.report.db import RunDatabase
from replay.report.page.build import SQL, Stories, compose, page_text, sql_of
from replay.report.page.gallery import FIGURES, LACKS, SECTIONS, column_figure
from replay.report.page.look import PARTS
from replay.report.tokens import COLOURS
from replay.runs.open import open_run
from tests import run_fixture
from tests.page_reader import PageReader

VOID = {"rect"}
STYLE = "".join(path.read_text() for path in Path(report.__file__).parent.rglob("*.css"))
COMMAND = "replay report run --html page.html"


def page_of(folder, *, static=False, stories=None):
    run = open_run(folder)
    with RunDatabase(run) as database:
        page = compose(database)
    return page, page_text(page, run, stories or Stories(), command=COMMAND, static=static)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "run"
    return run_fixture.write(folder, requests=run_fixture.ended_rows())


@pytest.fixture(scope="module")
def html(folder):
    return page_of(folder)[1]


@pytest.fixture(scope="module")
def seen(html):
    return PageReader(html)


def test_every_figure_has_a_caption_with_a_number_a_label_and_its_table(seen):
    assert [one.name for one in seen.figures] == [
        one.name for one in FIGURES if one.name not in ("most_evicted", "waits_over_time")
    ]
    for figure in seen.figures:
        assert figure.caption.endswith("."), figure.name
        assert re.search(r"\d|[Aa]ll|[Oo]ne|[Tt]wo|[Tt]hree|[Ff]our|[Ff]ive", figure.caption), (
            figure
        )
        assert figure.tables, figure.name
        assert figure.sql, figure.name
        assert all(figure.labels), figure.name
        assert figure.labels or "slowest" in figure.name


def test_the_data_of_every_figure_lies_in_the_page(seen):
    content = seen.content
    for figure in seen.figures:
        for view in figure.views:
            name = content["specs"][view]["data"]["name"]
            assert name in figure.tables, (figure.name, name)
        for table in filter(None, figure.tables):
            assert content["data"][table]["rows"], table
    for name, data in content["data"].items():
        assert len(data["rows"]) <= 400, name


def test_nothing_is_asked_of_a_network(seen, html):
    assert all(address.startswith("#") for address in seen.addresses)
    assert {address[1:] for address in seen.addresses} <= set(seen.ids)
    assert seen.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in seen.policy.split("style-src")[0]
    assert "unsafe-eval" not in seen.policy
    assert "http" not in re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL).replace(
        "http-equiv", ""
    )
    assert not re.search(r"@import|url\((?!#)", STYLE)


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(seen):
    code = [text for given, text in seen.scripts if "type" not in given]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code]
    assert len(code) == 2
    assert re.findall(r"'sha256-([^']+)'", seen.policy) == digests


def test_headings_are_in_order_and_sections_are_linked(seen):
    levels = [int(tag[1]) for tag, _ in seen.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert len(seen.ids) == len(set(seen.ids))
    linked = [address[1:] for address in seen.addresses[1:]]
    assert linked == list(SECTIONS)


def test_tags_are_closed_and_nothing_is_left_of_the_template(seen, html):
    assert [tag for tag in seen.open if tag not in VOID] == []
    assert "{{" not in seen.text
    assert "None" not in seen.text


def test_the_footer_says_how_the_page_was_made(seen):
    assert COMMAND in seen.text
    assert "replay run trace.jsonl" in seen.text
    assert "ab" * 32 in seen.text


def test_what_the_numbers_assume_stands_above_them(tmp_path):
    seen = PageReader(page_of(run_fixture.write(tmp_path / "run"))[1])
    before = seen.text[: seen.text.index("Was it worth it?")]
    assert "The clock of the trace ticks in seconds" in before
    assert "Not completed" in before
    assert "2 rejected and 2 unfinished of 30" in before


def test_an_overloaded_run_says_so_before_any_number(tmp_path):
    folder = run_fixture.write(tmp_path / "run", run_fixture.overloaded_manifest())
    page, text = page_of(folder)
    seen = PageReader(text)
    body = seen.text[seen.text.index("replay report ·") :]
    warned = body.index("requests arrive faster".capitalize())
    assert warned < body.index("This GPU cannot carry this load")
    assert "saved" not in dict.fromkeys(
        cell for _, one in page.figures for cell in one.drawn.digest[:1]
    )
    tagged = [one.name for _, one in page.figures if one.drawn.tag]
    assert {"waits", "waits_made_of", "slowest"} <= set(tagged)


def test_a_page_without_scripts_has_its_pictures_and_tables(folder):
    page, text = page_of(folder, static=True)
    seen = PageReader(text)
    assert seen.scripts == []
    assert "script-src 'none'" in seen.policy
    for (placed, shown), figure in zip(page.figures, seen.figures, strict=True):
        wide = placed.width == "full" and not shown.drawn.side_by_side
        assert figure.svgs == len(shown.drawn.views)
        assert figure.narrow == (figure.svgs if wide else 0)
        assert len(figure.tables) >= len(shown.queries)
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/", "")


def test_text_of_a_trace_is_text_and_never_markup(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    rows = [
        {**row, "tenant": evil if i % 2 else "b"}
        for i, row in enumerate(run_fixture.request_rows())
    ]
    made = run_fixture.manifest(notes=[f"{evil}: a note"], argv=["run", evil])
    made["trace"]["name"] = evil
    folder = run_fixture.write(tmp_path / "run", made, requests=rows)
    told = Stories({row["request_id"]: [evil] for row in rows}, evil)
    for static in (False, True):
        text = page_of(folder, stories=told, static=static)[1]
        seen = PageReader(text)
        assert "alert(1)" in seen.text
        assert "img" not in seen.tags
        assert len(seen.scripts) == (0 if static else 3)
        assert "by_tenant" in [one.name for one in seen.figures]
        assert seen.addresses == [one for one in seen.addresses if one.startswith("#")]


def test_stories_stand_with_their_requests_and_what_is_missing_is_said(folder):
    page, _ = page_of(folder)
    worst = page.suffering[0]
    told = Stories({worst: ["It waited for `a` reason."]}, "No more stories: the trace is gone.")
    seen = PageReader(page_of(folder, stories=told)[1])
    assert "It waited for a reason." in seen.text
    assert "No more stories: the trace is gone." in seen.text


# --- runs that lack something -----------------------------------------------------------------


def without_sessions():
    return [{**row, "session_id": None, "turn": None} for row in run_fixture.request_rows()]


def nothing_completed():
    rows = run_fixture.request_rows()
    gone = [name for name in rows[0] if name.endswith("_ns") and name != "arrival_ns"]
    return [{**row, **dict.fromkeys(gone), "status": "rejected"} for row in rows]


def lengths_only():
    gone = [name for name in run_fixture.request_rows()[0] if name.startswith(
        ("hit_", "session_hit", "cross_request", "global_prefix", "cold", "capacity_miss",
         "avoidable", "in_flight", "granularity", "policy_miss", "disabled", "full_hit",
         "optimum", "sufficient"))]  # fmt: skip
    return [{**row, **dict.fromkeys(gone)} for row in run_fixture.request_rows()]


def unpaired():
    rows = run_fixture.request_rows()
    gone = [name for name in rows[0] if name.startswith("no_cache_")]
    return [{**row, **dict.fromkeys(gone)} for row in rows]


def all_at_once():
    return [{**row, "arrival_ns": 0} for row in run_fixture.request_rows()]


write = run_fixture.write
KINDS = {
    "untimed": (
        lambda to: run_fixture.write_untimed(to),
        {"waits": "timed", "engine": "timed", "slowest": "timed"},
        {"causes", "turns", "curve", "most_evicted"},
    ),
    "no sessions": (
        lambda to: write(to, requests=without_sessions()),
        {"turns": "sessions", "session_lengths": "sessions"},
        {"waits", "prompt_lengths"},
    ),
    "lengths only": (
        lambda to: write(
            to, run_fixture.manifest(content_known=False), requests=lengths_only(), prefixes=[],
            curve=None,
        ),
        {"causes": "content", "prefixes": "content", "curve": "content", "turns": "content"},
        {"waits", "engine", "slowest"},
    ),
    "unpaired": (
        lambda to: write(to, run_fixture.manifest(no_cache_overload=None), requests=unpaired()),
        {},
        {"waits", "waits_made_of", "slowest", "causes"},
    ),
    "all at once": (
        lambda to: write(to, requests=all_at_once()),
        {"waits_over_time": "arrivals", "causes_over_time": "arrivals"},
        {"waits", "causes"},
    ),
    "no curve": (lambda to: write(to, curve=None), {"curve": "curve"}, {"waits", "wanted_again"}),
    "stopped early": (lambda to: write(to), {"curve": "ended"}, {"waits", "causes"}),
    "nothing completed": (
        lambda to: write(to, requests=nothing_completed()),
        {"waits": "completed", "engine": "completed", "causes": "completed"},
        {"curve"},
    ),
    "no requests": (
        lambda to: write(to, requests=[], timeline=[], prefixes=[], curve=None),
        {"causes": "completed"},
        set(),
    ),
    "one request": (lambda to: write(to, requests=run_fixture.request_rows()[1:2]), {}, {"waits"}),
    "unlimited": (
        lambda to: write(
            to,
            run_fixture.manifest(
                cache={"block_size": 16, "capacity_blocks": None, "capacity_tokens": None,
                       "capacity_bytes": None, "kv_bytes_per_token": None}
            ),
            requests=run_fixture.ended_rows(),
        ),
        {},
        {"curve", "engine"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("static", [False, True])
def test_what_a_run_cannot_show_is_left_out_with_a_word(tmp_path, kind, static):
    make, left_out, shown = KINDS[kind]
    page, text = page_of(make(tmp_path / "run"), static=static)
    seen = PageReader(text)
    names = {one.name for one in seen.figures}
    assert shown <= names
    assert names.isdisjoint(left_out)
    called = {one.name: one.called for one in FIGURES}
    said = dict(page.left_out)
    for name, lack in left_out.items():
        assert said[called[name]] == LACKS[lack]
        assert f"{called[name]}: {LACKS[lack]}" in seen.text
    assert "None" not in seen.text
    assert "nan" not in re.findall(r"\w+", seen.text)


def test_of_unknown_content_no_share_is_claimed(tmp_path):
    make, _, _ = KINDS["lengths only"]
    seen = PageReader(page_of(make(tmp_path / "run"))[1])
    above = seen.text[seen.text.index("replay report ·") : seen.text.index("Was it worth it?")]
    assert "%" not in above
    assert "No content: Reuse unknown." in above


def test_a_run_of_an_earlier_schema_has_a_page(tmp_path):
    import polars as pl

    folder = write(tmp_path / "run", curve=None)
    frame = pl.read_parquet(folder / "timeline.parquet").drop("waiting_max_requests")
    frame.write_parquet(folder / "timeline.parquet")
    run_fixture.age(folder, 4)
    # One of schema 4 has checksums; this one is as unsealed as one of 3 would be.
    record = json.loads((folder / "manifest.json").read_text())
    requests = pl.read_parquet(folder / "requests.parquet")
    requests = requests.drop("global_prefix_hit_tokens", "contained_request_id", "premature_ns")
    requests.write_parquet(folder / "requests.parquet")
    (folder / "manifest.json").write_text(json.dumps({**record, "schema_version": 3}))
    page, text = page_of(folder)
    seen = PageReader(text)
    assert ("hit rate over capacity", LACKS["curve"]) in page.left_out
    assert "not verifiable" in seen.text
    engine = next(shown for figure, shown in page.figures if figure.name == "engine")
    waiting = next(view for view in engine.drawn.views if view.name == "engine_waiting")
    assert len(waiting.spec["layer"]) == 1  # no line of what most waited: nobody knows


# --- the table of figures ---------------------------------------------------------------------


def test_every_query_of_a_figure_runs_as_it_stands(folder):
    with RunDatabase(open_run(folder)) as database:
        for figure in FIGURES:
            for name in figure.queries:
                assert sql_of(name).startswith("-- "), name
                database.query(sql_of(name)).table()


def test_every_file_of_sql_belongs_to_a_figure():
    used = {name for figure in FIGURES for name in figure.queries}
    files = {path.stem for path in SQL.glob("*.sql")}
    assert files - used == {"values"}
    for path in SQL.glob("*.sql"):
        assert max(map(len, path.read_text().splitlines())) < 80, path.name


def test_a_column_of_any_name_can_be_grouped_by(tmp_path):
    odd = "te\"nant's name"
    rows = [{**row, odd: "ab"[i % 2]} for i, row in enumerate(run_fixture.request_rows())]
    page, text = page_of(write(tmp_path / "run", requests=rows))
    names = [figure.name for figure, _ in page.figures]
    assert column_figure(odd).name in names
    PageReader(text)


def test_figures_need_what_is_known_and_stand_in_a_section():
    for figure in FIGURES:
        assert set(figure.needs) <= set(LACKS), figure.name
        assert figure.section in SECTIONS
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)


def test_every_colour_that_is_used_is_in_the_table():
    known = {colour.name for colour in COLOURS} | {"c"}
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) <= known
    assert set(PARTS.values()) <= known


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("side", ["light", "dark"])
def test_colours_stand_out_from_the_card(side):
    of = {colour.name: getattr(colour, side) for colour in COLOURS}
    for name in {*PARTS.values(), "with", "without", "queue", "prefill"} - {"off"}:
        assert contrast(of[name], of["card"]) >= 3, name
    for name in ("ink", "muted", "link"):
        assert contrast(of[name], of["card"]) >= 4.5, name
        assert contrast(of[name], of["bg"]) >= 4.5, name
    assert contrast(of["ink"], of["warnbg"]) >= 4.5
