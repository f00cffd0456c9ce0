"""PASCAL VOC: XML files with boxes.

Masks by object are read where there are some.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.data.images import describe_size_mismatch, image_size_hw, open_image
from no_time_to_train.data.voc import read_annotation, voc_palette
from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import read_text
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references.formats.objects import Found, ImageFinder, ObjectList, object_of_box, object_of_mask

NAME = "PASCAL VOC annotations"
_VOID_INDEX = 255


def read_voc_folder(path: Path, images: Path | None = None, *, upright: bool = True) -> Found:
    """Read all annotations of a VOC folder, or one XML file.

    An object has the mask of its number in ``SegmentationObject``, else its box. Objects marked difficult are left
    out. Labels come in the order of ``labelmap.txt`` where there is one, else sorted by name.

    Args:
        path: the folder that holds ``Annotations``, a folder of XML files, or one of them.
        images: folder of the images; None: ``JPEGImages``, or beside the XML files.

    Raises:
        InputError: files are damaged, or images are missing or of another size.
    """
    if path.is_file():
        files = [path]
    else:
        folder = path / "Annotations" if (path / "Annotations").is_dir() else path
        files = sorted(folder.rglob("*.xml"))
    found = ObjectList(path, upright=upright)
    for file in files:
        root = file.parent.parent
        near = [root / "JPEGImages", file.parent, root / "images", root]
        _read_file(file, ImageFinder(near if images is None else [images]), found)
    objects = found.finish(NAME)
    listed = _listed_labels(path / "labelmap.txt")
    return [*listed, *sorted({item.label for item in objects} - set(listed))], objects


def _read_file(file: Path, finder: ImageFinder, found: ObjectList) -> None:
    try:
        given_hw, items = read_annotation(file)
    except InputError as error:
        found.fault("damaged files", str(error))
        return
    image = finder.find_stem(file.stem)
    if image is None:
        found.fault(f"files whose image is not in {finder.describe()}", file.name)
        return
    size_hw = image_size_hw(image, upright=found.upright)
    mismatch = describe_size_mismatch(given_hw, "size", size_hw, image.name)
    if mismatch:
        found.fault("files of another size than their image", mismatch)
        return
    masks = file.parent.parent / "SegmentationObject" / f"{file.stem}.png"
    indices = _read_indices(masks) if masks.is_file() else np.zeros(size_hw, np.uint8)
    if mismatch := describe_size_mismatch(indices.shape, "size of the masks", size_hw, image.name):
        found.fault("masks of another size than their image", mismatch)
        return
    for number, item in enumerate(items, start=1):
        if item.is_difficult:
            found.leave_out("objects marked difficult")
            continue
        mask = indices == number
        if mask.any():
            found.add(object_of_mask(image, item.name, encode_mask(mask)))
        else:
            xmin, ymin, xmax, ymax = item.corners
            found.add(object_of_box(image, item.name, (xmin - 1, ymin - 1, xmax, ymax), size_hw))
    if (indices > len(items)).any():
        found.leave_out("masks without an object in the XML file")


def _read_indices(path: Path) -> np.ndarray:
    """Return the (H, W) number of the object at each pixel; 0 where there is none."""
    with open_image(path) as image:
        image.load()
        if image.mode not in ("P", "L", "I;16", "I"):
            image = image.convert("RGB").quantize(palette=_palette_image(), dither=Image.Dither.NONE)
        values = np.array(image)
    values[values == _VOID_INDEX] = 0
    return values


def _palette_image() -> Image.Image:
    image = Image.new("P", (1, 1))
    image.putpalette(voc_palette().tobytes())
    return image


def _listed_labels(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = read_text(path).splitlines()
    names = [line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return [name for name in names if name != "background"]
