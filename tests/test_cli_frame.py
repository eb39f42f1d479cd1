"""The frame of the command line: how errors end, what options become, how tables look."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from replay import __version__
from replay.cli import main
from replay.cli.options import read_scenario, scenario_options
from replay.cli.output import emit, note_all, wrapped
from replay.cli.progress import progress
from replay.errors import ConfigError, InputError, Interrupted, OutputError, Problem
from replay.report.tables import Table

REPLAY = [sys.executable, "-m", "replay"]


@pytest.fixture
def end(monkeypatch):
    """Run a command that ends in a given error."""

    def end(error, *options):
        @click.command()
        def explode():
            raise error

        monkeypatch.setitem(main.commands, "explode", explode)
        return CliRunner().invoke(main, [*options, "explode"])

    return end


@pytest.fixture
def scenario_of():
    """Return the scenario that `replay run` would read from its options."""

    def scenario_of(*arguments):
        read = []

        @click.command()
        @scenario_options
        def command(**parameters):
            read.append(read_scenario(parameters))

        CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
        return read[0]

    return scenario_of


def printed(tables, capsys, **options):
    emit(tables, **options)
    return capsys.readouterr().out


def test_an_input_error_ends_with_2_and_its_hint(end):
    result = end(InputError("bad (got 3)", hint="write 4"))
    assert result.exit_code == 2
    assert (result.stdout, result.stderr) == ("", "Error: bad (got 3)\nHint: write 4\n")


def test_every_problem_of_a_file_has_its_own_line(end):
    result = end(ConfigError([Problem("a", "x", 1, 2), Problem("a", "y", 3)]))
    assert result.stderr == "Error: a:1:2: x\na:3: y\n"


def test_a_failed_output_ends_with_2(end):
    result = end(OutputError("run: cannot write: the disk is full"))
    assert (result.exit_code, result.stderr) == (2, "Error: run: cannot write: the disk is full\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("interrupted")])
def test_ctrl_c_ends_with_130(end, error):
    result = end(error)
    assert (result.exit_code, result.stderr) == (130, "Interrupted\n")


def test_an_error_of_the_operating_system_is_told_without_a_traceback(end):
    result = end(PermissionError(13, "Permission denied", "runs/x"))
    assert (result.exit_code, result.stderr) == (2, "Error: runs/x: Permission denied\n")


def test_a_bug_says_how_to_report_it(end, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["replay", "run", "my trace"])
    result = end(ZeroDivisionError("division by zero"))
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: internal error: ZeroDivisionError: division by zero\n"
        "Hint: this is a bug in replay; please report it with the output of\n"
        "  `replay --debug run 'my trace'`\n"
    )


def test_debug_shows_the_traceback(end, capfd):
    result = end(InputError("bad"), "--debug")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("Error: bad\n")


def test_wrong_usage_ends_with_2_and_suggests():
    result = CliRunner().invoke(main, ["lst"])
    assert result.exit_code == 2
    assert "Did you mean 'list'?" in result.stderr


def test_no_space_for_standard_output_is_an_error():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*REPLAY, "list", "formats"], stdout=full, stderr=-1, text=True)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "Error: No space left on device")
    assert len(done.stderr.splitlines()) == 2


def test_a_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*REPLAY, "list", "formats"], stdout=writer, stderr=-1, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_ctrl_c_does_not_kill_a_command_that_is_done():
    code = (
        "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGINT);"
        "from replay.cli import main; main(['list', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands_in_the_order_of_use(option):
    result = CliRunner().invoke(main, [option])
    shown = [line.split()[0] for line in result.stdout.split("Commands:\n")[1].splitlines()]
    assert " ".join(shown) == (
        "demo generate fetch check convert anonymize describe tree curve policies run gain explain "
        "cost calibrate report compare query export verify list doctor"
    )


@pytest.mark.parametrize("name", list(main.commands))
def test_every_command_has_help(name):
    result = CliRunner().invoke(main, [name, "-h"])
    assert result.exit_code == 0
    assert main.commands[name].help
    options = [item for item in main.commands[name].params if isinstance(item, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_version_is_told():
    assert CliRunner().invoke(main, ["--version"]).stdout == f"main {__version__}\n"


def test_environment_variables_stand_for_options(end):
    result = CliRunner().invoke(main, ["list", "formats"], env={"REPLAY_LIST_FORMAT": "json"})
    assert {"name", "meaning"} <= json.loads(result.stdout)[0].keys()


def test_no_option_means_the_default_scenario(scenario_of):
    from replay.config.scenario import Scenario

    assert scenario_of() == Scenario()


def test_short_options_set_their_keys(scenario_of):
    words = "--gpu a100-sxm-80gb --model qwen3-8b --tp 2 --block-size 32 --capacity 40GiB --seed 7"
    flags = "--untimed --no-responses --partial-blocks --no-cache"
    scenario = scenario_of(*words.split(), *flags.split(), "--set", "trace.speedup=2")
    assert (scenario.gpu.name, scenario.gpu.tensor_parallel) == ("a100-sxm-80gb", 2)
    assert (scenario.model.name, scenario.seed) == ("qwen3-8b", 7)
    assert (scenario.cache.block_size, scenario.cache.capacity) == (32, "40GiB")
    assert (scenario.engine.mode, scenario.trace.speedup) == ("untimed", 2)
    assert (scenario.cache.responses, scenario.cache.enabled) == (False, False)
    assert scenario.cache.partial_blocks


def test_options_win_over_the_file(scenario_of, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("cache: {block_size: 16, responses: false}\n")
    scenario = scenario_of("-c", str(path), "--block-size", "64")
    assert (scenario.cache.block_size, scenario.cache.responses) == (64, False)


def test_an_empty_option_is_not_ignored(scenario_of):
    with pytest.raises(ConfigError, match=r"^--tp: gpu.tensor_parallel: must be a whole number"):
        scenario_of("--tp", "")


def test_a_table_is_aligned_and_in_units_of_a_person(capsys):
    table = Table(
        ("name", "hit_tokens", "token_hit_rate", "ttft_ns", "request_id"),
        [("a", 1234567, 0.4567, 1_500_000, 123456), ("b", None, 1.0, 12_345_678, 7)],
        "Hits",
    )
    assert printed([table], capsys).splitlines() == [
        "Hits",
        "name  hit tokens  token hit rate  ttft ms  request id",
        "─────────────────────────────────────────────────────",
        "a      1,234,567           45.7%     1.50      123456",
        "b              -          100.0%    12.35           7",
    ]


def test_long_times_are_in_seconds(capsys):
    table = Table(("e2e_ns",), [(12_000_000_000,), (900_000_000,)])
    lines = [line.strip() for line in printed([table], capsys).splitlines()]
    assert lines[0] == "e2e s"
    assert lines[2:] == ["12.00", "0.9"]


def test_speeds_and_sizes_have_prefixes(capsys):
    table = Table(("memory_bytes", "hbm_bytes_per_s"), [(80 * 2**30, 3_350_000_000_000)])
    assert printed([table], capsys).split("\n")[:2] == [
        "memory bytes      80GiB",
        "hbm bytes per s  3.35 T",
    ]


def test_one_row_is_shown_as_names_and_values(capsys):
    table = Table(("requests", "ttft_p50_ns", "itl_mean_ns"), [(12031, 1_234_567, None)])
    assert printed([table], capsys).splitlines() == [
        "requests   12,031",
        "ttft p50  1.23 ms",
        "itl mean        -",
    ]


def test_a_wide_table_continues_below_itself_within_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    columns = ("name", *(f"number_of_things_{index}_tokens" for index in range(12)))
    table = Table(columns, [("row", *range(10**9, 10**9 + 12)), ("other", *range(12))])
    lines = printed([table], capsys).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(f"{10**9 + index:,}" in " ".join(lines) for index in range(12))
    assert sum(line.startswith("row") for line in lines) > 1


def test_the_parts_of_a_wide_table_say_which_row_is_which(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    columns = ("slice", "bucket", *(f"tokens_{index}" for index in range(12)))
    table = Table(columns, [("turn", key, *range(10**9, 10**9 + 12)) for key in ("0", "1")])
    lines = printed([table], capsys).splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("turn")] == [
        ["turn", "0"],
        ["turn", "1"],
    ] * 3


def test_long_text_is_folded_and_not_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = " ".join(f"word{index}" for index in range(40))
    text = printed([Table(("name", "meaning"), [("a", words), ("b", "c")])], capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert text.split().count("word39") == 1


def test_text_of_a_trace_cannot_steer_the_terminal(capsys):
    text = printed([Table(("name", "n"), [("\x1b[31m[bold]x", 1), ("b", 2)])], capsys)
    assert "\x1b" not in text
    assert r"\x1b[31m[bold]x" in text


def test_an_empty_table_says_so(capsys):
    assert printed([Table(("a",), [], "Nothing")], capsys) == "Nothing\nno rows\n"


def test_there_is_no_colour_where_nobody_looks(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert "\x1b" not in printed([Table(("a", "b"), [(1, None), (2, 3)], "Title")], capsys)


def test_the_suffix_picks_the_format(tmp_path, capsys):
    path = tmp_path / "out.json"
    assert printed([Table(("a",), [(1,), (2,)])], capsys, output=path) == ""
    assert json.loads(path.read_text()) == [{"a": 1}, {"a": 2}]


def test_a_table_goes_into_a_text_file_as_it_is_printed(tmp_path, capsys):
    table = Table(("a", "b"), [(1, 2)])
    emit([table], output=tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == printed([table], capsys)


def test_a_suffix_that_tells_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"out\.xyz: the suffix tells no format"):
        emit([Table(("a",), [])], output=tmp_path / "out.xyz")


def test_several_tables_do_not_go_into_one_csv():
    with pytest.raises(InputError, match=r"csv holds one table \(got 2\)"):
        emit([Table(("a",), []), Table(("b",), [])], format="csv")


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        emit([Table(("a",), [(1,), (2,)])], output=tmp_path / "none" / "out.txt")


KINDS = "gpus models hosts links policies formats profiles traces reports"


@pytest.mark.parametrize("kind", KINDS.split())
def test_list_shows_every_kind(kind):
    result = CliRunner().invoke(main, ["list", kind, "--format", "json"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    names = [(row.get("kind") or row.get("used_by"), row["name"]) for row in rows]
    assert names
    assert len(names) == len(set(names))


def test_a_progress_bar_is_silent_away_from_a_terminal(capsys):
    with progress("Working", patience_s=0) as bar:
        bar.update(1, 2)
        bar.hook("Still working", 2, 2)
    assert capsys.readouterr() == ("", "")


def test_shares_that_are_zero_everywhere_become_one_line(capsys):
    table = Table(("name", "cold_share", "in_flight_share"), [("a", 0.5, 0.0), ("b", 0.25, 0.0)])
    text = printed([table], capsys)
    assert "50.0%" in text
    assert text.endswith("0% everywhere: in flight\n")
    assert text.count("in flight") == 1


def test_notes_wrap_at_words_and_keep_commands_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    command = "`replay convert somewhere.jsonl -o elsewhere.parquet --force`"
    lines = wrapped(f"{'word ' * 30}and then {command} or nothing").splitlines()
    assert len(lines) > 3
    assert all(len(line) <= 50 or command in line for line in lines)
    assert any(command in line for line in lines)
    assert " ".join(line.strip() for line in lines).count("word") == 30


def test_a_note_is_printed_once(capsys):
    with click.Context(click.Command("outer")) as outer:
        note_all(["the same", "another", "the same"])
        with click.Context(click.Command("invoked"), parent=outer):
            note_all(["another"])
    assert capsys.readouterr().err == "Note: the same\nNote: another\n"


def test_headers_of_sql_can_be_copied_back(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    columns = ("slice", "mean_request_token_hit_rate", "hit_share", "ttft_ns")
    emit([Table(columns, [("x", 0.5, 0.25, 1_000_000), ("y", 0.5, 1.0, None)], of_sql=True)])
    assert capsys.readouterr().out == (
        "          mean_\n"
        "       request_\n"
        "         token_    hit_\n"
        "slice  hit_rate   share  ttft_ns\n"
        "────────────────────────────────\n"
        "x         50.0%   25.0%  1.00 ms\n"
        "y         50.0%  100.0%        -\n"
    )
