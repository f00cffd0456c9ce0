"""Metrics as a table for people: plain text or Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from no_time_to_train.errors import counted
from no_time_to_train.evaluation.instance_ap import METRIC_KINDS, InstanceMetrics
from no_time_to_train.reports.text_table import align_columns

METRIC_HEADINGS = {
    "voc_ap50_11pt": "VOC AP50 (11 points)",
    "voc_ap_11pt": "VOC AP (11 points)",
    "voc_ap50_area": "VOC AP50 (area)",
    "voc_ap_area": "VOC AP (area)",
    "voc_ap50_coco": "COCO-style AP50",
    "lvis_box_APr": "box APr",
    "lvis_box_APc": "box APc",
    "lvis_box_APf": "box APf",
    "lvis_mask_APr": "mask APr",
    "lvis_mask_APc": "mask APc",
    "lvis_mask_APf": "mask APf",
    "miou": "mIoU",
    "miou_with_background": "mIoU with background",
    "fb_iou": "FB-IoU",
    "miou_as_published": "mIoU as published",
}
"""Headings of the evaluators' own numbers by their keys."""
_SHOWN = ("nAP", "nAP50", "nAP75")
_MAX_CATEGORIES = 100
_NO_OTHERS: Mapping[str, str] = MappingProxyType({})


def describe_metrics(metrics: InstanceMetrics, *, markdown: bool = False) -> str:
    """Return what was scored, the table, and what was skipped."""
    counts = f"{counted(metrics.num_images, 'image')} with {counted(metrics.num_objects, 'object')}"
    notes = [f"Note: {note}" for note in metrics.notes]
    return "\n".join([f"AP in per cent over {counts}", format_table(metrics, markdown=markdown), *notes])


def format_table(metrics: InstanceMetrics, *, markdown: bool = False) -> str:
    """Format one row over all categories and one per category.

    Numbers are per cent, "-" where a metric does not apply.
    """
    return format_metrics_table(metrics.to_json(), kinds=tuple(metrics.overall), markdown=markdown)


def format_metrics_table(
    content: Mapping[str, Any],
    *,
    kinds: Sequence[str],
    others: Mapping[str, str] = _NO_OTHERS,
    markdown: bool = False,
) -> str:
    """Format the content of a ``metrics.json`` as a table.

    Of very many categories only the best and the lowest are shown.

    Args:
        content: see :meth:`InstanceMetrics.to_json`.
        kinds: ``box``, ``mask`` or both, whose AP is shown.
        others: headings of further numbers to show, by their keys in ``content`` and in its ``per_category``.
        markdown: as Markdown rather than aligned text.
    """
    header = ["category", *(f"{kind} {name}" for kind in kinds for name in _SHOWN), *others.values()]
    rows = [["all", *_cells(content, kinds, others)]]
    of_category = content["per_category"]
    names = list(of_category)
    left_out = ""
    if len(names) > _MAX_CATEGORIES:
        ranked = sorted(names, key=lambda name: _rank(of_category[name], kinds), reverse=True)
        names = ranked[: _MAX_CATEGORIES // 2] + ranked[-_MAX_CATEGORIES // 2 :]
        left_out = f"\n(the best and the lowest {len(names) // 2} of {len(ranked)} categories)"
    rows += [[name, *_cells(of_category[name], kinds, others)] for name in names]
    return align_columns(header, rows, markdown=markdown) + left_out


def format_metrics(metrics: Mapping[str, Any], markdown: bool = False) -> str:
    """Format the content of a ``metrics.json`` for people.

    This is what was scored and how, a table, and notes.
    """
    kinds = [kind for kind in METRIC_KINDS.values() if any(value is not None for value in metrics[kind].values())]
    others = {key: heading for key, heading in METRIC_HEADINGS.items() if key in metrics}
    table = format_metrics_table(
        metrics, kinds=kinds if kinds or others else list(METRIC_KINDS.values()), others=others, markdown=markdown
    )
    counts = f"{counted(metrics['num_images'], 'image')} with {counted(metrics['num_objects'], 'object')}"
    title = f"{metrics['protocol']}; in per cent over {counts}"
    notes = [f"Note: {note}" for note in metrics["notes"]]
    return ("\n\n" if markdown else "\n").join([title, table, *notes])


def _rank(values: Mapping[str, Any], kinds: Sequence[str]) -> float:
    """Return the first AP of a category that there is; categories without any come last."""
    known = (values[kind][name] for kind in kinds for name in _SHOWN if values[kind][name] is not None)
    return next(known, -1.0)


def _cells(values: Mapping[str, Any], kinds: Sequence[str], others: Mapping[str, str]) -> list[str]:
    precisions = [values[kind][name] for kind in kinds for name in _SHOWN]
    return [_format(value) for value in (*precisions, *(values.get(key) for key in others))]


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
