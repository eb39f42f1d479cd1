"""`replay anonymize`: a trace that may be shown to others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from replay.cli.trace_options import read_trace, trace_options


@click.command(short_help="Keep lengths, times and sharing of a trace, nothing else.")
@click.argument("trace", type=click.Path(path_type=Path), metavar="IN")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="OUT",
    help="Mooncake file to write: JSON lines of times, lengths and block ids.",
)
@click.option(
    "--block-size",
    type=click.IntRange(1, 2**20),
    metavar="N",
    help="Tokens in a block: sharing is kept in steps of it; default: the trace's own, else 16.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Secret of 16 bytes or more; files of one key share ids. Default: drawn and forgotten.",
)
@click.option("--round", "rounding", metavar="TIME", help="Cut arrivals to a multiple of this.")
@click.option(
    "--jitter", metavar="TIME", help="Move arrivals at random by up to this; order stays."
)
@trace_options
@click.option("--force", is_flag=True, help="Overwrite a file that is there already.")
def anonymize(
    trace: Path,
    output: Path,
    block_size: int | None,
    key_file: Path | None,
    rounding: str | None,
    jitter: str | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Turn a trace of text, tokens or block ids into one that says nothing of content or people.

    Lengths, times and sharing stay, and nothing else: ids are keyed hashes, which cannot be found
    by hashing guessed prompts. Replays in blocks of that size give the same hits, those on
    responses too. Times and lengths are exact unless --round and --jitter say otherwise, and may
    tell something to whoever saw the traffic.

    \b
    replay anonymize requests.jsonl --tokenizer tokenizer.json -o shareable.jsonl
    replay anonymize trace.parquet --round 1s --jitter 5s -o shareable.jsonl
    """
    from replay.answers.changing import key_in
    from replay.cli.ceiling_lines import ceiling_line
    from replay.cli.output import note, note_all, say
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import claim, read_beside
    from replay.compiling.parts import CONTENT, READING
    from replay.trace.anonymize import anonymize as anonymized
    from replay.trace.content import natural_block_size
    from replay.trace.rejected import rejected_beside, write_rejected
    from replay.trace.separation import sharing_notes
    from replay.trace.writers.mooncake import write_mooncake
    from replay.units import parse_duration_ns

    inputs = [trace, key_file, *read_beside(parameters)]
    claim(output, force=force, inputs=inputs)
    claim(rejected_beside(output), force=force, inputs=inputs)
    round_ns = None if rounding is None else parse_duration_ns(rounding)
    jitter_ns = None if jitter is None else parse_duration_ns(jitter)
    key = None if key_file is None else key_in(key_file)
    with progress("Reading the trace", patience_s=compile_first(READING, CONTENT)) as bar:
        source = read_trace(trace, parameters, bar.hook)
        bar.hook("Hashing", 0, 0)
        size = block_size or natural_block_size(source)
        made = anonymized(source, size, key=key, round_ns=round_ns, jitter_ns=jitter_ns)
        lost = write_mooncake(made.trace, output, block_size=size, force=force)
        aside = write_rejected(source.rejected, rejected_beside(output), force=force)
    note_all(sharing_notes(source, content_known=True))
    say(f"{'requests':14}{made.trace.requests:,}")
    say(f"{'kept':14}lengths, and what requests share in blocks of {size} tokens")
    say(f"{'hits before':14}{ceiling_line(source, size)}")
    say(f"{'hits after':14}{ceiling_line(made.trace, size)}")
    say(f"{'times':14}{made.times}")
    say(f"{'removed':14}{', '.join(made.removed) or 'nothing but names of blocks'}")
    for text in lost:
        say(f"{'':14}{text}")
    say(f"{'key':14}{'drawn and forgotten' if key is None else key_file}")
    if aside:
        say(f"{'put aside':14}{len(source.rejected):,} rows as they stood, in {aside}")
        note(f"Note: {aside} holds rows of the source, with all they say: do not pass it on")
    note(f"\nTrace written to {output}; `replay describe {output}` says more")
