"""The tables of ``nttt report``: Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from no_time_to_train.reports.metrics_table import METRIC_HEADINGS
from no_time_to_train.reports.published import PublishedValue, published_of_seed
from no_time_to_train.reports.summarize import ReportRow, Statistic, average_over_parts, headline_metric, shown_metrics
from no_time_to_train.reports.text_table import align_columns

CSV_HEADER = (
    *("benchmark", "part", "models", "variant", "shots", "seeds", "metric", "num_seeds", "mean", "std"),
    *("published_mean", "published_std", "published_source"),
)
_LATEX_SPECIAL = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "±": r"$\pm$"}


def by_benchmark(rows: Sequence[ReportRow]) -> Iterator[tuple[str, list[ReportRow]]]:
    """Group rows by benchmark, averages over its parts at the end."""
    for benchmark, members in groupby(rows, key=lambda row: row.benchmark):
        of_benchmark = list(members)
        yield benchmark, of_benchmark + average_over_parts(of_benchmark)


def markdown_tables(rows: Sequence[ReportRow]) -> str:
    """Format one section per benchmark, in Markdown.

    Below each table stands where the published numbers come from.
    """
    sections = []
    for benchmark, members in by_benchmark(rows):
        sources = _source_marks(members)
        header, cells = _cells(members, sources)
        section = f"## {benchmark}\n\n{align_columns(header, cells, markdown=True)}\n"
        if sources:
            section += "\n" + "\n".join(f"- {mark}: {source}" for source, mark in sources.items()) + "\n"
        sections.append(section)
    return "\n".join(sections)


def markdown_per_seed(rows: Sequence[ReportRow]) -> str:
    """Format every run by itself, beside its seed's published number."""
    sections = []
    for benchmark, members in groupby(rows, key=lambda row: row.benchmark):
        of_benchmark = [row for row in members if row.metrics]
        if not of_benchmark:
            continue
        names = [headline_metric(of_benchmark)]
        mask_name = names[0].replace("box ", "mask ")
        if mask_name != names[0] and mask_name in shown_metrics(of_benchmark):
            names.append(mask_name)
        header = ["run", "shots", "seed", *(cell for name in names for cell in (name, "published"))]
        cells = [
            [_title(row), str(row.shots), str(run.seed), *_seed_cells(row, position, names)]
            for row in of_benchmark
            for position, run in enumerate(row.runs)
        ]
        sections.append(f"### {benchmark}\n\n{align_columns(header, cells, markdown=True)}\n")
    return "\n".join(sections)


def latex_tables(rows: Sequence[ReportRow]) -> str:
    """Format the tables as ``tabular`` environments, which need booktabs."""
    tables = []
    for benchmark, members in by_benchmark(rows):
        sources = _source_marks(members)
        header, cells = _cells(members, sources)
        lines = [f"% {benchmark}", rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule"]
        lines += [_latex_row(header), r"\midrule", *(_latex_row(row) for row in cells), r"\bottomrule"]
        lines += [r"\end{tabular}", *(f"% {mark}: {source}" for source, mark in sources.items())]
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def csv_rows(rows: Sequence[ReportRow]) -> Iterator[tuple[object, ...]]:
    """Return one unrounded line per row and metric.

    A cell is empty where nothing is known.
    """
    for _, members in by_benchmark(rows):
        for row in members:
            seeds = " ".join(map(str, sorted(set(row.seeds))))
            for name, statistic in row.metrics.items():
                known = row.published.get(name)
                yield (
                    *(row.benchmark, row.part, row.models, row.variant, row.shots, seeds),
                    *(name, statistic.count, statistic.mean, statistic.std),
                    *((known.mean, known.std, known.source) if known else (None, None, None)),
                )


def _cells(rows: Sequence[ReportRow], sources: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells; a metric has a column of published numbers where one of the rows has one."""
    names = shown_metrics(rows)
    with_published = {name for name in names if any(name in row.published for row in rows)}
    header = ["run", "shots", "seeds"]
    for name in names:
        heading = METRIC_HEADINGS.get(name, name)
        header += [heading, "published"] if name in with_published else [heading]
    cells = []
    for row in rows:
        line = [_title(row), str(row.shots), str(len(set(row.seeds)))]
        for name in names:
            line.append(_format(row.metrics.get(name)))
            if name in with_published:
                known = row.published.get(name)
                line.append(f"{_format(known)} {sources[known.source]}" if known else "")
        cells.append([*line, "" if row.seconds_per_image is None else f"{row.seconds_per_image:.2f}"])
    return [*header, "s/image"], cells


def _title(row: ReportRow) -> str:
    return f"{row.part}: {row.label}" if row.part else row.label


def _source_marks(rows: Sequence[ReportRow]) -> dict[str, str]:
    """Return a letter for every source of published numbers, in the order of their first use."""
    sources = dict.fromkeys(row.published[name].source for row in rows for name in row.published)
    return {source: f"({chr(ord('a') + position)})" for position, source in enumerate(sources)}


def _seed_cells(row: ReportRow, position: int, names: Sequence[str]) -> Iterator[str]:
    run = row.runs[position]
    for name in names:
        value = run.metrics.get(name)
        known = published_of_seed(name, row.shots, run.seed, run.settings)
        yield "-" if value is None else f"{value:.1f}"
        yield "" if known is None else f"{known:.1f}"


def _format(value: Statistic | PublishedValue | None) -> str:
    if value is None:
        return "-"
    return f"{value.mean:.1f}" if value.std is None else f"{value.mean:.1f} ± {value.std:.1f}"


def _latex_row(cells: Sequence[str]) -> str:
    escaped = ("".join(_LATEX_SPECIAL.get(character, character) for character in cell) for cell in cells)
    return " & ".join(escaped) + r" \\"
