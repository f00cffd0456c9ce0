"""Other programs' own packages read what the exports write: ``pytest -m consumers``, each where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import no_time_to_train as ntt
from no_time_to_train.ops.rle import decode_rle
from tests.outputs.exports.small_dataset import CATEGORIES, SIZES, masks_of, write_labeled_folder

pytestmark = pytest.mark.consumers

PARTS = "a życie & bird"
Masks = dict[str, np.ndarray]
"""Mask by the first letter of the image's name (b for the one in a sub-folder) and the category."""


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    return write_labeled_folder(tmp_path)


def truth() -> Masks:
    return {
        key(name, CATEGORIES[category_id]): mask
        for name in SIZES
        for category_id, score, mask in masks_of(name)
        if score >= 0.5
    }


def key(file_name: str, category: str) -> str:
    return f"{'b' if 'b b' in file_name else 'a'} {category}"


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def check(found: Masks, at_least: float) -> None:
    """Compare with the masks that were exported; 1 means equal."""
    expected = truth()
    assert found.keys() == expected.keys()
    ious = {name: iou(mask.astype(bool), expected[name]) for name, mask in found.items()}
    print("IoU", ious)
    assert min(ious.values()) >= at_least, ious


@pytest.mark.parametrize("to", ["coco", "coco-rle"])
def test_pycocotools(to: str, labeled: Path) -> None:
    from pycocotools.coco import COCO

    coco = COCO(str(ntt.export_dataset(labeled, to).folder / "annotations" / "instances_default.json"))
    found = {}
    for annotation in coco.loadAnns(coco.getAnnIds()):
        image = coco.loadImgs(annotation["image_id"])[0]
        found[key(image["file_name"], CATEGORIES[annotation["category_id"]])] = coco.annToMask(annotation)
    check(found, at_least=1)


@pytest.mark.parametrize(("to", "at_least"), [("coco-rle", 1), ("coco", 0.87)])
def test_supervision_coco(to: str, at_least: float, labeled: Path) -> None:
    """It rounds the corners of polygons and fills their border: one pixel more on two sides of these small objects."""
    supervision = pytest.importorskip("supervision")
    folder = ntt.export_dataset(labeled, to).folder
    dataset = supervision.DetectionDataset.from_coco(
        str(folder / "images"), str(folder / "annotations" / "instances_default.json"), force_masks=True
    )
    check(_of_supervision(dataset), at_least)


def test_supervision_yolo(labeled: Path) -> None:
    supervision = pytest.importorskip("supervision")
    folder = ntt.export_dataset(labeled, "yolo", val_share=0).folder
    for path in (folder / "images" / "train" / "trip").iterdir():  # it does not look into sub-folders
        path.rename(folder / "images" / "train" / path.name)
    for path in (folder / "labels" / "train" / "trip").iterdir():
        path.rename(folder / "labels" / "train" / path.name)
    dataset = supervision.DetectionDataset.from_yolo(
        str(folder / "images" / "train"), str(folder / "labels" / "train"), str(folder / "data.yaml"), force_masks=True
    )
    check(_of_supervision(dataset), 0.85)


def _of_supervision(dataset) -> Masks:
    found = {}
    for path, _, detections in dataset:
        for number in range(len(detections)):
            name = key(path, dataset.classes[detections.class_id[number]])
            found[name] = detections.mask[number]
    return found


@pytest.mark.parametrize(
    ("to", "name", "shape"),
    [
        ("coco", "coco", "mask"),
        ("coco-rle", "coco", "mask"),
        ("cvat", "cvat", "mask"),
        ("cvat", "cvat", "polygon"),
        ("datumaro", "datumaro", "mask"),
        ("datumaro", "datumaro", "polygon"),
        ("voc", "voc", "mask"),
    ],
)
def test_datumaro(to: str, name: str, shape: str, labeled: Path) -> None:
    datumaro = pytest.importorskip("datumaro")
    from datumaro.components.annotation import AnnotationType
    from pycocotools import mask as coco_mask

    dataset = datumaro.Dataset.import_from(str(ntt.export_dataset(labeled, to, shape=shape).folder), name)
    labels = dataset.categories()[AnnotationType.label]
    found: Masks = {}
    for item in dataset:
        for annotation in item.annotations:
            if annotation.type not in (AnnotationType.mask, AnnotationType.polygon):
                continue
            place = key(item.id, labels[annotation.label].name)
            height, width = item.media.size
            if annotation.type == AnnotationType.mask:
                mask = np.asarray(annotation.image).astype(bool)
            else:
                mask = coco_mask.decode(coco_mask.frPyObjects([annotation.points], height, width))[..., 0].astype(bool)
            found[place] = found[place] | mask if place in found else mask
    check(found, at_least=1)


def test_ultralytics(labeled: Path) -> None:
    pytest.importorskip("ultralytics")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    folder = ntt.export_dataset(labeled, "yolo", val_share=0.4).folder
    data = check_det_dataset(str(folder / "data.yaml"))
    assert data["names"] == dict(enumerate(CATEGORIES.values()))
    found = {}
    num_images = 0
    for part in ("train", "val"):
        dataset = YOLODataset(img_path=data[part], data=data, task="segment", imgsz=64, augment=False)
        num_images += len(dataset)
        for label in dataset.labels:
            height, width = label["shape"]
            for index, segment in zip(label["cls"][:, 0], label["segments"], strict=True):
                name = key(label["im_file"], data["names"][int(index)])
                found[name] = polygon2mask((height, width), [segment * (width, height)])
    assert num_images == 3
    check({**found, PARTS: truth()[PARTS]}, at_least=0.99)
    assert iou(found[PARTS] > 0, truth()[PARTS]) >= 0.97  # 12 pixels of the line that ties the two parts


def test_labelme(labeled: Path) -> None:
    pytest.importorskip("labelme")
    from labelme._label_file import LabelFile
    from labelme.utils.shape import shapes_to_label

    folder = ntt.export_dataset(labeled, "labelme").folder
    found = {}
    for path in folder.rglob("*.json"):
        file = LabelFile(str(path))
        names = {name: number for number, name in enumerate(CATEGORIES.values(), start=1)}
        size = next(hw for name, hw in SIZES.items() if Path(name).stem == path.stem)
        classes, _ = shapes_to_label((*size, 3), file.shapes, names)
        for name, number in names.items():
            if (classes == number).any():
                found[key(path.name, name)] = classes == number
    check(found, at_least=1)


def test_label_studio_sdk(labeled: Path) -> None:
    pytest.importorskip("label_studio_sdk")
    from label_studio_sdk.converter.brush import decode_rle as decode_brush
    from label_studio_sdk.label_interface import LabelInterface

    folder = ntt.export_dataset(labeled, "label-studio").folder
    interface = LabelInterface((folder / "label_config.xml").read_text())
    found = {}
    for task in json.loads((folder / "tasks.json").read_text()):
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction)
            for result in prediction["result"]:
                height, width = result["original_height"], result["original_width"]
                pixels = decode_brush(result["value"]["rle"]).reshape(height, width, 4)[..., 3]
                found[key(task["data"]["image"].replace("%20", " "), result["value"]["brushlabels"][0])] = pixels > 127
    check(found, at_least=1)


def test_label_studio_converts_our_tasks_to_coco(labeled: Path, tmp_path: Path) -> None:
    """Its converter writes polygons of our predictions, taken as annotations, and we read them back."""
    pytest.importorskip("label_studio_sdk")
    from label_studio_sdk.converter import Converter

    folder = ntt.export_dataset(labeled, "label-studio", shape="polygon").folder
    tasks = json.loads((folder / "tasks.json").read_text())
    for number, task in enumerate(tasks, start=1):
        task |= {"id": number, "annotations": [{"id": number, "result": task.pop("predictions")[0]["result"]}]}
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    converter = Converter(str(folder / "label_config.xml"), str(folder), download_resources=False)
    converter.convert_to_coco(str(tmp_path / "export.json"), str(tmp_path / "coco"), is_dir=False)
    (labeled.parent / "photos" / "b%20b.jpg").write_bytes((labeled.parent / "photos" / "trip" / "b b.jpg").read_bytes())
    references = ntt.load_references(tmp_path / "coco" / "result.json", labeled.parent / "photos")
    boat = next(item for item in references.instances if item.category.name == "boat")
    assert iou(decode_rle(boat.mask), truth()["a boat"]) >= 0.99


def test_torchvision_voc(labeled: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    root = labeled.parent / "root"
    ntt.export_dataset(labeled, "voc", root / "VOCdevkit" / "VOC2012", val_share=0)
    segmentation = datasets.VOCSegmentation(str(root), image_set="trainval")
    detection = datasets.VOCDetection(str(root), image_set="trainval")
    assert len(segmentation) == len(detection) == 3
    found = {}
    for path, (image, classes), (_, target) in zip(segmentation.images, segmentation, detection, strict=True):
        assert image.size == classes.size
        values = np.asarray(classes)
        for number, name in enumerate(CATEGORIES.values(), start=1):
            if (values == number).any():
                found[key(path, name)] = values == number
        objects = target["annotation"].get("object", [])
        assert len(objects) == len(np.unique(values)) - 1
    check(found, at_least=1)
