"""Draw the moving overview of the README: references, then image, proposals and detections in turn.

python -m tools.demo.animate --out docs/images/overview.webp
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from no_time_to_train.benchmarks.sampling import sample_references, sampled_references
from no_time_to_train.build import build_segmenter, compose_config
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.data.images import read_image
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.ops.rle import rle_area
from no_time_to_train.outputs.drawing import draw_detections, draw_masks, draw_reference, image_sheet
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import ReferenceSet

TARGETS = ("0002.jpg", "0004.jpg", "0015.jpg", "0010.jpg")
MIN_SCORE = 0.6
STEPS = (("an image", 900), ("what SAM 2 proposes", 1100), ("named by DINOv2 features", 2200))
_SIDE, _REFERENCE_SIDE, _TITLE, _GAP = 452, 84, 34, 8
_MIN_AREA_SHARE = 0.005


def main() -> None:
    """Write the animation and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a .webp file")
    out = parser.parse_args().out
    folder = demo_data_folder() / "benchmark"
    train = read_coco(folder / "annotations" / "train.json")
    segmenter = build_segmenter(compose_config(["preset=demo"]))
    references = sampled_references(train, sample_references(train, 10, 33), folder / "train")
    frames, durations = render_frames(segmenter, references, [folder / "test" / name for name in TARGETS])
    first, *others = frames
    first.save(out, save_all=True, append_images=others, duration=durations, loop=0, quality=80, method=6)
    print(f"{out}: {len(frames)} frames, {out.stat().st_size / 1e6:.2f} MB, {first.width} x {first.height}")


def render_frames(
    segmenter: Segmenter, references: ReferenceSet, targets: list[Path]
) -> tuple[list[Image.Image], list[int]]:
    """Return the frames, three for every target, and how long each is shown in milliseconds."""
    memory = segmenter.build_memory(references)
    sheet = reference_sheet(references)
    frames, durations = [], []
    for path in targets:
        image = read_image(path)
        [encoded] = segmenter.encode([path])
        proposals = segmenter.propose(encoded, memory)
        detections = segmenter.label(proposals, memory, encoded.pixels)
        drawn = draw_detections(image, detections[detections.scores >= MIN_SCORE])
        large = [rle for rle in proposals.rles() if rle_area(rle) >= _MIN_AREA_SHARE * image[..., 0].size]
        steps = (image, draw_masks(image, large), drawn)
        for step, (title, milliseconds) in zip(steps, STEPS, strict=True):
            frames.append(_frame(sheet, step, title))
            durations.append(milliseconds)
    return frames, durations


def reference_sheet(references: ReferenceSet) -> np.ndarray:
    """Return the first reference of every category with its mask, as a grid of two columns."""
    firsts = {instance.category.id: instance for instance in reversed(references.instances)}
    cells = []
    for category_id, one in sorted(firsts.items()):
        image = read_image(one.image_path)
        cells.append(draw_reference(image, one.box_xyxy, one.category.name, category_id, one.mask))
    return image_sheet(cells, 2, _REFERENCE_SIDE, _GAP)


def _frame(sheet: np.ndarray, step: np.ndarray, title: str) -> Image.Image:
    """Return references on the left and one step on the right, each under its title."""
    left = Image.fromarray(sheet)
    frame = Image.new("RGB", (left.width + _SIDE + 3 * _GAP, max(left.height, _SIDE) + _TITLE + _GAP), "white")
    frame.paste(left, (0, _TITLE))
    right = Image.fromarray(step)
    right.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if max(right.size) < _SIDE:
        right = right.resize([round(side * _SIDE / max(right.size)) for side in right.size], Image.Resampling.LANCZOS)
    corner = left.width + _GAP
    frame.paste(right, (corner + (_SIDE - right.width) // 2, _TITLE + (_SIDE - right.height) // 2))
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(size=19)
    draw.text((_GAP, 7), "references", fill="black", font=font)
    draw.text((corner, 7), title, fill="black", font=font)
    return frame


if __name__ == "__main__":
    main()
