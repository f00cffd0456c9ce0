"""Metrics as a table for people: aligned plain text, or Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from no_time_to_train.evaluation.instance_ap import AveragePrecision, InstanceMetrics

_SHOWN = ("nAP", "nAP50", "nAP75")


def format_table(metrics: InstanceMetrics, *, markdown: bool = False) -> str:
    """One row over all categories and one per category; per cent, "-" where a metric does not apply."""
    kinds = list(metrics.overall)
    header = ["category", *(f"{kind} {name}" for kind in kinds for name in _SHOWN)]
    rows = [["all", *_cells(metrics.overall, kinds)]]
    rows += [[name, *_cells(values, kinds)] for name, values in metrics.per_category.items()]
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


def _cells(values: dict[str, AveragePrecision], kinds: Sequence[str]) -> list[str]:
    return [_format(getattr(values[kind], name)) if kind in values else "-" for kind in kinds for name in _SHOWN]


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
