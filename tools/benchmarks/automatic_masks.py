"""How long the automatic mask generator takes against the sam2 package's own, on the same weights and images.

    python -m tools.benchmarks.automatic_masks --model sam2_demo --points-per-side 16
    python -m tools.benchmarks.automatic_masks --model sam2.1_tiny --points-per-side 8 --image photo.jpg

The bundled demo model has its trained weights, any other random ones (nothing is downloaded), whose thresholds are
loosened so that a part of the masks is left. Times are medians of alternating runs. The table is Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

from no_time_to_train.data.images import read_image
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.precision import resolve_device
from no_time_to_train.models.sam2.model import Sam2MaskModel, build_sam2, load_sam2
from no_time_to_train.ops.rle import decode_rle
from no_time_to_train.proposals.automatic_masks import AutomaticMasks, GeneratedMasks

DEMO_THRESHOLDS = {"pred_iou_thresh": 0.6, "stability_score_thresh": 0.85, "stability_score_offset": 0.3}
_PASSING_SHARE = 0.3
"""Of the masks of random weights, so many pass the predicted IoU, and of those the stability score."""


def main() -> None:
    options = _parse_arguments()
    device = resolve_device(options.device)
    model = _load(options.model, device)
    pixels = read_image(options.image)
    thresholds = DEMO_THRESHOLDS if options.model == "sam2_demo" else _loose_thresholds(model, pixels)
    height, width = pixels.shape[:2]
    print(f"{options.model} on {device}, {torch.get_num_threads()} threads, image {width} x {height}, {thresholds}\n")
    print("| crop layers | points per side | sam2 s | ours s | times faster | masks sam2 / ours | differing pixels |")
    print("|---|---|---|---|---|---|---|")
    for layers in options.crop_layers:
        settings = thresholds | {"points_per_side": options.points_per_side, "crop_n_layers": layers}
        theirs = SAM2AutomaticMaskGenerator(model.module, output_mode="coco_rle", **settings)
        theirs.predictor._bb_feat_sizes = [(model.mask_size // shrink,) * 2 for shrink in (1, 2, 4)]
        ours = AutomaticMasks(**settings)
        plain, fast, records, masks = [], [], [], None
        for _ in range(options.repeats):
            seconds, masks = _timed(lambda ours=ours: ours.generate(pixels, model), device)
            fast.append(seconds)
            seconds, records = _timed(lambda theirs=theirs: theirs.generate(pixels), device)
            plain.append(seconds)
        before, after = statistics.median(plain), statistics.median(fast)
        print(
            f"| {layers} | {options.points_per_side} | {before:.3g} | {after:.3g} | {before / after:.1f} | "
            f"{len(records)} / {len(masks)} | {_num_differing_pixels(masks, records)} |",
            flush=True,
        )


def _load(name: str, device: torch.device) -> Sam2MaskModel:
    if name == "sam2_demo":
        return load_sam2(name, device=device)
    torch.manual_seed(0)
    return Sam2MaskModel(build_sam2(get_spec(name)), model_id=name, device=device)


def _loose_thresholds(model: Sam2MaskModel, pixels: np.ndarray) -> dict[str, float]:
    every = AutomaticMasks(
        points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0, stability_score_offset=0.01, box_nms_thresh=1
    ).generate(pixels, model)
    return {
        "pred_iou_thresh": float(np.quantile(every.predicted_ious, 1 - _PASSING_SHARE)),
        "stability_score_thresh": float(np.quantile(every.stability_scores, 1 - _PASSING_SHARE)),
        "stability_score_offset": 0.01,
    }


def _timed(run: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    _synchronize(device)
    start = time.perf_counter()
    result = run()
    _synchronize(device)
    return time.perf_counter() - start, result


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _num_differing_pixels(masks: GeneratedMasks, records: list[dict[str, Any]]) -> str:
    """Over the masks of the same point and output; they are told apart by point and predicted IoU."""
    if len(masks) != len(records):
        return "not the same masks"
    order = np.lexsort([masks.predicted_ious, masks.points_xy[:, 1], masks.points_xy[:, 0]])
    records = sorted(records, key=lambda record: (record["point_coords"], record["predicted_iou"]))
    pairs = [
        (decode_rle(masks.rles[i]), decode_rle(record["segmentation"]))
        for i, record in zip(order, records, strict=True)
    ]
    total = sum(int(mask.sum()) for mask, _ in pairs)
    return f"{sum(int((ours != theirs).sum()) for ours, theirs in pairs)} of {total}"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sam2_demo", help="a SAM 2 of nttt weights list (default sam2_demo)")
    parser.add_argument("--image", default=demo_data_folder() / "benchmark" / "test" / "0003.jpg")
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--crop-layers", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
