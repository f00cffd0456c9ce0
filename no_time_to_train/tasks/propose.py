"""``nttt propose``: class-free masks of a folder of images, without any reference."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from no_time_to_train import build
from no_time_to_train.config import Config, config_hash, to_dict
from no_time_to_train.data.images import UnreadableImageError
from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_csv, write_jpeg
from no_time_to_train.ops.nms import class_aware_nms
from no_time_to_train.ops.rle import rle_area
from no_time_to_train.outputs.coco_json import write_dataset, write_results
from no_time_to_train.outputs.drawing import draw_masks
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.outputs.result_folder import ResultFolder
from no_time_to_train.outputs.summary import RunSummary
from no_time_to_train.outputs.web_page import write_web_page
from no_time_to_train.proposals.combined import check_targets
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.runs.prefetch import BackgroundWork, read_ahead
from no_time_to_train.runs.progress import Progress
from no_time_to_train.runs.provenance import versions, weight_hashes
from no_time_to_train.runs.run_state import RunSettings, prepare_folder, write_run
from no_time_to_train.scoring import product_of_powers
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, Detections, TargetImage
from no_time_to_train.tasks.image_folder import default_out, find_targets, read_or_problem

OBJECT = Category(1, "object")
"""The one category of class-free masks."""


@dataclass(frozen=True)
class ProposeOptions:
    """The command line of ``nttt propose``.

    Attributes:
        images: folder of the images.
        out: results folder, None: ``<images>_proposals``.
        overrides: ``key=value`` settings; ``proposals=...`` chooses the source of the masks.
        limit: only the first images, in order of their names.
        overwrite: begin anew where ``out`` holds other results.
        command: the command line that continues this run.
    """

    images: Path
    out: Path | None
    overrides: Sequence[str]
    limit: int | None
    overwrite: bool
    command: Sequence[str]


def propose(options: ProposeOptions) -> RunSummary:
    """Write the masks of every image into the results folder and say how many there are.

    Ctrl-C leaves a folder that holds what was done and can be continued.

    Raises:
        InputError: the folder holds other results, or none of the images can be read.
    """
    config = build.compose_config(options.overrides)
    out = options.out or default_out(options.images, "proposals")
    targets = find_targets(options.images, out, options.limit)
    summary = _Run(config, options, out, targets).run()
    if not summary.images:
        raise InputError(f"none of the {len(targets)} images in {options.images} can be read; see {out}/errors.csv.")
    skipped = len(targets) - len(summary.images)
    problems = f"; {skipped} could not be read, see errors.csv" if skipped else ""
    print(
        f"{summary.num_objects} masks in {len(summary.images)} images{problems}.\n"
        f"Look at {out / 'index.html'}; masks are in {out / 'proposals.json'}."
    )
    return summary


def distinct_proposals(pooled: PooledProposals, iou_threshold: float, consistency_exponent: float = 0.0) -> Detections:
    """Candidate masks as detections of one category, best first, without those that nearly repeat a better one.

    The score is the predicted IoU, times the mask's consistency to its exponent.

    Args:
        pooled: of one image.
        iou_threshold: a mask is left out where its box has a higher IoU with a better mask's.
        consistency_exponent: as ``scoring.consistency_exponent``.
    """
    scores = product_of_powers(((pooled.predicted_ious.float(), 1.0), (pooled.consistencies, consistency_exponent)))
    one_class = torch.zeros(len(pooled), dtype=torch.long, device=scores.device)
    kept = class_aware_nms(pooled.grid_boxes_xyxy, scores, one_class, iou_threshold)
    rles = pooled.rles(kept)
    # A mask can vanish when a picture is smaller than the mask grid.
    visible = [position for position, rle in enumerate(rles) if rle_area(rle) > 0]
    kept = kept[torch.tensor(visible, dtype=torch.long, device=kept.device)]
    rles = [rles[position] for position in visible]
    return Detections.from_rles(
        rles,
        scores=scores[kept].cpu().numpy(),
        category_ids=np.full(len(rles), OBJECT.id, np.int64),
        predicted_ious=pooled.predicted_ious[kept].float().cpu().numpy(),
        image_size_hw=pooled.image_size_hw,
        categories=(OBJECT,),
    )


class _Run:
    """One run over the images of a folder that have no result yet."""

    def __init__(self, config: Config, options: ProposeOptions, out: Path, targets: Sequence[TargetImage]) -> None:
        self._config = config
        self._targets = targets
        self._folder = ResultFolder(out, (OBJECT,), keep_min_score=0.0, min_score=0.0)
        self._problems: list[tuple[str, str]] = []
        self._settings = RunSettings(
            config=to_dict(config),
            config_hash=config_hash(config, "propose"),
            references="none",
            images=options.images.resolve().as_posix(),
            min_score=self._folder.min_score,
        )
        earlier = prepare_folder(out, self._settings, overwrite=options.overwrite)
        self._details: dict[str, Any] = {
            **(earlier or {}),
            "command": shlex.join(options.command),
            "versions": versions(),
            "images": len(targets),
        }
        self._folder.forget_changed(targets)
        self._left = [target for target in targets if not self._folder.is_labelled(target)]
        if earlier is not None:
            done = len(targets) - len(self._left)
            print(f"{out} holds {done} of {len(targets)} images from the same settings: continuing.", flush=True)

    def run(self) -> RunSummary:
        try:
            if self._left:
                self._propose()
        except KeyboardInterrupt:
            summary = self._finish("interrupted")
            print(
                f"\nInterrupted with {len(summary.images)} of {len(self._targets)} images done. {self._folder.path} is "
                f"valid; continue with:\n  {self._details['command']}",
                flush=True,
            )
            raise
        return self._finish("finished")

    def _propose(self) -> None:
        self._write_state("running")
        segmenter = build.build_segmenter(self._config)
        check_targets(segmenter.proposals, self._targets)
        models = {"features": segmenter.encoder.model_id, "mask_model": segmenter.mask_model.model_id}
        self._details |= {"device": str(segmenter.device), "models": models}
        print(
            f"{segmenter.device}: {' + '.join(models.values())}, {self._config.proposals.name}, "
            f"{len(self._left)} images (the time left is shown after the first)",
            flush=True,
        )
        with ThreadPoolExecutor(1, thread_name_prefix="hashes") as executor:
            hashes = executor.submit(weight_hashes, self._config)
            self._propose_each(segmenter)
            self._details["weights"] = hashes.result()

    def _propose_each(self, segmenter: Segmenter) -> None:
        progress = Progress(len(self._left))
        try:
            with closing(read_ahead(read_or_problem, self._left)) as images, BackgroundWork() as background:
                for target, image in zip(self._left, images, strict=True):
                    if isinstance(image, UnreadableImageError):
                        self._problems.append((target.file_name, str(image)))
                        progress.message(f"{image} Skipped and listed in errors.csv; the others go on.")
                    else:
                        [encoded] = segmenter.encode([image], [target])
                        found = distinct_proposals(
                            segmenter.propose(encoded),
                            self._config.propose.nms_iou_threshold,
                            self._config.scoring.consistency_exponent,
                        )
                        background.submit(self._write_image, target, image, found)
                    progress.advance()
        finally:
            progress.end()

    def _write_image(self, target: TargetImage, image: np.ndarray, found: Detections) -> None:
        """Overlay first: an image counts as done once its record is there."""
        write_jpeg(self._folder.overlay_path(target), draw_masks(image, found.rles))
        num_bytes = target.path.stat().st_size
        record = ImageRecord.from_detections(target.file_name, num_bytes, found, self._folder.keep_min_score)
        record.write(self._folder.record_path(target))

    def _finish(self, status: str) -> RunSummary:
        """The files that are made from the records of all images."""
        out = self._folder.path
        write_results(out / "proposals.json", self._records())
        write_dataset(out / "annotations.json", self._records(), (OBJECT,), self._folder.min_score)
        write_csv(out / "errors.csv", ("image", "problem"), self._problems)
        summary = RunSummary.of((record for _, record in self._records()), (OBJECT,), self._folder.min_score)
        overlays = {t.file_name: self._folder.overlay_path(t).relative_to(out).as_posix() for t in self._targets}
        write_web_page(out / "index.html", summary, overlays)
        self._write_state(status)
        return summary

    def _records(self) -> Iterator[tuple[int | str, ImageRecord]]:
        for target in self._targets:
            if self._folder.is_labelled(target):
                yield target.id, ImageRecord.read(self._folder.record_path(target))

    def _write_state(self, status: str) -> None:
        write_run(self._folder.path, self._settings, {**self._details, "status": status})
