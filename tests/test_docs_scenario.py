"""docs/scenario.md lists every key of a scenario, as the models describe it.

`python -m tests.test_docs_scenario` writes it.
"""

from __future__ import annotations

from pathlib import Path

from replay.config.dump import dump_scenario
from replay.config.scenario import Scenario

PAGE = Path(__file__).parents[1] / "docs" / "scenario.md"
HEAD = """# Scenarios

A scenario is everything that decides a run besides the trace. `replay run TRACE -c SCENARIO.yaml`
reads one; keys left out keep their defaults; `--set cache.commit=incremental` changes one key, and
the named options (`--gpu`, `--capacity`, …) are short for some of them. `--dry-run` prints the
scenario with every key written out, and each run directory holds the one that made it.
"""


def rendered() -> str:
    lines = [HEAD, "| key | default | meaning |", "|---|---|---|"]
    for name, field in Scenario.model_fields.items():
        if name == "seed":
            lines.append(f"| `seed` | {field.default} | {field.description} |")
            continue
        section = field.annotation
        for key, inner in section.model_fields.items():
            default = "" if inner.default is None else f"`{inner.default}`".lower()
            lines.append(f"| `{name}.{key}` | {default} | {inner.description} |")
    example = ["", "All defaults:", "", "```yaml", dump_scenario(Scenario()) + "```", ""]
    return "\n".join([*lines, *example])


def test_the_page_is_current():
    assert PAGE.read_text() == rendered()


def test_every_key_is_described():
    assert "| None |" not in rendered()


if __name__ == "__main__":
    PAGE.write_text(rendered())
