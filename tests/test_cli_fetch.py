"""`replay fetch` and `replay list traces` as a person sees them."""

import hashlib
import json
import shlex

import pytest
from click.testing import CliRunner

from replay.cli import main
from tests.local_server import serve
from tests.trace_samples import row

CONTENT = "".join(row(timestamp=time) + "\n" for time in range(50)).encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Keep traces in a folder of the test, and go to local servers without a proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "replay" / "traces"


@pytest.fixture
def catalogue(tmp_path):
    """Write a catalogue of one trace, `mine`."""

    def catalogue(site, sha256=SHA256):
        path = tmp_path / "catalogue.yaml"
        path.write_text(
            f"traces:\n- name: mine\n  address: {site.address}\n  sha256: {sha256}\n"
            "  format: mooncake\n  licence: CC0-1.0\n  citation: nobody\n  description: mine\n"
        )
        return str(path)

    return catalogue


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_fetch_prints_what_came_and_what_to_do_next(catalogue, cache):
    with serve(CONTENT) as site:
        result = run("fetch", "mine", "--catalogue", catalogue(site))
    assert result.exit_code == 0, result.stderr
    path = cache / "mine.jsonl"
    assert result.stdout.splitlines() == [
        f"path          {path}",
        f"size          {len(CONTENT):,} bytes (3.604KiB)",
        f"sha256        {SHA256} (verified)",
        "licence       CC0-1.0",
        "citation      nobody",
    ]
    assert " ".join(result.stderr.split()) == f"Downloaded; next: `replay describe {path}`"
    assert f"`replay describe {path}`" in result.stderr  # to copy, on one line


def test_the_next_command_works(catalogue):
    with serve(CONTENT) as site:
        said = run("fetch", "mine", "--catalogue", catalogue(site)).stderr
    described = run(*shlex.split(said.split("next:")[1].strip().strip("`"))[1:])
    assert described.exit_code == 0, described.stderr
    assert "50" in described.stdout


def test_fetching_again_says_that_it_is_there(catalogue):
    with serve(CONTENT) as site:
        run("fetch", "mine", "--catalogue", catalogue(site))
        again = run("fetch", "mine", "--catalogue", catalogue(site))
        assert len(site.asked) == 1
        run("fetch", "mine", "--catalogue", catalogue(site), "--force")
        assert len(site.asked) == 2
    assert again.stderr.startswith("\nAlready there; next:")


def test_an_unknown_digest_is_told(catalogue):
    with serve(CONTENT) as site:
        first = run("fetch", "mine", "--catalogue", catalogue(site, sha256="null"))
        again = run("fetch", "mine", "--catalogue", catalogue(site, sha256="null"))
    not_verified = f"{SHA256} (not verified: nobody has published what it should be"
    assert f"{not_verified})" in first.stdout
    assert f"{not_verified}; the same as the first download)" in again.stdout
    assert "Not verified: the catalogue knows no sha256 of it" in first.stderr
    assert "Not verified" in again.stderr


def test_another_host_is_told(catalogue):
    with serve(CONTENT) as store, serve(b"", redirects={"/trace.jsonl": store.address}) as site:
        result = run("fetch", "mine", "--catalogue", catalogue(site))
    assert f"came from     {store.address.split('/')[2]}\n" in result.stdout


def test_output_goes_where_it_is_asked_for(catalogue, tmp_path):
    with serve(CONTENT) as site:
        result = run("fetch", "mine", "--catalogue", catalogue(site), "-o", tmp_path / "x.jsonl")
        assert (tmp_path / "x.jsonl").read_bytes() == CONTENT
        (tmp_path / "x.jsonl").write_bytes(b"precious")
        refused = run("fetch", "mine", "--catalogue", catalogue(site), "-o", tmp_path / "x.jsonl")
    assert result.exit_code == 0
    assert (refused.exit_code, (tmp_path / "x.jsonl").read_bytes()) == (2, b"precious")


def test_a_failed_download_ends_with_1_and_says_what_to_do(catalogue, cache):
    with serve(CONTENT, statuses=[404]) as site:
        result = run("fetch", "mine", "--catalogue", catalogue(site))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {site.address}: the server says 404 Not Found\n")
    assert " ".join(result.stderr.split("Hint: ")[1].split()) == (
        f"by hand: put the file of that address at {cache / 'mine.jsonl'} (sha256 {SHA256})"
    )


def test_a_wrong_checksum_ends_with_1_and_leaves_nothing(catalogue, cache):
    with serve(CONTENT) as site:
        result = run("fetch", "mine", "--catalogue", catalogue(site, sha256="f" * 64))
    assert result.exit_code == 1
    assert list(cache.iterdir()) == []


def test_ctrl_c_says_that_what_came_is_kept(catalogue, monkeypatch):
    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("replay.trace.fetch.download", stop)
    with serve(CONTENT) as site:
        result = run("fetch", "mine", "--catalogue", catalogue(site))
    assert result.exit_code == 130
    assert result.stderr == (
        "What came is kept: the same command goes on from there\nInterrupted\n"
    )


def test_an_unknown_name_ends_with_2_and_lists_the_known_ones():
    result = run("fetch", "mooncake-tool")
    assert result.exit_code == 2
    assert "unknown public trace (got 'mooncake-tool')" in result.stderr
    assert "mooncake-toolagent" in result.stderr
    assert "burstgpt-3" in result.stderr


def test_a_fault_of_a_catalogue_ends_with_2_at_its_place(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("traces:\n- name: mine\n  address: http://example.org/x\n")
    result = run("fetch", "mine", "--catalogue", path)
    assert result.exit_code == 2
    assert f"{path}:3:12: traces[0].address: must start with https://" in result.stderr


def test_list_traces_says_what_is_kept(cache):
    before = json.loads(run("list", "traces", "--format", "json").stdout)
    cache.mkdir(parents=True)
    (cache / "azure-2023-code.csv").write_bytes(bytes(320_117))
    after = json.loads(run("list", "traces", "--format", "json").stdout)
    assert [row["cached"] for row in before] == ["no"] * len(before)
    assert [row["name"] for row in after if row["cached"] == "yes"] == ["azure-2023-code"]
    assert list(after[0]) == [
        "name", "format", "requests", "size_bytes", "licence", "verified_by", "cached",
    ]  # fmt: skip
    assert {row["verified_by"] for row in after} == {"sha256", "not verified"}


def test_the_catalogue_is_no_workload_profile():
    names = [row["name"] for row in json.loads(run("list", "profiles", "--format", "json").stdout)]
    assert "chat" in names
    assert "catalogue" not in names
