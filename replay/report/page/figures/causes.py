"""Pictures of where the prompt tokens went: all of them, over the run, and for whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from replay.report.frame.axes import AMOUNT_LABEL, LEFT, clock_axis
from replay.report.page.drawn import Data, Drawn, Key, LeftOut, Segment, View
from replay.report.page.facts import Facts
from replay.report.page.look import EVICTED, PARTS, REUSED
from replay.report.page.vega import Spec, part_colour, view
from replay.report.words import amount, percent, sentence, span

HELD = 0.03  # a share whose halves differ by less holds
SAME = 0.03  # groups whose shares differ by less are alike
LEAST_REQUESTS = 30  # of a group that a sentence is about
_LABELLED = 0.04  # of the bar; less is told by the key alone
_ROW, _ROOM = 26, 20
_CHARACTER, _LEAST_EXTENT, _MOST_EXTENT = 6, 88, 150  # pixels, of the names of rows


def part_key(parts: Sequence[str]) -> tuple[Key, ...]:
    """Return the key of the parts that there are, in the order of the stack."""
    return tuple(Key(part, PARTS[part]) for part in PARTS if part in parts)


def _share(rows: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> float:
    whole = sum(row["tokens"] for row in rows)
    return sum(row["tokens"] for row in rows if row["part"] in parts) / whole if whole else 0.0


# --- all of them ----------------------------------------------------------------------------


def all_caption(causes: Data) -> str:
    """Return what was reused, and what the cache lost of the rest."""
    rows = causes.records
    reused, evicted = _share(rows, REUSED), _share(rows, EVICTED)
    start = f"{percent(reused)} of the prompt tokens were reused"
    if not evicted:
        other = max(rows, key=lambda row: row["tokens"] * (row["part"] not in REUSED))
        if other["part"] in REUSED:
            return f"{start}."
        share, what = percent(other["token_share"]), _said(other["part"])
        return f"{start}; nothing was evicted too early, {share} were {what}."
    needless = _share(rows, EVICTED[:1])
    known = not _share(rows, EVICTED[2:])
    tail = f", {percent(needless)} needlessly" if needless else ""
    if known and not needless:
        tail = ", none of it needlessly"
    return f"{start}; another {percent(evicted)} had been in the cache and were evicted{tail}."


def _said(part: str) -> str:
    words = {"rounding": "lost to whole blocks", "not looked up": "not looked up"}
    return words.get(part, part)


def all_tokens(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return one bar of all prompt tokens."""
    rows = data["causes"].records
    whole = sum(row["tokens"] for row in rows)
    if not whole:
        return LeftOut("no request has a prompt")
    avoidable = any(row["part"] in EVICTED[:2] for row in rows)
    explained = (
        " Needlessly: the optimum would have kept them in the same memory." if avoidable else ""
    )
    return Drawn(
        caption=all_caption(data["causes"]),
        subtitle=f"All {amount(whole)} prompt tokens of completed requests.{explained}",
        key=tuple(
            Key(
                row["part"], PARTS[row["part"]],
                share=f"{row['token_share']:.1%}", amount=f"{amount(row['tokens'])} tokens",
            )
            for row in rows
        ),
        bar=tuple(
            Segment(
                row["part"], PARTS[row["part"]], row["tokens"],
                percent(row["token_share"]) if row["token_share"] >= _LABELLED else "",
            )
            for row in rows
        ),
    )  # fmt: skip


# --- over the run ---------------------------------------------------------------------------


def over_time_caption(over_time: Data) -> str:
    """Return whether reuse and eviction hold over the run, or by how much they move."""
    rows = over_time.records
    starts = sorted({row["from_s"] for row in rows})
    middle = starts[len(starts) // 2]
    halves = (
        [row for row in rows if row["from_s"] < middle],
        [row for row in rows if row["from_s"] >= middle],
    )
    told = [
        _moved(name, parts, rows, halves)
        for name, parts in (("reuse", REUSED), ("eviction", EVICTED))
    ]
    return sentence("; ".join(filter(None, told))) + "."


def _moved(
    name: str,
    parts: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    halves: Sequence[Sequence[Mapping[str, Any]]],
) -> str:
    overall, first, second = _share(rows, parts), *(_share(half, parts) for half in halves)
    if not overall:
        return ""
    if abs(second - first) < HELD:
        return f"{name} holds at {percent(overall)}"
    verb = "rises" if second > first else "falls"
    return (
        f"{name} {verb} from {percent(first)} in the first half to {percent(second)} in the second"
    )


def over_time(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return what became of the prompt tokens, by arrival, in tokens per second."""
    table = data["causes_over_time"]
    rows = table.records
    if len({row["from_s"] for row in rows}) < 3:
        return LeftOut("its requests arrive all at once")
    width = rows[0]["to_s"] - rows[0]["from_s"]
    parts = [part for part in PARTS if part in set(table.column("part"))]
    gap = width * 0.06
    return Drawn(
        caption=over_time_caption(table),
        subtitle=f"Prompt tokens per second, by {span(width)} of arrival.",
        key=part_key(parts),
        views=(
            View(
                "causes_over_time",
                view(
                    "causes_over_time",
                    200,
                    transform=[{"calculate": f"datum.to_s - {gap}", "as": "edge_s"}],
                    mark={"type": "rect"},
                    encoding={
                        "x": clock_axis("from_s", max(table.column("to_s"))),
                        "x2": {"field": "edge_s"},
                        "y": {"field": "low", "type": "quantitative", "title": None,
                              "axis": {**LEFT, "labelExpr": AMOUNT_LABEL, "tickCount": 4}},
                        "y2": {"field": "high"},
                        "color": part_colour(parts),
                        "tooltip": [
                            {"field": "from_s", "title": "from, s", "format": ",.4~g"},
                            {"field": "part"},
                            {"field": "tokens", "format": ",d"},
                        ],
                    },
                ),
            ),
        ),
    )  # fmt: skip


# --- for whom -------------------------------------------------------------------------------


def group_caption(groups: Data, name: Callable[[str], str]) -> str:
    """Return the measure, reused or evicted, by which groups of enough requests differ most."""
    label = groups.columns[0]
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in groups.records:
        rows.setdefault(row[label], []).append(row)
    enough = {
        group: found for group, found in rows.items() if found[0]["requests"] >= LEAST_REQUESTS
    } or rows
    measures = {"reused": REUSED, "evicted before it was reused": EVICTED}
    shares = {
        words: {group: _share(found, parts) for group, found in enough.items()}
        for words, parts in measures.items()
    }
    spreads = {words: max(of.values()) - min(of.values()) for words, of in shares.items()}
    words, spread = max(spreads.items(), key=lambda item: item[1])
    of = shares[words]
    most, least = max(of, key=lambda group: of[group]), min(of, key=lambda group: of[group])
    if len(of) == 1:
        return f"{sentence(name(most))}: {percent(of[most])} {words}."
    if spread < SAME:
        reused = shares["reused"]
        middle = sum(reused.values()) / len(reused)
        return f"All are alike: about {percent(middle)} reused."
    rest = percent(of[least]) if of[least] else "none"
    return f"{sentence(name(most))}: {percent(of[most])} {words}; {name(least)}: {rest}."


def grouped(
    query: str, subtitle: str, name: Callable[[str], str]
) -> Callable[[Mapping[str, Data], Facts], Drawn | LeftOut]:
    """Return how the bars of one grouping are drawn; `name` makes words of a group's label."""

    def draw(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
        table = data[query]
        label = table.columns[0]
        order = list(dict.fromkeys(table.column(label)))
        if not order:
            return LeftOut("nothing to group")
        parts = [part for part in PARTS if part in set(table.column("part"))]
        return Drawn(
            caption=group_caption(table, name),
            subtitle=f"{subtitle} (requests).",
            key=part_key(parts),
            views=(View(query, _group_view(query, label, order, parts)),),
        )

    return draw


def _group_view(query: str, label: str, order: list[str], parts: list[str]) -> Spec:
    widest = max(len(name) + len("  (1,000)") for name in order)
    extent = min(max(_LEAST_EXTENT, _CHARACTER * widest), _MOST_EXTENT)
    field = f"datum[{label!r}]"
    named = f"{field} + '  (' + format(datum.requests, ',d') + ')'"
    return view(
        query,
        _ROW * len(order) + _ROOM,
        transform=[
            {"calculate": named, "as": "row"},
            {"calculate": f"indexof({order}, {field})", "as": "at"},
            {"calculate": f"indexof({[*PARTS]}, datum.part)", "as": "place"},
        ],
        mark={"type": "bar", "height": {"band": 0.82}},
        encoding={
            "y": {"field": "row", "type": "nominal", "title": None,
                  "sort": {"field": "at", "op": "min"},
                  "axis": {"minExtent": extent, "maxExtent": extent, "labelLimit": extent - 4}},
            "x": {"field": "token_share", "type": "quantitative", "title": None,
                  "scale": {"domain": [0, 1]}, "axis": {"format": ".0%", "values": [0, 0.5, 1]}},
            "color": part_colour(parts),
            "order": {"field": "place"},
            "tooltip": [
                {"field": label, "title": label.replace("_", " ")},
                {"field": "part"},
                {"field": "token_share", "title": "share", "format": ".1%"},
                {"field": "tokens", "format": ",d"},
            ],
        },
    )  # fmt: skip


def turn_name(turn: str) -> str:
    """Return a turn in words."""
    return f"turn {turn}" if turn != "6+" else "turns from the sixth"


def session_name(requests: str) -> str:
    """Return sessions of a length in words."""
    return "single requests" if requests == "1" else f"sessions of {requests}"


def length_name(tokens: str) -> str:
    """Return prompts of a length in words."""
    if tokens.startswith("<"):
        return f"prompts under {tokens[1:]}"
    return f"prompts over {tokens[:-1]}" if tokens.endswith("+") else f"prompts of {tokens}"
