"""The fitted profiles against the traffic they were fitted to"""

import numpy as np
import pytest

from benchmarks import profile_fit as fit
from benchmarks import profile_measures as measures
from benchmarks.profile_targets import Target

from .shared_data import CONVERSATION, needs

SEEDS = (1, 2, 3, 4)


def outside(name):
    """Return the statistics of a profile whose median over the seeds is outside its bar."""
    wanted = fit.FITS[name].targets()
    found = fit.medians(fit.FITS[name].measured(name, SEEDS))
    return {
        key: (target.value, round(found[key], 4))
        for key, target in wanted.items()
        if not target.holds(found[key])
    }


@pytest.mark.slow
@needs(CONVERSATION)
def test_chat_has_the_statistics_of_the_conversation_trace():
    assert outside("chat") == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["human_chat", "agentic_coding", "doc_qa"])
def test_profile_has_the_statistics_of_its_source(name):
    assert outside(name) == {}


@needs(CONVERSATION)
def test_real_conversation_has_the_published_hit_rate():
    found = measures.content_statistics(measures.conversation())
    assert found["inf"] == pytest.approx(0.3664, abs=5e-5)


def test_relative_bar_holds_up_to_its_edge():
    target = Target(100.0, "made up", 0.10)
    assert (target.holds(110.0), target.holds(110.1)) == (True, False)


def test_absolute_bar_is_in_the_unit_of_the_statistic():
    target = Target(0.3, "made up", 0.04, absolute=True)
    assert (target.holds(0.339), target.holds(0.341)) == (True, False)


def test_target_without_a_bar_always_holds():
    assert Target(1.0, "made up", None).holds(1e9)


def test_ks_distance_of_disjoint_samples_is_one():
    assert measures.ks_distance(np.array([1, 2]), np.array([3, 4, 5])) == 1.0


def test_ks_distance_counts_ties_once():
    assert measures.ks_distance(np.array([1, 1, 2, 2]), np.array([1, 2])) == 0.0


def test_spearman_sees_any_rising_relation():
    values = np.arange(1, 20)
    assert measures.spearman(values, np.exp(values)) == pytest.approx(1.0)


def test_spearman_gives_ties_their_mean_rank():
    found = measures.spearman(np.array([1, 1, 2, 3]), np.array([1, 2, 3, 4]))
    assert found == pytest.approx(np.corrcoef([1.5, 1.5, 3, 4], [1, 2, 3, 4])[0, 1])
