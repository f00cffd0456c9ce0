"""Prompts in image pixels give the masks of SAM 2's own image predictor on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sam2.sam2_image_predictor import SAM2ImagePredictor

from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.models.prompting import PromptableImage, PromptedMasks, embed_image, segment_prompts
from no_time_to_train.models.sam2.model import Sam2MaskModel, load_sam2
from tests.test_segmenter import make_segmenter

PICTURE = np.asarray(Image.fromarray(np.random.default_rng(2).integers(0, 256, (6, 8, 3), np.uint8)).resize((320, 240)))
POINTS = np.array([[[30.5, 40], [200, 100]], [[310, 5], [8.25, 200]], [[160, 120], [0, 240]]])
LABELS = np.array([[1, 0], [1, 1], [1, 0]])
BOXES = np.array([[20, 30, 120, 200], [0, 0, 320, 240], [200.5, 60.25, 300, 90]])


@pytest.fixture(scope="module")
def model() -> Sam2MaskModel:
    return load_sam2("sam2_demo")


@pytest.fixture(scope="module")
def predictor(model: Sam2MaskModel) -> SAM2ImagePredictor:
    predictor = SAM2ImagePredictor(model.module)
    predictor._bb_feat_sizes = [(model.mask_size // shrink,) * 2 for shrink in (1, 2, 4)]
    predictor.set_image(PICTURE)
    return predictor


@pytest.fixture(scope="module")
def embedded(model: Sam2MaskModel) -> PromptableImage:
    return embed_image(model, PICTURE)


def assert_same(result: PromptedMasks, expected: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    shape = result.predicted_ious.shape
    masks, ious, logits = (
        values.reshape(*shape, *values.shape[values.ndim - end :])
        for values, end in zip(expected, (2, 0, 2), strict=True)
    )
    # A logit of 0 up to float rounding may fall to either side.
    assert (result.masks != masks.astype(bool)).sum() <= 2
    np.testing.assert_allclose(result.predicted_ious, ious, atol=1e-5)
    np.testing.assert_allclose(result.logits.numpy(), logits, atol=2e-3)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize(
    "prompts",
    [
        {"point_coords": POINTS[0, :1], "point_labels": LABELS[0, :1]},
        {"point_coords": POINTS[0], "point_labels": LABELS[0]},
        {"point_coords": POINTS, "point_labels": LABELS},
        {"box": BOXES[0]},
        {"box": BOXES},
        {"point_coords": POINTS[1], "point_labels": LABELS[1], "box": BOXES[1]},
        {"point_coords": POINTS, "point_labels": LABELS, "box": BOXES},
    ],
    ids=["click", "clicks", "clicks_of_prompts", "box", "boxes", "box_and_clicks", "boxes_and_clicks"],
)
def test_same_as_sam2s_predictor(
    model: Sam2MaskModel,
    predictor: SAM2ImagePredictor,
    embedded: PromptableImage,
    prompts: dict[str, np.ndarray],
    multimask: bool,
) -> None:
    expected = predictor.predict(**prompts, multimask_output=multimask)
    result = segment_prompts(
        model,
        embedded,
        points_xy=prompts.get("point_coords"),
        point_labels=prompts.get("point_labels"),
        boxes_xyxy=prompts.get("box"),
        multimask=multimask,
    )
    assert result.predicted_ious.shape[1] == (3 if multimask else 1)
    assert_same(result, expected)


def test_refining_a_mask_with_a_further_click(
    model: Sam2MaskModel, predictor: SAM2ImagePredictor, embedded: PromptableImage
) -> None:
    _, ious, logits = predictor.predict(POINTS[0, :1], LABELS[0, :1])
    best = ious.argmax()
    expected = predictor.predict(POINTS[0], LABELS[0], mask_input=logits[best : best + 1], multimask_output=False)

    first = segment_prompts(model, embedded, points_xy=POINTS[0, :1], point_labels=LABELS[0, :1])
    refined = segment_prompts(
        model, first.image, points_xy=POINTS[0], point_labels=LABELS[0], mask=first.best().logits[:, 0], multimask=False
    )
    assert_same(refined, expected)
    assert refined.logits.abs().max() <= 32


def test_a_mask_alone_is_a_prompt(model: Sam2MaskModel, embedded: PromptableImage) -> None:
    first = segment_prompts(model, embedded, boxes_xyxy=BOXES).best()
    again = segment_prompts(model, embedded, mask=first.logits[:, 0], multimask=False)
    assert len(again) == 3
    one = segment_prompts(model, embedded, mask=first.logits[1, 0].numpy(), multimask=False)
    np.testing.assert_allclose(one.predicted_ious[0], again.predicted_ious[1], atol=1e-5)


def test_preprocessing_is_the_predictors(
    model: Sam2MaskModel, predictor: SAM2ImagePredictor, embedded: PromptableImage, tmp_path: Path
) -> None:
    theirs = predictor.get_image_embedding()
    torch.testing.assert_close(embedded.embedding.embedding, theirs, atol=1e-4, rtol=1e-4)
    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    from_file = embed_image(model, tmp_path / "picture.png")
    assert torch.equal(from_file.embedding.embedding, embedded.embedding.embedding)
    assert from_file.image_size_hw == (240, 320)


def test_results_of_many_prompts_are_those_of_each(model: Sam2MaskModel, embedded: PromptableImage) -> None:
    together = segment_prompts(model, embedded, boxes_xyxy=BOXES.tolist())
    for i, box in enumerate(BOXES):
        alone = segment_prompts(model, embedded, boxes_xyxy=torch.from_numpy(box))
        np.testing.assert_allclose(alone.predicted_ious[0], together.predicted_ious[i], atol=1e-5)
        assert (alone.masks[0] != together.masks[i]).sum() <= 2


def test_padding_fills_up_prompts_with_fewer_points(model: Sam2MaskModel, embedded: PromptableImage) -> None:
    padded = segment_prompts(
        model, embedded, points_xy=[[[30, 40], [50, 60]], [[30, 40], [-1, -1]]], point_labels=[[1, 1], [1, -1]]
    )
    other = segment_prompts(model, embedded, points_xy=[[[30, 40], [500, 0]]], point_labels=[[1, -1]])
    np.testing.assert_allclose(padded.predicted_ious[1], other.predicted_ious[0], atol=1e-6)


class FlatModel:
    """Encodes nothing; masks 0, 1, 2 of prompt i have the predicted IoU (i + mask) % 3."""

    model_id, image_size, mask_size, device = "flat", 64, 4, torch.device("cpu")

    def __init__(self) -> None:
        self.num_encoded = 0

    def encode_images(self, images: torch.Tensor) -> list[ImageEmbedding]:
        self.num_encoded += len(images)
        return [ImageEmbedding(image[None], (image[None], image[None])) for image in images]

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, *, multimask: bool) -> MaskPrediction:
        self.prompts = prompts
        count = 3 if multimask else 1
        ious = (torch.arange(len(prompts))[:, None] + torch.arange(count)) % 3
        logits = torch.full((len(prompts), count, 4, 4), -100.0)
        logits[:, :, :2, :2] = 100.0
        return MaskPrediction(logits, ious.float())


def test_coordinates_are_scaled_to_the_models_square() -> None:
    flat = FlatModel()
    segment_prompts(flat, PICTURE, points_xy=[[160, 60]], point_labels=[1], boxes_xyxy=[32, 24, 320, 240])
    assert flat.prompts.points_xy is not None and flat.prompts.points_xy.tolist() == [[[32, 16]]]
    assert flat.prompts.boxes_xyxy is not None
    np.testing.assert_allclose(flat.prompts.boxes_xyxy, [[6.4, 6.4, 64, 64]], rtol=1e-6)


def test_the_image_is_encoded_once_and_results_are_whole() -> None:
    flat = FlatModel()
    first = segment_prompts(flat, PICTURE, boxes_xyxy=BOXES)
    segment_prompts(flat, first.image, boxes_xyxy=BOXES)
    assert flat.num_encoded == 1
    assert len(first) == 3 and first.masks.shape == (3, 3, 240, 320)
    assert first.masks[0, 0, :100, :140].all() and not first.masks[0, 0, 140:].any()
    assert (first.logits.min(), first.logits.max()) == (-32, 32)
    best = first.best()
    assert best.predicted_ious.tolist() == [[2], [2], [2]] and best.logits.shape == (3, 1, 4, 4)
    assert [len(rles) for rles in best.rles] == [1, 1, 1]


def test_no_box_gives_no_mask() -> None:
    none = segment_prompts(FlatModel(), PICTURE, boxes_xyxy=np.zeros((0, 4)))
    assert len(none) == 0 and none.masks.shape == (0, 3, 240, 320) and len(none.best()) == 0


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "nothing to segment: give points_xy"),
        ({"points_xy": [[1, 2]]}, "points_xy came without point_labels"),
        ({"point_labels": [1]}, "point_labels came without points_xy"),
        ({"points_xy": [[1, 2]], "point_labels": [1, 0]}, r"got \(1, 1, 2\) and \(1, 2\)"),
        ({"points_xy": [1, 2], "point_labels": [1]}, r"\(P, 2\) with \(P,\) for a single prompt"),
        ({"points_xy": [[1, 2]], "point_labels": [2]}, r"must be 1 .* got \[2.0\]"),
        ({"points_xy": [[321, 2]], "point_labels": [1]}, r"\(321, 2\) lies outside the image of 320x240"),
        ({"points_xy": [[1, np.nan]], "point_labels": [1]}, "lies outside"),
        ({"boxes_xyxy": [[-1, 0, 5, 5]]}, r"boxes_xyxy: \(-1, 0\) lies outside"),
        ({"boxes_xyxy": [[100, 100, 50, 60]]}, "Is it x, y, width, height"),
        ({"boxes_xyxy": [[1, 2, 3]]}, r"must be \(N, 4\), or \(4,\).*got \(1, 3\)"),
        ({"boxes_xyxy": "left half"}, "boxes_xyxy must be .* numbers, got left half"),
        ({"mask": np.zeros((8, 8))}, r"\(N, 4, 4\), got \(1, 8, 8\).*best"),
        ({"mask": np.zeros((1, 3, 4, 4))}, r"got \(1, 3, 4, 4\)"),
        ({"boxes_xyxy": BOXES, "points_xy": [[1, 2]], "point_labels": [1]}, "1 of points_xy and 3 of boxes_xyxy"),
    ],
)
def test_wrong_prompts_are_named(prompts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        segment_prompts(FlatModel(), PICTURE, **prompts)


def test_segmenter_passes_prompts_on() -> None:
    segmenter = make_segmenter()
    segmenter.mask_model = FlatModel()
    result = segmenter.segment_prompts(PICTURE, [[160, 60]], [1], multimask=False)
    assert result.predicted_ious.shape == (1, 1)
    segmenter.segment_prompts(result.image, boxes_xyxy=BOXES[0], mask=result.logits[:, 0])
    assert segmenter.mask_model.num_encoded == 1


def test_a_mask_of_nan_is_refused() -> None:
    with pytest.raises(InputError, match="mask must be logits of an earlier result, got NaN"):
        segment_prompts(FlatModel(), PICTURE, mask=np.full((4, 4), np.nan))
