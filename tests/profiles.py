"""Small profiles for tests, as plain data and drawn by hypothesis."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from replay.config.profile import Profile
from replay.trace.frame import Trace
from replay.workload.generate import generate
from replay.workload.profiles import NamedProfile

CHAT: dict[str, Any] = {
    "description": "for tests",
    "requests": 500,
    "arrivals": {"sessions_per_s": 2.0},
    "context": {"limit": 100_000},
    "pools": {"system": {"tokens": 100}},
    "clients": [
        {
            "name": "chat",
            "head": [{"pool": "system"}],
            "first_tokens": {"distribution": "uniform", "min": 10, "max": 50},
            "response_tokens": {"distribution": "uniform", "min": 5, "max": 20},
            "follow_up": {
                "chance": 0.7,
                "new_tokens": {"distribution": "uniform", "min": 10, "max": 50},
                "think_time": {"seconds": 10},
            },
        }
    ],
}


def chat(client: dict | None = None, **changes: Any) -> dict:
    """The chat profile with other keys, `client` those of its one client."""
    data = deepcopy(CHAT) | changes
    data["clients"][0] |= client or {}
    return data


def named(data: dict, name: str = "test") -> NamedProfile:
    return NamedProfile(Profile.model_validate(data), name, f"{name}.yaml")


def trace_of(data: dict) -> Trace:
    return generate(named(data))


def uniform(low: int, high: int) -> dict:
    return {"distribution": "uniform", "min": low, "max": high}


_lengths = st.tuples(st.integers(1, 12), st.integers(0, 12)).map(lambda t: uniform(t[0], sum(t)))
_chances = st.lists(st.floats(0, 0.2), min_size=1, max_size=3)
_gaps = st.integers(0, 5).map(lambda high: uniform(0, high))


@st.composite
def clients(draw: st.DrawFn, name: str) -> dict:
    """Draw a client that does anything a client can do, with short prompts."""
    client: dict[str, Any] = {
        "name": name,
        "first_tokens": draw(_lengths),
        "response_tokens": draw(_lengths),
        "history": draw(st.sampled_from([True, True, False])),
        "max_requests": draw(st.integers(1, 15)),
        "head": draw(
            st.lists(
                st.sampled_from(
                    [
                        {"pool": "a"},
                        {"pool": "b", "probability": 0.5},
                        {"own_tokens": uniform(1, 9)},
                    ]
                ),
                max_size=2,
            )
        ),
        "follow_up": {
            "chance": draw(st.lists(st.floats(0, 0.4), min_size=1, max_size=3)),
            "new_tokens": draw(_lengths),
            "think_time": {"seconds": draw(_gaps)},
        },
        "branch": {
            "chance": draw(_chances),
            "keep_share": uniform(0, 1),
            "tail_tokens": draw(_lengths),
            "gap": draw(_gaps),
        },
        "regenerate": {"chance": draw(_chances), "gap": draw(_gaps)},
        "retry": {"chance": draw(_chances), "gap": draw(_gaps)},
    }
    return client


@st.composite
def profiles(draw: st.DrawFn, *, truncate: str | None = None) -> dict:
    """Draw a profile with a context window that is often too small."""
    count = draw(st.integers(1, 3))
    truncate = truncate or draw(st.sampled_from(["keep_system", "sliding", "reject"]))
    return {
        "description": "for tests",
        "seed": draw(st.integers(0, 1000)),
        "requests": draw(st.integers(1, 120)),
        "warm_up": draw(st.sampled_from([None, "20s"])),
        "arrivals": {
            "sessions_per_s": 1.0,
            "tick": draw(st.sampled_from([None, "3s"])),
        },
        "context": {
            "limit": draw(st.integers(90, 250)),
            "truncate": truncate,
        }
        | ({"keep_share": draw(st.sampled_from([1.0, 0.7, 0.3]))} if truncate != "reject" else {}),
        "pools": {
            "a": {"items": 3, "tokens": uniform(1, 20), "zipf": 1.0},
            "b": {"items": 2, "tokens": uniform(1, 20)},
        },
        "clients": [draw(clients(f"c{number}")) for number in range(count)],
    }
