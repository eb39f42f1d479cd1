"""Templates come from files: what they may take has limits."""

from __future__ import annotations

import resource
import signal

import pytest

from replay.errors import InputError
from replay.trace import jinja_templates
from replay.trace.chat_template import UNDATED
from replay.trace.jinja_templates import SOLE, jinja_template
from replay.trace.limits import limited


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for i in range(1000000000) %}x{% endfor %}", "fails: Range too big"),
        ("{{ 'x' * 10000000000 }}", "more than 512 MiB of memory"),
        ("{% set n = 10000000000 %}{{ 'x' * n }}", "more than 512 MiB of memory"),
        ("{{ 'x'.ljust(10000000000) }}", "more than 512 MiB of memory"),
        ("{{ 9 ** 999999999 }}", "a power of"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}"
            "{% endfor %}{% endfor %}{% endfor %}",
            "takes more than 0.2 s",
        ),
    ],
)
def test_a_template_takes_so_much_time_and_memory_and_no_more(source, problem, monkeypatch):
    monkeypatch.setattr(jinja_templates, "_MOST_CPU_S", 0.2)
    said = [{"role": "user", "content": "hi"}]
    with pytest.raises(InputError) as caught:
        jinja_template({SOLE: source}, "t.jinja", {})(said, None, {}, True, UNDATED)
    assert problem in str(caught.value)


def test_limits_are_gone_behind_the_block():
    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)
    with limited("it", cpu_s=9, memory_bytes=2**30):
        assert resource.getrlimit(resource.RLIMIT_AS) != before[0]
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
