from __future__ import annotations

import numpy as np
import pytest
import torch

from no_time_to_train.build import build_proposals, compose_config
from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, PromptBatch
from no_time_to_train.ops.rle import decode_rle
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.proposals.semantic_clusters import SemanticClusters
from no_time_to_train.segmenter import Segmenter
from tests.test_segmenter import ColorEncoder


class BoxMaskModel:
    """Stands for a mask model: a box prompt gives the box as mask, its predicted IoU falls with every prompt."""

    model_id, image_size, mask_size, device = "fake", 64, 16, torch.device("cpu")

    def encode_images(self, images: torch.Tensor) -> list[ImageEmbedding]:
        return [ImageEmbedding(image[None], (image[None], image[None])) for image in images]

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        assert prompts.boxes_xyxy is not None and prompts.points_xy is None
        self.boxes = prompts.boxes_xyxy
        logits = torch.full((len(prompts), 16, 16), -1.0)
        for mask, (x1, y1, x2, y2) in zip(logits, (self.boxes / 4).int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        ious = 1 - torch.arange(len(prompts)) / 10
        kept = torch.nonzero(ious > min_predicted_iou).flatten()
        return BestMasks(logits[kept], ious[kept], kept)


def encoded(features: torch.Tensor) -> EncodedImage:
    blank = torch.zeros(1, 1, 1, 1)
    return EncodedImage((64, 64), features, ImageEmbedding(blank, (blank, blank)))


def feature_map(kinds: list[str], noise: float = 0.02) -> torch.Tensor:
    """(h, w, 6) features: every letter is a direction of its own."""
    letters = sorted({letter for row in kinds for letter in row})
    index = torch.tensor([[letters.index(letter) for letter in row] for row in kinds])
    features = torch.eye(6)[index]
    return features + noise * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))


TWO_ZEBRAS = feature_map(
    [
        "........",
        ".zz.....",
        ".zz..zz.",
        ".....zz.",
        "........",
        "..tttt..",
        "..tttt..",
        "........",
    ]
)
PATCH = 64 / 8  # of BoxMaskModel's square


def test_two_zebras_are_two_boxes_and_the_background_is_none() -> None:
    boxes = SemanticClusters(n_clusters=(3,), box_padding_patches=0).boxes_xyxy(TWO_ZEBRAS, 64)
    expected = torch.tensor([[1.0, 1, 3, 3], [2, 5, 6, 7], [5, 2, 7, 4]]) * PATCH
    assert torch.equal(boxes, expected)


def test_boxes_are_padded_and_clipped() -> None:
    boxes = SemanticClusters(n_clusters=(3,), box_padding_patches=1.5).boxes_xyxy(TWO_ZEBRAS, 64)
    assert boxes[0].tolist() == [0, 0, 4.5 * PATCH, 4.5 * PATCH]
    assert boxes[2].tolist() == [3.5 * PATCH, 0.5 * PATCH, 64, 5.5 * PATCH]


def test_rows_and_columns_are_not_exchanged() -> None:
    wide = feature_map(["........", ".aaa....", "........", "........"])
    boxes = SemanticClusters(n_clusters=(2,), box_padding_patches=0).boxes_xyxy(wide, 64)
    assert boxes.tolist() == [[8, 16, 32, 32]]


def test_tiny_parts_give_no_box() -> None:
    parts = feature_map(["......", ".a..b.", ".a....", "......", "......"])
    assert len(SemanticClusters(n_clusters=(3,), min_cluster_patches=1).boxes_xyxy(parts, 64)) == 2
    assert len(SemanticClusters(n_clusters=(3,), min_cluster_patches=2).boxes_xyxy(parts, 64)) == 1
    assert len(SemanticClusters(n_clusters=(3,), min_cluster_patches=3).boxes_xyxy(parts, 64)) == 0


def test_an_object_that_fills_the_picture_is_found_where_it_leaves_half_of_the_border() -> None:
    filled = feature_map(["..sss.", ".sssss", ".sssss", "..sss."])
    source = SemanticClusters(n_clusters=(2,), box_padding_patches=0)
    assert [1, 0, 6, 6] in source.boxes_xyxy(filled, image_size=6).tolist()
    assert len(source.boxes_xyxy(feature_map(["ss", "ss"], noise=0), 64)) == 0


def test_several_numbers_of_clusters_give_equal_boxes_once() -> None:
    once = SemanticClusters(n_clusters=(3,)).boxes_xyxy(TWO_ZEBRAS, 64)
    both = SemanticClusters(n_clusters=(2, 3, 3)).boxes_xyxy(TWO_ZEBRAS, 64)
    assert len(both) == len(both.unique(dim=0)) >= len(once)
    assert {tuple(box) for box in once.tolist()} <= {tuple(box) for box in both.tolist()}


def test_the_number_of_clusters_is_chosen_where_none_is_given() -> None:
    [labels] = SemanticClusters(n_clusters=()).label_maps(TWO_ZEBRAS)
    assert len(labels.unique()) == 3
    assert len(SemanticClusters(n_clusters=()).boxes_xyxy(TWO_ZEBRAS, 64)) == 3


def test_the_length_of_a_feature_does_not_matter() -> None:
    outlier = TWO_ZEBRAS.clone()
    outlier[0, 0] *= 50
    source = SemanticClusters(n_clusters=(3,))
    assert torch.equal(source.boxes_xyxy(outlier, 64), source.boxes_xyxy(TWO_ZEBRAS, 64))


def test_more_clusters_than_patches_is_one_clear_error() -> None:
    message = r"n_clusters has 70, but there are only 64 patches \(8 x 8\).*larger encoder.image_size"
    with pytest.raises(InputError, match=message):
        SemanticClusters(n_clusters=(4, 70)).propose(encoded(TWO_ZEBRAS), BoxMaskModel())
    assert len(SemanticClusters(n_clusters=(64,)).label_maps(TWO_ZEBRAS)) == 1


@pytest.mark.parametrize("numbers", [(1,), ()])
def test_one_patch_and_equal_patches_give_no_proposal(numbers: tuple[int, ...]) -> None:
    for features in (torch.ones(1, 1, 6), torch.ones(5, 5, 6), torch.zeros(5, 5, 6)):
        assert len(SemanticClusters(n_clusters=numbers).propose(encoded(features), BoxMaskModel())) == 0


def test_proposals_are_the_masks_of_the_boxes() -> None:
    model = BoxMaskModel()
    source = SemanticClusters(n_clusters=(3,), box_padding_patches=0, min_predicted_iou=0.85)
    proposals = source.propose(encoded(TWO_ZEBRAS), model)
    assert len(model.boxes) == 3  # the third has too low a predicted IoU
    torch.testing.assert_close(proposals.predicted_ious, torch.tensor([1.0, 0.9]))
    assert [int((mask > 0).sum()) for mask in proposals.logits] == [4 * 4, 8 * 4]


def test_equal_seeds_give_equal_boxes() -> None:
    noise = torch.randn(12, 12, 16, generator=torch.Generator().manual_seed(5))
    first, again, other = (SemanticClusters(seed=seed).boxes_xyxy(noise, 64) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_an_image_of_fewer_pixels_than_a_patch_works() -> None:
    config = compose_config(["proposals=semantic_clusters", "proposals.semantic_clusters.n_clusters=[2]"])
    segmenter = Segmenter(ColorEncoder(), BoxMaskModel(), config, proposals=build_proposals(config))
    red, blue = (255, 0, 0), (0, 0, 255)
    corner = np.array([[red, blue, blue], [blue, blue, blue]], np.uint8)  # 2 x 3 pixels; patches are of 4 x 4
    [encoded_corner, encoded_pixel] = segmenter.encode([corner, corner[:1, :1]])
    pooled = segmenter.propose(encoded_corner)
    assert len(pooled) >= 1
    assert {tuple(rle["size"]) for rle in pooled.rles()} == {(2, 3)}
    assert decode_rle(pooled.rles()[0])[0, 0]
    assert len(segmenter.propose(encoded_pixel)) == 0  # a single color: nothing but background


def test_settings_reach_the_source() -> None:
    overrides = ["n_clusters=[2,5]", "n_pca_components=3", "min_cluster_patches=4", "box_padding_patches=1", "seed=9"]
    config = compose_config(
        ["proposals=semantic_clusters", *(f"proposals.semantic_clusters.{override}" for override in overrides)]
    )
    assert build_proposals(config) == SemanticClusters([2, 5], 3, 4, 1.0, 0.4, 9)
    assert build_proposals(config).needs == {"features", "embedding"}


def test_numbers_of_clusters_are_checked() -> None:
    with pytest.raises(InputError, match=r"n_clusters=\[4,0\] is out of range: it must be between 1"):
        compose_config(["proposals=semantic_clusters", "proposals.semantic_clusters.n_clusters=[4,0]"])
