from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from no_time_to_train.data.mask_images import read_instance_masks
from no_time_to_train.errors import InputError


def write(tmp_path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(tmp_path / "m.png")
    return tmp_path / "m.png"


def masks_of(tmp_path: Path, values: np.ndarray) -> list[list[list[int]]]:
    return [mask.astype(int).tolist() for mask in read_instance_masks(write(tmp_path, values))]


def blocks(values: list[list[int]], side: int = 8) -> np.ndarray:
    """Every value as a square."""
    return np.kron(np.array(values), np.ones((side, side), int))


def assert_reads(path: Path, expected: list[np.ndarray]) -> None:
    found = read_instance_masks(path)
    assert len(found) == len(expected)
    for mask, wanted in zip(found, expected, strict=True):
        assert (mask == wanted).all()


def disc(side: int = 64) -> Image.Image:
    """A white disc with smooth edges on black."""
    large = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(large).ellipse((side, side, 3 * side, 3 * side), fill=255)
    return large.resize((side, side), Image.Resampling.BOX)


def test_smooth_masks_are_cut_in_the_middle(tmp_path):
    assert masks_of(tmp_path, np.array([[0, 127, 128, 255]], np.uint8)) == [[[0, 0, 1, 1]]]
    disc().save(tmp_path / "disc.png")
    assert_reads(tmp_path / "disc.png", [np.asarray(disc()) > 127])
    disc().filter(ImageFilter.GaussianBlur(2)).save(tmp_path / "blurred.png")
    assert len(read_instance_masks(tmp_path / "blurred.png")) == 1


def test_masks_that_went_through_jpeg(tmp_path):
    disc().save(tmp_path / "disc.jpg", quality=60)
    Image.open(tmp_path / "disc.jpg").save(tmp_path / "disc.png")
    [mask] = read_instance_masks(tmp_path / "disc.png")
    assert (mask != (np.asarray(disc()) > 127)).mean() < 0.01


@pytest.mark.parametrize("pair", [(0, 1), (0, 255), (0, 7), (1, 2), (100, 200), (254, 255)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_of_two_values_the_brighter_is_the_object(tmp_path, pair, dtype):
    values = np.array([[pair[0], pair[1], pair[1], pair[0]]], dtype)
    assert masks_of(tmp_path, values) == [[[0, 1, 1, 0]]]


def test_bits(tmp_path):
    assert masks_of(tmp_path, np.array([[False, True]])) == [[[0, 1]]]
    assert masks_of(tmp_path, np.array([[True, True]])) == [[[1, 1]]]


def test_white_everywhere_is_an_object_that_fills_the_image(tmp_path):
    assert masks_of(tmp_path, np.array([[255, 255]], np.uint8)) == [[[1, 1]]]


def test_label_maps_have_an_instance_per_value(tmp_path):
    assert masks_of(tmp_path, np.array([[0, 1, 2, 3]], np.uint8)) == [[[0, 1, 0, 0]], [[0, 0, 1, 0]], [[0, 0, 0, 1]]]
    assert masks_of(tmp_path, np.array([[0, 7, 300, 7]], np.uint16)) == [[[0, 1, 0, 1]], [[0, 0, 1, 0]]]
    values = blocks([[0, 1, 0], [2, 0, 2]])  # two people of PennFudan
    assert_reads(write(tmp_path, values.astype(np.uint8)), [values == 1, values == 2])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_label_map_of_198_ids(tmp_path, dtype):
    values = blocks(np.arange(199).repeat(2)[:396].reshape(18, 22).tolist(), side=4)
    assert_reads(write(tmp_path, values.astype(dtype)), [values == value for value in range(1, values.max() + 1)])


def test_256_ids_of_16_bits_include_255(tmp_path):
    values = blocks(np.arange(300).reshape(15, 20).tolist(), side=4)
    assert len(read_instance_masks(write(tmp_path, values.astype(np.uint16)))) == 299


def test_255_beside_1_2_3_belongs_to_nothing(tmp_path):
    values = blocks([[0, 1], [255, 2]])
    assert_reads(write(tmp_path, values.astype(np.uint8)), [values == 1, values == 2])


@pytest.mark.parametrize("numbers", [[0, 1, 2], [0, 3, 900], [0, 1, 1]])
def test_float_label_maps(tmp_path, numbers):
    values = blocks([numbers]).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "m.tif")
    assert_reads(tmp_path / "m.tif", [values == value for value in np.unique(values)[1:]])


def test_float_masks_from_0_to_1(tmp_path):
    values = np.asarray(disc()).astype(np.float32) / 255
    Image.fromarray(values).save(tmp_path / "m.tif")
    assert_reads(tmp_path / "m.tif", [values > 0.5])


def palette_file(tmp_path: Path, indices: np.ndarray, colors: dict[int, tuple[int, int, int]]) -> Path:
    image = Image.fromarray(indices.astype(np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    flat = [0] * 768
    for index, color in colors.items():
        flat[3 * index : 3 * index + 3] = color
    image.putpalette(flat)
    image.save(tmp_path / "m.png")
    return tmp_path / "m.png"


VOC_COLORS = {1: (128, 0, 0), 2: (0, 128, 0), 255: (224, 224, 192)}


def test_palette_indices_are_instances_and_255_is_void(tmp_path):
    indices = blocks([[0, 2, 1, 255]])
    assert_reads(palette_file(tmp_path, indices, VOC_COLORS), [indices == 1, indices == 2])


def test_the_same_as_rgb(tmp_path):
    indices = blocks([[0, 2, 1, 255]])
    with Image.open(palette_file(tmp_path, indices, VOC_COLORS)) as image:
        image.convert("RGB").save(tmp_path / "rgb.png")
    assert_reads(tmp_path / "rgb.png", [indices == 2, indices == 1])  # by color: green is below red


def test_two_palette_colors_go_by_brightness_not_by_index(tmp_path):
    indices = blocks([[0, 1], [1, 1]])
    assert_reads(palette_file(tmp_path, indices, {0: (255, 255, 255)}), [indices == 0])
    assert_reads(palette_file(tmp_path, indices, {1: (255, 255, 255)}), [indices == 1])


def test_a_palette_without_index_0_has_black_as_background(tmp_path):
    indices = blocks([[3, 2, 1]])
    path = palette_file(tmp_path, indices, {1: (9, 0, 0), 2: (0, 9, 0)})
    assert_reads(path, [indices == 1, indices == 2])


@pytest.mark.parametrize(("background", "object_color"), [((0, 0, 0), (200, 30, 30)), ((255, 255, 255), (0, 90, 250))])
def test_flat_colors_are_instances(tmp_path, background, object_color):
    ids = blocks([[0, 1], [2, 0]])
    colors = np.array([background, object_color, (1, 250, 3)], np.uint8)
    path = write(tmp_path, colors[ids])
    assert {mask.tobytes() for mask in read_instance_masks(path)} == {(ids == 1).tobytes(), (ids == 2).tobytes()}


def test_gray_saved_as_color_is_gray(tmp_path):
    values = blocks([[0, 1, 2]]).astype(np.uint8)
    assert_reads(write(tmp_path, values[..., None].repeat(3, axis=2)), [values == 1, values == 2])


def test_cut_outs_use_their_transparency(tmp_path):
    values = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)
    assert masks_of(tmp_path, values) == [[[0, 1]]]
    opaque = np.concatenate([blocks([[0, 200]])[..., None].repeat(3, axis=2), np.full((8, 16, 1), 255)], axis=2)
    assert_reads(write(tmp_path, opaque.astype(np.uint8)), [opaque[..., 0] == 200])


@pytest.mark.parametrize("values", [[[0, 0]], [[9, 9]]])
def test_a_file_without_an_object_is_refused(tmp_path, values):
    with pytest.raises(InputError, match=r"m\.png marks no object.*mask_images\.md"):
        read_instance_masks(write(tmp_path, np.array(values, np.uint8)))


NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (blocks([[1, 2, 3]]), "but no 0"),
        (blocks([[0, 85, 170, 255]]), "255 may be one more object"),
        (NOISE[..., 0], "no flat areas"),
        (NOISE, "it is an ordinary image, or its edges are smoothed"),
        (np.array([(9, 9, 200), (200, 200, 9)])[blocks([[0, 1]])], "neither black nor white"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_the_reason(tmp_path, values, reason):
    with pytest.raises(InputError, match=rf"m\.png has .*{reason}.*mask_images\.md"):
        read_instance_masks(write(tmp_path, values.astype(np.uint8)))


def test_a_palette_with_two_backgrounds_is_refused(tmp_path):
    path = palette_file(tmp_path, blocks([[0, 1, 2]]), {0: (9, 9, 200), 2: (3, 200, 3)})
    with pytest.raises(InputError, match="index 0, which is not black, and black under index 1"):
        read_instance_masks(path)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -0.5, 1.5])
def test_floats_that_are_no_mask_are_refused(tmp_path, fault):
    values = np.asarray(disc()).astype(np.float32) / 255
    values[0, 0] = fault
    Image.fromarray(values).save(tmp_path / "m.tif")
    with pytest.raises(InputError, match=r"m\.tif has"):
        read_instance_masks(tmp_path / "m.tif")
