"""The demo models on synthetic clips: how good the masks of tracks are, and whether objects keep their identity.

    python -m tools.benchmarks.demo_tracking                                  # five clips, a key frame every 10 frames
    python -m tools.benchmarks.demo_tracking --every 1,5,10,20 --clips 10
    python -m tools.benchmarks.demo_tracking --clips 1 --write clip.mp4       # to look at it: nttt track clip.mp4 ...

Each clip shows three moving objects of the demo benchmark's categories: it is played forwards and then backwards, and
one of the objects is out of the image in the middle, so that it leaves and comes back. Printed are the mean IoU of
the objects' masks (0 where an object has none), the share of visible objects that are found (IoU at least 0.5), false
tracks per frame, and identity switches as CLEAR MOT counts them: a visible object is matched with another track than
the last time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from no_time_to_train.benchmarks.sampling import sample_references, sampled_references
from no_time_to_train.build import build_segmenter, compose_config
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.ops.rle import Rle, encode_mask
from no_time_to_train.outputs.video_writer import mp4_writer
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.tracking.association import best_pairs, mask_ious
from no_time_to_train.tracking.settings import TrackingConfig
from no_time_to_train.tracking.tracker import segment_video
from tools.demo.scenes import MIN_VISIBLE_PIXELS, NOVEL_CATEGORIES, render_clip

NUM_OBJECTS = 3
MIN_ABSENT_FRAMES = 8
MATCH_IOU = 0.5


@dataclass
class Figures:
    """Counts over all clips of one setting."""

    ious: list[float] = field(default_factory=list)
    num_found: int = 0
    num_false: int = 0
    num_frames: int = 0
    num_switches: int = 0
    num_returns: int = 0
    num_returned_with_id: int = 0
    seconds: float = 0.0

    def line(self) -> str:
        found = self.num_found / max(len(self.ious), 1)
        return (
            f"IoU {np.mean(self.ious):.3f}  found {found:.3f}  false per frame {self.num_false / self.num_frames:.2f}  "
            f"identity switches {self.num_switches} in {self.num_frames} frames  "
            f"came back with its id {self.num_returned_with_id}/{self.num_returns}  "
            f"{self.seconds / self.num_frames:.2f} s per frame"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", default="10", help="key frame intervals, comma-separated")
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--frames", type=int, default=60, help="per clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the first clip as mp4 and stop")
    parser.add_argument("overrides", nargs="*", help="key=value settings, e.g. output.draw_min_score=0.7")
    arguments = parser.parse_args()

    clips = draw_clips(arguments.seed, arguments.clips, arguments.frames)
    if arguments.write:
        write_clip(arguments.write, next(clips)[0])
        return
    config = compose_config(["preset=demo", *arguments.overrides])
    segmenter = build_segmenter(config)
    memory = demo_memory(segmenter)
    intervals = [int(text) for text in arguments.every.split(",")]
    figures = {interval: Figures() for interval in intervals}
    for frames, masks in clips:
        for interval in intervals:
            options = TrackingConfig(key_frame_interval=interval, min_score=config.tracking.min_score)
            evaluate_clip(segmenter, memory, options, frames, masks, figures[interval])
    for interval, result in figures.items():
        print(f"key frame every {interval:2d}  {result.line()}")


def demo_memory(segmenter: Segmenter) -> MemoryBank:
    """The references of ``nttt demo``: ten of each category, seed 33."""
    folder = demo_data_folder() / "benchmark"
    train = read_coco(folder / "annotations" / "train.json")
    return segmenter.build_memory(sampled_references(train, sample_references(train, 10, 33), folder / "train"))


def draw_clips(seed: int, count: int, num_frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames (T, H, W, 3) uint8 and visible masks (T, N, H, W) bool; just one object of a clip is away for a while."""
    drawn = 0
    while drawn < count:
        half = num_frames // 2
        frames, masks = render_clip(np.random.default_rng(seed), NOVEL_CATEGORIES, (256, 256), (3, 3), half)
        seed += 1
        is_absent = masks.sum(axis=(2, 3)) < MIN_VISIBLE_PIXELS
        leaves = is_absent[-MIN_ABSENT_FRAMES // 2 :].all(axis=0)
        if masks.shape[1] == NUM_OBJECTS and leaves.sum() == 1 and not is_absent[:, ~leaves].any():
            drawn += 1
            yield np.concatenate([frames, frames[::-1]]), np.concatenate([masks, masks[::-1]])


def evaluate_clip(
    segmenter: Segmenter,
    memory: MemoryBank,
    options: TrackingConfig,
    frames: np.ndarray,
    masks: np.ndarray,
    figures: Figures,
) -> None:
    """Add one clip to the figures."""
    last_ids: dict[int, int] = {}
    was_absent: set[int] = set()
    started = time.perf_counter()
    for index, found in segment_video(segmenter, frames, memory, options):
        visible = [number for number, mask in enumerate(masks[index]) if mask.sum() >= MIN_VISIBLE_PIXELS]
        truth = [encode_mask(masks[index, number]) for number in visible]
        pairs = match_frame(truth, list(found.detections.rles), [last_ids.get(n) for n in visible], found.track_ids)
        figures.num_frames += 1
        figures.num_found += len(pairs)
        figures.num_false += len(found.track_ids) - len(pairs)
        figures.ious += [pairs[row][1] if row in pairs else 0.0 for row in range(len(visible))]
        for row, (column, _) in pairs.items():
            number, track_id = visible[row], int(found.track_ids[column])
            figures.num_switches += number in last_ids and last_ids[number] != track_id
            if number in was_absent:
                figures.num_returns += 1
                figures.num_returned_with_id += last_ids.get(number) == track_id
                was_absent.discard(number)
            last_ids[number] = track_id
        was_absent |= set(range(masks.shape[1])) - set(visible)
    figures.seconds += time.perf_counter() - started


def match_frame(
    truth: list[Rle], found: list[Rle], last_ids: list[int | None], track_ids: np.ndarray
) -> dict[int, tuple[int, float]]:
    """Position and IoU of every found object's track: the same track as before where it still fits, then the best."""
    ious = mask_ious(truth, found)
    fits = ious >= MATCH_IOU
    is_same = fits & np.array([[track_id == last for track_id in track_ids] for last in last_ids], bool).reshape(
        ious.shape
    )
    return {row: (column, float(ious[row, column])) for row, column in best_pairs(ious + is_same, fits)}


def write_clip(path: Path, frames: np.ndarray) -> None:
    with mp4_writer(path, Fraction(10), frames.shape[1:3]) as append:
        for frame in frames:
            append(frame)


if __name__ == "__main__":
    main()
