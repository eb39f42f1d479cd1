"""Targets: from a source of chance to a case, one target a format, document or command."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz import samples
from tests.fuzz.case import Case
from tests.fuzz.mutate import TEXTS, mutated

_PREPARED: dict[str, bytes] = {}  # what `samples.write_binary` made, by name


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked; `share` is how many of the cases it gets, relative to others."""

    name: str
    make: Callable[[Random], Case]
    share: float = 1.0


def prepare(folder: Path) -> None:
    """Take the samples that `samples.write_binary` wrote into a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            _PREPARED[path.relative_to(folder).as_posix()] = path.read_bytes()


def case_of(target: Target, seed: int, index: int) -> Case:
    """Return case `index` of a target: the same for the same seed, whoever asks."""
    return target.make(Random(f"{seed} {target.name} {index}"))


@cache
def targets() -> dict[str, Target]:
    """Return every target by name."""
    from replay.trace.readers import READERS

    found = [
        Target(f"trace-{reader.name}", _trace(reader.name), 0.15 if reader.name == "parquet" else 1)
        for reader in READERS
    ]
    hardware = {"gpus": "--gpu", "models": "--model", "hosts": "--host"}
    found += [
        Target(f"hardware-{kind}", _hardware(kind, option)) for kind, option in hardware.items()
    ]
    found += [
        Target("hardware-engines", _engine),
        Target("scenario", _scenario, 4),
        Target("settings", _settings, 3),
        Target("options", _options, 3),
        Target("profile", _profile, 2),
        Target("columns", _columns, 3),
        Target("config", _config, 5),
        Target("quantization", _quantization),
        Target("catalogue", _catalogue, 0.5),
        Target("manifest", _manifest, 3),
        Target("run", _run, 0.1),
        Target("measured", _measured, 2),
        Target("tokenizer", _tokenizer),
        Target("template", _template),
        Target("folder", _folder),
        Target("sql", _sql, 0.05),
    ]
    return {target.name: target for target in found}


def _pick(random: Random, *choices: tuple[str, ...]) -> tuple[str, ...]:
    return random.choice(choices)


def _reading(random: Random, file: str) -> tuple[str, ...]:
    """Return a command that reads a trace."""
    many = _pick(random, (), (), ("--format", "jsonl"), ("--format", "md"))
    roll = random.randrange(100)
    if roll < 30:
        return ("check", file)
    if roll < 50:
        return ("describe", file, *_pick(random, (), ("--format", "json")))
    if roll < 62:
        by = _pick(random, (), (), ("--by", "session"), ("--by", "window", "--window", "10s"))
        return ("curve", file, *by, *many)
    if roll < 70:
        return ("run", file, "--untimed", "-o", "RUN")
    if roll < 76:
        return ("run", file, "-o", "RUN")
    if roll < 81:
        return ("policies", file, "--capacity", "9blocks", "--policy", "lru,arc,min", *many)
    if roll < 90:
        out = _pick(random, ("out.parquet",), ("out.jsonl",), ("out.tokens.jsonl",))
        cut = _pick(random, (), ("--window", "0s..5s"), ("--sample", "0.5"), ("--speedup", "2"))
        return ("convert", file, "-o", *out, *cut)
    if roll < 95:
        shaken = _pick(random, (), ("--round", "1s", "--jitter", "2s"))
        return ("anonymize", file, "-o", "out.jsonl", *shaken)
    return ("gain", file, "--untimed", *many)


def _trace(name: str) -> Callable[[Random], Case]:
    def make(random: Random) -> Case:
        if name == "parquet":
            return _parquet(random)
        if name == "columns":
            return _columns(random)
        known = samples.trace_samples()
        sample = random.choice(known[name])
        others = tuple(one.data for one in random.choice(list(known.values())))
        others += tuple(one.data for one in known[name])
        data = mutated(random, sample.data, sample.kind, others)
        argv = _reading(random, sample.name)
        if random.random() < 0.6:
            argv += ("--format-in", name)
        if random.random() < 0.3:
            argv += ("--max-rejected", random.choice(("0.5", "1", "90%")))
        if random.random() < 0.03:
            argv += ("--trace-block-size", random.choice(("1", "16", "512", "1048576")))
        return Case({sample.name: data}, argv, sample.name)

    return make


def _parquet(random: Random) -> Case:
    names = [name for name in _PREPARED if "/" not in name]
    data = _PREPARED[random.choice(names)]
    argv = _reading(random, "in.parquet") + _pick(random, (), ("--format-in", "parquet"))
    others = tuple(_PREPARED[name] for name in names)
    return Case({"in.parquet": mutated(random, data, "binary", others)}, argv, "in.parquet")


def _columns(random: Random) -> Case:
    csv = random.random() < 0.6
    table = samples.COLUMNS_CSV if csv else samples.COLUMNS_TOKENS
    meaning = samples.COLUMNS_YAML if csv else samples.COLUMNS_TOKENS_YAML
    file, kind = ("in.csv", "csv") if csv else ("in.jsonl", "jsonl")
    changed = random.choice((file, "c.yaml"))
    if changed == file:
        table = mutated(random, table, kind, (samples.COLUMNS_TOKENS,))
    else:
        meaning = mutated(random, meaning, "yaml", (samples.COLUMNS_TOKENS_YAML,))
    argv = (*_reading(random, file), "--columns", "c.yaml")
    return Case({file: table, "c.yaml": meaning}, argv, changed)


def _with_trace(files: dict[str, bytes], *argv: str, changed: str) -> Case:
    return Case({"t.jsonl": samples.SAMPLE, **files}, argv, changed)


def _scenario(random: Random) -> Case:
    data = mutated(random, random.choice(samples.scenarios()), "yaml", samples.scenarios())
    command = _pick(
        random,
        ("run", "t.jsonl", "-o", "RUN"),
        ("run", "t.jsonl", "-o", "RUN"),
        ("run", "t.jsonl", "--dry-run"),
        ("curve", "t.jsonl"),
        ("policies", "t.jsonl"),
        ("gain", "t.jsonl"),
        ("run", "t.jsonl", "--untimed", "-o", "RUN"),
    )
    return _with_trace({"s.yaml": data}, *command, "-c", "s.yaml", changed="s.yaml")


@cache
def _scenario_keys() -> tuple[str, ...]:
    from pydantic import BaseModel

    from replay.config.scenario import Scenario

    def keys(model: type[BaseModel], before: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found += keys(inner, f"{before}{name}.")
            else:
                found.append(f"{before}{name}")
        return found

    return tuple(keys(Scenario, ""))


_WORDS = (
    *TEXTS, "inf", "auto", "1blocks", "9007199254740993blocks", "1e30GiB", "4000tokens", "1", "16",
    "1e9", "3", "0.5", "64", "1000000000", "1000000000000", "99999999999999999999", "off", "on",
    "lru", "min", "radix", "untimed", "timed", "session_store", "incremental", "1h", "1ns", "9e9d",
    "[1, 2]", "null", "fp8", "h100-sxm", "llama-3.1-8b", "deepseek-v3", "vllm", "sglang", "table",
    "continue_sessions", "2**31", "-1e400", "nan", ".inf", ".nan", "1e400", "4611686018427387904",
)  # fmt: skip


def _word(random: Random) -> str:
    return random.choice(_WORDS).replace("\0", "").encode("utf-8", "replace").decode()


def _settings(random: Random) -> Case:
    argv = ["run", "t.jsonl", "-o", "RUN"]
    for _ in range(random.choice((1, 1, 2, 3))):
        argv += ["--set", f"{random.choice(_scenario_keys())}={_word(random)}"]
    if random.random() < 0.3:
        argv.append("--untimed")
    return _with_trace({}, *argv, changed="t.jsonl")


# Commands that limit their own process.
_ISOLATED = ("compare", "export", "query", "report")


def _options(random: Random) -> Case:
    """Return any command with options of its own, each with an odd value."""
    import click

    from replay.cli import main

    name = random.choice([one for one in main.commands if one not in ("fetch", "doctor", "demo")])
    argv = [name]
    for parameter in main.commands[name].params:
        chance = 0.97 if isinstance(parameter, click.Argument) else 0.12
        if random.random() > chance or "--measure" in parameter.opts:
            continue
        value = _value(random, parameter)
        if isinstance(parameter, click.Argument):
            argv.append(value)
        else:
            argv += (
                [parameter.opts[-1]]
                if getattr(parameter, "is_flag", False)
                else [max(parameter.opts, key=len), value]
            )
    if name in ("generate", "convert", "anonymize", "calibrate") and "--output" not in argv:
        argv += ["-o", "out.jsonl"]
    files = {
        "in.jsonl": samples.SAMPLE, "in.csv": samples.MEASURED, "in.yaml": b"a: 1\n",
        "p.yaml": samples.documents("profiles")[0], "empty": b"",
        **{f"R/{path[4:]}": data for path, data in _PREPARED.items() if path.startswith("run/")},
    }  # fmt: skip
    if name == "generate" and "--requests" not in argv:
        argv += ["--requests", "20"]
    return Case(files, tuple(argv), "in.jsonl", process=name in _ISOLATED)


def _value(random: Random, parameter: object) -> str:
    import click

    assert isinstance(parameter, click.Parameter)
    kind = parameter.type
    if random.random() < 0.6:
        if isinstance(kind, click.Choice):
            return str(random.choice(list(kind.choices)))
        if isinstance(kind, click.IntRange):
            low = kind.min or 0
            high = kind.max if kind.max is not None else 10**12
            usual = (low, low + 1, 16, 100, high - 1, high, high + 1, 10**9, 10**12, 2**31, 2**63)
            return str(random.choice(usual))
        if isinstance(kind, click.Path) or parameter.name in ("trace", "run", "in", "profile"):
            return random.choice(
                ("in.jsonl", "in.csv", "in.yaml", "p.yaml", "R", "R/manifest.json", "empty", ".",
                 "out.csv", "out.parquet", "nowhere", "R/requests.parquet", "/dev/null",
                 "in.jsonl/x", "", "x" * 300, "out.yaml", "/dev/full", "/proc/self/mem", "-")
            )  # fmt: skip
    return _word(random)


def _profile(random: Random) -> Case:
    profiles = samples.documents("profiles")
    data = mutated(random, random.choice(profiles), "yaml", profiles)
    argv = ("generate", "p.yaml", "-o", random.choice(("o.jsonl", "o.parquet", "o.tokens.jsonl")))
    argv += _pick(random, (), ("--rate", "3"), ("--tokens",))
    return Case({"p.yaml": data}, (*argv, "--requests", "20"), "p.yaml")


def _hardware(kind: str, option: str) -> Callable[[Random], Case]:
    def make(random: Random) -> Case:
        files = samples.documents(kind)
        data = mutated(random, random.choice(files), "yaml", files)
        argv = _pick(
            random,
            ("cost", option, "./h.yaml", "--new", "512", "--format", "jsonl"),
            ("cost", option, "./h.yaml", "--new", "512", "--cached", "4096", "--decode", "8x999"),
            ("list", kind, "./h.yaml"),
            ("run", "t.jsonl", "-o", "RUN", option, "./h.yaml")
            if option != "--host"
            else ("list", kind, "./h.yaml", "--format", "csv"),
        )
        return _with_trace({"h.yaml": data}, *argv, changed="h.yaml")

    return make


def _engine(random: Random) -> Case:
    files = samples.documents("engines")
    data = mutated(random, random.choice(files), "yaml", files)
    argv = _pick(
        random,
        ("list", "engines", "./e.yaml"),
        ("run", "t.jsonl", "-o", "RUN", "--set", "engine.name=./e.yaml"),
    )
    return _with_trace({"e.yaml": data}, *argv, changed="e.yaml")


def _config(random: Random) -> Case:
    data = json.dumps(random.choice(samples.configs())).encode()
    others = (json.dumps(random.choice(samples.configs())).encode(),)
    file = "m/config.json"
    argv = _pick(
        random,
        ("cost", "--model", file, "--gpu", "b200-sxm", "--tp", "8", "--new", "512"),
        ("cost", "--model", "m", "--new", "512", "--decode", "4x100"),
        ("list", "models", file),
        ("run", "t.jsonl", "-o", "RUN", "--model", file, "--gpu", "b300-sxm", "--tp", "8"),
        ("curve", "t.jsonl", "--unit", "gib", "--model", file),
    )  # fmt: skip
    return _with_trace({file: mutated(random, data, "json", others)}, *argv, changed=file)


def _quantization(random: Random) -> Case:
    config = json.dumps(random.choice(samples.configs())).encode()
    beside = b'{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}'  # noqa: E501
    files = {"m/config.json": config, "m/hf_quant_config.json": mutated(random, beside, "json")}
    return Case(files, ("list", "models", "m/config.json"), "m/hf_quant_config.json")


def _catalogue(random: Random) -> Case:
    data = (samples.data_folder("traces") / "catalogue.yaml").read_bytes()
    argv = ("fetch", "no-such-trace", "--catalogue", "c.yaml")
    return Case({"c.yaml": mutated(random, data, "yaml")}, argv, "c.yaml")


def _run_files() -> dict[str, bytes]:
    return {f"R/{path[4:]}": data for path, data in _PREPARED.items() if path.startswith("run/")}


def _opening(random: Random) -> tuple[str, ...]:
    return _pick(
        random,
        ("report", "R"),
        ("report", "R", "summary", "--format", "jsonl"),
        ("report", "R", "ttft", "--format", "md"),
        ("report", "R", "--html", "p.html"),
        ("compare", "R", "R", "--format", "json"),
        ("compare", "R", "R", "--html", "c.html"),
        ("export", "R", "--to", "perfetto", "-o", "p.json.gz"),
        ("export", "R", "--to", "openmetrics", "-o", "p.txt"),
        ("query", "R", "FROM requests LIMIT 3"),
        ("query", "R", "FROM run"),
        ("explain", "R", "2"),
        ("verify", "R"),
    )


def _manifest(random: Random) -> Case:
    """Return a run whose manifest is another, of an old run or with a seal that fits."""
    from replay.runs.seal import DIGEST_KEY, sealed

    files = _run_files()
    record = json.loads(files["R/manifest.json"])
    record.pop(DIGEST_KEY)
    old = random.random() < 0.6
    if old:
        del record["files"]
        record["schema_version"] = 3
    data = mutated(random, json.dumps(record).encode(), "json")
    if not old:
        with suppress(ValueError, TypeError, AttributeError, RecursionError):
            data = sealed(json.loads(data)).encode("utf-8", "surrogatepass")
    words = _opening(random)
    files["R/manifest.json"] = data
    return Case(files, words, "R/manifest.json", process="--html" in words)


def _run(random: Random) -> Case:
    """Return a run one of whose files is damaged, of a schema with checksums or before."""
    files = _run_files()
    if random.random() < 0.7:
        record = json.loads(files["R/manifest.json"])
        del record["files"], record["manifest_sha256"]
        files["R/manifest.json"] = json.dumps({**record, "schema_version": 3}).encode()
    changed = random.choice(sorted(files))
    data = mutated(random, files[changed], "binary", tuple(files.values()))
    return Case({**files, changed: data}, _opening(random), changed, process=True)


def _measured(random: Random) -> Case:
    data = mutated(random, samples.MEASURED, "csv", (samples.MEASURED,))
    argv = _pick(
        random,
        ("calibrate", "c.csv", "-o", "o.yaml"),
        ("calibrate", "c.csv", "-o", "o.yaml"),
        ("cost", "--backend", "table", "--table", "c.csv", "--new", "512"),
    )
    return Case({"c.csv": data}, argv, "c.csv")


def _text_trace() -> bytes:
    return samples.trace_samples()["openai"][0].data


def _tokenizer(random: Random) -> Case:
    data = mutated(random, samples.TOKENIZER, "json")
    files = {"in.jsonl": _text_trace(), "tokenizer.json": data}
    argv = (random.choice(("describe", "check")), "in.jsonl", "--tokenizer", "tokenizer.json")
    return Case(files, argv, "tokenizer.json")


def _template(random: Random) -> Case:
    data = mutated(random, samples.TEMPLATE, "text", (samples.TEMPLATE,))
    files = {"in.jsonl": _text_trace(), "tokenizer.json": samples.TOKENIZER, "t.jinja": data}
    argv = ("describe", "in.jsonl", "--tokenizer", "tokenizer.json", "--chat-template", "t.jinja")
    return Case(files, argv, "t.jinja")


def _folder(random: Random) -> Case:
    """Return a folder of files of one format or of two, one of them changed."""
    known = samples.trace_samples()
    first = random.choice(list(known.values()))
    second = first if random.random() < 0.7 else random.choice(list(known.values()))
    pairs = [random.choice(one) for one in (first, second) if one]
    files = {f"d/{place}-{one.name}": one.data for place, one in enumerate(pairs)}
    if not files:
        return _columns(random)
    changed = random.choice(sorted(files))
    kind = pairs[int(changed[2])].kind
    files[changed] = mutated(random, files[changed], kind, tuple(files.values()))
    return Case(files, _reading(random, "d"), changed)


def _sql(random: Random) -> Case:
    text = mutated(random, random.choice(samples.SQL), "text", samples.SQL)
    words = text.replace(b"\0", b"").decode("utf-8", "replace")[:20_000]
    argv = ("query", "R", "--timeout", "5s", "--", words)
    return Case(_run_files(), argv, "R/manifest.json", process=True)
