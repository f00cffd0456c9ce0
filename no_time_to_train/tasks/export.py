"""Write labeled images in a format that other programs open."""

from __future__ import annotations

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.data.coco import CocoDataset, CocoImage
from no_time_to_train.data.coco_reader import load_coco, parse_coco
from no_time_to_train.data.image_roots import locate_images
from no_time_to_train.errors import InputError, InputFileNotFoundError, Parameter
from no_time_to_train.evaluation.instance_ap import read_results
from no_time_to_train.files.arguments import as_path
from no_time_to_train.ops.rle import segmentation_to_rle
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, ExportObject
from no_time_to_train.outputs.exports.formats import WRITERS
from no_time_to_train.outputs.exports.options import ExportOptions
from no_time_to_train.references.min_scores import MinScoreRequest, MinScores, choose_min_scores, read_min_score
from no_time_to_train.runs.run_state import read_run

_NEVER_NEED_IMAGES = frozenset({"csv"})
_ALWAYS_NEED_IMAGES = frozenset({"crops"})
_EXPECTED = "Give a folder of nttt label, or a COCO file."


@dataclass(frozen=True)
class ExportReport:
    """Contents of an export.

    Attributes:
        format: its name.
        folder: where it is.
        num_images: images, those without objects among them.
        counts: objects by category name.
        left_out: what is not in it, counted by reason.
    """

    format: str
    folder: Path
    num_images: int
    counts: dict[str, int]
    left_out: dict[str, int]

    @property
    def num_objects(self) -> int:
        """Count the objects of all images."""
        return sum(self.counts.values())


def export_dataset(
    source: str | Path,
    to: str,
    out: str | Path | None = None,
    *,
    min_score: MinScoreRequest = None,
    images: str | Path | None = None,
    image_files: str = "copy",
    val_share: float = 0.2,
    shape: str = "mask",
    image_prefix: str = "/data/local-files/?d=images/",
) -> ExportReport:
    """Write labeled images in a format that other programs open.

    Args:
        source: folder that ``nttt label`` wrote, or a COCO file.
        to: ``coco``, ``coco-rle``, ``yolo``, ``label-studio``, ``cvat``, ``datumaro``, ``labelme``, ``voc``,
            ``roboflow``, ``csv`` or ``crops``.
        out: folder to write, which must not exist or be empty; None: beside the source, with the format's name.
        min_score: lowest score of an object: a number, numbers by category (``{"boat": 0.6}`` or
            ``"boat=0.6,bird=0.5"``; the others stay as labeled), or None or ``"auto"``: as labeled. Objects without a
            score stay.
        images: folder of the images; None: the one that was labeled, or found beside the COCO file.
        image_files: ``copy`` them, ``link`` to them, or ``none``.
        val_share: part of the images for validation, 0..1, in formats that divide them.
        shape: ``mask`` or ``polygon``, for ``label-studio``, ``cvat`` and ``datumaro``.
        image_prefix: what stands before file names in Label Studio tasks.

    Returns:
        What was written, and what was left out. The folder is there as a whole or not at all.

    Raises:
        InputFileNotFoundError: the source, or images that are needed, are missing.
        InputError: the format is unknown, the source is damaged, or the folder holds something or cannot be written.

    Example:
        >>> report = ntt.export_dataset("references.json", "yolo", "references_yolo")
        >>> report.counts, report.left_out
        ({'striped_star': 2, 'dotted_mushroom': 2}, {})
    """
    if to not in WRITERS:
        raise InputError(f"{to!r} is no format. Known: {', '.join(WRITERS)}.")
    options = ExportOptions(image_files, val_share, shape, image_prefix)
    path = as_path(source, "source")
    folder = as_path(out, "out") if out is not None else _beside(path, to)
    _check_free(folder)
    needs_images = to in _ALWAYS_NEED_IMAGES or (image_files != "none" and to not in _NEVER_NEED_IMAGES)
    reader = _SourceReader(path, as_path(images, "images", optional=True), needs_images, min_score)
    dataset = reader.read()
    with _new_folder(folder) as unfinished:
        left_out = WRITERS[to](dataset, unfinished, options) or Counter()
    reasons = {reason: count for reason, count in (reader.left_out + left_out).items() if count}
    return ExportReport(to, folder, len(dataset.images), dataset.counts(), reasons)


class _SourceReader:
    """Reads what is to be exported, and counts what cannot be."""

    def __init__(self, path: Path, images: Path | None, needs_images: bool, min_score: MinScoreRequest) -> None:
        self._path = path
        self._images = images
        self._needs_images = needs_images
        self._asked = read_min_score(min_score)
        self._lowest = MinScores(0.0)
        self.left_out: Counter[str] = Counter()

    def read(self) -> ExportDataset:
        annotations = self._path
        run: dict[str, Any] | None = None
        if not self._path.exists():
            raise InputFileNotFoundError(f"{self._path}: no such file or folder. {_EXPECTED}")
        if self._path.is_dir():
            annotations = self._path / "annotations.json"
            if not annotations.is_file():
                raise InputFileNotFoundError(f"{self._path} holds no annotations.json. {_EXPECTED}")
            run = read_run(self._path) if (self._path / "run.json").is_file() else None
        raw = load_coco(annotations)
        dataset = parse_coco(raw, annotations, self._images)
        self._lowest = choose_min_scores(self._asked, dataset.categories, measured=None, otherwise=0.0)
        root, listed = self._locate(dataset, annotations, run)
        objects = self._objects(dataset, raw["annotations"], run)
        images = tuple(
            ExportImage(image.id, root / image.file_name, image.file_name, image.size_hw, tuple(objects[image.id]))
            for image in listed
        )
        used = {category for image in images for category in (item.category for item in image.objects)}
        categories = tuple(c for c in dataset.categories if not c.is_background or c in used)
        return ExportDataset(images, categories)

    def _locate(
        self, dataset: CocoDataset, annotations: Path, run: dict[str, Any] | None
    ) -> tuple[Path, list[CocoImage]]:
        """Return the folder of the images, and the images to export."""
        if not self._needs_images:
            return Path(), list(dataset.images)
        if self._images is None and run is not None:
            root = Path(run["settings"]["images"])
            if not root.is_dir():
                raise InputFileNotFoundError(
                    f"{root}, the folder that was labeled, is no more. Give the one that holds the images now."
                )
            there = [image for image in dataset.images if (root / image.file_name).is_file()]
            self.left_out["images whose file is gone"] += len(dataset.images) - len(there)
            return root, there
        names = [image.file_name for image in dataset.images]
        return locate_images(names, annotations, self._images), list(dataset.images)

    def _objects(
        self, dataset: CocoDataset, raw: list[dict[str, Any]], run: dict[str, Any] | None
    ) -> dict[int | str, list[ExportObject]]:
        found: dict[int | str, list[ExportObject]] = defaultdict(list)
        for annotation in self._entries(dataset, raw, run):
            image = dataset.images_by_id.get(annotation["image_id"])
            category = dataset.categories_by_id.get(annotation["category_id"])
            if image is None or category is None:
                self.left_out["objects of an unknown image or category"] += 1
                continue
            score = annotation.get("score")
            if score is not None and score < self._lowest.of(category.id):
                self.left_out["objects that score too low"] += 1
            elif annotation.get("iscrowd"):
                self.left_out["crowds"] += 1
            elif not annotation.get("segmentation"):
                self.left_out["objects of which only the box is known"] += 1
            else:
                item = ExportObject(segmentation_to_rle(annotation["segmentation"], image.size_hw), category, score)
                if item.area:
                    found[image.id].append(item)
                else:
                    self.left_out["objects with an empty mask"] += 1
        return found

    def _entries(
        self, dataset: CocoDataset, raw: list[dict[str, Any]], run: dict[str, Any] | None
    ) -> Iterator[dict[str, Any]]:
        """Return the annotations; those of ``predictions.json`` where a lower score is wanted than was labeled with."""
        if run is not None and self._lowest_asked() < _highest_drawn(run["settings"]) and not self._is_reviewed():
            yield from read_results(self._path / "predictions.json")
            return
        for annotation in dataset.annotations:
            yield {
                "image_id": annotation.image_id,
                "category_id": annotation.category_id,
                "iscrowd": annotation.is_crowd,
                "segmentation": annotation.segmentation,
                "score": raw[annotation.position].get("score"),
            }

    def _is_reviewed(self) -> bool:
        return (self._path / "review").is_dir()

    def _lowest_asked(self) -> float:
        if self._asked is None:
            return 1.0
        return min(self._asked.values(), default=1.0) if isinstance(self._asked, Mapping) else self._asked


def _beside(source: Path, to: str) -> Path:
    named = source.resolve() if source.name in ("", "..") else source
    return named.with_name(f"{named.name if named.is_dir() else named.stem}_{to}")


def _check_free(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        other = Parameter("out", "OTHER_FOLDER")
        raise InputError(
            f"{folder} exists and is not empty, so nothing was written. Remove it, or choose {other}.",
            parameters=[other],
        )


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Return a folder to write to; it gets its name when the block succeeds, and goes when it fails."""
    unfinished = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was killed
        unfinished.mkdir(parents=True)
        yield unfinished
        if folder.is_dir():
            folder.rmdir()
        os.replace(unfinished, folder)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise InputError(f"{folder} cannot be written ({error.strerror}). Name a folder that can.") from error
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _highest_drawn(settings: Mapping[str, Any]) -> float:
    """Return the lowest score drawn, of the category where it is highest."""
    highest: float = max([settings["min_score"], *settings.get("min_scores", {}).values()])
    return highest
