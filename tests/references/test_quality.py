from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from no_time_to_train.matching import Prototypes, match
from no_time_to_train.references.quality import leave_one_out


def test_known_angles() -> None:
    # Two references of category 0 at right angles, one of category 1 between them, none of category 2.
    prototypes = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = leave_one_out(prototypes, torch.tensor([0, 0, 1]), 3)
    assert found.own[:2].tolist() == [0, 0] and math.isnan(found.own[2])
    expected = torch.tensor([0.5**0.5, 0.5**0.5, 3 / 10**0.5])  # the class mean of 0 is (1, 0.5)
    torch.testing.assert_close(found.best_other, expected)
    assert found.best_other_indices.tolist() == [1, 1, 0]
    torch.testing.assert_close(found.margins[:2], -expected[:2])


def test_one_category_has_no_neighbor() -> None:
    found = leave_one_out(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([1, 1]), 2)
    torch.testing.assert_close(found.own, torch.tensor([0.5**0.5, 0.5**0.5]))
    assert found.best_other.isnan().all() and found.best_other_indices.tolist() == [-1, -1]


def test_no_reference() -> None:
    found = leave_one_out(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2)
    assert len(found.own) == len(found.best_other) == 0


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 4))
def test_it_is_matching_with_a_bank_that_lacks_the_reference(seed: int, num: int, num_categories: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(num, 5, generator=generator)
    indices = torch.randint(num_categories, (num,), generator=generator)
    found = leave_one_out(prototypes, indices, num_categories)
    for row in range(num):
        rest = torch.arange(num) != row
        for category in range(num_categories):
            members = prototypes[rest & (indices == category)]
            expected = math.nan
            if len(members):
                mean = members.mean(dim=0, keepdim=True)
                expected = match(prototypes[row : row + 1], Prototypes(mean, torch.tensor([0]), 1)).scores.item()
            if category == indices[row]:
                assert found.own[row].item() == pytest.approx(expected, abs=1e-5, nan_ok=True)
            elif len(members):
                assert found.best_other[row] >= expected - 1e-5
