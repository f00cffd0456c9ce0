"""Tables of text: aligned columns, or Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def align_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool = False, numbers: bool = True
) -> str:
    """Align a table of text in columns.

    The first column is left-aligned, the others right-aligned where they are ``numbers``.
    """
    if markdown:
        rule = ["---"] + ["---:" if numbers else "---"] * (len(header) - 1)
        return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        align = str.rjust if numbers else str.ljust
        others = (align(cell, width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return "  ".join([cells[0].ljust(widths[0]), *others]).rstrip()

    return "\n".join([line(header), "-" * (sum(widths) + 2 * (len(widths) - 1)), *map(line, rows)])
