"""Configuration files: every mistake named at its place, nothing crashes the reader."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field

from replay.config.load import load_document, load_scenario
from replay.config.overrides import Override, parse_setting
from replay.config.scenario import Scenario
from replay.errors import ConfigError, InputError


class Tier(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: str
    blocks: int
    ratio: Annotated[float, Field(gt=0)] | None = None


class Hardware(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    tiers: list[Tier] = []
    sizes: dict[int, int] = {}
    shared: bool = False
    limit: int | None = None


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(content):
        path = Path("s.yaml")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def problems_of(path, schema=Scenario):
    with pytest.raises(ConfigError) as caught:
        load_document(path, schema)
    return [str(problem) for problem in caught.value.problems]


def test_all_mistakes_are_reported_at_once_in_file_order(write):
    path = write(
        "seed: soon\n"
        "cache:\n"
        "  block_size: sixteen\n"
        "  polcy: lru\n"
        "  capacity: -3\n"
        "trace: {speedup: 0}\n"
        "sed: 1\n"
    )
    assert problems_of(path) == [
        "s.yaml:1:7: seed: must be a whole number (got 'soon')",
        "s.yaml:3:15: cache.block_size: must be a whole number (got 'sixteen')",
        "s.yaml:4:3: cache.polcy: unknown key, did you mean policy?",
        "s.yaml:5:13: cache.capacity: not a capacity (got '-3'); "
        "write inf, auto, 20000blocks, 10Mtokens or 40GiB",
        "s.yaml:6:18: trace.speedup: must be greater than 0 (got 0)",
        "s.yaml:7:1: sed: unknown key, did you mean seed?",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("cache:\n  policy: no\n", "s.yaml:2:11: cache.policy: kind block knows lru (got 'no')"),
        ("cache: {enabled: maybe}", "s.yaml:1:18: cache.enabled: must be true or false"),
        ("cache:\n", "s.yaml:1:7: cache: must be a mapping of keys to values (got null)"),
        ("cache: [1]", "s.yaml:1:8: cache: must be a mapping of keys to values (got a list)"),
        ("model: {name: 3}", "s.yaml:1:15: model.name: must be text (got 3)"),
        ("seed: {a: 1}", "s.yaml:1:7: seed: must be a whole number (got a mapping)"),
        ("seed: 1.5", "s.yaml:1:7: seed: must be a whole number (got 1.5)"),
        ("seed: -1", "s.yaml:1:7: seed: must be greater than or equal to 0 (got -1)"),
        ("engine: {max_batched_tokens: 3, max_sequences: 5}", "must be at least max_sequences (5)"),
        ("trace: {arrival_jitter: 12:30}", "not a duration (got '12:30')"),
        ('model: {name: "\\uD800"}', "s.yaml:1:15: must not hold half of a surrogate pair"),
        ("trace: {speedup: .nan}", "s.yaml:1:18: trace.speedup: must be a finite number (got nan)"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_got(write, content, problem):
    [found] = problems_of(write(content))
    assert problem in found


def test_a_boolean_is_no_number(write):
    path = write("seed: true\ncache: {block_size: false, enabled: true}\n")
    assert problems_of(path)[0] == "s.yaml:1:7: seed: must be a number (got true)"
    assert "cache.block_size: must be a number (got false)" in problems_of(path)[1]
    path = write("name: x\ntiers: [{kind: hbm, blocks: 1, ratio: true}]\nshared: true\n")
    assert problems_of(path, Hardware) == [
        "s.yaml:2:39: tiers[0].ratio: must be a number (got true)"
    ]


def test_an_unknown_key_is_looked_for_in_other_sections(write):
    assert problems_of(write("block_size: 4\n")) == [
        "s.yaml:1:1: block_size: unknown key, did you mean cache.block_size?"
    ]


def test_places_are_found_inside_lists_and_free_keys(write):
    path = write(
        "name: x\ntiers:\n  - {kind: hbm, blocks: 1}\n  - kind: dram\n    bloks: 2\n"
        "    ratio: no\nsizes: {1: 2, 4: x}\nlimit: big\n"
    )
    assert problems_of(path, Hardware) == [
        "s.yaml:4:5: tiers[1].blocks: required key is missing",
        "s.yaml:5:5: tiers[1].bloks: unknown key, did you mean blocks?",
        "s.yaml:6:12: tiers[1].ratio: must be a number (got 'no')",
        "s.yaml:7:18: sizes.4: must be a whole number (got 'x')",
        "s.yaml:8:8: limit: must be a whole number (got 'big')",
    ]


def test_a_duplicate_key_is_refused_and_the_first_line_named(write):
    assert problems_of(write("seed: 1\ncache: {}\nseed: 2\n")) == [
        "s.yaml:3:1: key 'seed' given twice (first on line 1)"
    ]


def test_duplicates_and_wrong_values_are_reported_together(write):
    found = problems_of(write("seed: x\nseed: 2\n"))
    assert [problem.split(": ")[0] for problem in found] == ["s.yaml:1:7", "s.yaml:2:1"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: }", "s.yaml:1:4: expected the node content, but found '}'"),
        ("seed: '1\n", "s.yaml:2:1: found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", "s.yaml:2:1: expected a single document in the stream"),
        ("seed: 1\nx: \x01", "s.yaml:2:4: character U+0001 is not allowed in YAML"),
        (b"seed: 1\nx: \xff", "s.yaml:2: not UTF-8 text (got byte 0xff)"),
        ("", "s.yaml: the file is empty"),
        ("# nothing yet\n", "s.yaml: the file is empty"),
        ("- 1\n", "s.yaml:1:1: must be a mapping of keys to values (got a list)"),
        ("hello\n", "s.yaml:1:1: must be a mapping of keys to values (got a single value)"),
        ("? [a]\n: 1\n", "s.yaml:1:3: a key must be plain text"),
        ("seed: &x [*x]\n", "nested deeper than 64 levels"),
        ("[" * 100_000, "s.yaml: nested deeper than 64 levels"),
        ("seed: !!python/name:os.system x\n", "s.yaml:1:7: tags are not used here"),
        ("seed: " + "9" * 6000, "s.yaml:1:7: seed: must be a whole number"),
        ("seed: " + "9" * 3000, "s.yaml:1:7: seed: must be less than"),
    ],
)
def test_text_that_is_no_sound_yaml_is_placed(write, content, problem):
    assert problem in problems_of(write(content))[0]


def test_aliases_that_multiply_are_stopped(write):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "more than 100,000 values" in problems_of(write("\n".join(lines)))[0]


def test_a_deep_boolean_is_answered_at_once(write):
    path = write("seed: " + "{a: " * 60 + "true" + "}" * 60)
    assert "seed: must be a whole number (got a mapping)" in problems_of(path)[0]


def test_a_tab_gets_a_hint(write):
    with pytest.raises(ConfigError) as caught:
        load_document(write("cache:\n\tenabled: true\n"), Scenario)
    assert caught.value.hint == "YAML indents with spaces, not tabs"


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read: No such file"):
        load_document(tmp_path / "none.yaml", Scenario)


def test_a_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="Is a directory"):
        load_document(tmp_path, Scenario)


def test_a_trace_taken_for_a_scenario_is_refused_unread(write):
    path = write(b"x" * 2_000_000)
    with pytest.raises(InputError, match="too long for a configuration file"):
        load_document(path, Scenario)


def test_scalars_follow_yaml_1_2(write):
    path = write(
        "\ufeffseed: 0x10\ntrace: {sessions: off, speedup: 1e3, arrival_jitter: 80ms}\n"
        "cache: {enabled: off, capacity: 20000}\nengine: {horizon: ~, baseline: no}\n"
        "model: {name: yes}\n"
    )
    scenario = load_scenario(path)
    assert scenario.seed == 16
    assert (scenario.trace.sessions, scenario.trace.speedup) == ("off", 1000.0)
    assert scenario.trace.arrival_jitter == 80_000_000
    assert not scenario.cache.enabled
    assert not scenario.engine.baseline
    assert (scenario.cache.capacity, scenario.model.name) == ("20000", "yes")


def test_a_scenario_without_a_file_is_the_default():
    assert load_scenario() == Scenario()


@pytest.mark.parametrize(
    "setting", ["engine.horizon=10s", "cache.commit=incremental", "engine.max_sequences=8"]
)
def test_what_only_a_clock_gives_meaning_is_refused_without_one(setting):
    untimed = Override("engine.mode", "untimed", "--untimed")
    with pytest.raises(ConfigError, match=r"has no effect when engine\.mode is untimed"):
        load_scenario(None, [untimed, parse_setting(setting)])
