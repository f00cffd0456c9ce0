"""The whole pipeline around two small fake networks, whose answers are known or compared with the plain method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from no_time_to_train.build import build_proposals, compose_config
from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, PromptBatch
from no_time_to_train.ops.rle import encode_mask, rle_area
from no_time_to_train.proposals.interfaces import MaskProposals, ProposalSource
from no_time_to_train.references.memory_bank_builder import MemoryBankBuilder
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, Detections, ReferenceInstance, ReferenceSet
from tests.parity.paper_reference import paper_reference

CATEGORIES = (Category(7, "red"), Category(3, "green"), Category(5, "blue"))


class ColorEncoder:
    """The mean color of each patch is its feature."""

    model_id, image_size, patch_size, feature_dim, device = "color", 32, 4, 3, torch.device("cpu")

    def encode(self, images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images, self.patch_size).permute(0, 2, 3, 1).contiguous()


class SquareMaskModel:
    """A point gets a smooth blob around it, of random size and predicted IoU."""

    model_id, image_size, mask_size, device = "squares", 64, 16, torch.device("cpu")

    def encode_images(self, images: Tensor) -> list[ImageEmbedding]:
        return [ImageEmbedding(image[None], (image[None], image[None])) for image in images]

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        assert prompts.points_xy is not None
        cells = (torch.arange(self.mask_size) + 0.5) * self.image_size / self.mask_size
        x, y = prompts.points_xy[:, 0, 0, None, None], prompts.points_xy[:, 0, 1, None, None]
        radius = 6 + 10 * torch.rand(len(prompts), 1, 1, generator=torch.Generator().manual_seed(0))
        logits = radius - torch.hypot(cells[None, None, :] - x, 1.3 * (cells[None, :, None] - y))
        ious = torch.rand(len(prompts), generator=torch.Generator().manual_seed(1))
        kept = torch.nonzero(ious > min_predicted_iou).flatten()
        return BestMasks(logits[kept], ious[kept], kept)


class FixedProposals(ProposalSource):
    """The same masks for every image."""

    def __init__(self, logits: Tensor, predicted_ious: Tensor) -> None:
        self.proposals = MaskProposals(logits, predicted_ious)

    def propose(self, image: object, mask_model: object, prototypes: Tensor | None = None) -> MaskProposals:
        return self.proposals


def make_segmenter(*overrides: str, proposals: FixedProposals | None = None) -> Segmenter:
    config = compose_config(["preset=paper", "encoder.image_size=32", "proposals.points_per_side=6", *overrides])
    return Segmenter(ColorEncoder(), SquareMaskModel(), config, proposals=proposals or build_proposals(config))


def make_memory(categories: tuple[Category, ...] = CATEGORIES, **instances: list[list[float]]):
    builder = MemoryBankBuilder(categories, 3, keep_instances=True)
    for category in categories:
        for vector in instances.get(category.name, []):
            builder.add(category, torch.tensor(vector))
    return builder.build(encoder_id="color", encoder_image_size=32)


PRIMARIES = {"red": [[1.0, 0.1, 0.0]], "green": [[0.0, 1.0, 0.2]], "blue": [[0.1, 0.0, 1.0], [0.0, 0.3, 0.8]]}


def random_image(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(("seed", "height", "width"), [(0, 40, 60), (1, 100, 30), (2, 11, 200), (3, 9, 12)])
def test_paper_preset_equals_the_plain_method(seed: int, height: int, width: int) -> None:
    segmenter = make_segmenter()
    memory = make_memory(**PRIMARIES)
    picture = random_image(seed, height, width)
    detections = segmenter.segment(picture, memory)

    [encoded] = segmenter.encode([picture])
    pooled = segmenter.propose(encoded)
    expected = paper_reference(
        pooled.masks, pooled.predicted_ious, encoded.features, memory.class_means()[0], (height, width)
    )
    assert len(detections) == len(expected.scores) > 3
    np.testing.assert_allclose(detections.scores, expected.scores, atol=1e-5)
    assert detections.category_ids.tolist() == [CATEGORIES[i].id for i in expected.category_indices]
    np.testing.assert_array_equal(detections.boxes_xyxy, expected.boxes_inclusive_xyxy)
    np.testing.assert_array_equal(detections.masks, expected.masks)
    np.testing.assert_allclose(detections.predicted_ious, expected.predicted_ious)


def test_half_open_boxes_are_one_pixel_longer() -> None:
    # NMS looks at boxes of the mask grid, so the two conventions may keep different masks: compare without it.
    picture, memory = random_image(0, 40, 60), make_memory(**PRIMARIES)
    paper, ours = (
        make_segmenter("merging.nms_iou_threshold=1", f"output.box_convention={convention}").segment(picture, memory)
        for convention in ("inclusive", "half_open")
    )
    np.testing.assert_array_equal(ours.boxes_xyxy - paper.boxes_xyxy, np.tile([0, 0, 1, 1], (len(ours), 1)))


def test_encoder_sees_the_mask_models_square_made_smaller() -> None:
    segmenter = make_segmenter()
    picture = random_image(4, 50, 90)
    [encoded] = segmenter.encode([picture])
    square = np.asarray(Image.fromarray(picture).resize((64, 64), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255
    smaller = torch.nn.functional.interpolate(tensor, size=(32, 32), mode="bicubic", align_corners=False)
    torch.testing.assert_close(encoded.features, ColorEncoder().encode(smaller)[0])


def test_tiles_join_the_whole_image() -> None:
    """A white dot of ten pixels in a dark image of 400 x 400 is nearly nothing in the whole image."""
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[100:110, 100:110] = 255
    plain, tiled = make_segmenter(), make_segmenter("tiles=100")
    [whole] = plain.encode([picture])
    without, with_tiles = plain.propose(whole), tiled.propose(whole)
    assert with_tiles.rles()[: len(without)] == without.rles()
    torch.testing.assert_close(with_tiles.features[: len(without)], without.features)
    assert 5 * without.features.max() < with_tiles.features.max()
    areas = [rle_area(rle) for rle in with_tiles.rles()]
    assert max(areas[len(without) :]) < min(areas[: len(without)])
    memory = make_memory(**PRIMARIES)
    assert tiled.segment(picture, memory).image_size_hw == (400, 400)


def test_images_of_the_size_of_a_tile_are_not_cut() -> None:
    picture, memory = random_image(3, 64, 50), make_memory(**PRIMARIES)
    [whole] = make_segmenter().encode([picture])
    for tiles in ("auto", "64"):
        assert len(make_segmenter(f"tiles={tiles}").propose(whole)) == len(make_segmenter().propose(whole))
    assert len(make_segmenter("tiles=auto").segment(picture, memory)) == len(make_segmenter().segment(picture, memory))


def test_batch_equals_one_by_one() -> None:
    segmenter, memory = make_segmenter(), make_memory(**PRIMARIES)
    pictures = [random_image(seed, 40 + seed, 60 - seed) for seed in range(3)]
    for together, alone in zip(
        segmenter.segment_batch(pictures, memory), [segmenter.segment(p, memory) for p in pictures], strict=True
    ):
        np.testing.assert_array_equal(together.scores, alone.scores)
        assert together.rles == alone.rles
    assert segmenter.segment_batch([], memory) == []


def test_a_file_gives_what_its_array_gives(tmp_path: Path) -> None:
    segmenter, memory = make_segmenter(), make_memory(**PRIMARIES)
    picture = random_image(5, 30, 40)
    Image.fromarray(picture).save(tmp_path / "p.png")
    from_file, from_array = segmenter.segment(tmp_path / "p.png", memory), segmenter.segment(picture, memory)
    np.testing.assert_array_equal(from_file.scores, from_array.scores)


def test_background_is_matched_and_never_output() -> None:
    categories = (Category(1, "red"), Category(2, "_background"))
    memory = make_memory(categories, red=[[1.0, 0.0, 0.0]], _background=[[0.0, 0.0, 1.0]])
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32, 0] = 255
    picture[:, 32:, 2] = 255
    detections = make_segmenter("merging=none", "merging.nms_iou_threshold=1").segment(picture, memory)
    assert len(detections) and set(detections.category_ids) == {1}
    assert [category.name for category in detections.categories] == ["red"]
    # What lies right of the middle is nearer to the background, so no detection is centerd there.
    assert ((detections.boxes_xyxy[:, 0] + detections.boxes_xyxy[:, 2]) / 2 < 36).all()


def test_category_without_references_never_wins_and_nothing_is_nan() -> None:
    memory = make_memory(red=[[1.0, 0.1, 0.0]])
    detections = make_segmenter().segment(random_image(0, 40, 60), memory)
    assert set(detections.category_ids) == {7}
    assert np.isfinite(detections.scores).all()


def test_memory_without_any_reference_gives_no_detection() -> None:
    assert len(make_segmenter().segment(random_image(0, 40, 60), make_memory())) == 0


def test_no_proposal_gives_no_detection() -> None:
    none = FixedProposals(torch.zeros(0, 16, 16), torch.zeros(0))
    detections = make_segmenter(proposals=none).segment(random_image(0, 40, 60), make_memory(**PRIMARIES))
    assert len(detections) == 0
    assert detections.masks.shape == (0, 40, 60)


def test_empty_and_one_pixel_masks() -> None:
    logits = torch.full((3, 16, 16), -1.0)
    logits[1, 3, 4] = 1.0
    logits[2, 8:12, 8:12] = 1.0
    fixed = FixedProposals(logits, torch.tensor([0.9, 0.8, 0.7]))
    white = np.full((160, 160, 3), 255, np.uint8)
    detections = make_segmenter(proposals=fixed).segment(white, make_memory(**PRIMARIES))
    assert len(detections) == 2  # the empty mask has no feature, so no score
    assert np.isfinite(detections.scores).all() and np.isfinite(detections.boxes_xyxy).all()
    # On a picture smaller than the mask grid the one-pixel mask vanishes.
    assert len(make_segmenter(proposals=fixed).segment(white[:4, :4], make_memory(**PRIMARIES))) <= 2


def test_at_most_max_detections() -> None:
    detections = make_segmenter("merging.max_detections=2").segment(random_image(0, 40, 60), make_memory(**PRIMARIES))
    assert len(detections) == 2


@pytest.mark.parametrize("merging", ["hard", "soft", "semantic_soft", "graph_diffusion", "none"])
@pytest.mark.parametrize("matching", ["class_mean", "nearest_centers", "nearest_instances"])
def test_every_matching_goes_with_every_merging(matching: str, merging: str) -> None:
    segmenter = make_segmenter(f"matching={matching}", f"merging={merging}")
    detections = segmenter.segment(random_image(0, 40, 60), make_memory(**PRIMARIES))
    assert len(detections)
    assert ((detections.scores > 0) & (detections.scores <= 1)).all()
    assert (np.diff(detections.scores) <= 0).all()


def test_predicted_ious_join_the_score() -> None:
    fixed = FixedProposals(torch.ones(1, 16, 16), torch.tensor([0.5]))
    white, memory = np.full((40, 40, 3), 255, np.uint8), make_memory(**PRIMARIES)
    paper, squared = (
        make_segmenter(f"scoring.predicted_iou_exponent={exponent}", proposals=fixed).segment(white, memory)
        for exponent in (0, 2)
    )
    np.testing.assert_allclose(squared.scores, paper.scores * 0.25)


def test_the_rank_chooses_among_repeated_masks() -> None:
    logits = torch.full((2, 16, 16), -1.0)
    logits[0, 2:12, 2:12], logits[1, 2:12, 3:12] = 1.0, 1.0
    fixed = FixedProposals(logits, torch.tensor([0.6, 0.7]))
    picture = np.full((160, 160, 3), 255, np.uint8)
    picture[20:120, 20:40] = (255, 0, 0)  # only the first mask has it all: it looks more like red
    memory = make_memory(red=[[1.0, 0.0, 0.0]])
    by_iou = make_segmenter(proposals=fixed).segment(picture, memory)
    by_looks = make_segmenter(
        "scoring.rank_similarity_exponent=1", "scoring.rank_predicted_iou_exponent=0", proposals=fixed
    ).segment(picture, memory)
    np.testing.assert_allclose(by_iou.predicted_ious, [0.7])
    np.testing.assert_allclose(by_looks.predicted_ious, [0.6])


def test_one_object_keeps_one_category_where_that_is_asked_for() -> None:
    settings = ("matching.labels_per_mask=3", "merging=none", "merging.nms_iou_threshold=1")
    picture, memory = random_image(0, 40, 60), make_memory(**PRIMARIES)
    every = make_segmenter(*settings).segment(picture, memory)
    single = make_segmenter(*settings, "merging.across_categories=true", "merging.across_categories_iou=1")
    found = single.segment(picture, memory)

    def masks(detections: Detections) -> list[bytes]:
        return [rle["counts"] for rle in detections.rles]

    assert len(set(masks(found))) == len(found) < len(every)
    assert set(masks(found)) == set(masks(every))
    assert found.scores[0] == every.scores[0]


def test_several_labels_per_mask() -> None:
    one = make_segmenter("merging=none", "merging.nms_iou_threshold=1")
    all_labels = make_segmenter("merging=none", "merging.nms_iou_threshold=1", "matching.labels_per_mask=3")
    picture, memory = random_image(0, 40, 60), make_memory(**PRIMARIES)
    assert len(all_labels.segment(picture, memory)) == 3 * len(one.segment(picture, memory))


def test_memory_of_another_encoder_is_refused() -> None:
    builder = MemoryBankBuilder(CATEGORIES, 3)
    builder.add(CATEGORIES[0], torch.ones(3))
    memory = builder.build(encoder_id="dinov2_large", encoder_image_size=518)
    with pytest.raises(InputError, match="was made with dinov2_large; this run uses color"):
        make_segmenter().segment(random_image(0, 40, 60), memory)


def test_a_memory_may_be_its_file(tmp_path: Path) -> None:
    memory = make_memory(**PRIMARIES)
    memory.save(tmp_path / "m.safetensors")
    picture, segmenter = random_image(0, 40, 60), make_segmenter()
    expected = segmenter.segment(picture, memory).to_json()
    assert segmenter.segment(picture, tmp_path / "m.safetensors").to_json() == expected


@pytest.mark.parametrize("given", [None, {}, ReferenceSet((), ())])
def test_what_is_no_memory_says_what_must_be(given: Any) -> None:
    with pytest.raises(InputError, match="memory must be a MemoryBank or its file, got .*build_memory"):
        make_segmenter().segment(random_image(0, 40, 60), given)
    with pytest.raises(InputError, match="references must be a file, a folder or what ntt.load_references gives"):
        make_segmenter().build_memory(3)  # type: ignore[arg-type]


def test_references_to_detections(tmp_path: Path) -> None:
    """From a picture with a mask to detections of the same thing elsewhere."""
    reference = np.zeros((40, 40, 3), np.uint8)
    reference[10:30, 10:30] = (255, 0, 0)
    Image.fromarray(reference).save(tmp_path / "reference.png")
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    red = Category(4, "red")
    references = ReferenceSet(
        (red,), (ReferenceInstance(tmp_path / "reference.png", 1, 1, red, (10, 10, 30, 30), encode_mask(mask)),)
    )
    segmenter = make_segmenter()
    progress: list[tuple[int, int]] = []
    memory = segmenter.build_memory(references, on_progress=lambda done, total: progress.append((done, total)))
    assert progress[-1] == (1, 1)
    vector = memory.class_means()[0][0]
    # Not quite pure red: patches at the object's edge hold some of the black around it.
    assert vector[0] > 0.8 and vector[1:].abs().max() < 0.05
    target = np.full((64, 64, 3), 128, np.uint8)
    target[16:48, 16:48] = (255, 0, 0)
    best = segmenter.segment(target, memory)[0]
    assert best.category_names == ["red"] and best.scores[0] > 0.85
    center = (best.boxes_xyxy[0, :2] + best.boxes_xyxy[0, 2:]) / 2
    assert ((center > 16) & (center < 48)).all()
