"""The catalogue of public traces: what ships, and the faults of one's own."""

import hashlib

import pytest

from replay.config.catalogue import PublicTrace, load_catalogue
from replay.errors import ConfigError, UnknownNameError
from replay.trace.readers import READERS
from tests.shared_data import SHARED

FACTS = {"name": "t", "format": "mooncake", "licence": "x", "citation": "x", "description": "x"}


def test_the_catalogue_names_formats_that_there_are():
    known = {reader.name for reader in READERS}
    assert {trace.format for trace in load_catalogue().traces} <= known


def test_the_catalogue_points_at_files_that_do_not_move():
    for trace in load_catalogue().traces:
        assert trace.address.startswith("https://")
        parts = trace.address.split("/")
        pinned = any(len(part) == 40 and int(part, 16) for part in parts if part.isalnum())
        assert pinned or "releases" in parts, trace.address


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mooncake-conversation", "mooncake/conversation_trace.jsonl"),
        ("azure-2023-code", "azure/AzureLLMInferenceTrace_code.csv"),
        ("azure-2023-conversation", "azure/AzureLLMInferenceTrace_conv.csv"),
    ],
)
def test_the_catalogue_knows_the_real_files(name, path):
    file = SHARED / "traces" / path
    if not file.exists():
        pytest.skip(f"{path} is not beside the checkout")
    trace = load_catalogue().trace(name)
    content = file.read_bytes()
    assert trace.size_bytes == len(content)
    assert trace.sha256 == hashlib.sha256(content).hexdigest()


def test_what_nobody_has_published_a_digest_of_is_not_said_to_be_known():
    traces = load_catalogue()
    assert traces.trace("tracelab").sha256 is not None
    assert traces.trace("azure-2025-multimodal").file_name == "azure-2025-multimodal.csv.gz"
    unknown = [trace.name for trace in traces.traces if trace.sha256 is None]
    assert unknown == [
        "burstgpt-1-without-failures", "burstgpt-2-without-failures",
        "burstgpt-3-without-failures", "azure-2025-multimodal",
    ]  # fmt: skip


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown public trace") as caught:
        load_catalogue().trace("bailian-c")
    assert "did you mean bailian" in str(caught.value.hint)
    assert "mooncake-toolagent" in str(caught.value.hint)


ENTRY = """\
traces:
  - name: mine
    address: https://example.org/t.jsonl
    format: mooncake
    licence: MIT
    citation: me
    description: mine
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("https://example", "http://example", ":3:14: traces[0].address: must start with https://"),
        ("https://example.org/t.jsonl", "ftp://x", ":3:14: traces[0].address: must start with"),
        ("https://example.org/t.jsonl", "https:///x", ":3:14: traces[0].address: names no host"),
        ("//example", "//a:b@example", ":3:14: traces[0].address: must hold no user name"),
        ("    licence: MIT\n", "", ":2:5: traces[0].licence: "),
        ("name: mine", "name: ../mine", ":2:11: traces[0].name: "),
        ("format: mooncake", "format: columns", ":2:5: traces[0]: the format `columns` needs"),
        ("    citation", "    sha256: abc\n    citation", ":6:13: traces[0].sha256: "),
        ("    citation", "    size_bytes: 0\n    citation", ":6:17: traces[0].size_bytes: "),
        ("    citation", "    sise_bytes: 1\n    citation", ":6:5: traces[0].sise_bytes: "),
    ],
)
def test_a_fault_of_a_catalogue_has_its_place(tmp_path, before, after, said):
    path = tmp_path / "c.yaml"
    path.write_text(ENTRY)
    load_catalogue(path)
    assert before in ENTRY
    path.write_text(ENTRY.replace(before, after))
    with pytest.raises(ConfigError) as caught:
        load_catalogue(path)
    assert f"{path}{said}" in caught.value.message


def test_two_traces_of_one_name_are_a_fault(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(ENTRY + ENTRY.removeprefix("traces:\n"))
    with pytest.raises(ConfigError, match=r"c\.yaml:.*two traces have one name \(got 'mine'\)"):
        load_catalogue(path)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://e.org/a/x.csv", "t.csv"),
        ("https://e.org/a/x.csv.gz?v=1.2", "t.csv.gz"),
        ("https://e.org/x", "t"),
        ("http://localhost:1/x.v1.jsonl", "t.jsonl"),
    ],
)
def test_a_kept_file_has_the_name_of_its_trace(address, name):
    assert PublicTrace(**FACTS, address=address).file_name == name
