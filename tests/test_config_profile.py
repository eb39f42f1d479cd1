"""Profiles are checked like scenarios: every mistake at its file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from replay.config.load import load_document
from replay.config.profile import Profile
from replay.errors import ConfigError
from tests.profiles import chat


@pytest.fixture
def problems_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def problems_of(text: str) -> list[str]:
        Path("p.yaml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_document(Path("p.yaml"), Profile)
        return [str(problem) for problem in caught.value.problems]

    return problems_of


HEAD = "description: d\nrequests: 5\narrivals: {sessions_per_s: 1}\ncontext: {limit: 1000}\n"


def client(text: str) -> str:
    return f"{HEAD}clients:\n- name: a\n  response_tokens: 5\n{text}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("first_tokens: {distribution: logn}", "p.yaml:8:17: clients[0].first_tokens: distribution "
         "must be one of constant, uniform, normal, lognormal, exponential, gamma, weibull, "
         "pareto, zipf, empirical, mixture (got 'logn'), did you mean lognormal?"),
        ("first_tokens: true", "p.yaml:8:17: clients[0].first_tokens: must be a number or a "
         "distribution such as {distribution: uniform, ...} (got true)"),
        ("first_tokens: {distribution: uniform, min: 9, max: 3}", "p.yaml:8:17: "
         "clients[0].first_tokens: min must not be above max (got 9 and 3)"),
        ("first_tokens: {distribution: lognormal, mu: 3, sigma: 1, min: 1}", "p.yaml:8:17: "
         "clients[0].first_tokens.max: required key is missing"),
        ("first_tokens: {distribution: gamma, shape: 3, scale: 1, min: 1, max: 9, sigma: 2}",
         "p.yaml:8:75: clients[0].first_tokens.sigma: unknown key here"),
        ("first_tokens: 0", "p.yaml:8:17: clients[0].first_tokens: tokens start at 1 (got 0)"),
        ("first_tokens: 1e9", "p.yaml:8:17: clients[0].first_tokens: tokens end at 1.67772e+07 "
         "(got 1e+09)"),
        ("first_tokens: {distribution: mixture, min: 1, max: 9, parts: []}", "p.yaml:8:17: "
         "clients[0].first_tokens: a mixture needs parts (got an empty list)"),
        ("first_tokens: {distribution: mixture, min: 1, max: 9, parts: [{weight: 1, "
         "distribution: zipf}]}", "p.yaml:8:65: clients[0].first_tokens.parts[0]: distribution "
         "must be one of constant, uniform, normal, lognormal, exponential, gamma, weibull, "
         "pareto (got 'zipf')"),
        ("first_tokens: {distribution: empirical, quantiles: [1, 5, 3]}", "p.yaml:8:17: "
         "clients[0].first_tokens: quantiles must not fall"),
        ("first_tokens: {distribution: empirical, quantiles: [1, 5], levels: [0, 0.9]}",
         "p.yaml:8:17: clients[0].first_tokens: levels must go from 0 to 1 (got 0 to 0.9)"),
        ("first_tokens: 9\n  head: [{pool: sys}]", "p.yaml:9:17: clients[0].head[0].pool: no such "
         "pool, known: none (got 'sys')"),
        ("first_tokens: 9\n  head: [{probability: 0.5}]", "p.yaml:9:10: clients[0].head[0]: needs "
         "either pool or own_tokens"),
        ("first_tokens: 9\n  head: [{own_tokens: 995}]", "p.yaml:6:3: clients[0]: the longest "
         "head and the longest response leave no room for a message in context.limit "
         "(got 1000 tokens)"),
        ("first_tokens: 9\n  regenerate: {chance: 0.7, gap: 1}\n  retry: {chance: [0.1, 0.5], "
         "gap: 1}", "p.yaml:6:3: clients[0]: the chances after request 2 of a session must not "
         "add up to more than 1 (got 1.2)"),
        ("first_tokens: 9\n  regenerate: {chance: [], gap: 1}", "p.yaml:6:3: clients[0]: chance "
         "must not be an empty list"),
        ("first_tokens: 9\n  retry: {chance: 1.5, gap: 1}", "p.yaml:9:19: "
         "clients[0].retry.chance: must be less than or equal to 1 (got 1.5)"),
        ("first_tokens: 9\n  follow_up: {new_tokens: 5, think_time: {seconds: 1}}", "p.yaml:9:14: "
         "clients[0].follow_up: needs one of chance, by_input_tokens and requests"),
        ("first_tokens: 9\n  follow_up: {by_input_tokens: [{below: 9, chance: 1}, {below: 5, "
         "chance: 1}, {chance: 1}], new_tokens: 5, think_time: {seconds: 1}}", "p.yaml:9:14: "
         "clients[0].follow_up: by_input_tokens must be in ascending order of below (got [9, 5])"),
        ("first_tokens: 9\n  follow_up: {chance: 0.5, new_tokens: 5, think_time: {seconds: 1, "
         "new_tokens_correlation: 0.9, response_correlation: 0.9}}", "p.yaml:9:55: "
         "clients[0].follow_up.think_time: the squares of both correlations must not add up to "
         "more than 0.99"),
        ("first_tokens: 9\n  response_time: {per_token_s: 0.1}", "p.yaml:6:3: clients[0]: "
         "response_time has no effect unless follow_up.think_time.after is response"),
        ("first_tokens: 9\n  follow_up: {chance: 0.5, new_tokens: 5, think_time: {seconds: 1, "
         "after: response}}", "p.yaml:6:3: clients[0]: follow_up.think_time.after: response needs "
         "response_time"),
        ("first_tokens: 9\n- name: a\n  first_tokens: 9\n  response_tokens: 5", "p.yaml:9:9: "
         "clients[1].name: given twice (got 'a')"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_client_is_named_at_its_place(problems_of, text, problem):
    assert problems_of(client(f"  {text}")) == [problem]


@pytest.mark.parametrize(
    ("arrivals", "problem"),
    [
        ("{sessions_per_s: 0}", "arrivals.sessions_per_s: must be greater than 0 (got 0)"),
        ("{sessions_per_s: 1, process: gama}", "arrivals.process: must be 'poisson', 'gamma', "
         "'weibull', 'constant' or 'empirical' (got 'gama'), did you mean gamma?"),
        ("{sessions_per_s: 1, process: gamma}", "arrivals: a gamma process needs cv"),
        ("{sessions_per_s: 1, cv: 2}", "arrivals: a poisson process does not use cv"),
        ("{sessions_per_s: 1, process: empirical, gaps: 0}", "arrivals: gaps must not all be zero"),
        ("{sessions_per_s: 1, steps: [{lasts: 1m, factor: 0}]}",
         "arrivals: no step has a rate above zero"),
        ("{sessions_per_s: 1, tick: soon}",
         "arrivals.tick: not a duration (got 'soon'); write 80ms, 30s, 10m or 1.5h"),
    ],
)  # fmt: skip
def test_a_mistake_of_the_arrivals_is_named(problems_of, arrivals, problem):
    text = HEAD.replace("{sessions_per_s: 1}", arrivals)
    (found,) = problems_of(f"{text}clients: [{{name: a, first_tokens: 1, response_tokens: 1}}]\n")
    assert found.split(": ", 1)[1] == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pools: {p: {tokens: 5, items: 2, weights: [1]}}",
         "pools.p: weights must be one for each of the 2 items (got 1)"),
        ("pools: {p: {tokens: 5, zipf: 1, weights: [1]}}",
         "pools.p: weights and zipf exclude each other"),
        ("seed: -1", "seed: must be greater than or equal to 0 (got -1)"),
        ("duration: 5m", "needs either requests or duration"),
        ("clints: 5", "clints: unknown key, did you mean clients?"),
    ],
)  # fmt: skip
def test_a_mistake_of_the_profile_is_named(problems_of, text, problem):
    clients = "clients: [{name: a, first_tokens: 1, response_tokens: 1}]\n"
    (found,) = problems_of(f"{HEAD}{clients}{text}\n")
    assert found.split(": ", 1)[1] == problem


def test_a_profile_without_clients_is_refused(problems_of):
    assert problems_of(f"{HEAD}clients: []\n") == [
        "p.yaml:5:10: clients: needs at least one client (got an empty list)"
    ]


def test_all_mistakes_are_reported_at_once(problems_of):
    text = client("  first_tokens: 0\n  weight: none\n  histry: true")
    assert len(problems_of(text)) == 3


def test_a_sliding_window_need_not_hold_the_head():
    data = chat({"head": [{"own_tokens": 995}]}, context={"limit": 1000, "truncate": "sliding"})
    assert Profile.model_validate(data).context.truncate == "sliding"


def test_a_profile_survives_being_written_and_read(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(chat()))
    assert load_document(path, Profile) == Profile.model_validate(chat())


def test_the_head_must_fit_into_the_window_of_its_client():
    data = chat({"context": {"limit": 110}}, context={"limit": 100_000})
    with pytest.raises(ValidationError, match="leave no room for a message"):
        Profile.model_validate(data)
