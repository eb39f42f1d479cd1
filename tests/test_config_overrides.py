"""Values from the command line: checked as those of a file, and named after their option."""

import pytest

from replay.config.load import load_scenario
from replay.config.overrides import Override, parse_setting
from replay.errors import ConfigError


def problems_of(*settings, path=None):
    with pytest.raises(ConfigError) as caught:
        load_scenario(path, [parse_setting(text) for text in settings])
    return [str(problem) for problem in caught.value.problems]


def test_a_setting_changes_the_default():
    scenario = load_scenario(None, [parse_setting("engine.horizon=1.5h"), parse_setting("seed=3")])
    assert (scenario.engine.horizon, scenario.seed) == (5400 * 10**9, 3)


def test_a_setting_wins_over_the_file_and_leaves_the_rest(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("cache:\n  block_size: 16\n  capacity: inf\n")
    scenario = load_scenario(path, [parse_setting("cache.block_size=32")])
    assert (scenario.cache.block_size, scenario.cache.capacity) == (32, "inf")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("trace.sessions=off", "off"),
        ("trace.sessions='off'", "off"),
        ("trace.sessions= infer", "infer"),
    ],
)
def test_values_are_yaml_scalars(setting, expected):
    assert load_scenario(None, [parse_setting(setting)]).trace.sessions == expected


def test_an_empty_value_is_null():
    assert load_scenario(None, [parse_setting("cache.block_size=")]).cache.block_size is None


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("cache.block_size=x", "cache.block_size: must be a whole number (got 'x')"),
        ("cahce.block_size=3", "cahce: unknown key, did you mean cache or trace?"),
        ("cache=lru", "cache: must be a mapping of keys to values (got 'lru')"),
        ("seed=true", "seed: must be a number (got true)"),
        ("seed=[1]", "seed: must be a whole number (got a list)"),
        ("seed=[[1]]", "seed: must be one value (got '[[1]]')"),
        ("seed={", "seed: must be one value (got '{')"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_given(setting, problem):
    assert problems_of(setting) == [f"--set {setting}: {problem}"]


@pytest.mark.parametrize("setting", ["seed", "=1", "a..b=1", ".seed=1", ""])
def test_what_is_no_setting_is_refused(setting):
    assert problems_of(setting) == [f"--set: expected path=value (got {setting!r})"]


def test_a_setting_below_a_value_is_refused(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("seed: 1\n")
    assert "--set seed.x=1: seed.x: seed holds one value, not a section" in problems_of(
        "seed.x=1", path=path
    )


def test_an_option_is_named_in_its_errors():
    with pytest.raises(ConfigError, match=r"^--block-size: cache.block_size: must be a whole"):
        load_scenario(None, [Override("cache.block_size", "x", "--block-size")])


def test_contradicting_options_are_refused():
    options = [Override("seed", "1", "--seed"), parse_setting("seed=2")]
    with pytest.raises(ConfigError, match="seed: given twice, as --seed and as --set seed=2"):
        load_scenario(None, options)


def test_saying_the_same_twice_is_fine():
    options = [Override("seed", "2", "--seed"), parse_setting("seed=2")]
    assert load_scenario(None, options).seed == 2


def test_problems_of_the_file_and_of_options_come_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("seed: x\n")
    assert problems_of("cache.block_size=y", path=(tmp_path / "s.yaml").relative_to(tmp_path)) == [
        "s.yaml:1:7: seed: must be a whole number (got 'x')",
        "--set cache.block_size=y: cache.block_size: must be a whole number (got 'y')",
    ]


@pytest.mark.parametrize(("written", "expected"), [("1,10", (1, 10)), ("10", (10,)), ("[5]", (5,))])
def test_lists_may_be_texts_with_commas(written, expected):
    setting = parse_setting(f"cache.pinned_prefixes={written}")
    assert load_scenario(None, [setting]).cache.pinned_prefixes == expected
    store = [parse_setting("cache.kind=session_store")]
    key = "cache.session_store.prefix_lengths"
    found = load_scenario(None, [*store, parse_setting(f"{key}={written}")])
    assert found.cache.session_store.prefix_lengths == expected
    assert problems_of(f"{key}=1,x") == [
        f"--set {key}=1,x: {key}: must be a whole number (got 'x')"
    ]
