"""Whatever a file calls its things, it cannot steer the terminal they are shown on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replay.printable import on_one_line, printable


def test_escape_sequences_are_shown():
    assert printable("a\x1b[2Jb\x07\x9b\r\u202e\ud800") == r"a\x1b[2Jb\x07\x9b\r\u202e\ud800"
    assert printable("one\ntwo\t") == "one\ntwo\\t"
    assert on_one_line("one\ntwo\x00") == r"one\ntwo\x00"


@given(st.text())
def test_lines_of_printable_text_are_left_alone_and_others_become_such(text):
    shown = printable(text)
    assert shown.replace("\n", "").isprintable()
    assert shown == text or not text.replace("\n", "").isprintable()
    assert "\n" not in on_one_line(text)
