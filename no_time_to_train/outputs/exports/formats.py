"""Every format there is, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from no_time_to_train.outputs.exports import coco, crops, cvat, label_studio, labelme, objects_table, voc, yolo
from no_time_to_train.outputs.exports.dataset import ExportDataset
from no_time_to_train.outputs.exports.options import ExportOptions

Writer = Callable[[ExportDataset, Path, ExportOptions], Counter[str] | None]
"""Writes a data set into an empty folder; what it had to leave out it returns, counted by reason."""

WRITERS: dict[str, Writer] = {
    "coco": coco.write_polygons,
    "coco-rle": coco.write_rle,
    "yolo": yolo.write,
    "label-studio": label_studio.write,
    "cvat": cvat.write_xml,
    "datumaro": cvat.write_datumaro,
    "labelme": labelme.write,
    "voc": voc.write,
    "roboflow": coco.write_roboflow,
    "csv": objects_table.write,
    "crops": crops.write,
}
