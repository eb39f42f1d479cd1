"""The five recipes of CONTRIBUTING.md hold: what stands in a table has its file, page and twin."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from replay.cache.queue_policies import QUEUE_POLICIES
from replay.cache.ranked_policies import RANKED_POLICIES
from replay.cache.replacement import REPLACEMENTS
from replay.config.backends import BACKENDS, TAKES_NUMBERS
from replay.config.cache_section import CacheSection, SessionStoreSection
from replay.config.policies import POLICIES, policy_names
from replay.config.scenario import GpuSection
from replay.report.library import report_names
from replay.report.page.gallery import FIGURES
from replay.trace.readers import READERS
from tests.naive import queues as naive_queues
from tests.naive import ranked as naive_ranked
from tests.naive.radix import Node, RadixCache, RadixRules
from tests.naive.store import Kept, Store, StoreRules

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_format_has_its_page_and_is_named_in_tests(reader):
    assert (ROOT / "docs" / "formats" / f"{reader.name}.md").is_file()
    tests = [path.read_text() for path in (ROOT / "tests").glob("test_*.py")]
    words = (reader.name, reader.name.replace("-", "_"))
    assert any(word in text for text in tests for word in words)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda one: f"{one.kind}-{one.name}")
def test_a_policy_of_a_cache_can_be_named_and_has_a_twin(policy):
    if policy.kind == "session_store":
        assert SessionStoreSection(prefix_eviction_policy=policy.name)
        store = Store(StoreRules(1, 1, policy=policy.name))
        assert len(store.worth(Kept(()))) == 2
    else:
        assert CacheSection(kind=policy.kind, policy=policy.name).policy == policy.name
    if policy.kind == "radix":
        cache = RadixCache(RadixRules(1, 1, policy=policy.name))
        assert len(cache.rank(Node([], None, None, 0, 0))) == 2


def test_the_twins_of_stored_prefixes_differ_by_policy():
    ranks = set()
    for name in policy_names("session_store"):
        store = Store(StoreRules(1, 1, policy=name))
        ranks.add(store.worth(Kept((), used=3, born=2, hits=1)))
    assert len(ranks) == len(policy_names("session_store"))


def test_a_policy_to_compare_stands_in_one_table_and_has_a_twin():
    ranked = {one.name for one in RANKED_POLICIES}
    queues = {one.name for one in QUEUE_POLICIES}
    assert [one.name for one in REPLACEMENTS] == list(
        dict.fromkeys(["lru", *(one.name for one in (*QUEUE_POLICIES, *RANKED_POLICIES))])
    )
    assert ranked <= set(naive_ranked.NAMES)
    assert queues <= set(naive_queues.NAIVE)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_is_a_file_of_its_name_and_a_row_of_the_page(name):
    assert callable(import_module(f"replay.gpu.backends.{name}").compile_steps)
    assert f"| `{name}` |" in (ROOT / "docs" / "gpu-model.md").read_text()
    table = "measured.csv" if name == "table" else None
    numbers = {"step_ns": 1, "token_ns": 1, "context_ns": 1} if name == TAKES_NUMBERS else {}
    assert GpuSection(backend=name, table=table, linear=numbers).backend == name


def test_every_report_is_sql_with_its_expected_rows():
    files = {path.stem for path in (ROOT / "replay" / "report" / "sql").glob("[!_]*.sql")}
    assert files == set(report_names())
    assert files == {path.stem for path in (ROOT / "tests" / "sql").glob("*.csv")}


def test_every_figure_has_its_sql_and_is_counted_again():
    folder = ROOT / "replay" / "report" / "page" / "sql"
    tests = (ROOT / "tests" / "test_page_sql.py").read_text()
    for figure in FIGURES:
        for query in figure.queries:
            assert (folder / f"{query}.sql").is_file() or query in report_names()
            assert f'"{query}"' in tests or query in report_names(), query


def test_the_page_has_the_five_recipes():
    for what in ("A trace format", "An eviction policy", "A report", "A figure", "A GPU backend"):
        assert f"### {what}\n" in PAGE
