"""A labeled folder of two images with the masks that formats get wrong: a ring, two parts, touching corners."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.ops.rle import encode_mask, rle_area, rle_to_box_xyxy

SIZES = {"a.jpg": (60, 80), "trip/b b.jpg": (50, 40), "empty.jpg": (20, 30)}
CATEGORIES = {3: "boat", 7: "życie & bird"}


def masks_of(name: str) -> list[tuple[int, float, np.ndarray]]:
    """Category id, score and mask (H, W) of every object of an image; none overlap."""
    y, x = np.mgrid[: SIZES[name][0], : SIZES[name][1]]
    if name == "a.jpg":
        distance = np.hypot(y - 25, x - 25)
        ring = (distance < 20) & (distance > 9)
        parts = ((x > 50) & (x < 60) & (y > 5) & (y < 20)) | ((x > 62) & (x < 75) & (y > 30) & (y < 55))
        return [(3, 0.9, ring), (7, 0.625, parts), (3, 0.25, distance < 5)]
    if name == "trip/b b.jpg":
        diagonal = ((x > 5) & (x < 15) & (y > 5) & (y < 15)) | ((x >= 15) & (x < 30) & (y >= 15) & (y < 33))
        return [(7, 0.75, diagonal)]
    return []


def write_labeled_folder(root: Path, min_score: float = 0.5) -> Path:
    """``photos/`` and ``photos_labeled/`` as a run of labeling leaves them; returns the latter."""
    folder = root / "photos_labeled"
    folder.mkdir(parents=True)
    images, annotations, results = [], [], []
    for image_id, (name, (height, width)) in enumerate(SIZES.items(), start=1):
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), "gray").save(path)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for category_id, score, mask in masks_of(name):
            rle = encode_mask(mask)
            x1, y1, x2, y2 = rle_to_box_xyxy(rle).tolist()
            entry = {
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
                "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
            }
            results.append(entry)
            if score >= min_score:
                annotations.append({"id": len(annotations) + 1, "area": rle_area(rle), "iscrowd": 0, **entry})
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    (folder / "predictions.json").write_text(json.dumps(results))
    settings = {
        "images": str(root / "photos"),
        "min_score": min_score,
        "references": "0" * 12,
        "config_hash": "0" * 12,
        "config": {},
    }
    (folder / "run.json").write_text(json.dumps({"settings": settings}))
    return folder
