"""Which known names somebody may have meant by one that stands in no table.

People write names as a model hub or a driver prints them: `meta-llama/Llama-3.1-8B-Instruct`,
`NVIDIA H100 80GB HBM3`. What says who published or tuned it is left out before names are compared.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

MOST = 3
CUTOFF = 0.5
_MOST_COMPARED = 10_000  # the columns of some tables are many more

_WORDS = re.compile(r"[^a-z0-9.]+")
_DRESSING = re.compile(
    r"instruct|chat|it|hf|base|preview|thinking|nvidia|amd|meta|geforce|tesla|gpu|hbm\d*e?"
    r"|[0-2]\d[0-3]\d"  # a date: 0324, 2507
)


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to `MOST` of the known names that may be meant, the likeliest first."""
    bare = {one: _bare(one) for one in sorted(known)[:_MOST_COMPARED]}
    wanted = _bare(name)
    same = [one for one, words in bare.items() if words == wanted]
    if same:
        return same[:MOST]
    begun = [one for one, text in bare.items() if wanted and text.startswith(f"{wanted}-")]
    sharing = _sharing_most(set(wanted.split("-")), bare)
    alike = difflib.get_close_matches(wanted, list(bare.values()), n=MOST, cutoff=CUTOFF)
    close = [one for text in alike for one in bare if bare[one] == text]
    both = [one for one in close if one in sharing]
    return list(dict.fromkeys([*begun, *both, *sharing, *close]))[:MOST]


def _sharing_most(words: set[str], bare: Mapping[str, str]) -> list[str]:
    """Return the names that have most of these words; a size of memory decides between equals."""
    shared = {one: words & set(text.split("-")) for one, text in bare.items()}
    counts = {
        one: (len(found) - len([word for word in found if word.endswith("gb")]), len(found))
        for one, found in shared.items()
        if found
    }
    most = max(counts.values(), default=(0, 0))
    return [one for one, count in counts.items() if count == most]


def _bare(name: str) -> str:
    """Return a name in lower case without its publisher and what it is dressed up with."""
    words = [word for word in _WORDS.split(name.lower().rsplit("/", 1)[-1]) if word]
    kept = [word for word in words if not _DRESSING.fullmatch(word)]
    return "-".join(kept or words)
