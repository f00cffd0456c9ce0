from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from no_time_to_train.ops.resize import interpolation_matrix


def test_doubling_two_samples() -> None:
    expected = torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    assert torch.equal(interpolation_matrix(2, 4), expected)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("in_size", "out_size"), [(1, 1), (1, 5), (4, 6), (7, 3), (37, 256), (256, 37), (5, 5)])
def test_two_matrices_resample_an_image(mode: str, antialias: bool, in_size: int, out_size: int) -> None:
    image = torch.randn(in_size, 9, generator=torch.Generator().manual_seed(0))
    rows = interpolation_matrix(in_size, out_size, mode=mode, antialias=antialias)
    columns = interpolation_matrix(9, 13, mode=mode, antialias=antialias)
    expected = interpolate(image[None, None], size=(out_size, 13), mode=mode, align_corners=False, antialias=antialias)[
        0, 0
    ]
    assert rows.shape == (out_size, in_size)
    torch.testing.assert_close(rows @ image @ columns.T, expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(out_size))
