"""``nttt report``: tables and plots of finished runs.

Published numbers stand beside them.
"""

from __future__ import annotations

import importlib.util
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.errors import counted
from no_time_to_train.files.arguments import as_path
from no_time_to_train.files.formats import write_csv, write_text
from no_time_to_train.reports import tables as report_tables
from no_time_to_train.reports.read_runs import collect_runs
from no_time_to_train.reports.summarize import ReportRow, summarize

_NOTE = (
    "Per cent; mean ± sample standard deviation over the seeds. Published numbers stand beside runs of the method they "
    "are of; an empty cell means that nothing is known. s/image is the slowest run's: later ones may have found masks "
    "in the cache."
)


@dataclass(frozen=True, eq=False)
class RunsReport:
    r"""Findings and files of ``report``.

    Attributes:
        rows: mean and standard deviation per benchmark, models, variant and shots.
        out: folder of ``report.md``, ``report.csv``, ``report.tex`` and ``plots/``.
        num_runs: finished ones.
        left_out: folders of the others, and why.
        plots: files; empty without matplotlib.
        has_matplotlib: whether plots could be drawn.

    Example:
        >>> import no_time_to_train.tasks.report as reports
        >>> reports.RunsReport([], "out", 0, [("runs/seed=1", "unfinished")], [], True).unfinished()
        '- runs/seed=1: unfinished\n'
    """

    rows: Sequence[ReportRow]
    out: Path
    num_runs: int
    left_out: Sequence[tuple[Path, str]]
    plots: Sequence[Path]
    has_matplotlib: bool

    def tables(self) -> str:
        """Return the tables as Markdown."""
        return report_tables.markdown_tables(self.rows)

    def unfinished(self) -> str:
        """Return what was left out as a list in Markdown."""
        return "".join(f"- {path}: {reason}\n" for path, reason in self.left_out)


def report(runs: str | Path, *, out: str | Path | None = None) -> RunsReport:
    """Write tables and plots of finished runs beside the published numbers.

    Args:
        runs: folder of runs; all below it count.
        out: where the report goes; None: ``report`` in it.

    Raises:
        InputFileNotFoundError: there is no such folder.
        InputError: it holds no finished run.

    Example:
        >>> try:
        ...     ntt.report("runs")
        ... except ntt.NoTimeToTrainError as error:
        ...     print(error)
        runs: no such folder. ...
    """
    folder = as_path(runs, "runs")
    results, problems = collect_runs(folder)
    rows = summarize(results)
    target = folder / "report" if out is None else as_path(out, "out")
    has_matplotlib = importlib.util.find_spec("matplotlib") is not None
    plots = _write_plots(rows, target / "plots") if has_matplotlib else []
    made = RunsReport(rows, target, len(results), problems, plots, has_matplotlib)
    sections = [f"# Report of {counted(len(results), 'run')}\n", _NOTE + "\n", made.tables()]
    sections += [f"![{path.stem}](plots/{path.name})\n" for path in plots]
    sections += ["## Every seed\n", report_tables.markdown_per_seed(rows)]
    sections += [f"## Left out\n\n{made.unfinished()}"] if problems else []
    write_text(target / "report.md", "\n".join(sections))
    write_csv(target / "report.csv", report_tables.CSV_HEADER, report_tables.csv_rows(rows))
    write_text(target / "report.tex", report_tables.latex_tables(rows))
    return made


def _write_plots(rows: Sequence[ReportRow], folder: Path) -> list[Path]:
    """Return one plot against shots per benchmark part, and one of the categories per line of it, at its most shots."""
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
