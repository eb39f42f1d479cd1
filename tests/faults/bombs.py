"""Resource bombs: small inputs and options that ask for very much. Each ends soon, and small."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random

import zstandard

from tests.faults.trial import Attempt, Done, Trial, made_run, measured, run, trace
from tests.fuzz import samples

Make = Callable[[Path], tuple[str, ...]]
BOMBS: dict[str, Make] = {}
_STDIN = "stdin"  # what is there goes to standard input
MAY_WORK = set()  # where an answer is right as well, if it comes soon and takes little


def _bomb(name: str, *, may_work: bool = False) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        BOMBS[name] = make
        if may_work:
            MAY_WORK.add(name)
        return make

    return keep


def trials() -> Iterator[Trial]:
    """Yield a trial of every bomb."""
    for name, make in BOMBS.items():
        yield Trial("bombs", name, _bounded(make, may_work=name in MAY_WORK))


def _bounded(make: Make, *, may_work: bool) -> Attempt:
    def attempt(folder: Path, _: Random) -> str | None:
        words, stdin = make(folder), folder / _STDIN
        with stdin.open("rb") if stdin.is_symlink() else nullcontext() as file:
            done: Done = run(*words, cwd=folder, stdin=None if file is None else file.fileno())
        return done.fault if may_work else done.refused()

    return attempt


def _describe(folder: Path, name: str, data: bytes) -> tuple[str, ...]:
    (folder / name).write_bytes(data)
    return "describe", name


# --- packed files ---------------------------------------------------------------------------


@_bomb("3 GB of zeros in zstandard")
def _zeros(folder: Path) -> tuple[str, ...]:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    piece = bytes(2**24)
    data = b"".join(packer.compress(piece) for _ in range(180)) + packer.flush()
    return _describe(folder, "t.jsonl.zst", data)


@_bomb("1 GB of lines in gzip")
def _lines(folder: Path) -> tuple[str, ...]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b'{"timestamp": 0, "input_length": 5, "output_length": 3, "hash_ids": [1]}\n' * 100_000
    data = b"".join(packer.compress(piece) for _ in range(140)) + packer.flush()
    return _describe(folder, "t.jsonl.gz", data)


@_bomb("10,000 members of zeros in gzip")
def _members(folder: Path) -> tuple[str, ...]:
    return _describe(folder, "t.jsonl.gz", gzip.compress(bytes(2**20), 9) * 1000)


@_bomb("a zstandard window of 2 GB")
def _window(folder: Path) -> tuple[str, ...]:
    # Magic, a frame header whose descriptor has no size and a window of 2^31, one raw block.
    return _describe(folder, "t.zst", b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x09\x00\x00" + b"x" * 9)


@_bomb("gzip within gzip within gzip")
def _nested(folder: Path) -> tuple[str, ...]:
    data = gzip.compress(gzip.compress(gzip.compress(bytes(2**28), 9), 9), 9)
    return _describe(folder, "t.jsonl.gz", data)


@_bomb("2 GB of blank lines", may_work=False)
def _blank(folder: Path) -> tuple[str, ...]:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    data = b"".join(packer.compress(b"\n" * 2**24) for _ in range(120)) + packer.flush()
    return _describe(folder, "t.jsonl.zst", data)


# --- Parquet --------------------------------------------------------------------------------


@_bomb("a billion equal rows in Parquet")
def _rows(folder: Path) -> tuple[str, ...]:
    import duckdb

    query = (
        "COPY (SELECT 0::BIGINT AS request_id, 5::INTEGER AS input_tokens, 'human' AS role "
        f"FROM range(1000000000)) TO '{folder / 't.parquet'}' (FORMAT parquet, COMPRESSION zstd)"
    )
    duckdb.sql("SET memory_limit='1GB'")
    duckdb.sql(query)
    return "describe", "t.parquet"


# --- JSON, YAML, CSV ------------------------------------------------------------------------


@_bomb("100,000 levels of JSON")
def _deep(folder: Path) -> tuple[str, ...]:
    return _describe(folder, "t.jsonl", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


@_bomb("a number of a million digits")
def _digits(folder: Path) -> tuple[str, ...]:
    return _describe(folder, "t.jsonl", b'{"timestamp": ' + b"9" * 1_000_000 + b"}\n")


@_bomb("a decimal of a million digits and a large exponent")
def _exponent(folder: Path) -> tuple[str, ...]:
    row = b'{"timestamp": 1e999999999, "input_length": 5, "output_length": 3, "hash_ids": [1]}\n'
    return _describe(folder, "t.jsonl", row)


@_bomb("a line of 60 MB")
def _long_line(folder: Path) -> tuple[str, ...]:
    return _describe(folder, "t.jsonl", b'{"a": "' + b"x" * 60_000_000 + b'"}\n')


@_bomb("aliases of YAML that expand to 10^9 values")
def _aliases(folder: Path) -> tuple[str, ...]:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (folder / "s.yaml").write_text("\n".join(lines))
    trace(folder)
    return "run", "t.jsonl", "-c", "s.yaml"


@_bomb("50,000 levels of YAML")
def _deep_yaml(folder: Path) -> tuple[str, ...]:
    (folder / "s.yaml").write_text("[" * 50_000)
    trace(folder)
    return "run", "t.jsonl", "-c", "s.yaml"


@_bomb("100,000 columns of CSV")
def _columns(folder: Path) -> tuple[str, ...]:
    names = ",".join(f"c{n}" for n in range(100_000))
    (folder / "t.csv").write_text(f"{names}\n{','.join(['1'] * 100_000)}\n")
    (folder / "c.yaml").write_text("columns: {input_tokens: c0, output_tokens: x}\n")
    return "describe", "t.csv", "--columns", "c.yaml"


@_bomb("a cell of 50 MB in measured steps")
def _cell(folder: Path) -> tuple[str, ...]:
    path = measured(folder)
    path.write_bytes(path.read_bytes() + b"h," + b"x" * 50_000_000 + b",1,decode,1,1,1,0,1\n")
    return "calibrate", "c.csv", "-o", "o.yaml"


@_bomb("10,000 keys that a key nearly is")
def _keys(folder: Path) -> tuple[str, ...]:
    (folder / "s.yaml").write_text("".join(f"cach{n}: 1\n" for n in range(10_000)))
    trace(folder)
    return "run", "t.jsonl", "-c", "s.yaml"


# --- traces that say much with little -------------------------------------------------------


def _requests(folder: Path, *rows: dict[str, object]) -> None:
    usual = {"timestamp": 0, "input_length": 5, "output_length": 3}
    (folder / "t.jsonl").write_text("".join(json.dumps(usual | row) + "\n" for row in rows))


@_bomb("a prompt of 2^31 tokens in blocks of one", may_work=True)
def _prompt(folder: Path) -> tuple[str, ...]:
    row = '{"input_toks": 2147483647, "output_toks": 2, "arrival_time_ns": 0}\n'
    (folder / "t.jsonl").write_text(row)
    return "run", "t.jsonl", "--block-size", "1", "-o", "R"


@_bomb("a response of 2^31 tokens, timed", may_work=True)
def _response(folder: Path) -> tuple[str, ...]:
    row = '{"input_toks": 3, "output_toks": 2147483647, "arrival_time_ns": 0}\n'
    (folder / "t.jsonl").write_text(row)
    return "run", "t.jsonl", "--capacity", "inf", "-o", "R"


@_bomb("arrivals 70 years apart by windows of a nanosecond", may_work=True)
def _windows(folder: Path) -> tuple[str, ...]:
    _requests(folder, {"hash_ids": [1]}, {"timestamp": 70 * 365 * 86_400_000, "hash_ids": [1]})
    return "curve", "t.jsonl", "--by", "window", "--window", "1ns"


@_bomb("arrivals 70 years apart, timed", may_work=True)
def _years(folder: Path) -> tuple[str, ...]:
    _requests(folder, {"hash_ids": [1]}, {"timestamp": 70 * 365 * 86_400_000, "hash_ids": [1]})
    return "run", "t.jsonl", "-o", "R"


@_bomb("20,000 groups of one request", may_work=True)
def _groups(folder: Path) -> tuple[str, ...]:
    _requests(folder, *({"timestamp": n, "hash_ids": [n], "tenant": n} for n in range(20_000)))
    return "curve", "t.jsonl", "--by", "tenant", "-o", "o.csv"


@_bomb("prefixes stored at every token of long prompts", may_work=True)
def _store(folder: Path) -> tuple[str, ...]:
    row = '{"input_toks": 16000000, "output_toks": 2, "arrival_time_ns": 0}\n'
    (folder / "t.jsonl").write_text(row * 9)
    settings = ("cache.kind=session_store", "cache.session_store.prefix_length_step=1")
    return ("run", "t.jsonl", "--untimed", "-o", "R", *(w for s in settings for w in ("--set", s)))


@_bomb("a folder of 20,000 empty files")
def _files(folder: Path) -> tuple[str, ...]:
    (folder / "d").mkdir()
    for number in range(20_000):
        (folder / "d" / f"{number}.jsonl").touch()
    return "describe", "d"


@_bomb("a folder of links to itself")
def _links(folder: Path) -> tuple[str, ...]:
    (folder / "d").mkdir()
    for number in range(20):
        (folder / "d" / f"l{number}").symlink_to("..")
    return "describe", "d"


@_bomb("a device without end")
def _endless(folder: Path) -> tuple[str, ...]:
    return "describe", "/dev/zero"


@_bomb("standard input without end")
def _endless_input(folder: Path) -> tuple[str, ...]:
    (folder / _STDIN).symlink_to("/dev/zero")
    return "describe", "-"


# --- documents ------------------------------------------------------------------------------


def _config(folder: Path, **change: object) -> tuple[str, ...]:
    config = {**samples.configs()[0], **change}
    (folder / "config.json").write_text(json.dumps(config))
    return "cost", "--model", "./config.json", "--new", "9"


@_bomb("10^8 layers")
def _layers(folder: Path) -> tuple[str, ...]:
    return _config(folder, num_hidden_layers=10**8)


@_bomb("10^30 in a scenario")
def _scenario(folder: Path) -> tuple[str, ...]:
    trace(folder)
    (folder / "s.yaml").write_text(f"cache: {{session_store: {{prefix_lengths: [{10**30}]}}}}\n")
    return "run", "t.jsonl", "-c", "s.yaml"


@_bomb("infinity in measured steps")
def _infinite(folder: Path) -> tuple[str, ...]:
    path = measured(folder)
    path.write_text(path.read_text().replace("1000", "inf", 1))
    return "calibrate", "c.csv", "-o", "o.yaml"


@_bomb("a profile of 10^8 requests that nobody can have")
def _profile(folder: Path) -> tuple[str, ...]:
    text = samples.documents("profiles")[0].decode()
    (folder / "p.yaml").write_text(text + f"\nrequests: {10**9}\n")
    return "generate", "p.yaml", "-o", "o.parquet"


@_bomb("a template that loops 10^9 times")
def _loop(folder: Path) -> tuple[str, ...]:
    return _template(folder, "{% for i in range(1000000000) %}x{% endfor %}")


@_bomb("a template that multiplies a text by 10^10")
def _multiplied(folder: Path) -> tuple[str, ...]:
    return _template(folder, "{{ 'x' * 10000000000 }}")


@_bomb("a template of nested loops")
def _loops(folder: Path) -> tuple[str, ...]:
    text = "".join(f"{{% for i{n} in range(1000) %}}" for n in range(5)) + "x" + "{% endfor %}" * 5
    return _template(folder, text)


def _template(folder: Path, text: str) -> tuple[str, ...]:
    (folder / "t.jsonl").write_bytes(samples.trace_samples()["openai"][0].data)
    (folder / "t.jinja").write_text(text)
    return "describe", "t.jsonl", "--chat-template", "t.jinja"


# --- options --------------------------------------------------------------------------------


def _option(name: str, *words: str, may_work: bool = False) -> None:
    def make(folder: Path) -> tuple[str, ...]:
        trace(folder)
        return words

    _bomb(name, may_work=may_work)(make)


_option("--capacity 1e30GiB", "run", "t.jsonl", "--capacity", "1e30GiB")
_option("--capacity 2^62 blocks", "run", "t.jsonl", "--capacity", f"{2**62}blocks", may_work=True)
_option("--tp 10^9", "run", "t.jsonl", "--tp", str(10**9))
_option("--points 10^12", "curve", "t.jsonl", "--points", str(10**12))
_option("--points 10^6", "curve", "t.jsonl", "--points", str(10**6), "-o", "o.csv", may_work=True)
_option("--threads 10^6", "policies", "t.jsonl", "--threads", str(10**6))
_option("--block-size 10^9", "curve", "t.jsonl", "--block-size", str(10**9))
_option("--decode 10^9 x 10^9", "cost", "--decode", f"{10**9}x{10**9}")
_option("--budget 10^12", "cost", "--new", "9", "--budget", str(10**12))
_option("--ttl of 10^30 h", "policies", "t.jsonl", "--policy", "ttl", "--ttl", "1e30h")
_option("--requests 10^12", "generate", "chat", "--requests", str(10**12), "-o", "o.parquet")
_option("--rate 1e300", "generate", "chat", "--rate", "1e300", "-o", "o.parquet")
_option("--duration 10^9 h", "generate", "chat", "--duration", "1000000000h", "-o", "o.parquet")
_option("--jitter 10^30 s", "anonymize", "t.jsonl", "--jitter", "1e30s", "-o", "o.jsonl")
_option("--speedup 1e-300", "convert", "t.jsonl", "--speedup", "1e-300", "-o", "o.jsonl")
_option("10,000 settings", "run", "t.jsonl", *(["--set", "cache.block_siz=1"] * 10_000))


# --- SQL ------------------------------------------------------------------------------------


def _sql(name: str, sql: str, *, may_work: bool = False) -> None:
    def make(folder: Path) -> tuple[str, ...]:
        made_run(folder)
        return "query", "R", sql, "--timeout", "5s", "--memory", "500MiB"

    _bomb(name, may_work=may_work)(make)


_sql("SQL: a text of 10^10 characters", "SELECT length(repeat('x', 10000000000))")
_sql("SQL: 10^12 rows", "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b")
_ENDLESS = "WITH RECURSIVE r AS (SELECT 1 i UNION ALL FROM r)"
_sql("SQL: recursion without end", f"{_ENDLESS} SELECT count(*) FROM r")
_sql("SQL: rows without end", f"{_ENDLESS} FROM r", may_work=True)
_sql("SQL: a list of 10^9 texts", "SELECT list(repeat('x', 100)) FROM range(1000000000)")
_sql("SQL: 20,000 levels", "SELECT " + "(" * 20_000 + "1" + ")" * 20_000)
