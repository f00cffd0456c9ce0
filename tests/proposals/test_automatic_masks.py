"""The masks of SAM 2's own automatic generator on the same weights; and what the source makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.utils.amg import rle_to_mask

from no_time_to_train.data.images import read_image, resize_for_model
from no_time_to_train.errors import InputError
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, PromptBatch
from no_time_to_train.models.sam2.model import Sam2MaskModel, build_sam2, load_sam2
from no_time_to_train.ops.images import as_image_tensor
from no_time_to_train.ops.rle import decode_rle, encode_mask, intersection_over_self
from no_time_to_train.proposals.automatic_masks import AutomaticMasks, GeneratedMasks
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.proposals.settings import AutomaticMasksConfig
from tests.models.conftest import randomise


def demo_image(number: int) -> np.ndarray:
    return read_image(demo_data_folder() / "benchmark" / "test" / f"{number:04d}.jpg")


def sams_generator(model: Sam2MaskModel, **settings: Any) -> SAM2AutomaticMaskGenerator:
    generator = SAM2AutomaticMaskGenerator(model.module, output_mode="coco_rle", **settings)
    generator.predictor._bb_feat_sizes = [(model.mask_size // shrink,) * 2 for shrink in (1, 2, 4)]
    return generator


def assert_same_masks(ours: GeneratedMasks, theirs: list[dict[str, Any]], pixels_may_differ: int = 0) -> None:
    """Every record equal, order aside; its mask but for so many pixels."""
    theirs = sorted(theirs, key=lambda record: (record["point_coords"], record["predicted_iou"]))
    order = np.lexsort([ours.predicted_ious, ours.points_xy[:, 1], ours.points_xy[:, 0]])
    ours = ours[order]
    assert len(ours) == len(theirs)
    for rle, record in zip(ours.rles, theirs, strict=True):
        text = {"size": record["segmentation"]["size"], "counts": record["segmentation"]["counts"].encode()}
        assert rle == text or (decode_rle(rle) != decode_rle(text)).sum() <= pixels_may_differ
    np.testing.assert_allclose(ours.points_xy, [record["point_coords"][0] for record in theirs])
    np.testing.assert_allclose(ours.predicted_ious, [record["predicted_iou"] for record in theirs], atol=1e-4)
    np.testing.assert_allclose(ours.stability_scores, [record["stability_score"] for record in theirs], atol=2e-3)
    for boxes, key, end in ((ours.boxes_xyxy, "bbox", 1), (ours.crop_boxes_xyxy, "crop_box", 0)):
        as_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2] - end], axis=1)
        np.testing.assert_array_equal(as_xywh, [record[key] for record in theirs])


@pytest.fixture(scope="module")
def demo_model() -> Sam2MaskModel:
    return load_sam2("sam2_demo")


@pytest.fixture(scope="module")
def plain_demo_model() -> Sam2MaskModel:
    return load_sam2("sam2_demo", decoder="plain", prompts_per_batch=64)


DEMO = {"pred_iou_thresh": 0.6, "stability_score_thresh": 0.85, "stability_score_offset": 0.3}
"""The small model is less sure of its masks, and its logits are smaller."""


NMS = {
    "points_per_side": 6,
    "box_nms_thresh": 0.4,
    "crop_n_layers": 1,
    "crop_nms_thresh": 0.3,
    "crop_overlap_ratio": 0.5,
}


@pytest.mark.parametrize(
    ("picture", "settings"),
    [
        pytest.param(3, {"points_per_side": 9}, id="plain"),
        pytest.param(11, {"points_per_side": 8, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2}, id="crops"),
        pytest.param(3, NMS, id="nms"),
        pytest.param(11, {"points_per_side": 8, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.6}, id="loose"),
        pytest.param(
            3, {"points_per_side": 5, "pred_iou_thresh": -1.0, "stability_score_thresh": 0.0}, id="everything"
        ),
    ],
)
def test_same_masks_as_sam2(
    demo_model: Sam2MaskModel, plain_demo_model: Sam2MaskModel, picture: int, settings: dict[str, Any]
) -> None:
    pixels = demo_image(picture)
    settings = DEMO | settings
    theirs = [record for record in sams_generator(demo_model, **settings).generate(pixels) if record["area"]]
    assert len(theirs) >= 3
    assert_same_masks(AutomaticMasks(**settings).generate(pixels, plain_demo_model), theirs)
    # The folded decoder rounds otherwise: a logit of 0 up to that may fall to either side.
    assert_same_masks(AutomaticMasks(**settings).generate(pixels, demo_model), theirs, pixels_may_differ=1)


def test_sams_default_thresholds(demo_model: Sam2MaskModel) -> None:
    pixels = demo_image(11)
    theirs = sams_generator(demo_model, points_per_side=12, stability_score_offset=0.3).generate(pixels)
    assert len(theirs) >= 1
    assert_same_masks(AutomaticMasks(12, stability_score_offset=0.3).generate(pixels, demo_model), theirs)


def test_small_regions_are_removed_as_by_sam(demo_model: Sam2MaskModel) -> None:
    pytest.importorskip("cv2")
    pixels, settings = demo_image(3), DEMO | {"points_per_side": 8, "stability_score_thresh": 0.6}
    generator = sams_generator(demo_model, **settings)
    data = generator._generate_masks(pixels)
    num_before, counts_before = len(data["rles"]), [rle["counts"] for rle in data["rles"]]
    cleaned = generator.postprocess_small_regions(data, 60, 0.7)
    assert any(rle["counts"] not in counts_before for rle in cleaned["rles"]), "nothing to remove is easy to match"
    ours = AutomaticMasks(**settings, min_mask_region_area=60).generate(pixels, demo_model)
    assert [rle["counts"] for rle in ours.rles] == [encode_mask(rle_to_mask(rle))["counts"] for rle in cleaned["rles"]]
    assert len(ours) <= num_before


@pytest.mark.slow
@pytest.mark.parametrize("crop_n_layers", [0, 1])
def test_same_masks_as_a_full_size_sam2(crop_n_layers: int) -> None:
    torch.manual_seed(0)
    spec = get_spec("sam2.1_tiny")
    module = build_sam2(spec)
    randomise(module.sam_mask_decoder, seed=4)
    randomise(module.sam_prompt_encoder, seed=5)
    model = Sam2MaskModel(module, model_id=spec.name)
    settings = {
        "points_per_side": 4,
        "crop_n_layers": crop_n_layers,
        "crop_n_points_downscale_factor": 2,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "stability_score_offset": 0.01,
        "box_nms_thresh": 1.0,  # the masks are noise all over the picture
        "crop_nms_thresh": 1.0,
    }
    pixels = demo_image(5)
    theirs = [record for record in sams_generator(model, **settings).generate(pixels) if record["area"]]
    # Noise reaches the edge of every crop, where both drop it; the demo model's crops are compared above.
    assert len(theirs) >= 32
    assert_same_masks(AutomaticMasks(**settings).generate(pixels, model), theirs, pixels_may_differ=3)


class DiscModel:
    """Gives every point a small, a middle and a large disc around it, of falling predicted IoU."""

    model_id, image_size, mask_size, device = "discs", 64, 16, torch.device("cpu")
    radii = (0.1, 0.2, 0.6)  # in sides of the square

    def __init__(self) -> None:
        self.encoded: list[tuple[int, ...]] = []

    def encode_images(self, images: torch.Tensor) -> list[ImageEmbedding]:
        self.encoded += [tuple(image.shape) for image in images]
        return [ImageEmbedding(image[None], (image[None], image[None])) for image in images]

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        assert prompts.points_xy is not None
        cells = (torch.arange(16) + 0.5) / 16
        x, y = (prompts.points_xy[:, 0] / 64).unbind(1)
        distance = torch.hypot(cells[None, None] - x[:, None, None], cells[None, :, None] - y[:, None, None])
        logits = 50 * (torch.tensor(self.radii)[None, :, None, None] - distance[:, None])
        ious = torch.tensor([0.9, 0.8, 0.7]).expand(len(prompts), 3)
        kept = ious > min_predicted_iou
        return BestMasks(logits[kept], ious[kept], kept.nonzero()[:, 0])


def encoded(pixels: np.ndarray | None, model: DiscModel, size_hw: tuple[int, int] = (80, 160)) -> EncodedImage:
    blank = torch.zeros(1, 1, 1, 1)
    return EncodedImage(size_hw, torch.zeros(4, 4, 2), ImageEmbedding(blank, (blank, blank)), pixels=pixels)


PICTURE = np.zeros((80, 160, 3), np.uint8)


def test_thresholds_and_nms_of_known_masks() -> None:
    every = AutomaticMasks(points_per_side=2, pred_iou_thresh=0.75, stability_score_thresh=0.0, box_nms_thresh=1.0)
    masks = every.generate(PICTURE, DiscModel())
    assert len(masks) == 8 and masks.predicted_ious.tolist() == pytest.approx([0.9] * 4 + [0.8] * 4)
    assert masks.points_xy.tolist() == [[40, 20], [120, 20], [40, 60], [120, 60]] * 2
    assert masks.masks.shape == (8, 80, 160) and masks[:0].boxes_xyxy.shape == (0, 4)
    # The boxes of discs of radius 0.1 and 0.2 have an IoU of about a quarter.
    alone = AutomaticMasks(points_per_side=2, pred_iou_thresh=0.75, stability_score_thresh=0.0, box_nms_thresh=0.2)
    assert alone.generate(PICTURE, DiscModel()).predicted_ious.tolist() == pytest.approx([0.9] * 4)
    # Moving the edge by 1 / 50 changes a small disc's area more than a large one's.
    stable = AutomaticMasks(points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.75, box_nms_thresh=1.0)
    assert stable.generate(PICTURE, DiscModel()).predicted_ious.tolist() == pytest.approx([0.7] * 4)


def test_source_keeps_the_embedding_and_the_logits_of_the_whole_image() -> None:
    model = DiscModel()
    source = AutomaticMasks(points_per_side=2, stability_score_thresh=0.0, pred_iou_thresh=0.85)
    proposals = source.propose(encoded(None, model), model)
    assert model.encoded == []
    expected = model.predict_above(
        ImageEmbedding(*(torch.zeros(1), (torch.zeros(1),) * 2)),
        PromptBatch.of_clicks(torch.tensor([[16.0, 16], [48, 16], [16, 48], [48, 48]])),
        min_predicted_iou=0.85,
    )
    assert torch.equal(proposals.logits, expected.logits)
    assert proposals.rles is not None and proposals.rles[0]["size"] == [80, 160]
    assert source.needs == {"embedding"}


def test_source_places_masks_of_crops_on_the_grid() -> None:
    model = DiscModel()
    source = AutomaticMasks(
        points_per_side=2, stability_score_thresh=0.0, pred_iou_thresh=0.85, crop_n_layers=1, crop_overlap_ratio=0.5
    )
    proposals = source.propose(encoded(PICTURE, model), model)
    assert model.encoded == [(3, 64, 64)] * 4  # the crops; the whole image is encoded already
    assert proposals.rles is not None
    cell_hw = (80 // 16, 160 // 16)
    for logits, rle in zip(proposals.logits > 0, proposals.rles, strict=True):
        enlarged = logits.numpy().repeat(cell_hw[0], axis=0).repeat(cell_hw[1], axis=1)
        overlap = intersection_over_self([rle, encode_mask(enlarged)])
        assert overlap[0, 1] > 0.5 and overlap[1, 0] > 0.5
    with pytest.raises(InputError, match="needs the image's pixels"):
        source.propose(encoded(None, model), model)


def test_removed_regions_are_removed_on_the_grid_too() -> None:
    class Ring(DiscModel):
        radii = (0.4, 0.4, 0.4)

        def predict_above(self, *arguments: Any, min_predicted_iou: float) -> BestMasks:
            found = super().predict_above(*arguments, min_predicted_iou=min_predicted_iou)
            found.logits[:, 7:9, 7:9] = -1  # a hole in the middle
            return found

    settings = {"points_per_side": 1, "stability_score_thresh": 0.0}
    with_hole = AutomaticMasks(**settings).propose(encoded(None, Ring()), Ring())
    filled = AutomaticMasks(**settings, min_mask_region_area=1000).propose(encoded(None, Ring()), Ring())
    assert not (with_hole.logits[0, 7:9, 7:9] > 0).any()
    assert (filled.logits[0, 7:9, 7:9] > 0).all() and filled.rles is not None
    assert decode_rle(filled.rles[0])[40, 80]


def test_no_mask_is_no_proposal() -> None:
    proposals = AutomaticMasks(points_per_side=2, pred_iou_thresh=1.0).propose(encoded(None, DiscModel()), DiscModel())
    assert proposals.logits.shape == (0, 16, 16) and proposals.rles == ()


def test_settings_come_from_the_config() -> None:
    source = AutomaticMasks.from_config(AutomaticMasksConfig(points_per_side=7, crop_n_layers=2, box_nms_thresh=0.6))
    assert (source.points_per_side, source.crop_n_layers, source.box_nms_thresh) == (7, 2, 0.6)
    assert AutomaticMasks.from_config(AutomaticMasksConfig()) == AutomaticMasks()


def test_crops_without_points_are_refused() -> None:
    with pytest.raises(InputError, match="leaves no point in the crops of layer 2"):
        AutomaticMasks(points_per_side=8, crop_n_layers=2, crop_n_points_downscale_factor=4)


def test_source_and_generator_nearly_agree_on_the_whole_image(demo_model: Sam2MaskModel) -> None:
    """They differ in how the picture is resampled, and in nothing else."""
    pixels = demo_image(11)
    square = as_image_tensor(resize_for_model(pixels, demo_model.image_size))
    image = EncodedImage(pixels.shape[:2], torch.zeros(4, 4, 2), demo_model.encode_images(square[None])[0])
    source = AutomaticMasks(points_per_side=8, **DEMO)
    proposed, generated = source.propose(image, demo_model).rles, source.generate(pixels, demo_model).rles
    assert proposed is not None
    overlaps = intersection_over_self([*proposed, *generated])[: len(proposed), len(proposed) :]
    assert (overlaps.max(axis=1) > 0.9).mean() > 0.8
