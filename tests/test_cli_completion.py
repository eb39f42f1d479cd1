"""Tab completion: every name that an option takes can be completed, from the table that has it."""

import click
import pytest
from click.shell_completion import ShellComplete

from replay.cli import main


def completed(line: str) -> list[str]:
    """Return what the last word of a command line may become."""
    *words, last = line.split(" ")
    shell = ShellComplete(main, {}, "replay", "_REPLAY_COMPLETE")
    return [item.value for item in shell.get_completions(words, last)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("run --gpu h100-s", ["h100-sxm"]),
        ("run --model llama-3.1-8", ["llama-3.1-8b"]),
        ("cost --host p5", None),
        ("curve trace --policy lru,min_", ["lru,min_bypass"]),
        ("policies trace --policy siev", ["sieve"]),
        ("describe --format-in bail", ["bailian"]),
        ("convert a -o b --format-out moon", ["mooncake"]),
        ("generate few", ["few_shot_pool"]),
        ("fetch mooncake-conv", ["mooncake-conversation"]),
        ("report folder summ", ["summary"]),
        ("list models qwen3-32", ["qwen3-32b"]),
        ("list engines vl", ["vllm"]),
        ("run trace --set cache.kin", ["cache.kind="]),
        ("run trace --set cache.kind=ra", ["cache.kind=radix"]),
        ("run trace --set cache.enabled=t", ["cache.enabled=true"]),
        ("run t --set cache.session_store.st", ["cache.session_store.store_whole_prompts="]),
    ],
)  # fmt: skip
def test_names_are_completed(line: str, found: list[str] | None) -> None:
    if found is None:
        assert all(name.startswith(line.split(" ")[-1]) for name in completed(line))
    else:
        assert completed(line) == found


def test_a_path_may_stand_where_a_file_of_ones_own_can() -> None:
    shell = ShellComplete(main, {}, "replay", "_REPLAY_COMPLETE")
    (item,) = shell.get_completions(["run", "--gpu"], "./my")
    assert (item.value, item.type) == ("./my", "file")


def test_only_folders_that_hold_a_run_are_offered(tmp_path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "manifest.json").write_text("{}")
    assert completed(f"report {tmp_path}/o") == [str(tmp_path / "one")]
    assert completed(f"report {tmp_path}/") == [str(tmp_path / "one")]


def test_every_option_that_takes_a_name_completes_it() -> None:
    silent = [
        f"{command.name} {parameter.name}"
        for command in main.commands.values()
        for parameter in command.params
        if parameter.metavar in ("NAME", "NAME,…", "PROFILE", "RUN")
        and (isinstance(parameter, click.Argument) or parameter.name != "output")
        and parameter._custom_shell_complete is None
        and not isinstance(parameter.type, click.Choice)
    ]
    assert silent == []


def test_help_tells_each_command_in_one_whole_line() -> None:
    for name, command in main.commands.items():
        room = 80 - len("  ") - max(map(len, main.commands)) - len("  ")
        assert len(command.get_short_help_str(1000)) <= room, name
        assert command.get_short_help_str(1000).endswith("."), name
