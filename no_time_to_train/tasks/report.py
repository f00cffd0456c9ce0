"""``nttt report``: finished runs in, tables and plots beside the published numbers out."""

from __future__ import annotations

import importlib.util
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.errors import install_command
from no_time_to_train.files.formats import write_csv, write_text
from no_time_to_train.reports import tables as report_tables
from no_time_to_train.reports.read_runs import collect_runs
from no_time_to_train.reports.summarize import ReportRow, summarize

_NOTE = (
    "Per cent; mean ± sample standard deviation over the seeds. Published numbers stand beside runs of the method they "
    "are of; an empty cell means that nothing is known. s/image is the slowest run's: later ones may have found masks "
    "in the cache."
)


@dataclass(frozen=True)
class ReportOptions:
    """The command line of ``nttt report``.

    Attributes:
        runs: folder of runs; all below it count.
        out: where the report goes, None: ``report`` in it.
    """

    runs: Path
    out: Path | None = None


def report(options: ReportOptions) -> list[ReportRow]:
    """Print the Markdown tables and write ``report.md``, ``.csv``, ``.tex`` and the plots.

    Raises:
        InputFileNotFoundError: there is no such folder.
        InputError: it holds no finished run.
    """
    runs, problems = collect_runs(options.runs)
    rows = summarize(runs)
    out = options.runs / "report" if options.out is None else options.out
    tables = report_tables.markdown_tables(rows)
    plots = _write_plots(rows, out / "plots")
    sections = [f"# Report of {len(runs)} runs\n", _NOTE + "\n", tables]
    sections += [f"![{path.stem}](plots/{path.name})\n" for path in plots]
    sections += ["## Every seed\n", report_tables.markdown_per_seed(rows)]
    unfinished = "".join(f"- {path}: {reason}\n" for path, reason in problems)
    sections += [f"## Left out\n\n{unfinished}"] if problems else []
    write_text(out / "report.md", "\n".join(sections))
    write_csv(out / "report.csv", report_tables.CSV_HEADER, report_tables.csv_rows(rows))
    write_text(out / "report.tex", report_tables.latex_tables(rows))
    print(tables)
    if problems:
        print(f"Left out, {len(problems)} of {len(runs) + len(problems)} runs:\n{unfinished}")
    print(f"Written to {out}: report.md, report.csv, report.tex and {len(plots)} plots.")
    return rows


def _write_plots(rows: Sequence[ReportRow], folder: Path) -> list[Path]:
    """One plot against shots per part of a benchmark, and one of the categories per line of it, at its most shots."""
    if importlib.util.find_spec("matplotlib") is None:
        print(f"No plots: matplotlib is not installed ({install_command('bench')}).")
        return []
    from no_time_to_train.reports.plots import plot_categories, plot_shots

    parts: dict[tuple[str, str], list[ReportRow]] = defaultdict(list)
    for row in rows:
        if row.metrics:
            parts[row.benchmark, row.part].append(row)
    paths = []
    for (benchmark, part), members in parts.items():
        name = re.sub(r"[^\w.=-]+", "_", f"{benchmark}_{part}".rstrip("_"))
        paths.append(folder / f"{name}_shots.png")
        plot_shots(members, paths[-1])
        most_shots = {row.label: row for row in members if row.per_category}  # rows are sorted: the last one stays
        for number, row in enumerate(most_shots.values(), start=1):
            paths.append(folder / f"{name}_categories_{number}.png")
            plot_categories(row, paths[-1])
    return paths
