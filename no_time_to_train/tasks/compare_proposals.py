"""Compare sources of candidate masks on annotated images: ``nttt compare-proposals``."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from no_time_to_train import build
from no_time_to_train.config import BenchConfig, to_dict
from no_time_to_train.data.coco import CocoDataset, CocoImage
from no_time_to_train.data.images import describe_size_mismatch, read_image
from no_time_to_train.errors import InputError, Parameter, counted
from no_time_to_train.evaluation.instance_ap import InstanceMetrics, evaluate_instances
from no_time_to_train.evaluation.proposal_recall import (
    RECALL_COUNTS,
    ImageCoverage,
    ProposalMetrics,
    cover_objects,
    summarize_coverage,
)
from no_time_to_train.files.arguments import as_count, as_function, as_path
from no_time_to_train.files.formats import write_csv, write_json
from no_time_to_train.ops.rle import Rle, segmentation_to_rle
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.reports.recall_plot import plot_recall, recall_curve
from no_time_to_train.runs.prefetch import read_ahead
from no_time_to_train.runs.progress import Counter, OnProgress, RunProgress, tell_nobody
from no_time_to_train.runs.provenance import versions
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.settings.overrides import with_named
from no_time_to_train.structures import ReferenceSet, TargetImage
from no_time_to_train.tasks.comparison_data import ComparisonData, load_comparison_data
from no_time_to_train.tasks.proposal_sources import WrittenSource, parse_sources

DEFAULT_SOURCES = "point_grid,automatic_masks,semantic_clusters,point_grid+semantic_clusters"


@dataclass(frozen=True, eq=False)
class SourceResult:
    """Coverage of one source of masks, its time, and its nAP.

    Attributes:
        name: as it was given.
        metrics: recall and the like.
        seconds_per_image: median time for the candidate masks and their features; encoding the image is left out.
        curve: average recall by number of proposals.
        detections: None without references.

    Example:
        >>> [result] = ntt.compare_proposals("point_grid[points_per_side=4]", limit=1).results
        >>> sorted(result.columns())[:2]
        ['AR@10', 'AR@100']
    """

    name: str
    metrics: ProposalMetrics
    seconds_per_image: float
    curve: dict[int, float | None]
    detections: InstanceMetrics | None

    def columns(self) -> dict[str, float | None]:
        """Return the numbers of the table by their headings.

        Recalls and AP are in per cent.
        """
        shown = {
            **{f"AR@{count}": self.metrics.average_recall[count] for count in RECALL_COUNTS},
            "recall@0.5": self.metrics.recall_50,
            "recall@0.75": self.metrics.recall_75,
            "best mIoU": self.metrics.mean_best_iou,
            "masks/object": self.metrics.masks_per_object,
            "masks/image": self.metrics.proposals_per_image,
            "s/image": self.seconds_per_image,
        }
        if self.detections is not None:
            shown |= {f"{kind} nAP": values.nAP for kind, values in self.detections.overall.items()}
        return shown

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            **asdict(self.metrics),
            "seconds_per_image": self.seconds_per_image,
            "recall_curve": self.curve,
            "detections": None if self.detections is None else self.detections.to_json(),
        }


@dataclass(eq=False)
class _Candidate:
    """A source at work: the segmenter that has it, and what has come of the images so far."""

    name: str
    segmenter: Segmenter
    coverages: list[ImageCoverage] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)

    def add(self, image: EncodedImage, target: TargetImage, objects: Sequence[Rle], memory: MemoryBank | None) -> None:
        started = _now(self.segmenter.device)
        pooled = self.segmenter.propose(image, memory)
        self.seconds.append(_now(self.segmenter.device) - started)
        self.coverages.append(cover_objects(pooled.rles(), pooled.predicted_ious.float().cpu().numpy(), objects))
        if memory is not None:
            self.predictions += self.segmenter.label(pooled, memory, image.pixels).to_coco_results(target.id)

    def result(self, data: ComparisonData) -> SourceResult:
        """Over the images of ``data``, the first ones that were added."""
        coverages = self.coverages[: len(data.targets)]
        known = data.ground_truth.images_by_id
        predictions = [prediction for prediction in self.predictions if prediction["image_id"] in known]
        return SourceResult(
            self.name,
            summarize_coverage(coverages),
            statistics.median(self.seconds[: len(data.targets)]),
            recall_curve(coverages),
            None if data.references is None else evaluate_instances(data.ground_truth, predictions),
        )


@dataclass(frozen=True, eq=False)
class ProposalComparison:
    """Measurements of ``compare_proposals``.

    Attributes:
        results: of every source, in the order they were named.
        num_images, num_objects: they were measured on.
        was_interrupted: Ctrl-C came; the results are those of the images that were done.

    Example:
        >>> comparison = ntt.compare_proposals("point_grid[points_per_side=4]", limit=1)
        >>> comparison.num_images, comparison.was_interrupted
        (1, False)
    """

    results: tuple[SourceResult, ...]
    num_images: int
    num_objects: int
    was_interrupted: bool = False

    def write(self, out: Path, *, config: BenchConfig, command: Sequence[str] = ()) -> None:
        """Write ``comparison.csv``, ``comparison.json`` and ``recall.png``; the figures first."""
        rows = [[result.name, *result.columns().values()] for result in self.results]
        write_csv(out / "comparison.csv", ["source", *self.results[0].columns()], rows)
        content = {
            "command": shlex.join(command),
            "versions": versions(),
            "num_images": self.num_images,
            "num_objects": self.num_objects,
            "config": to_dict(config),
            "sources": {result.name: result.to_json() for result in self.results},
        }
        write_json(out / "comparison.json", content)
        plot_recall({result.name: result.curve for result in self.results}, out / "recall.png")


def compare_proposals(
    sources: str = DEFAULT_SOURCES,
    *,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    references: str | Path | None = None,
    reference_images: str | Path | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    preset: str | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    on_progress: OnProgress = tell_nobody,
    command: Sequence[str] = (),
) -> ProposalComparison:
    """Measure what every source of masks covers on the same images.

    Both networks encode an image once for all sources.

    Args:
        sources: names separated by commas; ``A+B`` is a union; own settings in brackets:
            ``automatic_masks[crop_n_layers=1]``.
        annotations: COCO file with masks; None: the benchmark of the settings, the bundled demo by default.
        images: its images; None: found beside it.
        references: COCO file of references for ``annotations`` (a benchmark has its own). Without, nAP is left out.
        reference_images: its images; None: found beside it.
        limit: only the first images.
        out: folder for ``comparison.csv``, ``comparison.json`` and ``recall.png``; None: nothing is written.
        preset: as of ``load_segmenter``.
        device: as of ``load_segmenter``.
        overrides: settings as ``"key=value"`` that all sources share, those of benchmarks (``shots=3``) among them.
        on_progress: is told how far it is.
        command: for the record.

    Raises:
        InputError: sources, settings or data are wrong; all are checked before the first image is encoded.

    Example:
        >>> comparison = ntt.compare_proposals(
        ...     "point_grid[points_per_side=4]",
        ...     annotations="ground_truth.json",
        ...     images="photos",
        ...     preset="demo",
        ... )
        >>> [result.name for result in comparison.results], comparison.num_images
        (['point_grid[points_per_side=4]'], 2)
    """
    as_function(on_progress, "on_progress")
    written = parse_sources(sources)
    overrides = _with_preset(with_named(overrides, preset=preset, device=device), is_benchmark=annotations is None)
    config = build.compose_bench_config(shared=overrides)
    settings = replace(config.benchmark, limit=as_count(limit, "limit") or config.benchmark.limit)
    given = {"annotations": annotations, "images": images, "refs": references, "ref_images": reference_images}
    paths = [as_path(path, name, optional=True) for name, path in given.items()]
    data = load_comparison_data(replace(config, benchmark=settings), *paths)
    candidates = _load_candidates(config, written, overrides, data.targets)
    segmenter = candidates[0].segmenter
    described = f"{segmenter.device}: {counted(len(written), 'source')}, {counted(len(data.targets), 'image')}"
    on_progress(RunProgress("images", 0, len(data.targets), described))
    memory = None if data.references is None else _build_memory(segmenter, data.references, on_progress)
    was_interrupted = False
    try:
        _cover(data, candidates, memory, on_progress)
    except KeyboardInterrupt:
        data = data.first(len(candidates[-1].coverages))
        if not data.num_objects:
            raise
        was_interrupted = True
    results = tuple(candidate.result(data) for candidate in candidates)
    comparison = ProposalComparison(results, len(data.targets), data.num_objects, was_interrupted)
    if out is not None:
        comparison.write(as_path(out, "out"), config=config, command=command)
    return comparison


def _build_memory(segmenter: Segmenter, references: ReferenceSet, on_progress: OnProgress) -> MemoryBank:
    counts = ", ".join(f"{name} {count}" for name, count in references.counts().items())
    number = counted(len(references), "reference")
    on_progress(RunProgress("references", 0, len(references), f"{number}: {counts}"))
    counter = Counter("references", len(references), on_progress)
    return segmenter.build_memory(references, on_progress=lambda done, _: counter.advance(done - counter.done))


def _with_preset(overrides: Sequence[str], *, is_benchmark: bool) -> list[str]:
    """Return the settings, with the demo models where the demo benchmark is used and nothing else is asked for."""
    keys = {override.split("=")[0] for override in overrides}
    if "proposals" in keys:
        listed = Parameter("sources", "A,B")
        raise InputError(f"proposals=... chooses one source; name those to compare by {listed}.", parameters=[listed])
    is_demo = is_benchmark and "benchmark" not in keys
    return [*(["preset=demo"] if is_demo and "preset" not in keys else []), *overrides]


def _load_candidates(
    config: BenchConfig, sources: Sequence[WrittenSource], overrides: Sequence[str], targets: Sequence[TargetImage]
) -> list[_Candidate]:
    """Return one segmenter per source around the same two networks, which are loaded last."""
    built = [(source.text, *source.build(overrides)) for source in sources]
    for _, _, source in built:
        source.check(targets)
    models = build.build_segmenter(config)
    return [
        _Candidate(name, Segmenter(models.encoder, models.mask_model, own_config, proposals=source))
        for name, own_config, source in built
    ]


def _cover(
    data: ComparisonData, candidates: Sequence[_Candidate], memory: MemoryBank | None, on_progress: OnProgress
) -> None:
    counter = Counter("images", len(data.targets), on_progress)

    def read(target: TargetImage) -> np.ndarray:
        return read_image(target.path, upright=target.upright)

    with closing(read_ahead(read, data.targets)) as images:
        for target, pixels in zip(data.targets, images, strict=True):
            objects = _object_masks(data.ground_truth, target, pixels)
            [encoded] = candidates[0].segmenter.encode([pixels], [target])
            for candidate in candidates:
                candidate.add(encoded, target, objects, memory)
            counter.advance()


def _object_masks(truth: CocoDataset, target: TargetImage, pixels: np.ndarray) -> list[Rle]:
    """Return the image's objects, crowds left out. Raises InputError where the annotations are of another size."""
    image: CocoImage = truth.images_by_id[target.id]
    mismatch = describe_size_mismatch(image.size_hw, f"{truth.name}: the size", pixels.shape[:2], target.file_name)
    if mismatch:
        raise InputError(mismatch)
    annotations = truth.annotations_by_image[target.id]
    return [segmentation_to_rle(a.segmentation, image.size_hw) for a in annotations if not a.is_crowd]


def _now(device: torch.device) -> float:
    """Seconds, when what was begun on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
