"""Shots x seeds x recipes on the demo benchmark, and the two oracle figures that bound the result.

    python -m tools.benchmarks.demo_sweep                         # the paper's recipe and the default; five seeds
    python -m tools.benchmarks.demo_sweep --recipe "merging=hard" --recipe "merging=soft" --shots 10
    python -m tools.benchmarks.demo_sweep --data data/choosing/1 mask_model.decoder=plain

A recipe is a list of settings of matching, scoring and merging. To choose one, use a benchmark of
``python -m tools.demo.make_benchmark --choosing``; the committed one is for reporting.

Proposals do not depend on the references: they are made once per image, and every further run pays for matching only.
The oracle figures: the share of ground-truth masks that some proposal covers (recall at IoU 0.5 and 0.75, and the mean
best IoU), and the share of ground-truth masks that get the right label when their own mask is matched.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from no_time_to_train.benchmarks.sampling import sample_references, sampled_references
from no_time_to_train.build import build_segmenter, compose_config
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.evaluation.instance_ap import evaluate_instances
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.matching import Prototypes, match
from no_time_to_train.models.interfaces import FeatureEncoder
from no_time_to_train.ops.pooling import pool_mask_features
from no_time_to_train.ops.rle import Rle, decode_rle, segmentation_to_rle
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.segmenter import Segmenter

RECIPES = (
    "scoring=similarity merging.nms_iou_threshold=0.5",
    "scoring=quality merging.nms_iou_threshold=0.7",
    "second_look.max_masks=20",
)
"""The paper's, the default, and the best."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", default="1,2,3,5,10", help="comma-separated")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="comma-separated")
    parser.add_argument("--recipe", action="append", metavar="SETTINGS", help="key=value settings in one string")
    parser.add_argument("--data", type=Path, default=demo_data_folder() / "benchmark", help="folder of the benchmark")
    parser.add_argument("--limit", type=int, help="only the first test images")
    parser.add_argument("overrides", nargs="*", help="key=value settings, e.g. mask_model.decoder=plain")
    arguments = parser.parse_args()

    base = ["preset=demo", *arguments.overrides]
    recipes = {recipe: compose_config([*base, *recipe.split()]) for recipe in arguments.recipe or RECIPES}
    segmenter = build_segmenter(compose_config([*base, "references.keep_instances=true"]))
    folder = arguments.data
    train = read_coco(folder / "annotations" / "train.json")
    test = read_coco(folder / "annotations" / "test.json").first_images(arguments.limit)
    started = time.perf_counter()
    encoded, pooled = encode_and_propose(segmenter, test, folder / "test")
    seconds = (time.perf_counter() - started) / len(pooled)
    num_proposals = statistics.mean(len(p) for p in pooled.values())
    print(f"{len(pooled)} images, {seconds:.2f} s each, {num_proposals:.0f} proposals each\n")
    print_proposal_oracle(pooled, test)

    shots, seeds = ([int(value) for value in text.split(",")] for text in (arguments.shots, arguments.seeds))
    banks = {}
    for k in shots:
        for seed in seeds:
            references = sampled_references(train, sample_references(train, k, seed), folder / "train")
            banks[k, seed] = segmenter.build_memory(references)
    print_label_oracle(encoded, test, banks, shots, seeds)
    pixels = {image_id: image.pixels for image_id, image in encoded.items()}
    remembering = RememberingEncoder(segmenter.encoder)
    width = max(len(recipe) for recipe in recipes)
    print(f"{'recipe':{width}} {'shots':>5}   box nAP (std)   mask nAP (std)   box nAP of every seed")
    for recipe, config in recipes.items():
        labeler = Segmenter(remembering, segmenter.mask_model, config, proposals=segmenter.proposals)
        for k in shots:
            scores = [average_precision(labeler, pooled, pixels, banks[k, seed], test) for seed in seeds]
            box, mask = ([score[i] for score in scores] for i in (0, 1))
            print(
                f"{recipe:{width}} {k:5d}   {statistics.mean(box):5.1f} ({spread(box):4.1f})    "
                f"{statistics.mean(mask):5.1f} ({spread(mask):4.1f})     {' '.join(f'{b:.1f}' for b in box)}",
                flush=True,
            )


class RememberingEncoder:
    """Encodes no crop twice: second looks of different references often fall on the same masks."""

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._encoder = encoder
        self._known: dict[int, Tensor] = {}
        self.model_id, self.image_size, self.patch_size = encoder.model_id, encoder.image_size, encoder.patch_size
        self.feature_dim, self.device = encoder.feature_dim, encoder.device

    def encode(self, images: Tensor) -> Tensor:
        keys = [hash(image.cpu().numpy().tobytes()) for image in images]
        new = [row for row, key in enumerate(keys) if key not in self._known]
        if new:
            self._known |= dict(zip([keys[row] for row in new], self._encoder.encode(images[new]), strict=True))
        return torch.stack([self._known[key] for key in keys])


def spread(values: list[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def encode_and_propose(
    segmenter: Segmenter, test: CocoDataset, images: Path
) -> tuple[dict[int | str, EncodedImage], dict[int | str, PooledProposals]]:
    """Both by image id: what the networks say, and the candidate masks with their features."""
    encoded, pooled = {}, {}
    for image in test.images:
        [encoded[image.id]] = segmenter.encode([images / image.file_name])
        pooled[image.id] = segmenter.propose(encoded[image.id])
        print(f"\r{len(pooled)} images", end="", file=sys.stderr)
    print(file=sys.stderr)
    return encoded, pooled


def true_masks(test: CocoDataset, image_id: int | str) -> tuple[list[Rle], list[int]]:
    """Run-length masks and category ids of one image's annotations."""
    size_hw = test.images_by_id[image_id].size_hw
    annotations = [a for a in test.annotations if a.image_id == image_id and a.segmentation is not None]
    return [segmentation_to_rle(a.segmentation, size_hw) for a in annotations], [a.category_id for a in annotations]


def print_proposal_oracle(pooled: dict[int | str, PooledProposals], test: CocoDataset) -> None:
    best = []
    for image_id, candidates in pooled.items():
        truth, _ = true_masks(test, image_id)
        proposals = candidates.rles()
        if truth and proposals:
            best += coco_mask.iou(proposals, truth, [0] * len(truth)).max(0).tolist()
        else:
            best += [0.0] * len(truth)
    ious = np.array(best)
    print(
        f"proposals: recall {np.mean(ious > 0.5):.3f} at IoU 0.5, {np.mean(ious > 0.75):.3f} at 0.75, "
        f"{np.mean(ious > 0.9):.3f} at 0.9; mean best IoU {ious.mean():.3f} ({len(ious)} objects)"
    )


def print_label_oracle(
    encoded: dict[int | str, EncodedImage],
    test: CocoDataset,
    banks: dict[tuple[int, int], MemoryBank],
    shots: list[int],
    seeds: list[int],
) -> None:
    features, labels = [], []
    for image_id, image in encoded.items():
        rles, category_ids = true_masks(test, image_id)
        if not rles:
            continue
        masks = torch.stack([torch.from_numpy(decode_rle(rle).copy()).float() for rle in rles])
        grid = torch.nn.functional.interpolate(masks[None], size=(64, 64), mode="area")[0] > 0.5
        features.append(pool_mask_features(grid, image.features.cpu()))
        labels += category_ids
    stacked, truth = torch.cat(features), np.array(labels)
    for k in shots:
        accuracies = []
        for seed in seeds:
            bank = banks[k, seed]
            ids = np.array([category.id for category in bank.categories])
            matches = match(stacked, Prototypes(*bank.class_means(), len(ids)))
            accuracies.append(float(np.mean(ids[matches.category_indices.numpy()] == truth[matches.mask_indices])))
        print(f"labels of ground-truth masks: {k:2d} shots {statistics.mean(accuracies):.3f} right")
    print()


def average_precision(
    segmenter: Segmenter,
    pooled: dict[int | str, PooledProposals],
    pixels: dict[int | str, np.ndarray | None],
    bank: MemoryBank,
    test: CocoDataset,
) -> tuple[float, float]:
    """Box and mask nAP in per cent."""
    results = [
        entry
        for image_id, candidates in pooled.items()
        for entry in segmenter.label(candidates, bank, pixels[image_id]).to_coco_results(image_id)
    ]
    metrics = evaluate_instances(test, results, engine="faster-coco-eval")
    return metrics.overall["box"].nAP or 0.0, metrics.overall["mask"].nAP or 0.0


if __name__ == "__main__":
    main()
