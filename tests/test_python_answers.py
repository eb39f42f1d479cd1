"""Answers as objects: shown, asked, drawn, written, and honest about what they rest on."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import replay
from replay.answers import sources
from replay.api import progress as bars

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def trace() -> replay.Trace:
    return replay.convert(SAMPLE, window="0..4m")


@pytest.fixture(scope="module")
def run(trace) -> replay.Run:
    return replay.run(trace, untimed=True, capacity=2000)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def shown(answer: replay.Answer) -> Tags:
    tags = Tags()
    tags.feed(answer._repr_html_())
    return tags


def test_a_notebook_shows_a_small_table_and_its_notes(trace, run):
    for answer in (
        trace,
        run,
        run.explain(100),
        replay.curve(trace, points=40),
        replay.describe(trace),
        replay.names("formats"),
    ):
        tags = shown(answer)
        assert "table" in tags.names
        assert "script" not in tags.names
        assert tags.names.count("tr") <= 95
        for line in (*answer.warnings, *answer.notes):
            assert line in tags.text
    assert "12 of 37 rows" in "".join(shown(replay.curve(trace, points=40)).text)


def test_what_a_trace_says_is_escaped():
    frame = pl.DataFrame(
        {"arrival_ns": [0], "input_tokens": [5], "output_tokens": [5], EVIL: [EVIL]}
    )
    answer = replay.from_frame(frame, name=EVIL)
    pages = [answer._repr_html_(), answer.sql("FROM trace")._repr_html_()]
    for page in pages:
        assert "<script" not in page
    assert "&lt;script&gt;" in pages[1]


def test_warnings_come_before_the_numbers():
    lengths = pl.DataFrame(
        {"arrival_ns": [0, 1], "input_tokens": [50, 60], "output_tokens": [1, 2]}
    )
    run = replay.run(lengths, untimed=True, capacity=100)
    assert "no content: reuse unknown" in run.warnings[0]
    page = run._repr_html_()
    assert page.index("no content: reuse unknown") < page.index("<table")
    assert repr(run).startswith(run.warnings[0])
    with pytest.raises(replay.InputError, match="no picture"):
        replay.curve(lengths).plot()


def test_every_table_can_be_asked(trace, run):
    curve = replay.curve(trace, policy="lru,min", capacity=[500, 1000])
    assert curve.tables == ("curve", "summary")
    found = curve.sql(
        "SELECT policy, max(token_hit_rate) AS best FROM curve GROUP BY ALL ORDER BY 1"
    )
    assert found.frame()["policy"].to_list() == ["lru", "min"]
    assert found.frame()["best"].max() == curve.frame()["token_hit_rate"].max()
    assert curve.sql("SELECT count(*) AS n FROM summary").frame().item() == 1
    with pytest.raises(replay.UnknownNameError, match="unknown table"):
        curve.frame("sumary")
    with pytest.raises(replay.QueryError, match="may only read"):
        curve.sql("DROP TABLE curve")
    with pytest.raises(replay.QueryError):
        curve.sql("FROM '/etc/hostname'")
    assert run.sql("SELECT sum(hit_tokens) AS hit FROM requests").frame().item() == int(
        run.frame()["hit_tokens"].sum()
    )
    assert run.sql("FROM report.summary").frame().height == 1


def test_types_of_sql_survive_or_are_refused(run):
    sql = "SELECT sum(hit_tokens) AS big, true AS yes, [1, 2] AS list FROM requests"
    row = run.sql(sql).frame()
    assert row.schema == {"big": pl.Int64, "yes": pl.Boolean, "list": pl.List(pl.Int32)}
    with pytest.raises(replay.QueryError, match="INTERVAL"):
        run.sql("SELECT INTERVAL 1 DAY AS day")


def test_answers_go_to_pandas_and_to_files(trace, tmp_path):
    curve = replay.curve(trace, capacity=[500, 1000])
    pytest.importorskip("pandas")
    assert curve.to_pandas()["hit_tokens"].tolist() == curve.frame()["hit_tokens"].to_list()
    for suffix in ("csv", "json", "jsonl", "md", "parquet"):
        assert curve.write(tmp_path / f"curve.{suffix}").is_file()
    assert_frame_equal(pl.read_parquet(tmp_path / "curve.parquet"), curve.frame())
    with pytest.raises(replay.OutputExistsError):
        curve.write(tmp_path / "curve.csv")
    with pytest.raises(replay.InputError, match="tells no format"):
        curve.write(tmp_path / "curve.xlsx")


def test_runs_are_saved_whole_and_once(run, tmp_path):
    fresh = replay.run(SAMPLE, untimed=True, capacity=500)
    assert fresh.folder is None
    assert fresh.save(tmp_path / "run") == fresh.folder
    opened = replay.open_run(tmp_path / "run")
    assert_frame_equal(opened.frame(), fresh.frame())
    assert opened.report().frame().equals(fresh.report().frame())
    with pytest.raises(replay.OutputExistsError):
        run.save(tmp_path / "run")
    with pytest.raises(replay.OutputExistsError):
        replay.run(SAMPLE, untimed=True, output=tmp_path / "run")
    with pytest.raises(replay.InputError, match="lies in"):
        opened.save(tmp_path / "other")


def test_reports_say_what_a_run_lacks(run):
    assert "ttft says nothing: the run is untimed" in run.report("ttft").warnings
    with pytest.raises(replay.UnknownNameError, match="unknown report"):
        run.report("ttfd")


def test_every_picture_is_altairs_and_of_the_rows_of_its_table(trace, run):
    altair = pytest.importorskip("altair")
    policies = replay.policies(trace, policy="lru,arc", capacity=[500, 1000])
    gain = replay.gain(trace, untimed=True)
    for answer in (
        trace,
        run,
        replay.describe(trace),
        replay.curve(trace, policy="lru,min", points=5),
        replay.cost(new=512, over="new"),
        policies,
        gain,
    ):
        chart = answer.plot()
        assert isinstance(chart, altair.TopLevelMixin)
        assert chart.to_dict()["title"]["text"]
    rates = [row["token_hit_rate"] for row in drawn(policies, "policies")]
    assert rates == policies.frame()["token_hit_rate"].to_list()
    rates = [row["token_hit_rate"] for row in drawn(gain, "gain")]
    assert rates == gain.frame()["token_hit_rate"].to_list()
    assert sum(row["requests"] for row in drawn(trace, "arrivals")) == trace.requests
    windows = run.report("hit_rate").frame().filter(pl.col("slice") == "window")
    assert drawn(run, "windows") == windows.to_dicts()
    with pytest.raises(replay.InputError, match="no picture"):
        replay.names("gpus").plot()


def drawn(answer: replay.Answer, name: str) -> list[dict]:
    """Return the rows of a table that a chart draws."""
    return answer.plot().to_dict()["datasets"][name]


def test_a_loop_grows_one_tree(trace, monkeypatch):
    grown = []
    grow = sources.grow

    def counted(*arguments, **keywords):
        grown.append(1)
        return grow(*arguments, **keywords)

    monkeypatch.setattr(sources, "grow", counted)
    fresh = replay.convert(trace)
    capacities = [100 * step for step in range(1, 21)]
    alone = [replay.run(fresh, untimed=True, capacity=size) for size in capacities]
    assert len(grown) == 1
    replay.run(fresh, capacity="10GiB", gpu="h100-sxm", model="llama-3.1-8b")
    assert len(grown) == 1
    replay.run(fresh, untimed=True, capacity=100, set={"trace.sessions": "off"})
    assert len(grown) == 2
    with ThreadPoolExecutor(4) as pool:
        other = replay.convert(trace)
        made = pool.map(lambda size: replay.run(other, untimed=True, capacity=size), capacities)
        together = [one.manifest["result_digest"] for one in made]
    assert len(grown) == 3
    assert together == [one.manifest["result_digest"] for one in alone]
    rates = [one.report().frame()["token_hit_rate"][0] for one in alone[::6]]
    assert rates == sorted(rates)
    assert len(set(rates)) > 1


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: replay.run(t, capacity="lots"), replay.ConfigError, "capacity: cache.capacity"),
        (lambda t: replay.run(t, cpacity=3), replay.UnknownNameError, "did you mean capacity"),
        (lambda t: replay.run(t, gpu="h100"), replay.UnknownNameError, "h100-sxm"),
        (lambda t: replay.run(t, threads=3), replay.InputError, "threads must be 1 or 2"),
        (
            lambda t: replay.run(t, set={"cache.kid": "radix"}),
            replay.ConfigError,
            "set cache.kid: cache.kid: unknown key, did you mean kind?",
        ),
        (lambda t: replay.curve(t, policy="lrv"), replay.UnknownNameError, "lru"),
        (lambda t: replay.curve(t, block_size=0), replay.InputError, "numbers of tokens from 1"),
        (lambda t: replay.curve(t, points=1), replay.InputError, "between 2 and"),
        (lambda t: replay.curve(t, engine="vllm"), replay.UnknownNameError, "keyword"),
        (lambda t: replay.convert(t, t), replay.InputError, "merge=True"),
        (lambda t: replay.convert(t, window="9m"), replay.InputError, "not a window"),
        (lambda t: replay.cost(), replay.InputError, "a step needs tokens"),
        (lambda t: replay.cost(new=-1), replay.InputError, "new must be between 0 and"),
        (lambda t: replay.names("gpu"), replay.UnknownNameError, "gpus"),
        (lambda t: replay.names("links", "x"), replay.InputError, "listed whole"),
        (lambda t: replay.generate("chatt"), replay.UnknownNameError, "chat"),
        (lambda t: replay.load_trace("none.jsonl"), replay.InputError, "no such trace file"),
        (lambda t: replay.open_run("nowhere"), replay.InputError, "no such folder"),
    ],
)
def test_mistakes_are_errors_of_the_tree_with_what_to_do(trace, call, error, words):
    with pytest.raises(error) as raised:
        call(trace)
    text = "".join(traceback.format_exception(raised.value))
    assert words in text
    if raised.value.hint:
        assert f"Hint: {raised.value.hint}" in text


def test_progress_is_quiet_unless_asked_for(trace, capsys):
    replay.run(trace, untimed=True, capacity=100)
    assert capsys.readouterr() == ("", "")
    told = []
    replay.policies(trace, policy="lru,arc", capacity=100, progress=lambda *one: told.append(one))
    assert told[-1] == ("Replaying policies", 3, 3)


def test_a_terminal_shows_a_bar_and_takes_it_away(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with bars.working(True) as hook:
        hook("Reading", 0, 0)
        hook("Reading", 5, 10)
    written = capsys.readouterr().err
    assert "Reading ..." in written
    assert "[###############...............] 50%" in written
    assert written.rpartition("\r")[0].endswith(" ")


def test_a_notebook_shows_a_bar_under_its_cell(monkeypatch):
    shown_pages = []

    class Handle:
        def update(self, page):
            shown_pages.append(page._repr_html_())

    bar = bars._NotebookBar(lambda page, display_id: Handle())
    bar.show(EVIL, 1, 4)
    bar.close()
    assert shown_pages[0].startswith('<progress value="1" max="4"></progress> &lt;script')
    assert shown_pages[-1] == ""
