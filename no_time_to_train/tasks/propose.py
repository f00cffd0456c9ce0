"""Propose class-free masks of images: ``nttt propose``.

No reference is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from no_time_to_train import build
from no_time_to_train.config import Config, config_hash, to_dict
from no_time_to_train.data.image_selection import ImageNames
from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import rle_area
from no_time_to_train.outputs.drawing import draw_masks
from no_time_to_train.outputs.result_folder import ResultFolder
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.runs.folder_run import FolderJob, carry_out
from no_time_to_train.runs.image_labeling import LoadedBatch
from no_time_to_train.runs.image_loop import Process
from no_time_to_train.runs.progress import OnProgress, tell_nobody
from no_time_to_train.runs.run import Run
from no_time_to_train.runs.run_state import RunSettings
from no_time_to_train.settings.overrides import with_named
from no_time_to_train.structures import Category, Detections
from no_time_to_train.tasks.image_folder import find_targets

if TYPE_CHECKING:
    from no_time_to_train.proposals.pooled import PooledProposals
    from no_time_to_train.segmenter import Segmenter

OBJECT = Category(1, "object")
"""The one category of class-free masks."""


@dataclass(frozen=True)
class ProposeReport:
    """Findings of ``propose_folder``.

    Attributes:
        out: the results folder: ``proposals.json``, ``annotations.json``, ``overlays/``, ``index.html``.
        num_images: images with a result, also those of earlier runs into the same folder.
        num_masks: in all of them.
        problems: (file name, what is wrong) of the images that cannot be read.
    """

    out: Path
    num_images: int
    num_masks: int
    problems: tuple[tuple[str, str], ...]


def propose_folder(
    images: ImageNames,
    *,
    out: str | Path | None = None,
    preset: str | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = tell_nobody,
    command: Sequence[str] = (),
) -> ProposeReport:
    """Write masks of whatever is in the images of a folder.

    No reference is needed.

    A folder that holds a part of the results already is continued.

    Args:
        images: folder of the images, sub-folders included; or files, folders and patterns, as for ``label_folder``.
        out: results folder; None: as for ``label_folder``, with ``_proposals``.
        preset: as of ``load_segmenter``.
        device: as of ``load_segmenter``.
        overrides: settings as ``"key=value"``; ``"proposals=point_grid"`` chooses another source of masks than
            ``semantic_clusters``.
        limit: only the first images, in order of their names; those that ``out`` holds already stay part of it.
        overwrite: begin anew where ``out`` holds other results.
        on_progress: is told how far the run is.
        command: what continues the run, for ``run.json``.

    Raises:
        InputFileNotFoundError: what was named is not there, or a pattern matches nothing.
        InputError: the results folder holds other results, or none of the images can be read.
        RunInterrupted: Ctrl-C; the folder holds what was done and can be continued.

    Example:
        >>> report = ntt.propose_folder("photos/", preset="fast")  # doctest: +SKIP
        >>> report.num_masks  # doctest: +SKIP
        212
    """
    overrides = with_named(overrides, preset=preset, device=device)
    if not any(text.startswith("proposals=") for text in overrides):
        overrides = ["proposals=semantic_clusters", *overrides]
    config = build.compose_config(overrides)
    upright = config.images.upright
    found = find_targets(images, out, "proposals", limit=limit, upright=upright, overwrite=overwrite)
    out, root = found.out, found.root
    settings = RunSettings(
        config=to_dict(config),
        config_hash=config_hash(config, "propose"),
        references="none",
        images=root.resolve().as_posix(),
        min_score=0.0,
    )
    folder = ResultFolder(
        out,
        (OBJECT,),
        keep_min_score=0.0,
        min_scores=MinScores(0.0),
        results_name="proposals.json",
        draw=lambda image, found: draw_masks(image, found.rles),
        has_table=False,
    )
    job = FolderJob(
        found.targets, folder, config, prepare=_proposer(config), is_class_free=True, left_out=found.left_out
    )
    with Run(out, settings, command=command, overwrite=overwrite, on_progress=on_progress) as run:
        outcome = carry_out(job, run)
    if not outcome.summary.images:
        raise InputError(f"none of the {len(found.targets)} images in {root} can be read; see {out}/errors.csv.")
    return ProposeReport(out, len(outcome.summary.images), outcome.summary.num_objects, outcome.problems)


def distinct_proposals(pooled: PooledProposals, iou_threshold: float, consistency_exponent: float = 0.0) -> Detections:
    """Return candidate masks as distinct detections of one category.

    They come best first, without those that nearly repeat a better one.

    The score is the predicted IoU, times the mask's consistency to its exponent.

    Args:
        pooled: of one image.
        iou_threshold: a mask is left out where its box has a higher IoU with a better mask's.
        consistency_exponent: as ``scoring.consistency_exponent``.
    """
    import torch

    from no_time_to_train.ops.nms import class_aware_nms
    from no_time_to_train.ops.transfers import to_host
    from no_time_to_train.scoring import product_of_powers

    of_masks = pooled.predicted_ious.float(), pooled.consistencies, pooled.grid_boxes_xyxy
    predicted_ious, consistencies, boxes_xyxy = to_host(*of_masks)
    scores = product_of_powers(((predicted_ious, 1.0), (consistencies, consistency_exponent)))
    kept = class_aware_nms(boxes_xyxy, scores, torch.zeros(len(pooled), dtype=torch.long), iou_threshold)
    rles = pooled.rles(kept)
    # A mask can vanish when an image is smaller than the mask grid.
    visible = [position for position, rle in enumerate(rles) if rle_area(rle) > 0]
    kept = kept[torch.tensor(visible, dtype=torch.long)]
    rles = [rles[position] for position in visible]
    return Detections.from_rles(
        rles,
        scores=scores[kept].numpy(),
        category_ids=np.full(len(rles), OBJECT.id, np.int64),
        predicted_ious=predicted_ious[kept].numpy(),
        image_size_hw=pooled.image_size_hw,
        categories=(OBJECT,),
    )


def _proposer(config: Config) -> Callable[[Run, Segmenter], Process]:
    def prepare(run: Run, segmenter: Segmenter) -> Process:
        run.begin()

        def propose(batch: LoadedBatch) -> Iterator[Callable[[], Detections]]:
            threshold, exponent = config.propose.nms_iou_threshold, config.scoring.consistency_exponent
            for image in segmenter.encode(batch.images, batch.targets, batch.squares):
                yield partial(distinct_proposals, segmenter.propose(image), threshold, exponent)

        return propose

    return prepare
