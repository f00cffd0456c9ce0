from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import (
    are_compressed_counts_valid,
    check_segmentation,
    decode_rle,
    encode_mask,
    encode_mask_crop,
    intersection_over_self,
    rle_area,
    rle_from_toggles,
    rle_to_box_xyxy,
    segmentation_to_rle,
)


def random_mask(seed: int, size_hw: tuple[int, int], share: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).random(size_hw) < share


def test_known_encoding() -> None:
    mask = np.array([[0, 1], [1, 1]], bool)
    rle = encode_mask(mask)
    assert rle == {"size": [2, 2], "counts": coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]}
    assert np.array_equal(decode_rle(rle), mask)
    assert decode_rle(rle).dtype == bool
    assert rle_area(rle) == 3
    assert rle_to_box_xyxy(rle).tolist() == [0, 0, 2, 2]


@settings(deadline=None)
@given(st.data())
def test_crop_encoding_is_that_of_the_full_mask(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    crop_size = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    crop = random_mask(data.draw(st.integers(0, 1000)), crop_size, data.draw(st.sampled_from([0.0, 0.3, 0.8, 1.0])))
    full = np.zeros((height, width), bool)
    full[top : top + crop_size[0], left : left + crop_size[1]] = crop
    expected = coco_mask.encode(np.asfortranarray(full.astype(np.uint8)))
    assert encode_mask_crop(crop, top, left, (height, width)) == expected
    assert encode_mask_crop(torch.from_numpy(crop), top, left, (height, width)) == expected
    assert encode_mask(full) == expected


@pytest.mark.parametrize(("top", "left"), [(-1, 0), (0, -1), (3, 0), (0, 4)])
def test_crop_outside_the_image(top: int, left: int) -> None:
    with pytest.raises(ValueError, match="does not lie inside an image of"):
        encode_mask_crop(np.ones((2, 2), bool), top, left, (4, 5))


def test_toggles_at_one_place_cancel() -> None:
    assert rle_from_toggles(np.array([1, 3, 3, 4, 6]), (2, 3)) == encode_mask(np.array([[0, 1, 0], [1, 1, 0]], bool))


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_box_and_area(seed: int) -> None:
    mask = random_mask(seed, (7, 5), 0.1)
    y, x = np.nonzero(mask)
    rle = encode_mask(mask)
    assert rle_to_box_xyxy(rle).tolist() == ([x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0])
    assert rle_area(rle) == len(x)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_ios_equals_the_dense_computation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((5, 8, 6)) < rng.random((5, 1, 1))
    masks[0] = False
    areas = masks.sum(axis=(1, 2))
    shared = (masks[:, None] & masks[None]).sum(axis=(2, 3))
    expected = np.divide(shared, areas[:, None], out=np.zeros((5, 5)), where=areas[:, None] > 0)
    ios = intersection_over_self([encode_mask(mask) for mask in masks])
    assert ios.dtype == np.float64
    np.testing.assert_array_equal(ios, expected)


def test_ios_of_nothing() -> None:
    assert intersection_over_self([]).shape == (0, 0)


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(1, 1), (1, 9), (9, 1), (40, 30)]))
def test_rle_segmentations_of_any_kind(seed: int, size_hw: tuple[int, int]) -> None:
    mask = random_mask(seed, size_hw, share=seed % 11 / 10)
    rle = encode_mask(mask)
    flat = mask.flatten(order="F")
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat, prepend=False)), [flat.size]])
    uncompressed = {"size": list(size_hw), "counts": np.diff(edges).tolist()}
    assert segmentation_to_rle(uncompressed, size_hw) == rle
    assert segmentation_to_rle(rle, size_hw) == rle
    assert segmentation_to_rle({**rle, "counts": rle["counts"].decode()}, size_hw) == rle


def test_long_runs_and_empty_runs() -> None:
    size_hw = (5000, 7000)
    counts = [34_000_000, 3, 0, 7, 10, 0, 999_980]
    rle = segmentation_to_rle({"size": size_hw, "counts": counts}, size_hw)
    assert rle_area(rle) == 10
    assert rle_to_box_xyxy(rle).tolist() == [6800, 0, 6801, 10]
    assert segmentation_to_rle(rle, size_hw) == rle


def test_polygons() -> None:
    square, triangle = [1, 1, 4, 1, 4, 4, 1, 4], [5, 0, 8, 0, 8, 3]
    rle = segmentation_to_rle([square, [0, 0, 3, 3], triangle, []], (6, 9))
    expected = coco_mask.merge(coco_mask.frPyObjects([square, triangle], 6, 9))
    assert rle == expected
    assert decode_rle(rle)[1:4, 1:4].all()


@pytest.mark.parametrize("segmentation", [[], [[]], [[1, 1, 2, 2]]])
def test_nothing_left_is_an_empty_mask(segmentation: list) -> None:
    assert segmentation_to_rle(segmentation, (4, 5)) == encode_mask(np.zeros((4, 5), bool))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "list of polygons or an RLE dict"),
        ([1, 2, 3, 4, 5, 6], "flat list of pairs"),
        ([[1, 2, 3, 4, 5, 6, 7]], "flat list of pairs"),
        ([["a", "b", 3, 4, 5, 6]], "flat list of pairs"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite pixels"),
        ([[1, 2, 3, 4, 5, 1e12]], "finite pixels"),
        ({"counts": [20]}, "must have size and counts"),
        ({"size": [5, 4], "counts": [20]}, r"RLE size is \[5, 4\] but the image is \[4, 5\]"),
        ({"size": [4, 5], "counts": [19]}, "add up to 20"),
        ({"size": [4, 5], "counts": [21, -1]}, "add up to 20"),
        ({"size": [4, 5], "counts": [9.5, 10.5]}, "whole numbers"),
        ({"size": [4, 5], "counts": []}, "whole numbers"),
        ({"size": [4, 5], "counts": None}, "whole numbers"),
        ({"size": [4, 5], "counts": ""}, "add up to 20"),
        ({"size": [4, 5], "counts": "d"}, "add up to 20"),
        ({"size": [4, 5], "counts": "ZZZZZZZZZ0"}, "add up to 20"),
        ({"size": [4, 5], "counts": "not runs é"}, "add up to 20"),
    ],
)
def test_damaged_segmentations(segmentation: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        segmentation_to_rle(segmentation, (4, 5))


@pytest.mark.parametrize("seed", range(5))
def test_many_compressed_counts_are_checked_at_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random((int(h), int(w))) < rng.random() for h, w in rng.integers(1, 40, (30, 2))]
    texts = [encode_mask(mask)["counts"].decode() for mask in masks]
    num_pixels = [mask.size for mask in masks]
    assert are_compressed_counts_valid(texts, num_pixels).all()
    broken = list(texts)
    for position, text in enumerate(["", "o", "not runs é", "\ud800", "ZZZZZZZZZ0", "0", texts[6] + "1", "oooooooo0"]):
        broken[position] = text
    valid = are_compressed_counts_valid(broken, num_pixels)
    assert valid.tolist() == [False] * 8 + [True] * 22
    assert not are_compressed_counts_valid(texts, [size + 1 for size in num_pixels]).any()
    assert are_compressed_counts_valid([], []).shape == (0,)


@given(st.text(alphabet=[chr(48 + n) for n in range(64)], max_size=12), st.integers(1, 12), st.integers(1, 12))
def test_only_texts_of_a_mask_are_valid(text: str, height: int, width: int) -> None:
    """Whatever is called valid can be decoded and gives the same runs again."""
    if are_compressed_counts_valid([text], [height * width])[0]:
        rle = segmentation_to_rle({"size": [height, width], "counts": text}, (height, width))
        decoded = coco_mask.decode({"size": [height, width], "counts": text})
        assert (decode_rle(rle) == decoded.astype(bool)).all()
    else:
        with pytest.raises(InputError):
            segmentation_to_rle({"size": [height, width], "counts": text}, (height, width))


NUMBERS = st.one_of(
    st.integers(-(10**400), 10**400), st.floats(), st.none(), st.booleans(), st.text(max_size=3), st.integers(0, 20)
)
JSON = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=8), max_leaves=20)


@given(JSON | st.fixed_dictionaries({"size": JSON | st.just([4, 5]), "counts": JSON}) | st.lists(st.lists(NUMBERS)))
@settings(max_examples=300)
def test_anything_is_a_mask_or_one_clear_error(segmentation: object) -> None:
    try:
        rle = segmentation_to_rle(segmentation, (4, 5))
    except InputError as error:
        assert str(error).isprintable()
        with pytest.raises(InputError):
            check_segmentation(segmentation, (4, 5))
    else:
        check_segmentation(segmentation, (4, 5))
        assert decode_rle(rle).shape == (4, 5)
