import numpy as np
import pytest
from PIL import Image

from no_time_to_train.data.mask_images import read_instance_masks
from no_time_to_train.errors import InputError


def write(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "m.png")
    return tmp_path / "m.png"


def masks_of(tmp_path, values):
    return [mask.astype(int).tolist() for mask in read_instance_masks(write(tmp_path, values))]


def test_gray_masks_are_cut_at_127(tmp_path):
    assert masks_of(tmp_path, np.array([[0, 127, 128, 255]], np.uint8)) == [[[0, 0, 1, 1]]]


def test_two_values_need_no_threshold(tmp_path):
    assert masks_of(tmp_path, np.array([[0, 1, 1, 0]], np.uint8)) == [[[0, 1, 1, 0]]]
    assert masks_of(tmp_path, np.array([[False, True]])) == [[[0, 1]]]


def test_sixteen_bit_values_are_instances(tmp_path):
    assert masks_of(tmp_path, np.array([[0, 7, 300, 7]], np.uint16)) == [[[0, 1, 0, 1]], [[0, 0, 1, 0]]]


def test_palette_indices_are_instances_and_255_is_void(tmp_path):
    image = Image.new("P", (4, 1))
    image.putpalette([value for index in range(256) for value in (index, 255 - index, 0)])
    image.putdata([0, 2, 1, 255])
    image.save(tmp_path / "m.png")
    assert [m.tolist() for m in read_instance_masks(tmp_path / "m.png")] == [
        [[False, False, True, False]],
        [[False, True, False, False]],
    ]


def test_cut_outs_use_their_transparency(tmp_path):
    values = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)
    assert masks_of(tmp_path, values) == [[[0, 1]]]


@pytest.mark.parametrize("values", [[[0, 0]], [[1, 2]], [[0, 1, 2]]])
def test_a_file_without_an_object_is_refused(tmp_path, values):
    with pytest.raises(InputError, match=r"m\.png marks no object"):
        read_instance_masks(write(tmp_path, np.array(values, np.uint8)))
