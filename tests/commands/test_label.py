from __future__ import annotations

import pytest

from no_time_to_train.commands.label import _not_found


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"a": 1, "b": 2}, ""),
        ({"a": 1, "b": 0, "c": 0}, "; nothing found of b, c"),
        (dict.fromkeys(map(str, range(11)), 0) | {"a": 1}, "; nothing found of 11 other categories"),
    ],
)
def test_categories_with_nothing_found_are_told(counts: dict[str, int], told: str) -> None:
    assert _not_found(counts) == told
