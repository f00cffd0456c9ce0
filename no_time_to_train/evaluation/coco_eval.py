"""COCOeval on data sets of any size: one category after the other.

COCOeval keeps and visits every pair of image and category, objects or not: 120 million of them for 100,000 images and
1,203 categories. The precision of a category depends on the images alone where it was annotated or found, so each is
evaluated on these: the same numbers, and time and memory of what is there.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.errors import InputError, missing_package

IouType = Literal["bbox", "segm"]
Engine = Literal["pycocotools", "faster-coco-eval"]
Entry = TypeVar("Entry", bound=Mapping[str, Any])

_NOTHING_TO_MEASURE = -1.0


def coco_precision(
    dataset: CocoDataset, results: Sequence[Mapping[str, Any]], iou_type: IouType, engine: Engine
) -> tuple[np.ndarray, list[int]]:
    """Compute the precision that COCOeval finds with at most 100 detections of each category in an image.

    Args:
        dataset: the ground truth. Boxes are not clipped: published numbers are computed on those.
        results: COCO results of its images and categories.
        iou_type: what is compared.
        engine: the package whose COCOeval it is.

    Returns:
        (IoU thresholds, 101 recalls, categories, areas) precision, -1 where there is no ground truth; and the ids of
        the categories, ascending.

    Raises:
        EnvironmentProblemError: the engine is not installed.
        InputError: there is no such engine.
    """
    coco_class, evaluator_class = _engine_classes(engine)
    params = evaluator_class(iouType=iou_type).params
    category_ids = sorted(category.id for category in dataset.categories)
    shape = (len(params.iouThrs), len(params.recThrs), len(category_ids), len(params.areaRng))
    precision = np.full(shape, _NOTHING_TO_MEASURE)
    truth = dataset.to_dict()
    # COCOeval sorts image ids, which numbers and texts together cannot be.
    in_order = sorted(truth["images"], key=lambda image: (isinstance(image["id"], str), image["id"]))
    images = {image["id"]: {**image, "id": number} for number, image in enumerate(in_order, start=1)}
    for entry, annotation in zip(truth["annotations"], dataset.annotations, strict=True):
        entry["bbox"] = list(annotation.coco_ap_box_xywh)
        entry["image_id"] = images[entry["image_id"]]["id"]
    annotated, found = _by_category(truth["annotations"]), _by_category(results)
    by_number = {image["id"]: image for image in images.values()}
    for position, category_id in enumerate(category_ids):
        if category_id not in annotated:
            continue
        objects = annotated[category_id]
        detections = [_as_annotation(result, iou_type) for result in found.get(category_id, ())]
        for number, entry in enumerate(detections, start=1):
            entry |= {"id": number, "image_id": images[entry["image_id"]]["id"]}
        numbers = sorted({entry["image_id"] for entry in (*objects, *detections)})
        data = {"images": [by_number[number] for number in numbers], "categories": [{"id": category_id}]}
        with contextlib.redirect_stdout(io.StringIO()):
            coco_gt = _coco_object(coco_class, {**data, "annotations": objects})
            coco_dt = _coco_object(coco_class, {**data, "annotations": detections})
            evaluator = evaluator_class(coco_gt, coco_dt, iou_type)
            evaluator.params.maxDets = params.maxDets[-1:]  # those at 1 and 10 detections are not wanted
            evaluator.evaluate()
            evaluator.accumulate()
        precision[:, :, position] = np.asarray(evaluator.eval["precision"]).reshape(*shape[:2], shape[3])
    return precision, category_ids


def _engine_classes(engine: Engine) -> tuple[Any, Any]:
    if engine == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        return COCO, COCOeval
    if engine == "faster-coco-eval":
        try:
            from faster_coco_eval import COCO, COCOeval_faster
        except ImportError as error:
            raise missing_package(error) from error
        return COCO, COCOeval_faster
    raise InputError(f"engine {engine!r} is not a choice. Use pycocotools or faster-coco-eval.")


def _by_category(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    groups: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry["category_id"]].append(entry)
    return groups


def _coco_object(coco_class: Any, dataset: dict[str, Any]) -> Any:
    coco = coco_class()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _as_annotation(result: Mapping[str, Any], iou_type: IouType) -> dict[str, Any]:
    """Return what ``loadRes`` makes of a result, but for the id.

    Sizes of masks come from the mask: with a box beside it, loadRes would take the box's area and misplace objects
    among small, medium and large.
    """
    annotation = {**{key: result[key] for key in ("image_id", "category_id", "score")}, "iscrowd": 0}
    if iou_type == "segm":
        annotation["segmentation"] = result["segmentation"]
        annotation["area"] = float(coco_mask.area(result["segmentation"]))
        annotation["bbox"] = [float(value) for value in coco_mask.toBbox(result["segmentation"])]
    else:
        annotation["bbox"] = result["bbox"]
        annotation["area"] = result["bbox"][2] * result["bbox"][3]
    return annotation
