from __future__ import annotations

import numpy as np
import pytest

from no_time_to_train.ops.images import as_image_tensor


def test_image_tensor() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[1, 2] = (255, 51, 0)
    tensor = as_image_tensor(image)
    assert tensor.shape == (3, 2, 3)
    assert tensor[:, 1, 2].tolist() == pytest.approx([1.0, 0.2, 0.0])
