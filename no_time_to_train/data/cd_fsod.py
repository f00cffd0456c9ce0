"""Read a CD-FSOD data set in any of its usual layouts.

- released: ``annotations/{train,test}.json`` with the images in ``train/`` and ``test/``; where a ``val.json`` is
  beside them (the original UODD), its images in ``val/`` belong to the training set, as the benchmark counts them;
- UODD's own: ``annotations/coco/instances_{train,val,test}.json`` with the images in ``imgs/{train,val,test}/``;
- VOC's: ``JPEGImages``, ``Annotations``, ``ImageSets/Main/{train,test}.txt`` (the original Clipart1k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.data.combining import combine, with_category_names, with_file_names
from no_time_to_train.data.voc import read_voc


def cd_fsod_annotations(folder: Path, split: str) -> Path:
    """Return the file with the annotations of ``train`` or ``test``.

    It need not be there.
    """
    voc_list = folder / "ImageSets" / "Main" / f"{split}.txt"
    return voc_list if voc_list.is_file() else _json_file(folder, split)


def _json_file(folder: Path, name: str) -> Path:
    """Return the released file, or UODD's own where that is not there."""
    released, own = (folder / "annotations" / f for f in (f"{name}.json", f"coco/instances_{name}.json"))
    return own if own.is_file() and not released.is_file() else released


def _images_folder(folder: Path, split: str) -> str:
    """Return the folder of a split's images, relative to the data set's."""
    own = f"imgs/{split}"
    return own if (folder / own).is_dir() and not (folder / split).is_dir() else split


def read_cd_fsod(
    folder: Path,
    split: str,
    category_names: Sequence[str],
    also_called: dict[str, str] | None = None,
    *,
    box_convention: str = "half_open",
) -> CocoDataset:
    """Read ``train`` or ``test``; file names are relative to ``folder``.

    Args:
        folder: of one data set.
        split: ``train`` or ``test``.
        category_names: what the categories are called in the result, however the files spell them.
        also_called: see :func:`~no_time_to_train.data.combining.with_category_names`.
        box_convention: see :func:`~no_time_to_train.data.voc.read_voc`; the boxes of COCO files are as they are.

    Raises:
        InputFileNotFoundError: the annotations are missing.
        InputError: they are damaged, or have other categories.
    """
    if cd_fsod_annotations(folder, split).suffix == ".txt":
        return read_voc(folder, [(".", split)], category_names=category_names, box_convention=box_convention)
    dataset = read_annotations(folder, split, category_names, also_called)
    if split != "train" or not _json_file(folder, "val").is_file():
        return dataset
    images = _images_folder(folder, "val")
    val = with_category_names(read_coco(_json_file(folder, "val"), folder / images), category_names, also_called)
    val = with_file_names(val, lambda image: f"{images}/{image.file_name}")
    new_ids = {image.id for image in val.images} - set(dataset.images_by_id)
    new = replace(
        val,
        images=tuple(image for image in val.images if image.id in new_ids),
        annotations=tuple(annotation for annotation in val.annotations if annotation.image_id in new_ids),
    )
    return combine([dataset, new])


def read_annotations(
    folder: Path, name: str, category_names: Sequence[str], also_called: dict[str, str] | None = None
) -> CocoDataset:
    """Read ``annotations/<name>.json``, for example ``5_shot``; images are in ``train`` or ``test``."""
    images = _images_folder(folder, "test" if name == "test" else "train")
    dataset = read_coco(_json_file(folder, name), folder / images)
    dataset = with_category_names(dataset, category_names, also_called)
    return with_file_names(dataset, lambda image: f"{images}/{image.file_name}")
