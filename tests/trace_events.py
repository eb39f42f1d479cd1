"""Reads Chrome's trace event format as a viewer does, and says what it would draw wrongly.

Slices are drawn only where they nest in what is open on their track, flows only where a slice is
open at both ends, counters only in order: https://perfetto.dev/docs/faq. Nothing of the exporter is
used here.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Slice:
    name: str
    track: tuple[int, int]
    start: int
    end: int
    args: dict
    children: list[Slice] = field(default_factory=list)


@dataclass
class Timeline:
    about: dict
    tracks: dict[tuple[int, int], str]
    slices: list[Slice]  # the outermost of each track
    counters: dict[str, list[tuple[int, float]]]
    instants: list[dict]
    flows: dict[int, list[dict]]

    def all_slices(self):
        waiting = list(self.slices)
        while waiting:
            one = waiting.pop()
            yield one
            waiting += one.children


def read_timeline(path: Path) -> Timeline:
    """Return what is in a file; AssertionError for what a viewer would not draw."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        content = json.load(file, parse_constant=refused)
    by_track, tracks, counters = defaultdict(list), {}, defaultdict(list)
    instants, flows = [], defaultdict(list)
    for event in content["traceEvents"]:
        kind, track = event["ph"], (event["pid"], event.get("tid", 0))
        assert all(type(event[key]) is int for key in ("ts", "dur") if key in event)
        if kind == "M":
            if event["name"] == "thread_name":
                tracks[track] = event["args"]["name"]
        elif kind == "X":
            by_track[track].append(event)
        elif kind == "C":
            counters[event["name"]].append((event["ts"], event["args"]["value"]))
        elif kind == "i":
            instants.append(event)
        else:
            assert kind in "sf"
            flows[event["id"]].append(event)
    slices = [one for track, events in by_track.items() for one in nested(track, events)]
    assert set(by_track) <= set(tracks), "a track without a name"
    for name, points in counters.items():
        times = [at for at, _ in points]
        assert times == sorted(set(times)), name
    timeline = Timeline(content["otherData"], tracks, slices, dict(counters), instants, dict(flows))
    for ends in flows.values():
        first, last = sorted(ends, key=lambda end: end["ph"], reverse=True)
        assert (first["ph"], last["ph"], last["bp"]) == ("s", "f", "e")
        assert first["ts"] <= last["ts"]
        assert slice_at(timeline, first) is not None
        assert slice_at(timeline, last) is not None
    return timeline


def refused(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


def nested(track: tuple[int, int], events: list[dict]) -> list[Slice]:
    """Return the outermost slices of a track, in them what they hold."""
    outer: list[Slice] = []
    open_now: list[Slice] = []
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        assert event["dur"] >= 0
        one = Slice(
            event["name"], track, event["ts"], event["ts"] + event["dur"], event.get("args", {})
        )
        while open_now and open_now[-1].end <= one.start:
            open_now.pop()
        if open_now:
            assert one.end <= open_now[-1].end, f"{one.name} overlaps {open_now[-1].name}"
        (open_now[-1].children if open_now else outer).append(one)
        open_now.append(one)
    return outer


def slice_at(timeline: Timeline, event: dict) -> Slice | None:
    """Return the outermost slice that is open on the track of an event at its time."""
    for one in timeline.slices:
        if one.track == (event["pid"], event["tid"]) and one.start <= event["ts"] < one.end:
            return one
    return None
