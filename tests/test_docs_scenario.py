"""docs/scenario.md lists every key of a scenario, as the models describe it.

`python -m tests.test_docs_scenario` writes it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from replay.config.dump import dump_scenario
from replay.config.scenario import Scenario

PAGE = Path(__file__).parents[1] / "docs" / "scenario.md"
HEAD = """# Scenarios

A scenario is everything that decides a run besides the trace. `replay run TRACE -c SCENARIO.yaml`
reads one; keys left out keep their defaults; `--set cache.commit=incremental` changes one key, and
the named options (`--gpu`, `--capacity`, …) are short for some of them. `--dry-run` prints the
scenario with every key written out, and each run directory holds the one that made it.
[scheduling.md](scheduling.md) says what keys of `engine` mean in vLLM and SGLang.
"""


def rows_of(path: str, section: type[BaseModel]) -> list[str]:
    """Return the lines of a section, those of the sections in it behind its own."""
    own, inner = [], []
    for key, field in section.model_fields.items():
        if isinstance(field.default, BaseModel):
            inner += rows_of(f"{path}.{key}", type(field.default))
            continue
        default = "" if field.default in (None, ()) else f"`{shown(field.default)}`"
        own.append(f"| `{path}.{key}` | {default} | {field.description} |")
    return own + inner


def shown(default: object) -> str:
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default).lower()


def rendered() -> str:
    lines = [HEAD, "| key | default | meaning |", "|---|---|---|"]
    for name, field in Scenario.model_fields.items():
        if name == "seed":
            lines.append(f"| `seed` | {field.default} | {field.description} |")
            continue
        lines += rows_of(name, field.annotation)
    example = ["", "All defaults:", "", "```yaml", dump_scenario(Scenario()) + "```", ""]
    return "\n".join([*lines, *example])


def test_the_page_is_current():
    assert PAGE.read_text() == rendered()


def test_every_key_is_described():
    assert "| None |" not in rendered()


if __name__ == "__main__":
    PAGE.write_text(rendered())
