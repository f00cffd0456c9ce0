"""References as a folder per category.

For example ``refs/boat/a.jpg`` with ``a_mask.png`` or ``a.png``, or ``a_mask_0.png`` ...

Other names of masks of one image: ``a_mask0.png``, ``a_mask-0.png``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.data.images import IMAGE_SUFFIXES, describe_size_mismatch, image_size_hw
from no_time_to_train.data.mask_images import read_instance_masks
from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import Rle, encode_mask, rle_to_box_xyxy

ANNOTATION_FILE_NAMES = (
    "annotations.json",
    "_annotations.coco.json",
    "references.json",
    "instances.json",
    "instances_default.json",
    "coco.json",
)
"""What annotation tools and this program call a COCO file that lies beside its images."""


@dataclass(frozen=True, eq=False)
class LabeledObject:
    """One object somebody marked in an image, not yet numbered."""

    image_path: Path
    label: str
    box_xyxy: tuple[float, float, float, float]
    mask: Rle | None = None


def find_annotation_file(folder: Path) -> Path | None:
    """Find the COCO file of a references folder.

    It is one with a usual name, or the only JSON file there is.

    It is also looked for in a folder ``annotations``, beside which tools put a folder ``images``.
    """
    candidates = _annotation_files(folder) or _annotation_files(folder / "annotations")
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise InputError(
            f"{folder} holds several annotation files ({names}). Name the one to use, e.g. {candidates[0]}."
        )
    return candidates[0] if candidates else None


def _annotation_files(folder: Path) -> list[Path]:
    named = [folder / name for name in ANNOTATION_FILE_NAMES if (folder / name).is_file()]
    return named or sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def read_category_folders(folder: Path, *, upright: bool = True) -> tuple[list[str], list[LabeledObject]]:
    """Read the labels and objects of a folder-per-category tree.

    The labels are the names of the sub-folders, sorted.

    Raises:
        InputError: no such sub-folders, or images without a mask or with one of another size; all are listed.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise InputError(
            f"{folder} holds no references. Put a COCO file ({ANNOTATION_FILE_NAMES[0]}) into it, or a folder per "
            f"category with images and their masks: {folder / 'boat' / 'a.jpg'} and {folder / 'boat' / 'a_mask.png'}."
        )
    faults: list[str] = []
    objects = []
    for category_folder in folders:
        for image_path, mask_paths in _images_with_masks(category_folder):
            if not mask_paths:
                faults.append(f"{image_path} has no mask ({image_path.stem}_mask.png)")
            for mask_path in mask_paths:
                try:
                    objects += _read_objects(image_path, mask_path, category_folder.name, upright)
                except InputError as error:
                    faults.append(str(error))
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InputError(f"{len(faults)} references cannot be used: {'; '.join(faults[:5])}{more}")
    return [path.name for path in folders], objects


def _images_with_masks(folder: Path) -> list[tuple[Path, list[Path]]]:
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    masks = {path: _masks_of(path, files) for path in files}
    mask_files = {mask for own in masks.values() for mask in own}
    return [(path, masks[path]) for path in files if path not in mask_files]


def _masks_of(image_path: Path, files: Sequence[Path]) -> list[Path]:
    """``a_mask.png`` and its numbered kind, in the order of their numbers; ``a.png`` where there is none of them."""
    pattern = re.compile(rf"{re.escape(image_path.stem)}_mask(?:[_-]?(\d+))?\.png")
    named = [(int(match[1] or 0), path) for path in files if (match := pattern.fullmatch(path.name))]
    plain = image_path.with_suffix(".png")
    return [path for _, path in sorted(named)] or ([plain] if plain != image_path and plain in files else [])


def _read_objects(image_path: Path, mask_path: Path, label: str, upright: bool) -> list[LabeledObject]:
    size_hw = image_size_hw(image_path, upright=upright)
    objects = []
    for mask in read_instance_masks(mask_path):
        mismatch = describe_size_mismatch(mask.shape, f"the size of {mask_path}", size_hw, image_path.name)
        if mismatch:
            raise InputError(mismatch)
        rle = encode_mask(mask)
        x1, y1, x2, y2 = rle_to_box_xyxy(rle).tolist()
        objects.append(LabeledObject(image_path, label, (x1, y1, x2, y2), rle))
    return objects
