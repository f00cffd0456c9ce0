"""Read LVIS annotations, with how frequent each category is.

They are COCO files without file names and crowds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import load_coco, parse_coco
from no_time_to_train.errors import InputError

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}


@dataclass(frozen=True, eq=False)
class LvisDataset(CocoDataset):
    """A COCO data set over the folders of COCO 2017.

    Its file names begin with the folder that they are in (``train2017/``, ``val2017/``).

    Attributes:
        frequencies: ``rare``, ``common`` or ``frequent`` by category name.
    """

    frequencies: Mapping[str, str] = field(default_factory=dict)


def read_lvis(path: Path) -> LvisDataset:
    """Read an LVIS v1 annotation file.

    Raises:
        InputFileNotFoundError: no such file.
        InputError: as ``read_coco``; also where images have no ``coco_url`` or categories no ``frequency``.
    """
    data = load_coco(path)
    for image in data["images"]:
        if "coco_url" not in image:
            raise InputError(f"{path}: image {image.get('id')} has no coco_url, which LVIS files have.")
        image["file_name"] = "/".join(str(image["coco_url"]).split("/")[-2:])
    unknown = [str(c.get("name")) for c in data["categories"] if str(c.get("frequency")) not in FREQUENCIES]
    if unknown:
        raise InputError(f"{path}: categories without a frequency of r, c or f: {', '.join(unknown[:5])}.")
    frequencies = {str(c.get("name")): FREQUENCIES[c["frequency"]] for c in data["categories"]}
    dataset = parse_coco(data, path)
    return LvisDataset(
        dataset.name,
        dataset.images,
        dataset.annotations,
        dataset.categories,
        dataset.dropped_annotations,
        frequencies,
    )
