"""Terminal escapes in every place that a file or a person names things: shown, never obeyed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests import run_fixture
from tests.faults.trial import Attempt, Done, Trial, trace
from tests.fuzz.judge import call

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
NAME = "a\x1b[31mb"

Make = Callable[[Path], tuple[str, ...]]


def _row(**more: object) -> str:
    row = {"timestamp": 0, "input_length": 5, "output_length": 3, "hash_ids": [1], **more}
    return json.dumps(row) + "\n"


def _name_of_a_trace(folder: Path) -> tuple[str, ...]:
    (folder / f"{NAME}.jsonl").write_text(_row())
    return "describe", f"{NAME}.jsonl"


def _missing_file(folder: Path) -> tuple[str, ...]:
    (folder / f"{NAME}.jsonl").write_text(_row())  # named in the hint
    return "describe", "ab.jsonl"


def _key_of_a_trace(folder: Path) -> tuple[str, ...]:
    (folder / "t.jsonl").write_text(_row(**{f"k{ESCAPE}": [1], "kind": "x"}))
    return "check", "t.jsonl"


def _value_in_an_error(folder: Path) -> tuple[str, ...]:
    (folder / "t.jsonl").write_text(_row(input_length=ESCAPE))
    return "describe", "t.jsonl", "--format-in", "mooncake"


def _group_of_a_curve(folder: Path) -> tuple[str, ...]:
    (folder / "t.jsonl").write_text(_row(tenant=ESCAPE) + _row(tenant="b"))
    return "curve", "t.jsonl", "--by", "tenant"


def _unknown_columns(folder: Path) -> tuple[str, ...]:
    (folder / "t.csv").write_text(f"x{ESCAPE},b\n1,2\n")
    (folder / "c.yaml").write_text("columns: {input_tokens: x, output_tokens: b}\n")
    return "describe", "t.csv", "--columns", "c.yaml"


def _scenario(folder: Path) -> tuple[str, ...]:
    (folder / "t.jsonl").write_text(_row())
    value = json.dumps(ESCAPE)
    (folder / "s.yaml").write_text(f"cache: {{policy: {value}}}\nmodel: {{name: {value}}}\n")
    return "run", "t.jsonl", "-c", "s.yaml"


def _dry_run(folder: Path) -> tuple[str, ...]:
    (folder / "t.jsonl").write_text(_row())
    return "run", "t.jsonl", "--dry-run", "--set", f'trace.separate_by=["{NAME}"]'


def _gpu_name(folder: Path) -> tuple[str, ...]:
    source = (run_fixture.Path(__file__).parents[2] / "hardware/gpus/h100-sxm.yaml").read_text()
    name = json.dumps(ESCAPE)
    (folder / "g.yaml").write_text(source.replace("name: h100-sxm", f"name: {name}", 1))
    return "cost", "--gpu", "./g.yaml", "--new", "9"


def _name_of_a_model(folder: Path) -> tuple[str, ...]:
    (folder / NAME).mkdir()
    (folder / NAME / "config.json").write_text(json.dumps({"model_type": ESCAPE}))
    return "list", "models", f"{NAME}/config.json"


def _notes_of_a_run(folder: Path) -> tuple[str, ...]:
    made = run_fixture.manifest(notes=[ESCAPE])
    made["trace"] |= {"name": ESCAPE, "notes": [ESCAPE], "path": ESCAPE}
    run_fixture.write(folder / "R", made)
    return "report", "R"


def _columns_of_sql(folder: Path) -> tuple[str, ...]:
    run_fixture.write(folder / "R")
    return "query", "R", "SELECT chr(27) || '[2J' AS \"a\x1b[31m\", chr(155) AS b FROM range(3)"


def _error_of_sql(folder: Path) -> tuple[str, ...]:
    run_fixture.write(folder / "R")
    return "query", "R", f"SELECT nothing{ESCAPE} FROM requests"


def _measured_gpu(folder: Path) -> tuple[str, ...]:
    header = "gpu,model,tp,phase,new_tokens,context_tokens,batch,decode_ctx,measured_ms"
    (folder / "c.csv").write_text(f"{header}\na{ESCAPE},m{ESCAPE},1,decode,1,1,1,0,1\n")
    return "calibrate", "c.csv", "-o", "o.yaml"


def _catalogue(folder: Path) -> tuple[str, ...]:
    (folder / "c.yaml").write_text(f"traces: [{{name: {json.dumps(ESCAPE)}}}]\n")
    return "fetch", f"x{NAME}", "--catalogue", "c.yaml"


def _profile(folder: Path) -> tuple[str, ...]:
    (folder / "p.yaml").write_text(f"description: {json.dumps(ESCAPE)}\n{json.dumps(NAME)}: 1\n")
    return "generate", "p.yaml", "-o", "o.jsonl"


def _name_of_an_option(folder: Path) -> tuple[str, ...]:
    trace(folder)
    return "describe", "t.jsonl", "--format-in", ESCAPE


def _output(folder: Path) -> tuple[str, ...]:
    trace(folder)
    return "convert", "t.jsonl", "-o", f"{NAME}.jsonl"


PLACES: dict[str, Make] = {
    make.__name__.strip("_").replace("_", " "): make
    for make in (
        _name_of_a_trace, _missing_file, _key_of_a_trace, _value_in_an_error, _group_of_a_curve,
        _unknown_columns, _scenario, _dry_run, _gpu_name, _name_of_a_model, _notes_of_a_run,
        _columns_of_sql, _error_of_sql, _measured_gpu, _catalogue, _profile, _name_of_an_option,
        _output,
    )
}  # fmt: skip


def trials() -> Iterator[Trial]:
    """Yield a trial of every place."""
    for name, make in PLACES.items():
        yield Trial("escapes", name, _shown(make))


def _shown(make: Make) -> Attempt:
    def attempt(folder: Path, _: Random) -> str | None:
        with contextlib.chdir(folder):
            words = make(folder)
            code, out, err, warned = call(words)  # as on a terminal
        done = Done(code, out, err + "".join(warned), 0, 0)
        return done.fault or done.steers

    return attempt
