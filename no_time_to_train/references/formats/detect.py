"""Tell which format a file or folder of references is in."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import read_json
from no_time_to_train.references.folders import find_annotation_file
from no_time_to_train.references.formats import cvat, label_studio, labelme, voc, yolo
from no_time_to_train.references.formats.objects import Found


class Reader(Protocol):
    """Reads a file or folder."""

    def __call__(self, path: Path, images: Path | None = None, *, upright: bool = True) -> Found:
        """Return the labels and the objects.

        Args:
            path: of the file or folder.
            images: folder of the images; None: found near by.
            upright: whether the annotations are of images turned as their EXIF orientation says.
        """
        ...


_COCO_KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Source:
    """A file or folder, and what reads it.

    ``reader`` is None for COCO files and for folders of category folders.
    """

    path: Path
    reader: Reader | None = None


def detect(path: Path) -> Source:
    """Find the annotations at a path, and their format.

    The format is told by what the files hold.

    Raises:
        InputError: a file is of no known format, or a folder holds several annotation files.
    """
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_folder(folder: Path) -> Source:
    if yolo.find_names_file(folder) is not None:
        return Source(folder, yolo.read_yolo)
    if (folder / "annotations.xml").is_file():
        return _of_file(folder / "annotations.xml")
    if (folder / "Annotations").is_dir() or (folder / "SegmentationObject").is_dir():
        return Source(folder, voc.read_voc_folder)
    if any(_is_labelme_file(path) for path in sorted(folder.rglob("*.json"))[:1]):
        return Source(folder, labelme.read_labelme)
    for candidate in (folder, folder / "train"):
        file = find_annotation_file(candidate) if candidate.is_dir() else None
        if file is not None:
            return _of_file(file)
    if any(folder.glob("*.xml")):
        return _of_file(sorted(folder.glob("*.xml"))[0], among_others=True)
    return Source(folder)


def _of_file(path: Path, *, among_others: bool = False) -> Source:
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml") or path.name in ("classes.txt", "obj.names"):
        return Source(path, yolo.read_yolo)
    if suffix == ".xml":
        if _root_tag(path) == "annotations":
            return Source(path, cvat.read_cvat_xml)
        return Source(path.parent if among_others else path, voc.read_voc_folder)
    if suffix in (".zip", ".tar", ".gz", ".7z"):
        raise InputError(f"{path} is an archive. Unpack it, and give the folder.")
    if suffix == ".json" and path.is_file():
        return Source(path, _json_reader(path))
    return Source(path)


def _json_reader(path: Path) -> Reader | None:
    content = read_json(path)
    if labelme.is_labelme(content):
        return labelme.read_labelme
    if cvat.is_datumaro(content):
        return cvat.read_datumaro
    if label_studio.is_label_studio(content):
        return label_studio.read_label_studio
    if label_studio.is_label_studio_min(content):
        raise InputError(f'{path} is Label Studio\'s JSON-MIN, which has no image sizes. Export it as "JSON".')
    if isinstance(content, dict) and not any(key in content for key in _COCO_KEYS):
        keys = ", ".join(sorted(map(str, content))[:6]) or "nothing"
        raise InputError(
            f"{path} is in no known format (it has {keys}). Known: COCO, Label Studio, LabelMe, Datumaro (CVAT), and "
            "folders in YOLO's, VOC's or CVAT's layout, or with a folder per category."
        )
    return None


def _is_labelme_file(path: Path) -> bool:
    try:
        return labelme.is_labelme(read_json(path))
    except InputError:
        return False


def _root_tag(path: Path) -> str:
    try:
        for _, element in ElementTree.iterparse(path, events=("start",)):
            return element.tag
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not valid XML ({error}): it was cut off or damaged. Export it again.") from error
    return ""
