"""Every picture draws its table, in the colours of all, and says what it shows."""

import json
import re
import string
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from replay.analysis.curves import answer_curves
from replay.analysis.gain import Gain
from replay.analysis.group_curves import DRAWN_GROUPS
from replay.analysis.policy_table import compare_policies
from replay.answers.cost_picture import cost_picture, cost_range
from replay.answers.cost_tables import cost_answer
from replay.answers.curve_picture import curve_picture
from replay.answers.gain_picture import gain_picture
from replay.answers.gains import GainAnswer, gain_table
from replay.answers.looking import described
from replay.answers.policy_picture import policy_picture
from replay.answers.policy_tables import policy_table
from replay.answers.questions import Words, question_about
from replay.answers.shared_tree import tree_of_trace
from replay.answers.sources import FileSource, HeldSource
from replay.answers.tokens_picture import tokens_picture
from replay.answers.trace_picture import trace_picture
from replay.answers.tree_picture import tree_picture
from replay.answers.tree_rows import Choice, tree_rows
from replay.config.scenario import Scenario
from replay.errors import InputError
from replay.printable import drawable
from replay.report.frames import table_frame
from replay.report.pictures.files import write_picture
from replay.report.pictures.page import page_text
from replay.report.pictures.picture import Picture
from replay.report.tokens import COLOURS, values
from replay.trace.readers import load_trace
from tests.page_reader import PageReader
from tests.trace_samples import mooncake_text, trace_of

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
SOURCE = FileSource(SAMPLE)
STEP = {
    "gpu": "h100-sxm", "model": "llama-3.1-8b", "tp": 1, "pp": 1, "new": 512, "cached": 4096,
    "budget": 8192, "weight_dtype": "native", "kv_dtype": "bf16", "all_reduce": "graph",
    "backend": "roofline", "table_file": None, "host": None,
}  # fmt: skip


WINDOWS = pl.DataFrame(  # of the report hit_rate: a short window, and a long one that reuses more
    {
        "slice": ["window", "window", "turn"],
        "bucket": ["0:00-0:01", "0:01-0:02", "0"],
        "requests": [3, 1, 4],
        "input_tokens": [100, 300, 400],
        "hit_tokens": [10, 90, 100],
        "session_hit_share": [0.1, 0.2, 0.175],
        "cross_request_hit_share": [0.0, 0.1, 0.075],
        "capacity_miss_share": [0.0, 0.0, 0.0],
        "cold_share": [0.9, 0.7, 0.75],
    }
)


def ask(gpu=False, **words):
    given = {"engine": {"mode": "untimed"}} | ({"gpu": {"name": "h100-sxm"}} if gpu else {})
    return question_about(SOURCE, Scenario.model_validate(given), Words(threads=2, **words))


def curve(by=None, window_ns=None, gpu=False, **words):
    question = ask(gpu, drawn=True, by=by, **words)
    answer = answer_curves(question, by=by, window_ns=window_ns)
    return curve_picture(question, answer, by), question, answer


def gains(**known):
    def line(caches, rate, wait):
        return Gain(
            caches=caches, completed=10, request_hit_rate=rate, token_hit_rate=rate,
            session_hit_share=rate / 2, cross_request_hit_share=rate / 2, tokens_prefilled=100,
            prefill_reduction=rate, ttft_mean_ms=wait, ttft_p50_ms=wait, ttft_p99_ms=wait,
            ttft_saving=None, hit_ttft_saving=None, overloaded=known.get("overloaded", False),
        )  # fmt: skip

    rates = {"none": 0.0, "session": 0.1, "cross-request": 0.3, "both": known.get("both", 0.35)}
    lines = [line(name, rate, 500 - 400 * rate) for name, rate in rates.items()]
    return GainAnswer("a trace", lines, (), (), content_known=True)


@pytest.fixture(scope="module")
def seen():
    return described(load_trace(SAMPLE))


@pytest.fixture(scope="module")
def pictures(seen):
    question = ask(policies=["lru,arc,min"], capacities=["500blocks,5000blocks"])
    cost = cost_answer(STEP, "32x4096")[1]
    tree = tree_of_trace(seen.trace)
    return {
        "curve": curve(gpu=True, policies=["lru,min"])[0],
        "policies": policy_picture(question, compare_policies(question)),
        "gain": gain_picture(gains()),
        "cost": cost_picture(cost, "cached"),
        "describe": trace_picture(seen.trace, seen.tree, seen.facts),
        "run": tokens_picture(WINDOWS, "a trace"),
        "tree": tree_picture(tree, tree_rows(tree, Choice(limit=60))),
        "tree of a run": tree_picture(replace(tree, of_run=True), tree_rows(tree, Choice())),
    }


NAMES = ("curve", "policies", "gain", "cost", "describe", "run", "tree", "tree of a run")


# --- the same data as the table ---------------------------------------------------------------


def test_a_curve_draws_the_points_of_its_table():
    picture, question, answer = curve(policies=["lru,arc,min"])
    points = picture.tables["points"]
    assert_frame_equal(
        points.select(answer.points.columns).sort("policy", "capacity_blocks"),
        answer.points.sort("policy", "capacity_blocks"),
    )
    assert points["capacity"].to_list() == points["capacity_blocks"].to_list()
    for policy in ("lru", "arc", "min"):
        drawn = points.filter(pl.col("policy") == policy)["capacity_blocks"]
        assert len(drawn) >= 60
        assert set(question.capacities[0]) <= set(drawn)
    assert picture.spec()["datasets"]["points"] == points.to_dicts()


def test_what_a_picture_adds_changes_no_other_point():
    _, _, drawn = curve(policies=["lru,arc"])
    question = ask(policies=["lru,arc"])
    plain = answer_curves(question, by=None, window_ns=None).points
    shown = drawn.points.filter(pl.col("capacity_blocks").is_in(question.capacities[0]))
    keys = ["policy", "capacity_blocks"]
    assert_frame_equal(shown.sort(keys), plain.sort(keys))


def test_groups_are_the_largest_and_the_rest_stays_in_the_table():
    picture, question, answer = curve(by="session", policies=["lru"])
    sizes = {one.group: one.input_tokens for one in answer.summaries}
    shown = set(picture.tables["points"]["group"])
    assert len(shown) == DRAWN_GROUPS < len(sizes)
    least = min(sizes[name] for name in shown)
    assert all(size <= least for name, size in sizes.items() if name not in shown)
    others = answer.points.filter(~pl.col("group").is_in([*shown]))
    assert set(others["capacity_blocks"]) == set(question.capacities[0])
    tokens = sum(sizes[name] for name in shown) / sum(sizes.values())
    assert f"The 8 largest of {len(sizes):,} groups, {tokens:.0%} of the" in picture.subtitle


def test_marks_are_the_knees_the_ceiling_and_the_memory_of_the_gpu():
    picture, question, answer = curve(gpu=True, policies=["lru"], unit="GiB")
    marks = {row["mark"]: row for row in picture.tables["marks"].to_dicts()}
    one, view = answer.summaries[0], question.views[0]
    assert marks["90% of it"]["capacity"] == question.in_unit(view, one.knee_90_blocks)
    assert marks["99% of it"]["capacity"] == question.in_unit(view, one.knee_99_blocks)
    assert marks["KV memory of 1 × h100-sxm"]["capacity"] == pytest.approx(55.25)
    assert marks["all that can be reused, 55%"]["share"] == one.block_ceiling_token_hit_rate


def test_block_sizes_are_compared_in_tokens():
    points = curve(policies=["lru"], block_sizes="512,1024")[0].tables["points"]
    assert points["capacity"].to_list() == points["capacity_tokens"].to_list()


def test_policies_draw_their_table():
    question = ask(policies=["lru,arc,min"], capacities=["500blocks,5000blocks"])
    lines = compare_policies(question)
    picture = policy_picture(question, lines)
    table = table_frame(policy_table(lines))
    assert_frame_equal(picture.tables["policies"].select(table.columns), table)
    assert len(picture.views) == 2


def test_gains_draw_their_table():
    table = table_frame(gain_table(gains()))
    assert_frame_equal(gain_picture(gains()).tables["gain"].select(table.columns), table)


@pytest.mark.parametrize("over", ["cached", "new"])
def test_the_range_of_a_cost_goes_through_the_step_of_the_table(over):
    tables, question = cost_answer(STEP, "32x4096")
    drawn = cost_range(question, over)
    here = drawn.filter(pl.col("tokens") == STEP[over])
    table = {part: ms for part, ms, _ in tables["step"].rows}
    assert dict(here.select("part", "time_ms").rows()) == pytest.approx(table)
    assert drawn["tokens"].n_unique() >= 60


def test_a_range_without_effect_is_refused():
    _, question = cost_answer({**STEP, "new": 0, "cached": 0}, "32x4096")
    with pytest.raises(InputError, match="no cached tokens"):
        cost_picture(question, "cached")


def test_the_bins_of_a_trace_hold_every_request_and_every_reused_block(seen):
    tables = trace_picture(seen.trace, seen.tree, seen.facts).tables
    arrivals, lengths, reuse = tables["arrivals"], tables["lengths"], tables["reuse"]
    assert arrivals["requests"].sum() == seen.trace.requests
    assert arrivals["from_s"].to_list()[1:] == arrivals["to_s"].to_list()[:-1]
    assert arrivals["to_s"][-1] == seen.facts["arrivals"]["duration_s"]
    for of, name in (("prompts", "input_tokens"), ("responses", "output_tokens")):
        own = lengths.filter(pl.col("of") == of)
        tokens = seen.trace.frame[name]
        for low, high, count in own.select("from_tokens", "to_tokens", "requests").rows():
            assert count == ((tokens >= low) & (tokens < high)).sum()
        assert own["requests"].sum() == seen.trace.requests
    assert reuse["share"].sum() == pytest.approx(1)
    for hot, middle in ((True, "reuse_time_s_p50"), (False, "nonhot_reuse_time_s_p50")):
        rows = reuse if hot else reuse.filter(pl.col("of") == "rarer")
        by_age = rows.group_by("from_s", "to_s").agg(pl.col("blocks").sum()).sort("from_s")
        upto = by_age["blocks"].cum_sum() / by_age["blocks"].sum()
        at = by_age.row((upto >= 0.5).arg_max(), named=True)
        assert at["from_s"] <= seen.facts["reuse"][middle] <= at["to_s"]


# --- one look ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_pictures_have_the_colours_of_all_and_draw_their_tables_alone(pictures, name):
    picture = pictures[name]
    names = {colour.name for colour in COLOURS}
    text = json.dumps(list(picture.views))
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= names
    assert not re.search(r"#[0-9a-fA-F]{3,6}", text)
    data = re.findall(r'"data": (\{[^}]*\})', text)
    assert {json.loads(one)["name"] for one in data} <= set(picture.tables)
    for scheme in ("light", "dark"):
        spec = picture.spec(scheme)
        assert "var(" not in json.dumps(spec)
        assert spec["config"]["background"] == values(scheme)["card"]
    assert picture.finding.endswith(".")
    assert picture.subtitle.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_holds_the_table_and_asks_for_nothing(pictures, name):
    pytest.importorskip("vl_convert")
    picture = pictures[name]
    text = page_text(picture)
    assert PageReader(text).policy.startswith("default-src 'none'; script-src 'sha256-")
    plain = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)=|url\(", plain)
    held = json.loads(re.search(r'id="content">(.*?)</script>', text, re.DOTALL)[1])
    for table, frame in picture.tables.items():
        assert held["data"][table]["columns"] == frame.columns
        assert len(held["data"][table]["rows"]) == len(frame)
        assert (f'data-table="{table}"' in plain) == (len(frame) > 0)
    assert picture.finding.replace("'", "&#39;") in text


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_drawn_and_are_charts_of_altair(pictures, name, tmp_path):
    altair = pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    write_picture(pictures[name], tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
    write_picture(pictures[name], tmp_path / "it.svg")
    svg = (tmp_path / "it.svg").read_text()
    assert values("light")["ink"] in svg
    assert "var(" not in svg
    assert isinstance(pictures[name].chart(), altair.TopLevelMixin)
    write_picture(pictures[name], tmp_path / "it.json")
    assert json.loads((tmp_path / "it.json").read_text()) == json.loads(
        json.dumps(pictures[name].spec())
    )


@pytest.mark.parametrize("name", ["\x1b[31m\0", "\ufffe\uffff", "\ud83d", "\x9b\u202e"])
def test_nothing_that_cannot_be_printed_is_drawn(name, tmp_path):
    pytest.importorskip("vl_convert")
    frame = pl.DataFrame({"name": [name.encode(errors="backslashreplace").decode()], "x": [1]})
    mark = {"type": "bar", "tooltip": name}
    encoding = {"x": {"field": "x", "title": f"{name}\xa0axis"}, "y": {"field": "name"}}
    view = {"data": {"name": "rows"}, "title": name, "mark": mark, "encoding": encoding}
    picture = Picture(f"All of {name}.", f"What {name} is.", {"rows": frame}, [view])
    for suffix in ("svg", "png", "json", "html"):
        path = tmp_path / f"it.{suffix}"
        write_picture(picture, path)
        if suffix != "png":
            text = path.read_text("utf-8")
            plain = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
            assert not set(plain) & set(name) - set(f"{string.printable}\\")
            assert name.encode("unicode_escape").decode() in plain.replace("\\\\", "\\")


def test_names_are_data_wherever_a_picture_has_them(seen):
    name = 'it\'s "a"\n\u2028\\ </script>'
    frame = seen.trace.frame.with_columns(session_id=pl.lit(name))
    source = HeldSource(seen.trace.changed(frame))
    question = question_about(
        source,
        Scenario.model_validate({"engine": {"mode": "untimed"}}),
        Words(policies=["lru"], by="session"),
    )
    picture = curve_picture(
        question, answer_curves(question, by="session", window_ns=None), "session"
    )
    tests = [one["filter"] for layer in picture.views[0]["layer"] for one in layer["transform"]]
    shown = drawable(name)  # as its rows are drawn, or it would draw none of them
    assert any(json.dumps([shown]) in one for one in tests)
    held = re.search(r'id="content">(.*?)</script>', page_text(picture), re.DOTALL)[1]
    (spec,) = json.loads(held)["specs"].values()
    assert spec["layer"] == drawable(picture.views[0]["layer"])
    assert shown in {value for row in json.loads(held)["data"]["points"]["rows"] for value in row}


# --- what is said -----------------------------------------------------------------------------


def test_a_curve_says_what_the_memory_reuses_and_what_more_would():
    finding = curve(gpu=True, policies=["lru"], unit="GiB")[0].finding.replace("\u00a0", " ")
    assert finding == (
        "The 55.2 GiB of the GPU reuse 24% of the prompt tokens; 90% of what can be reused (55%) "
        "takes LRU 353 GiB, 6.4 times as much."
    )
    question = ask(gpu=True, drawn=True, policies=["lru"])
    answer = answer_curves(question, by=None, window_ns=None)
    huge = replace(question, pool_bytes=2**50)
    assert "all that can be reused: more memory would reuse no more" in (
        curve_picture(huge, answer).finding
    )
    assert "LRU has 90% of that with 5,650" in curve(policies=["lru"])[0].finding


def test_policies_that_are_many_are_named_as_far_as_colours_go():
    picture, _, _ = curve(policies=["lru,arc,s3fifo,2q,sieve,slru,lfu,clock,fifo,gdsf,min"])
    assert "The 8 that hit most are named, 3 more are faint." in picture.subtitle


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, "in the same memory, 35%. The mean wait is shortest with both: 360"),
        ({"both": 0.2}, "only 20%. The mean wait is shortest with shared prefixes alone"),
        ({"both": 0.301}, "it is no more"),
        ({"overloaded": True}, "The load is too much for this GPU."),
    ],
)
def test_gains_say_which_cache_does_it(known, words):
    assert words in gain_picture(gains(**known)).finding


def test_a_tree_says_what_repeats_and_how_few_prefixes_bring_half_of_it(pictures):
    assert pictures["tree"].finding == (
        "55% of the prompt tokens repeat. No prefix stands out: the one that saves most brings 9% "
        "of that."
    )
    assert "60 of 673 shared prefixes, with 62% of what" in pictures["tree"].subtitle
    few = tree_of_trace(trace_of(mooncake_text([(1, 2, 3, 4)] * 5)))
    assert tree_picture(few, tree_rows(few, Choice())).finding == (
        "80% of the prompt tokens repeat. One shared prefix brings 100% of that."
    )
    none = tree_of_trace(trace_of(mooncake_text([(1, 2, 3, 4), (5, 6)])))
    assert tree_picture(none, tree_rows(none, Choice())).finding == (
        "No prompt shares a prefix with another."
    )


def test_prefixes_of_few_among_many_requests_are_drawn_without_the_others():
    alone = [(9, number, number, number) for number in range(100)]
    tree = tree_of_trace(trace_of(mooncake_text([(1, 2, 3, 4)] * 3 + alone)))
    picture = tree_picture(tree, tree_rows(tree, Choice()))
    assert "Drawn are the 3 of 103 requests" in picture.subtitle
    assert picture.views[0]["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 3]


def test_a_run_says_what_share_of_the_tokens_was_reused_and_whether_that_changes():
    picture = tokens_picture(WINDOWS, "a trace")
    assert "rises from 10% in the first half of the windows to 30%" in picture.finding
    assert picture.tables["windows"]["bucket"].to_list() == ["0:00-0:01", "0:01-0:02"]
    assert "evicted" not in json.dumps(picture.views)  # nothing was
    even = WINDOWS.with_columns(hit_tokens=pl.Series([24, 76, 100]))
    assert tokens_picture(even, "a trace").finding == "Reuse holds at 25%."  # of tokens
    unknown = WINDOWS.with_columns(hit_tokens=pl.lit(None, pl.Int64))
    assert tokens_picture(unknown, "a trace").finding == "What was reused is unknown."


def test_a_trace_of_lengths_says_that_reuse_is_unknown(seen):
    bare = seen.trace.changed(seen.trace.frame.drop("block_ids", "session_id", "turn"))
    looked = described(bare, sessions=False)
    picture = trace_picture(looked.trace, None, looked.facts)
    assert "reuse" not in picture.tables
    assert "what repeats is unknown" in picture.finding
    assumed = described(seen.trace.changed(seen.trace.frame.drop("block_ids")))
    picture = trace_picture(assumed.trace, assumed.tree, assumed.facts)
    assert "Its content is assumed" in picture.subtitle
