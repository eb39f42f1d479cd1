"""Numbers in sentences."""

from __future__ import annotations

import pytest

from replay.report import words


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0%"), (0.0002, "under 0.1%"), (0.004, "0.4%"), (0.23, "23%"), (0.5549, "55%"),
     (0.996, "99.6%"), (0.9999, "over 99.9%"), (1, "100%"), (1.5, "150%"), (-0.2, "-20%")],
)  # fmt: skip
def test_a_share_never_rounds_to_nothing_or_to_all(share, said):
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0.85, "0.85 ms"), (8.34, "8.3 ms"), (348.4, "348 ms"), (994, "994 ms"), (996, "1.00 s"),
     (1563, "1.56 s"), (12_340, "12.3 s"), (119_000, "119 s"), (534_000, "8.9 min"),
     (5_400_000, "90 min"), (11_520_000, "3.2 h")],
)  # fmt: skip
def test_a_wait_has_three_digits_and_is_not_torn_from_its_unit(ms, said):
    assert words.wait(ms).replace(words.GLUE, " ") == said
    assert " " not in words.wait(ms)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "250 ms"), (7.6, "7.6 s"), (76.06, "76 s"), (300, "5 min"),
                          (86_400, "24 h"), (302_400, "3.5 days")],
)  # fmt: skip
def test_a_span(seconds, said):
    assert words.span(seconds).replace(words.GLUE, " ") == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00"), (789.36, "13:09"), (7505, "2:05:05"), (3600, "1:00:00")]
)
def test_a_moment(seconds, said):
    assert words.clock(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(884, "884"), (9_999, "9,999"), (57_000, "57 k"), (436_224, "436 k"), (3_857_920, "3.86 M"),
     (16_585_854, "16.6 M"), (2.5e9, "2.5 G")],
)  # fmt: skip
def test_an_amount(number, said):
    assert words.amount(number).replace(words.GLUE, " ") == said


def test_sizes_and_factors():
    assert words.size(884 * 512 * 131_072).replace(words.GLUE, " ") == "55.2 GiB"
    assert words.size(5 * 2**40).replace(words.GLUE, " ") == "5 TiB"
    assert words.times(6.39).replace(words.GLUE, " ") == "6.4 times"
    assert words.times(2.01) == "twice"


def test_counts():
    assert words.count(1, "request").replace(words.GLUE, " ") == "1 request"
    assert words.count(2132, "row").replace(words.GLUE, " ") == "2,132 rows"
    assert words.spelled(3) == "three"
    assert words.spelled(17) == "17"


def test_sentences_start_with_a_capital_and_names_stay_as_they_are():
    assert words.sentence("the rest is cache") == "The rest is cache"
    assert words.sentence("h100-sxm is uncalibrated") == "h100-sxm is uncalibrated"
    assert words.sentence("") == ""
