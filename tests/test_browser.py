"""The page in a real browser: opened from a file, drawn, unfolded, silent, asking for nothing.

`make browser` runs it. AXE=axe.min.js, the script of npm's axe-core, looks for what people who do
not see it, or use no mouse, could not use.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from replay.report.compare.compare import asked_runs, comparison
from replay.report.compare.page import build as compare_build
from replay.report.db import RunDatabase
from replay.report.page.build import Stories, compose, page_text
from replay.report.pictures.page import page_text as picture_text
from replay.report.pictures.picture import Picture
from replay.runs.open import open_run
from tests import dense_run, run_fixture
from tests.browser import PROGRAM, Browser
from tests.test_page import KINDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (Debian: apt install chromium)"),
]
AXE = os.environ.get("AXE")
LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


RUNS = {
    "all figures": dense_run.write,
    "overloaded": lambda to: run_fixture.write(to, run_fixture.overloaded_manifest()),
    "untimed": run_fixture.write_untimed,
    "nothing completed": KINDS["nothing completed"][0],
    "one request": KINDS["one request"][0],
}


# Runs beside the one of all figures, twice as fast.
COMPARED = {"two runs": ["other"], "three runs": ["other", "third"]}


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.fixture(
    scope="module",
    params=[(name, how) for name in (*RUNS, *COMPARED) for how in ("drawn", "static")],
    ids=", ".join,
)
def page(request, tmp_path_factory):
    """Return the figures of a page and its file."""
    name, how = request.param
    folder = tmp_path_factory.mktemp("browser")
    file = folder / "page.html"
    one = RUNS["all figures" if name in COMPARED else name](folder / "run")
    others = [_faster(folder / other) for other in COMPARED.get(name, ())]
    made = _compared([one, *others]) if others else _of_run(one)
    shown, text = made(how == "static")
    file.write_text(text)
    return shown, file


def _of_run(folder):
    run = open_run(folder)
    with RunDatabase(run) as database:
        made = compose(database)
    told = Stories({one: ["Its story."] for one in made.suffering[:1]}, "No more stories.")
    shown = [one for _, one in made.figures]
    return lambda static: (
        shown, page_text(made, run, told, command="replay report run", static=static)
    )  # fmt: skip


def _compared(folders):
    with asked_runs([open_run(folder) for folder in folders]) as asked:
        made = compare_build.compose(asked, comparison(asked))
    return lambda static: (
        made.figures, compare_build.page_text(made, command="replay compare", static=static)
    )  # fmt: skip


def _faster(folder):
    times = ("ttft_ns", "queue_ns", "e2e_ns")
    rows = [
        row | {name: row[name] and row[name] // 2 for name in times} for row in dense_run.rows()
    ]
    times = {"backend": "roofline", "prefill_error_p90_percent": 8, "decode_error_p90_percent": 6}
    return run_fixture.write(folder, run_fixture.manifest(step_times=times), requests=rows)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_page_is_drawn_whole_and_asks_for_nothing(browser, page, width, scheme):
    figures, file = page
    tab = browser.open(file, width=width, scheme=scheme)
    views = sum(len(shown.drawn.views) for shown in figures)
    assert tab.ask("document.querySelectorAll('.vis').length") == views
    widths = "[...document.querySelectorAll('.vis svg')].map(one => one.clientWidth)"
    seen = [pixels for pixels in tab.ask(widths) if pixels]  # one of wide and narrow has none
    assert len(seen) == views
    assert min(seen) > 100
    assert tab.ask("document.documentElement.scrollWidth") <= width
    tab.ask("document.querySelectorAll('details').forEach(one => { one.open = true })")
    tab.ask("new Promise(done => setTimeout(done, 100))")
    tables = "[...document.querySelectorAll('.tbl')]"
    found = tab.ask(f"{tables}.map(one => one.querySelectorAll('tbody tr').length)")
    rows = [len(query.data.rows) for shown in figures for query in shown.queries]
    assert sorted(found) == sorted(rows)
    assert tab.console == []
    assert tab.requests == [file.as_uri()]
    light = tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
    assert light == (scheme == "light")
    if AXE:
        assert violations(tab) == []


def violations(tab):
    """Return what axe-core finds at levels A and AA, with all pictures drawn and all unfolded."""
    tab.ask(Path(AXE).read_text())
    found = tab.ask(f"axe.run(document, {{runOnly: {list(LEVELS)}}}).then(r => r.violations)")
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found]


def test_a_page_can_be_used_with_the_keyboard(browser, page):
    _, file = page
    tab = browser.open(file, width=1280, scheme="light")
    controls = "[...document.querySelectorAll('a, summary, [tabindex]')]"
    assert tab.ask(f"{controls}.every(one => one.tabIndex >= 0)")
    assert tab.ask("document.querySelector('a').textContent") == "Skip to the pictures"


def test_pictures_are_drawn_anew_for_paper_and_for_the_screen_after_it(browser, page):
    _, file = page
    tab = browser.open(file, width=1280, scheme="light")
    pictures = "[...document.querySelectorAll('.vis[data-view]')]"
    if not tab.ask(f"{pictures}.length"):
        pytest.skip("a static page has no script")
    sizes = f"{pictures}.map(one => [one.clientWidth, one.querySelector('svg').clientWidth])"
    on_screen = tab.ask(sizes)
    tab.ask("dispatchEvent(new Event('beforeprint'))")
    on_paper = tab.ask(sizes)
    assert all(abs(place - drawn) < 2 for place, drawn in on_screen + on_paper)
    assert all(paper[0] < screen[0] for paper, screen in zip(on_paper, on_screen, strict=True))
    tab.ask("dispatchEvent(new Event('afterprint'))")
    assert tab.ask(sizes) == on_screen


def test_paper_is_light_and_shows_no_closed_details(browser, page):
    _, file = page
    tab = browser.open(file, width=1280, scheme="dark")
    browser.call(
        "Emulation.setEmulatedMedia", tab.session, media="print",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )  # fmt: skip
    style = "getComputedStyle(document.querySelector('{}'))"
    assert tab.ask(style.format("html") + ".getPropertyValue('--ink')") == "#171a1f"
    assert tab.ask(style.format("details.data") + ".display") == "none"


def test_a_picture_is_drawn_to_its_place(browser, tmp_path):
    """Titles break and legends have fewer columns where it is narrow, also when it becomes so."""
    words = [f"a policy of a long name {at}" for at in range(4)]
    channel = {"field": "at", "type": "quantitative"}
    view = {
        "data": {"name": "points"},
        "title": {"text": "Requests by length, two bins each time it doubles", "fontSize": 13},
        "height": 100,
        "mark": "point",
        "encoding": {
            "x": channel, "y": channel,
            "color": {"field": "policy", "type": "nominal", "legend": {"columns": 4}},
        },
    }  # fmt: skip
    frame = pl.DataFrame({"at": range(4), "policy": words})
    file = tmp_path / "picture.html"
    file.write_text(picture_text(Picture("It is found.", "How.", {"points": frame}, [view])))
    tab = browser.open(file, width=1280, scheme="light")
    seen = (
        "(() => { const of = name => [...document.querySelectorAll(name)];"
        "const boxes = of('.role-legend-label').map(one => one.getBoundingClientRect());"
        "return {lines: of('.role-title-text tspan').length || 1, rows: new Set(boxes.map("
        "one => Math.round(one.top))).size, right: Math.max(...boxes.map(one => one.right)),"
        "width: of('.vis svg')[0].clientWidth} })()"
    )
    wide = tab.ask(seen)
    assert (wide["lines"], wide["rows"]) == (1, 1)
    browser.call(
        "Emulation.setDeviceMetricsOverride", tab.session,
        width=400, height=900, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    tab.ask("new Promise(done => setTimeout(done, 600))")
    narrow = tab.ask(seen)
    assert (narrow["lines"], narrow["rows"]) == (2, 4)
    assert narrow["right"] < 400
    assert tab.console == []
    assert tab.requests == [file.as_uri()]
    tab.ask("document.querySelector('details').open = true")
    tab.ask("new Promise(done => setTimeout(done, 100))")
    assert tab.ask("document.querySelectorAll('.tbl tbody tr').length") == 4
