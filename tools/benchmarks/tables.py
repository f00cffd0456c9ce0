"""Print Markdown tables row by row."""

from __future__ import annotations


def start_table(title: str, *columns: str) -> None:
    print(f"\n### {title}\n")
    print_row(*columns)
    print_row(*["---"] * len(columns))


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
