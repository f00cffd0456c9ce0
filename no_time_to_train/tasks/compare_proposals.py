"""``nttt compare-proposals``: sources of candidate masks side by side, on images whose objects are annotated."""

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
from no_time_to_train.benchmarks.benchmark import AnnotatedImages
from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.config import BenchConfig, BenchmarkConfig, to_dict
from no_time_to_train.data.coco import CocoDataset, CocoImage
from no_time_to_train.data.images import describe_size_mismatch, read_image
from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.evaluation.instance_ap import InstanceMetrics, evaluate_instances
from no_time_to_train.evaluation.proposal_recall import (
    RECALL_COUNTS,
    ImageCoverage,
    ProposalMetrics,
    cover_objects,
    summarize_coverage,
)
from no_time_to_train.files.formats import write_csv, write_json
from no_time_to_train.ops.rle import Rle, segmentation_to_rle
from no_time_to_train.proposals.combined import check_targets
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.reports.recall_plot import plot_recall, recall_curve
from no_time_to_train.reports.text_table import align_columns
from no_time_to_train.runs.prefetch import read_ahead
from no_time_to_train.runs.progress import Progress
from no_time_to_train.runs.provenance import versions
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import ReferenceSet, TargetImage
from no_time_to_train.tasks.memory_source import build_memory
from no_time_to_train.tasks.proposal_sources import WrittenSource, parse_sources


@dataclass(frozen=True)
class CompareOptions:
    """The command line of ``nttt compare-proposals``.

    Attributes:
        annotations: COCO file with masks; None: the benchmark of the settings, the bundled demo by default.
        images: its images, None: found beside it.
        references: COCO file of references for ``annotations``: what a benchmark has by itself. Without, nAP is left
            out.
        reference_images: its images, None: found beside it.
        sources: see ``parse_sources``.
        limit: only the first images.
        out: folder of the results.
        overrides: ``key=value`` settings that all sources share, those of benchmarks (``shots=3``) among them.
        markdown: print the table as Markdown.
        command: for the record.
    """

    annotations: Path | None
    images: Path | None
    references: Path | None
    reference_images: Path | None
    sources: str
    limit: int | None
    out: Path
    overrides: Sequence[str]
    markdown: bool
    command: Sequence[str]


@dataclass(frozen=True, eq=False)
class ComparisonData:
    """What sources are compared on.

    Attributes:
        targets: the images, in the order of the ground truth.
        ground_truth: their objects, with masks.
        references: None where only recall is asked for.
    """

    targets: Sequence[TargetImage]
    ground_truth: CocoDataset
    references: ReferenceSet | None

    @property
    def num_objects(self) -> int:
        """Crowds are no objects."""
        return sum(not annotation.is_crowd for annotation in self.ground_truth.annotations)

    def first(self, num_images: int) -> ComparisonData:
        """The same with only the first images."""
        return replace(self, targets=self.targets[:num_images], ground_truth=self.ground_truth.first_images(num_images))


@dataclass(frozen=True, eq=False)
class SourceResult:
    """One row of the table: what a source covers, how long it takes, and nAP of the whole method with it.

    Attributes:
        name: as on the command line.
        metrics: recall and the like.
        seconds_per_image: median time for the candidate masks and their features; encoding the image is left out.
        curve: average recall by number of proposals.
        detections: None without references.
    """

    name: str
    metrics: ProposalMetrics
    seconds_per_image: float
    curve: dict[int, float | None]
    detections: InstanceMetrics | None

    def columns(self) -> dict[str, float | None]:
        """The numbers of the table by their headings, recalls and AP in per cent."""
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
            self.predictions += self.segmenter.label(pooled, memory).to_coco_results(target.id)

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


def compare_proposals(options: CompareOptions) -> list[SourceResult]:
    """Run every source over the same images, print the table and write it with the recall curves into ``out``.

    Both networks encode an image once for all sources. Files: ``comparison.csv``, ``comparison.json``, ``recall.png``.
    Ctrl-C ends with the table over the images that are done.

    Raises:
        InputError: sources, settings or data are wrong; all are checked before the first image is encoded.
    """
    sources = parse_sources(options.sources)
    overrides = _with_preset(options)
    config = build.compose_bench_config(shared=overrides)
    data = load_comparison_data(options, config)
    candidates = _load_candidates(config, sources, overrides, data.targets)
    segmenter = candidates[0].segmenter
    print(f"{segmenter.device}: {len(sources)} sources, {len(data.targets)} images", flush=True)
    memory = None if data.references is None else build_memory(segmenter, data.references)
    try:
        _cover(data, candidates, memory)
    except KeyboardInterrupt:
        num_done = len(candidates[-1].coverages)
        if data.first(num_done).num_objects:
            _report(candidates, data.first(num_done), config, options)
        raise
    return _report(candidates, data, config, options)


def load_comparison_data(options: CompareOptions, config: BenchConfig) -> ComparisonData:
    """The images, what is annotated in them, and the references if there are any.

    Raises:
        InputFileNotFoundError: something is missing.
        InputError: objects without masks, or no object at all.
    """
    settings = replace(config.benchmark, limit=options.limit or config.benchmark.limit)
    if options.annotations is not None and options.references is None:
        data = _without_references(options.annotations, options.images, settings)
    else:
        if options.annotations is not None:
            settings = replace(
                settings,
                name="custom",
                annotations=str(options.annotations),
                images=None if options.images is None else str(options.images),
                references=str(options.references),
                reference_images=None if options.reference_images is None else str(options.reference_images),
                sampler="all",
            )
        task = load_task(replace(config, benchmark=settings))
        data = ComparisonData(task.targets, task.ground_truth, task.references)
    _check_masks(data.ground_truth)
    return data


def _with_preset(options: CompareOptions) -> list[str]:
    """The settings, with the demo models where the demo benchmark is used and nothing else is asked for."""
    keys = {override.split("=")[0] for override in options.overrides}
    if "proposals" in keys:
        listed = Parameter("sources", "A,B")
        raise InputError(f"proposals=... chooses one source; name those to compare by {listed}.", parameters=[listed])
    is_demo = options.annotations is None and "benchmark" not in keys
    return [*(["preset=demo"] if is_demo and "preset" not in keys else []), *options.overrides]


def _without_references(annotations: Path, images: Path | None, settings: BenchmarkConfig) -> ComparisonData:
    annotated = AnnotatedImages("target images", annotations, images, images_setting="images")
    truth = annotated.dataset.first_images(settings.limit)
    folder = annotated.images_folder([image.file_name for image in truth.images])
    targets = [TargetImage(folder / image.file_name, image.file_name, image.id) for image in truth.images]
    return ComparisonData(targets, truth, None)


def _check_masks(truth: CocoDataset) -> None:
    objects = [annotation for annotation in truth.annotations if not annotation.is_crowd]
    without = sum(not annotation.segmentation for annotation in objects)
    if not objects or without:
        problem = f"{without} of {len(objects)} objects have only a box" if objects else "it has no object"
        raise InputError(f"{truth.name}: {problem}. Proposals are masks and are compared with annotated masks.")


def _load_candidates(
    config: BenchConfig, sources: Sequence[WrittenSource], overrides: Sequence[str], targets: Sequence[TargetImage]
) -> list[_Candidate]:
    """One segmenter per source around the same two networks, which are loaded last."""
    built = [(source.text, *source.build(overrides)) for source in sources]
    for _, _, source in built:
        check_targets(source, targets)
    models = build.build_segmenter(config)
    return [
        _Candidate(name, Segmenter(models.encoder, models.mask_model, own_config, proposals=source))
        for name, own_config, source in built
    ]


def _cover(data: ComparisonData, candidates: Sequence[_Candidate], memory: MemoryBank | None) -> None:
    progress = Progress(len(data.targets))
    try:
        with closing(read_ahead(read_image, [target.path for target in data.targets])) as images:
            for target, pixels in zip(data.targets, images, strict=True):
                objects = _object_masks(data.ground_truth, target, pixels)
                [encoded] = candidates[0].segmenter.encode([pixels], [target])
                for candidate in candidates:
                    candidate.add(encoded, target, objects, memory)
                progress.advance()
    finally:
        progress.end()


def _object_masks(truth: CocoDataset, target: TargetImage, pixels: np.ndarray) -> list[Rle]:
    """The image's objects, crowds left out. Raises InputError where the annotations are of another size."""
    image: CocoImage = truth.images_by_id[target.id]
    mismatch = describe_size_mismatch(image.size_hw, f"{truth.name}: the size", pixels.shape[:2], target.file_name)
    if mismatch:
        raise InputError(mismatch)
    annotations = truth.annotations_by_image[target.id]
    return [segmentation_to_rle(a.segmentation, image.size_hw) for a in annotations if not a.is_crowd]


def _report(
    candidates: Sequence[_Candidate], data: ComparisonData, config: BenchConfig, options: CompareOptions
) -> list[SourceResult]:
    results = [candidate.result(data) for candidate in candidates]
    _print_table(results, data, markdown=options.markdown)
    _write(results, data, config, options)
    print(f"\nWritten to {options.out}: comparison.csv, comparison.json, recall.png")
    return results


def _write(results: Sequence[SourceResult], data: ComparisonData, config: BenchConfig, options: CompareOptions) -> None:
    """The figures first: the plot needs a package that may be missing."""
    rows = [[result.name, *result.columns().values()] for result in results]
    write_csv(options.out / "comparison.csv", ["source", *results[0].columns()], rows)
    content = {
        "command": shlex.join(options.command),
        "versions": versions(),
        "num_images": len(data.targets),
        "num_objects": data.num_objects,
        "config": to_dict(config),
        "sources": {result.name: result.to_json() for result in results},
    }
    write_json(options.out / "comparison.json", content)
    plot_recall({result.name: result.curve for result in results}, options.out / "recall.png")


def _print_table(results: Sequence[SourceResult], data: ComparisonData, *, markdown: bool) -> None:
    print(
        f"\n{data.num_objects} objects in {len(data.targets)} images; recalls and AP in per cent, masks ranked by "
        "predicted IoU"
    )
    rows = [[result.name, *map(_format, result.columns().values())] for result in results]
    print(align_columns(["source", *results[0].columns()], rows, markdown=markdown))


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _now(device: torch.device) -> float:
    """Seconds, when what was begun on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
