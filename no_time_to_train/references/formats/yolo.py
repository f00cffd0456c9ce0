"""YOLO data sets.

They have ``data.yaml`` or ``classes.txt``, and a text file of boxes or polygons for each image.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import yaml

from no_time_to_train.data.images import image_size_hw
from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import read_text
from no_time_to_train.references.folders import LabeledObject
from no_time_to_train.references.formats.objects import (
    Found,
    ImageFinder,
    ObjectList,
    object_of_box,
    object_of_mask,
    polygons_to_rle,
)

NAME = "a YOLO data set"
_MAX_CATEGORIES = 100_000


def read_yolo(path: Path, images: Path | None = None, *, upright: bool = True) -> Found:
    """Read a YOLO data set, all of its parts.

    Args:
        path: ``data.yaml``, ``classes.txt``, or the folder that holds one of them.
        images: folder of the images; None: ``images`` beside each ``labels``, or beside the text files.

    Raises:
        InputError: names are missing, or lines are damaged; all are counted.
    """
    names_file = path if path.is_file() else find_names_file(path)
    if names_file is None:
        raise InputError(f"{path} holds neither data.yaml nor classes.txt, so that its categories have no names.")
    labels = _read_names(names_file)
    found = ObjectList(names_file, upright=upright)
    root = names_file.parent
    for label_file in sorted(root.rglob("*.txt")):
        if label_file == names_file or not _is_label_file(label_file, root):
            continue
        image = _image_of(label_file, root, images)
        if image is None:
            found.leave_out("label files without an image")
        else:
            _read_labels(label_file, image, labels, found)
    return labels, found.finish(NAME)


def find_names_file(folder: Path) -> Path | None:
    """Find the file with the names of the categories.

    It is a YAML file with names, or ``classes.txt``.
    """
    candidates = [folder / "data.yaml", *sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])]
    for candidate in candidates:
        if candidate.is_file() and "names:" in candidate.read_text(encoding="utf-8", errors="replace"):
            return candidate
    for candidate in (folder / "classes.txt", folder / "obj.names", folder / "labels" / "classes.txt"):
        if candidate.is_file():
            return candidate
    return None


def _read_names(path: Path) -> list[str]:
    text = read_text(path)
    if path.suffix not in (".yaml", ".yml"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML ({str(error).splitlines()[0]}). Export it again.") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and names and all(isinstance(i, int) and 0 <= i < _MAX_CATEGORIES for i in names):
        return [str(names.get(index, f"category {index}")) for index in range(max(names) + 1)]
    if isinstance(names, list) and names:
        return [str(name) for name in names]
    raise InputError(f"{path} was read as {NAME}, but has no names: of categories (a list, or index: name).")


def _is_label_file(path: Path, root: Path) -> bool:
    """Return whether it lies in a ``labels`` folder, or beside its image."""
    return "labels" in path.relative_to(root).parts[:-1] or ImageFinder([path.parent]).find_stem(path.stem) is not None


def _image_of(label_file: Path, root: Path, images: Path | None) -> Path | None:
    parts = list(label_file.relative_to(root).parts[:-1])
    folders = [label_file.parent]
    if "labels" in parts:
        last = len(parts) - 1 - parts[::-1].index("labels")
        folders.insert(0, root.joinpath(*parts[:last], "images", *parts[last + 1 :]))
        if images is not None:
            folders = [images.joinpath(*parts[last + 1 :]), images, *folders]
    elif images is not None:
        folders.insert(0, images)
    return ImageFinder(folders).find_stem(label_file.stem)


def _read_labels(label_file: Path, image: Path, labels: list[str], found: ObjectList) -> None:
    size_hw = image_size_hw(image, upright=found.upright)
    for number, line in enumerate(label_file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        place = f"{label_file.name} line {number}"
        try:
            values = [float(value) for value in line.split()]
            if not all(map(math.isfinite, values)):
                raise ValueError(line)
        except ValueError:
            found.fault("lines that are no numbers", place)
            continue
        if not values:
            continue
        index, numbers = int(values[0]), np.array(values[1:])
        if not 0 <= index < len(labels) or index != values[0]:
            found.fault(f"lines with a category that is not among the {len(labels)} names", f"{place}: {values[0]:g}")
        elif len(numbers) in (4, 5) or (len(numbers) >= 6 and len(numbers) % 2 == 0):
            found.add(_object(image, labels[index], numbers, size_hw))
        else:
            found.fault("lines that are neither a box (4 numbers) nor a polygon (6, 8, 10 ...)", place)


def _object(image: Path, label: str, numbers: np.ndarray, size_hw: tuple[int, int]) -> LabeledObject | None:
    height, width = size_hw
    if len(numbers) <= 5:  # a fifth number is a score
        x, y, box_width, box_height = numbers[:4] * (width, height, width, height)
        corners = (x - box_width / 2, y - box_height / 2, x + box_width / 2, y + box_height / 2)
        return object_of_box(image, label, corners, size_hw)
    return object_of_mask(image, label, polygons_to_rle([numbers.reshape(-1, 2) * (width, height)], size_hw))
