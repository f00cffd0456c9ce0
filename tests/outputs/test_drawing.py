from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import encode_mask, rle_to_box_xyxy
from no_time_to_train.outputs import drawing
from no_time_to_train.outputs.drawing import category_color, draw_detections, draw_masks, draw_reference, image_sheet
from no_time_to_train.structures import Category, Detections


def one_detection(size_hw: tuple[int, int], box: tuple[int, int, int, int], category_id: int = 3) -> Detections:
    mask = np.zeros(size_hw, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    rle = encode_mask(mask)
    return Detections(
        rles=(rle,),
        boxes_xyxy=rle_to_box_xyxy(rle)[None],
        scores=np.array([0.9], np.float32),
        category_ids=np.array([category_id]),
        predicted_ious=np.array([0.8], np.float32),
        image_size_hw=size_hw,
        categories=(Category(category_id, "boat"),),
    )


@pytest.mark.parametrize(
    ("size_hw", "drawn_hw"),
    [((60, 80), (480, 640)), ((800, 1000), (800, 1000)), ((2000, 3200), (1000, 1600)), ((4000, 10), (1600, 4))],
)
def test_pictures_have_a_size_at_which_labels_can_be_read(size_hw, drawn_hw) -> None:
    image = np.full((*size_hw, 3), 100, np.uint8)
    assert draw_detections(image, Detections.empty(size_hw)).shape == (*drawn_hw, 3)


def test_masks_are_tinted_outlined_and_nothing_else_changes() -> None:
    image = np.full((1000, 1000, 3), 100, np.uint8)
    before = image.copy()
    drawn = draw_detections(image, one_detection((1000, 1000), (300, 400, 700, 800)))
    color = category_color(3)
    assert (image == before).all()
    assert (drawn[600, 300] == color).all()  # on the contour
    assert (drawn[600, 297] == 100).all() and (drawn[810:] == 100).all()
    expected = 100 + 0.42 * (np.array(color) - 100.0)
    assert np.abs(drawn[600, 500] - expected).max() <= 1
    chip = drawn[370:400, 300:330].reshape(-1, 3)
    assert (chip == color).all(axis=1).mean() > 0.3  # the label's background, above the box


def test_a_small_mask_of_a_large_photo_stays_visible() -> None:
    image = np.full((2000, 3200, 3), 100, np.uint8)
    drawn = draw_detections(image, one_detection((2000, 3200), (2000, 1200, 2010, 1210)))
    assert (drawn[598:607, 998:1007] != 100).any()


@pytest.mark.parametrize("size_hw", [(90, 120), (700, 500), (2000, 3200)])
def test_a_mask_is_painted_as_on_the_whole_canvas(size_hw: tuple[int, int]) -> None:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    disc = ((rows / size_hw[0] - 0.3) ** 2 + (columns / size_hw[1] - 0.95) ** 2) < 0.02  # cut off by the border
    canvas, _ = drawing._canvas(np.full((*size_hw, 3), 100, np.uint8))
    whole = np.asarray(
        Image.fromarray(disc.view(np.uint8) * np.uint8(255)).resize(canvas.shape[1::-1], Image.Resampling.BILINEAR)
    )
    mask_rows, mask_columns = drawing._surroundings(np.asfortranarray(disc), canvas.shape, line=2)
    part = drawing._resized(np.asfortranarray(disc), canvas.shape, mask_rows, mask_columns)
    assert np.abs(part - whole[mask_rows, mask_columns]).max() <= 1  # rounding
    outside = whole.copy()
    outside[mask_rows, mask_columns] = 0
    assert not outside.any()
    drawing._paint(canvas, np.zeros(size_hw, bool), (255, 0, 0))
    assert (canvas == 100).all()


@pytest.mark.parametrize("size_hw", [(7001, 3400), (13, 9000), (5000, 5003)])
def test_a_very_large_image_is_made_smaller_in_strips(size_hw: tuple[int, int], monkeypatch) -> None:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    waves = np.sin(rows / 90) + np.cos(columns / 70)
    image = np.repeat((waves * 60 + 128).astype(np.uint8)[..., None], 3, axis=2)
    monkeypatch.setattr(drawing, "_STRIP_PX", 10**6)
    canvas, _ = drawing._canvas(image)
    at_once = np.asarray(Image.fromarray(image).resize(canvas.shape[1::-1], Image.Resampling.LANCZOS))
    assert np.abs(canvas.astype(int) - at_once).max() <= 3


def test_labels_stay_inside_and_apart() -> None:
    image = np.full((640, 640, 3), 100, np.uint8)
    pair = one_detection((640, 640), (0, 0, 640, 640))
    twice = Detections(
        rles=pair.rles * 2,
        boxes_xyxy=np.repeat(pair.boxes_xyxy, 2, axis=0),
        scores=np.array([0.9, 0.8], np.float32),
        category_ids=np.array([3, 4]),
        predicted_ious=np.ones(2, np.float32),
        image_size_hw=(640, 640),
        categories=(Category(3, "boat"), Category(4, "x" * 500)),
    )
    drawn = draw_detections(image, twice)
    for category_id in (3, 4):
        assert (drawn == category_color(category_id)).all(axis=2).sum() > 200


def test_detections_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match="another|this one is"):
        draw_detections(np.zeros((10, 20, 3), np.uint8), Detections.empty((20, 10)))


def test_colors_are_stable_and_distinct() -> None:
    colors = np.array([category_color(number) for number in range(1, 21)], int)
    distances = np.abs(colors[:, None] - colors[None]).sum(axis=2) + 1000 * np.eye(20, dtype=int)
    assert distances.min() > 20
    assert category_color(9) == category_color(9)


def test_reference_is_cut_out_with_its_mask_or_box() -> None:
    image = np.full((400, 400, 3), 100, np.uint8)
    detection = one_detection((400, 400), (100, 100, 200, 200))
    box = (100.0, 100.0, 200.0, 200.0)
    with_mask = draw_reference(image, box, "boat", 3, detection.rles[0], context_ratio=1.0)
    with_box = draw_reference(image, box, "boat", 3, context_ratio=1.0)
    assert with_mask.shape == with_box.shape == (640, 640, 3)
    assert (with_mask[320, 320] != 100).any() and (with_box[320, 320] == 100).all()
    assert (with_box[320, 160] == category_color(3)).all()


def test_sheet() -> None:
    red = np.zeros((50, 100, 3), np.uint8)
    red[..., 0] = 255
    sheet = image_sheet([red] * 3, columns=2, cell_px=100, gap_px=10)
    assert sheet.shape == (230, 230, 3)
    assert (sheet[60, 60] == (255, 0, 0)).all() and (sheet[170, 60] == (255, 0, 0)).all()
    assert (sheet[170, 170] == 255).all()  # the empty cell
    assert (sheet[20, 60] == 255).all()  # a wide picture leaves its square cell's top free
    with pytest.raises(ValueError, match="at least one image"):
        image_sheet([], columns=2)


def test_class_free_masks_have_colors_of_their_own_and_small_ones_are_in_front() -> None:
    image = np.full((800, 800, 3), 100, np.uint8)
    small, large = (one_detection((800, 800), box).rles[0] for box in ((300, 300, 400, 400), (200, 200, 700, 700)))
    drawn = draw_masks(image, [small, large])
    assert (drawn[350, 300] == category_color(0)).all()  # the small one's contour, on the large one
    assert (drawn[450, 200] == category_color(1)).all()
    assert (drawn[100] == 100).all() and (image == 100).all()
    assert (draw_masks(image, []) == image).all()


def test_tracks_have_colors_and_numbers_of_their_own() -> None:
    image = np.full((640, 640, 3), 100, np.uint8)
    detection = one_detection((640, 640), (200, 200, 400, 400))
    by_category, seventh, eighth = (draw_detections(image, detection, ids) for ids in (None, [7], [8]))
    assert (by_category[300, 200] == category_color(3)).all()
    assert (seventh[300, 200] == category_color(7)).all() and (eighth[300, 200] == category_color(8)).all()
    assert (draw_detections(image, detection, [3]) != by_category).any()  # the number in the label


def test_what_cannot_be_drawn_says_what_must_be() -> None:
    gray = np.full((40, 50), 90, np.uint8)
    assert draw_detections(gray, Detections.empty((40, 50))).shape[2] == 3
    with pytest.raises(InputError, match="image must be .* got NoneType"):
        draw_detections(None, Detections.empty((40, 50)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="detections must be what Segmenter.segment returns, got list"):
        draw_detections(gray, [])  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"detections are of a \(4, 5\) image"):
        draw_detections(gray, Detections.empty((4, 5)))
