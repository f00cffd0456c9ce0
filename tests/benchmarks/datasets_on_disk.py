"""Miniature data sets in the true layouts of the benchmarks, with the quirks of the real files.

Every image is ``WIDTH`` x ``HEIGHT`` and every ordinary object has the same box, large enough and far enough from the
border for the published sampler.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from no_time_to_train.benchmarks import cd_fsod
from no_time_to_train.benchmarks.cd_fsod import DOMAINS, domain_categories
from no_time_to_train.benchmarks.coco_20i import COCO_CATEGORIES
from no_time_to_train.benchmarks.pascal_voc import CATEGORIES

WIDTH, HEIGHT = 64, 60
BOX_XYWH = (12, 11, 40, 36)
COCO_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
NUM_TRAIN_IMAGES = 4
SHOTS = json.loads(Path(cd_fsod.__file__).with_name("cd_fsod_shots.json").read_text())
"""The released references of CD-FSOD."""


def write_image(path: Path, mode: str = "RGB") -> None:
    """A flat picture; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (WIDTH, HEIGHT), 90 if mode == "L" else (90, 80, 70)).save(path)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def rectangle(box_xywh: Sequence[float] = BOX_XYWH) -> list[list[float]]:
    """A box as a polygon."""
    x, y, width, height = box_xywh
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def coco_annotation(number: int, image_id: int | str, category_id: int, **changes: Any) -> dict[str, Any]:
    """A faultless annotation with a mask; a change to None takes the key away."""
    box = changes.get("bbox") or BOX_XYWH
    entry = {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
        "segmentation": rectangle(box),
    } | changes
    return {key: value for key, value in entry.items() if value is not None}


def coco_images(file_names: dict[int | str, str]) -> list[dict[str, Any]]:
    return [{"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in file_names.items()]


def write_coco_2017(root: Path) -> Path:
    """Training images that each show all 80 classes; validation images with a person and a crowd, a truck, nothing.

    Category ids have COCO's gaps, image and annotation ids are not contiguous, the crowd is an RLE with a list of
    counts, one training image is gray.
    """
    categories = [{"id": i, "name": name} for i, name in zip(COCO_IDS, COCO_CATEGORIES, strict=True)]
    train_ids = [9 + 16 * n for n in range(NUM_TRAIN_IMAGES)]
    for n, image_id in enumerate(train_ids):
        write_image(root / f"coco/train2017/{image_id:012d}.jpg", "L" if n == 1 else "RGB")
    train = [coco_annotation(100_000 * n + i, train_ids[n], i) for n in range(NUM_TRAIN_IMAGES) for i in COCO_IDS]
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT, HEIGHT * (WIDTH - 1)]}
    val = [
        coco_annotation(5, 139, 1),
        coco_annotation(900, 139, 1, iscrowd=1, segmentation=crowd, bbox=[0, 0, 1, HEIGHT], area=HEIGHT),
        coco_annotation(17, 285, 8),
    ]
    for image_id in (139, 285, 632):
        write_image(root / f"coco/val2017/{image_id:012d}.jpg")
    for split, ids, objects in (("train2017", train_ids, train), ("val2017", (139, 285, 632), val)):
        images = coco_images({i: f"{i:012d}.jpg" for i in ids})
        content = {"info": {}, "images": images, "annotations": objects, "categories": categories}
        write_json(root / f"coco/annotations/instances_{split}.json", content)
    return root


def write_coco_tfa(root: Path, names: Sequence[str], shots: int, seed: int = 0) -> None:
    """TFA's few-shot files: a COCO file per class, with one object more than shots and 2014 file names."""
    folder = root / "coco/cocosplit" / (f"seed{seed}" if seed else "")
    categories = [{"id": i, "name": name} for i, name in zip(COCO_IDS, COCO_CATEGORIES, strict=True)]
    for name in names:
        category_id = COCO_IDS[COCO_CATEGORIES.index(name)]
        ids = [9 + 16 * n for n in range(shots + 1)]
        content = {
            "images": coco_images({i: f"COCO_train2014_{i:012d}.jpg" for i in ids}),
            "annotations": [coco_annotation(100_000 * n + category_id, i, category_id) for n, i in enumerate(ids)],
            "categories": categories,
        }
        write_json(folder / f"full_box_{shots}shot_{name}_trainval.json", content)


def write_voc_image(
    devkit: Path, year: int, stem: str, objects: Iterable[tuple[str, tuple[str, str, str, str], bool]], extra: str = ""
) -> None:
    """An image and its XML; corners are texts (xmin, ymin, xmax, ymax), the flag is ``difficult``."""
    folder = devkit / f"VOC{year}"
    write_image(folder / f"JPEGImages/{stem}.jpg")
    (folder / "Annotations").mkdir(exist_ok=True)
    parts = [
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox><xmax>{corners[2]}</xmax>"
        f"<xmin>{corners[0]}</xmin><ymax>{corners[3]}</ymax><ymin>{corners[1]}</ymin></bndbox>{extra}</object>"
        for name, corners, difficult in objects
    ]
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    (folder / f"Annotations/{stem}.xml").write_text(
        f"<annotation><filename>{stem}.jpg</filename>{size}{''.join(parts)}</annotation>"
    )


def write_voc_list(devkit: Path, year: int, name: str, stems: Sequence[str]) -> None:
    path = devkit / f"VOC{year}/ImageSets/Main/{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{stem}\n" for stem in stems))


def write_pascal_voc(root: Path) -> Path:
    """2007 and 2012 training images with all 20 classes each, 2012's with float corners; three test images.

    The first test image has a difficult bird before an ordinary one and a person with parts, the last has nothing of
    a novel class.
    """
    devkit = root / "pascal_voc/VOCdevkit"
    ordinary = ("13", "12", "52", "47")
    as_floats = ("13.2", "11.700000762939453", "52.0", "46.9")
    for year, stems, corners in ((2007, ("000005", "000007"), ordinary), (2012, ("2008_000002",), as_floats)):
        for stem in stems:
            write_voc_image(devkit, year, stem, [(name, corners, False) for name in CATEGORIES])
        write_voc_list(devkit, year, "trainval", stems)
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    first = [("bird", ("1", "1", "64", "60"), True), ("bird", ordinary, False), ("person", ordinary, False)]
    write_voc_image(devkit, 2007, "000001", first, part)
    write_voc_image(devkit, 2007, "000002", [("sofa", ordinary, False)])
    write_voc_image(devkit, 2007, "000003", [("person", ordinary, False)])
    write_voc_list(devkit, 2007, "test", ("000001", "000002", "000003"))
    return root


def write_cd_fsod(root: Path, domain: str, train: dict[int | str, Sequence[int]], folder: str | None = None) -> Path:
    """A data set of CD-FSOD as in the bundle: category and annotation ids from 0, boxes without masks.

    Args:
        root: the ``benchmark.root``.
        domain: which one.
        train: category positions of the objects of every training image, by image id.
        folder: its name; None: the bundle's.

    Returns:
        The data set's folder.
    """
    target = root / "cd_fsod" / (folder or DOMAINS[domain].folder)
    write_box_annotations(target, "train", domain_categories(domain), train)
    everything = range(len(domain_categories(domain)))
    write_box_annotations(target, "test", domain_categories(domain), {"t0": everything, "t1": ()})
    return target


def released_objects(domain: str, shots: int) -> dict[int | str, list[int]]:
    """The objects that the released references need, category positions by image."""
    objects: dict[int | str, list[int]] = {}
    for position, (_, image_ids) in enumerate(SHOTS["images"][domain][str(shots)].items()):
        for image_id in image_ids:
            objects.setdefault(image_id, []).append(position)
    return objects


def write_box_annotations(
    folder: Path, split: str, names: Sequence[str], objects: dict[int | str, Sequence[int]], first_id: int = 0
) -> None:
    """``annotations/<split>.json`` and ``<split>/``: boxes of the ordinary size, each a little to the right."""
    annotations: list[dict[str, Any]] = []
    for image_id, positions in objects.items():
        write_image(folder / split / f"{image_id}.jpg")
        for n, position in enumerate(positions):
            box = [BOX_XYWH[0] + 0.25 * n, *BOX_XYWH[1:]]
            annotations.append(
                coco_annotation(first_id + len(annotations), image_id, position, bbox=box, segmentation=[], iscrowd=0)
            )
    content = {
        "images": coco_images({i: f"{i}.jpg" for i in objects}),
        "annotations": annotations,
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names)],
    }
    write_json(folder / "annotations" / f"{split}.json", content)


def write_lvis(root: Path) -> Path:
    """Two classes of every frequency; images of both sets in both of COCO's folders, known by their URLs only.

    ``rare1`` has one small object in the training set, which the published sampler calls invalid; ``rare2`` has one.
    """
    names = ("frequent1", "frequent2", "common1", "common2", "rare1", "rare2")
    categories = [{"id": i, "name": name, "frequency": name[0]} for i, name in enumerate(names, start=1)]
    train = [coco_annotation(10 * image + i, image, i, iscrowd=None) for image in (1, 2, 3) for i in range(1, 5)]
    small = [30, 30, 9, 9]
    train += [
        coco_annotation(98, 1, 5, bbox=small, segmentation=rectangle(small), iscrowd=None),
        coco_annotation(99, 2, 6, iscrowd=None),
    ]
    val = [coco_annotation(1, 8, 1, iscrowd=None), coco_annotation(2, 8, 5, iscrowd=None)]
    folders = {1: "train2017", 2: "train2017", 3: "val2017", 8: "val2017", 9: "train2017"}
    for split, objects, ids in (("train", train, (1, 2, 3)), ("val", val, (8, 9))):
        images = [
            {
                "id": i,
                "height": HEIGHT,
                "width": WIDTH,
                "coco_url": f"http://images.cocodataset.org/{folders[i]}/{i:012d}.jpg",
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [],
            }
            for i in ids
        ]
        for i in ids:
            write_image(root / f"coco/{folders[i]}/{i:012d}.jpg")
        content = {"images": images, "annotations": objects, "categories": categories}
        write_json(root / f"lvis/lvis_v1_{split}.json", content)
    return root
