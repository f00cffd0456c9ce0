"""Valid JSON made invalid, for property tests of everything that reads a file."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**400, -(10**30), 2**63, 0.5, 1e9, 1e308]),
    st.floats(),
    st.sampled_from(["", "x", "0", "..", "../a", "\ud800", "a\0b", "o" * 40, "d1\u00e9"]),
    st.just([]),
    st.just({}),
    st.lists(st.one_of(st.none(), st.integers(-5, 5), st.floats(), st.text(max_size=2)), max_size=7),
    st.just([[[]]]),
)


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of nested dicts and lists."""
    pairs = list(content.items()) if isinstance(content, dict) else list(enumerate(content))
    found = [(content, key) for key, _ in pairs]
    for _, value in pairs:
        if isinstance(value, dict | list):
            found += places(value)
    return found


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """A copy with one to three values replaced, removed or repeated, at any depth."""
    content = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        options = places(content)
        if not options:
            break
        container, key = options[draw(st.integers(0, len(options) - 1))]
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat"]))
        if kind == "replace":
            container[key] = copy.deepcopy(draw(ODD_VALUES))
        elif kind == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
    return content
