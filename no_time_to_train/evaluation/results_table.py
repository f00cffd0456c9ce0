"""Metrics as a table for people: aligned plain text, or Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from no_time_to_train.evaluation.instance_ap import InstanceMetrics

_SHOWN = ("nAP", "nAP50", "nAP75")
_NO_OTHERS: Mapping[str, str] = MappingProxyType({})


def format_table(metrics: InstanceMetrics, *, markdown: bool = False) -> str:
    """One row over all categories and one per category; per cent, "-" where a metric does not apply."""
    return format_metrics_table(metrics.to_json(), kinds=tuple(metrics.overall), markdown=markdown)


def format_metrics_table(
    content: Mapping[str, Any],
    *,
    kinds: Sequence[str],
    others: Mapping[str, str] = _NO_OTHERS,
    markdown: bool = False,
) -> str:
    """The same for the content of a ``metrics.json``.

    Args:
        content: see :meth:`InstanceMetrics.to_json`.
        kinds: ``box``, ``mask`` or both, whose AP is shown.
        others: headings of further numbers to show, by their keys in ``content`` and in its ``per_category``.
        markdown: as Markdown rather than aligned text.
    """
    header = ["category", *(f"{kind} {name}" for kind in kinds for name in _SHOWN), *others.values()]
    rows = [["all", *_cells(content, kinds, others)]]
    rows += [[name, *_cells(values, kinds, others)] for name, values in content["per_category"].items()]
    return align_columns(header, rows, markdown=markdown)


def align_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool = False, numbers: bool = True
) -> str:
    """A table of text: the first column is left-aligned, the others right-aligned where they are ``numbers``."""
    if markdown:
        rule = ["---"] + ["---:" if numbers else "---"] * (len(header) - 1)
        return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        align = str.rjust if numbers else str.ljust
        others = (align(cell, width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return "  ".join([cells[0].ljust(widths[0]), *others]).rstrip()

    return "\n".join([line(header), "-" * (sum(widths) + 2 * (len(widths) - 1)), *map(line, rows)])


def _cells(values: Mapping[str, Any], kinds: Sequence[str], others: Mapping[str, str]) -> list[str]:
    precisions = [values[kind][name] for kind in kinds for name in _SHOWN]
    return [_format(value) for value in (*precisions, *(values.get(key) for key in others))]


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
