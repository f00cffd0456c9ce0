"""How time and memory of everything but the networks grow with the number of images.

    python -m tools.benchmarks.bookkeeping                                  # 1,000 and 10,000 images
    python -m tools.benchmarks.bookkeeping --images 1000 100000 --of continue,summaries

The networks are left out: every image "holds" the same random detections, few of them good enough to be drawn. The
images are hard links to one small file. Each figure comes from a process of its own:

- label: ``nttt label``, from the search for images to ``index.html``;
- continue: the same command once more, on the finished folder: copies of the results of one image;
- summaries: only the files made from the records of all images, which are hard links to one record;
- bench: ``nttt bench`` without the evaluation, with references of their own;
- review: the list of images that ``nttt review`` shows when it is opened;
- export: ``nttt export --to coco-rle`` of every detection, without the images;
- eval: ``nttt eval`` of every detection, each of which is right.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from no_time_to_train import build
from no_time_to_train.evaluation.instance_ap import evaluate_instances
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.result_folder import ResultFolder
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.review.session import ReviewSession
from no_time_to_train.structures import Category, Detections, TargetImage
from no_time_to_train.tasks import bench
from no_time_to_train.tasks.export import export_dataset
from no_time_to_train.tasks.label import label_folder
from tools.benchmarks.tables import print_row, start_table

_SIZE_HW = (24, 32)
_DIM = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--categories", type=int, default=1203)
    parser.add_argument("--references", type=int, default=10_000, help="of bench")
    parser.add_argument("--detections", type=int, default=20, help="in every image")
    parser.add_argument("--of", default=",".join(_PARTS), help=f"comma-separated: {', '.join(_PARTS)}")
    parser.add_argument("--inside", metavar="PART", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        _measure_inside(options)
        return
    start_table("Bookkeeping", "part", "images", "CPU ms per image", "wall s", "peak MB")
    for part in options.of.split(","):
        for count in options.images:
            numbers = ("categories", "references", "detections")
            settings = [f"--{name}={getattr(options, name)}" for name in numbers]
            command = [sys.executable, "-m", "tools.benchmarks.bookkeeping", "--inside", part, *settings]
            answer = subprocess.run(
                [*command, "--images", str(count)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            cpu, wall, peak = json.loads(answer.stdout.splitlines()[-1])
            print_row(part, count, f"{1e3 * cpu / count:.2f}", f"{wall:.1f}", f"{peak:.0f}")


def _measure_inside(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = _PARTS[options.inside](Path(folder), options)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        seconds = [time.process_time() - cpu, time.perf_counter() - wall]
        state = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(json.dumps([*seconds, int(state["VmHWM"].split()[0]) / 1000]))


class _NoNetworks:
    """Stands for a segmenter: the same detections in every image."""

    def __init__(self, categories: Sequence[Category], num_detections: int) -> None:
        self.encoder = SimpleNamespace(
            model_id="none",
            image_size=28,
            patch_size=14,
            feature_dim=_DIM,
            device=torch.device("cpu"),
            encode=lambda images: torch.ones(len(images), 2, 2, _DIM),
        )
        self.mask_model = SimpleNamespace(model_id="none", device=torch.device("cpu"))
        self.device = torch.device("cpu")
        self.proposals = SimpleNamespace(check=lambda targets: None)
        random = np.random.default_rng(0)
        masks = np.zeros((num_detections, *_SIZE_HW), bool)
        masks[:, 3:7, 2:6] = random.random((num_detections, 4, 4)) > 0.3
        self._detections = Detections.from_rles(
            [encode_mask(mask) for mask in masks],
            scores=np.sort(random.random(num_detections))[::-1],
            category_ids=random.choice([category.id for category in categories], num_detections),
            predicted_ious=random.random(num_detections),
            image_size_hw=_SIZE_HW,
            categories=categories,
        )

    looks_twice = False

    def encode(self, images: Sequence[Any], targets: Any = None, squares: Any = None) -> list[SimpleNamespace]:
        return [SimpleNamespace(pixels=image) for image in images]

    def propose(self, image: Any, memory: Any) -> None:
        return None

    def label(self, pooled: Any, memory: Any, pixels: Any = None) -> Detections:
        return self._detections


def _categories(options: argparse.Namespace) -> tuple[Category, ...]:
    return tuple(Category(number, f"category {number}") for number in range(1, options.categories + 1))


def _label(folder: Path, options: argparse.Namespace) -> Callable[..., object]:
    images, segmenter = _images(folder, options), _NoNetworks(_categories(options), options.detections)
    build.build_segmenter = lambda config: segmenter  # type: ignore[assignment,return-value]
    memory = MemoryBank(
        categories=_categories(options),
        class_prototypes=torch.randn(options.categories, _DIM),
        instance_counts=torch.ones(options.categories, dtype=torch.int64),
        encoder_id="none",
        encoder_image_size=28,
    )
    return partial(
        label_folder, images, memory=memory, out=folder / "out", min_score=0.95, overrides=["preset=demo", "device=cpu"]
    )


def _continue(folder: Path, options: argparse.Namespace) -> Callable[[], object]:
    label = _label(folder, options)
    label(limit=1)
    out = folder / "out"
    text = (out / "per_image" / f"{_name(1)}.json").read_text()
    for number in range(2, options.images[0] + 1):
        copy = out / "per_image" / f"{_name(number)}.json"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text.replace(_name(1), _name(number)))
        _link(out / "overlays" / f"{_name(1)}.jpg", out / "overlays" / f"{_name(number)}.jpg")
    return label


def _review(folder: Path, options: argparse.Namespace) -> Callable[[], object]:
    _continue(folder, options)()
    session = ReviewSession.of_results(folder / "out")
    return lambda: [item.json_text for item in session.overview()]


def _export(folder: Path, options: argparse.Namespace) -> Callable[[], object]:
    _continue(folder, options)()
    return lambda: export_dataset(folder / "out", "coco-rle", folder / "coco", min_score=0.0, image_files="none")


def _eval(folder: Path, options: argparse.Namespace) -> Callable[[], object]:
    export = _export(folder, options)
    export()
    truth, predictions = folder / "coco/annotations/instances_default.json", folder / "out/predictions.json"
    return lambda: evaluate_instances(truth, predictions)


def _summaries(folder: Path, options: argparse.Namespace) -> Callable[[], object]:
    categories = _categories(options)
    detections = _NoNetworks(categories, options.detections).label(None, None)
    results = ResultFolder(folder / "out", categories, keep_min_score=0.0, min_scores=MinScores(0.95))
    targets = [TargetImage(folder / _name(n), _name(n), n) for n in range(1, options.images[0] + 1)]
    first = results.record_path(targets[0])
    ImageRecord.from_detections(targets[0].file_name, 1, detections, 0.0).write(first)
    for target in targets[1:]:
        _link(first, results.record_path(target))
    return lambda: results.write_summaries(targets, [])


def _bench(folder: Path, options: argparse.Namespace) -> Callable[[], object]:
    images, categories = _images(folder, options), _categories(options)
    segmenter = _NoNetworks(categories, options.detections)
    build.load_models = lambda config: (segmenter.encoder, segmenter.mask_model)  # type: ignore[assignment]
    build.assemble_segmenter = lambda *parts: segmenter  # type: ignore[assignment,return-value]
    bench.evaluate_predictions = lambda *parts, **files: {"box": {}, "mask": {}}  # type: ignore[assignment]
    truth = folder / "truth.json"
    truth.write_text(json.dumps(_dataset(options.images[0], max(options.references, len(categories)), categories)))
    places = {"references": truth, "reference_images": images, "annotations": truth, "images": images}
    settings = [f"benchmark.{name}={path}" for name, path in places.items()]
    return lambda: bench.run_benchmark(
        ["preset=demo", "benchmark=custom", "benchmark.sampler=all", "device=cpu", f"runs={folder}/runs", *settings]
    )


def _dataset(num_images: int, num_annotations: int, categories: Sequence[Category]) -> dict[str, Any]:
    height, width = _SIZE_HW
    return {
        "images": [
            {"id": n, "file_name": _name(n), "height": height, "width": width} for n in range(1, num_images + 1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": 1 + number % num_images,
                "category_id": 1 + number % len(categories),
                "bbox": [2, 3, 20, 16],
                "area": 320,
                "iscrowd": 0,
                "segmentation": [[2, 3, 22, 3, 22, 19, 2, 19]],
            }
            for number in range(1, num_annotations + 1)
        ],
        "categories": [{"id": category.id, "name": category.name} for category in categories],
    }


def _images(folder: Path, options: argparse.Namespace) -> Path:
    images = folder / "images"
    first = images / _name(1)
    first.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*_SIZE_HW, 3), np.uint8)).save(first)
    for number in range(2, options.images[0] + 1):
        _link(first, images / _name(number))
    return images


def _name(number: int) -> str:
    return f"{number // 1000:04d}/{number:06d}.png"


def _link(file: Path, name: Path) -> None:
    """Make a hard link; file systems allow some ten thousand of one file, then it is a copy."""
    name.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, name)
    except OSError:
        name.write_bytes(file.read_bytes())


_PARTS: dict[str, Callable[[Path, argparse.Namespace], Callable[[], object]]] = {
    "label": _label,
    "continue": _continue,
    "summaries": _summaries,
    "bench": _bench,
    "review": _review,
    "export": _export,
    "eval": _eval,
}


if __name__ == "__main__":
    main()
