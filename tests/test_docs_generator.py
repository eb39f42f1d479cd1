"""docs/generator.md lists every key of a profile as the models describe it; its example works.

`python -m tests.test_docs_generator` writes the list.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from replay.config import distribution
from replay.config.arrivals import Arrivals, Daily, Drift, RateStep
from replay.config.client import (
    Again,
    Branch,
    ByInputTokens,
    Client,
    FollowUp,
    PromptPart,
    ResponseTime,
    ThinkTime,
)
from replay.config.context import Context
from replay.config.profile import Pool, Profile
from replay.config.section import write_duration
from tests.profiles import trace_of

PAGE = Path(__file__).parents[1] / "docs" / "generator.md"
START, STOP = "<!-- keys -->", "<!-- end of keys -->"
SECTIONS: dict[str, type[BaseModel]] = {
    "": Profile,
    "arrivals": Arrivals,
    "arrivals.steps[]": RateStep,
    "arrivals.daily": Daily,
    "arrivals.drift": Drift,
    "context": Context,
    "pools.NAME": Pool,
    "clients[]": Client,
    "clients[].head[]": PromptPart,
    "clients[].response_time": ResponseTime,
    "clients[].follow_up": FollowUp,
    "clients[].follow_up.by_input_tokens[]": ByInputTokens,
    "clients[].follow_up.think_time": ThinkTime,
    "clients[].branch": Branch,
    "clients[].regenerate": Again,
    "clients[].retry": Again,
}


def default_of(key: str, field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value in (None, (), {}) or isinstance(value, BaseModel):
        return ""
    return f"`{write_duration(value) if key == 'period' else str(value).lower()}`"


def rendered() -> str:
    lines = ["", "| key | default | meaning |", "|---|---|---|"]
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            name = f"{section}.{key}".removeprefix(".")
            lines.append(f"| `{name}` | {default_of(key, field)} | {field.description} |")
    return "\n".join([*lines, ""])


def parts() -> tuple[str, str, str]:
    before, rest = PAGE.read_text().split(START)
    listed, after = rest.split(STOP)
    return before, listed, after


def examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_list_of_keys_is_current():
    assert parts()[1].strip() == rendered().strip()


def test_every_key_is_described():
    assert "| None |" not in rendered()


@pytest.mark.parametrize("name", distribution.FAMILIES)
def test_every_distribution_is_described_with_its_parameters(name):
    union = get_args(get_args(distribution.Distribution)[0])
    (model,) = [
        one for one in union if get_args(one.model_fields["distribution"].annotation) == (name,)
    ]
    (line,) = [line for line in parts()[0].splitlines() if line.startswith(f"| `{name}` |")]
    for key in set(model.model_fields) - {"distribution", "shift"}:
        assert f"`{key}`" in line


def test_the_example_makes_a_trace():
    example = yaml.safe_load(examples()[-1]) | {"duration": None, "requests": 500}
    trace = trace_of(example)
    assert set(trace.frame["client"].unique()) == {"chat", "agent"}


if __name__ == "__main__":
    before, _, after = parts()
    PAGE.write_text(f"{before}{START}\n{rendered()}\n{STOP}{after}")
