"""Episodes of COCO-20i as Matcher (arXiv 2305.13310) draws and scores them.

Matcher follows HSNet (arXiv 2104.01538).

An episode is one class, a query image to segment and the support images that show the class. Its masks are binary.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from no_time_to_train.data.image_roots import normalize_file_name
from no_time_to_train.data.images import open_image
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.evaluation.averages import mean_of_existing
from no_time_to_train.evaluation.iou_counts import IouCounts

NUM_FOLDS = 4
NUM_CLASSES = 80
SEED = 0
"""Of the published episodes."""
EVALUATED_SIDE_PX = 518
"""Masks are compared after squashing to a square of this side."""


@dataclass(frozen=True)
class Episode:
    """One query.

    Attributes:
        class_index: 0..79, among COCO's classes in the order of their ids.
        query: the image to segment, ``val2014/COCO_val2014_000000000042.jpg``.
        supports: the images with the references; one may be drawn twice, never the query.
    """

    class_index: int
    query: str
    supports: tuple[str, ...]


def fold_classes(fold: int) -> tuple[int, ...]:
    """Return the class indices of fold 0..3: every fourth one."""
    return tuple(range(fold, NUM_CLASSES, NUM_FOLDS))


def read_split(path: Path) -> dict[int, list[str]]:
    """Read images by class index from a split file.

    The file is a pickled dict. A pickle that holds anything but plain data is refused.

    Raises:
        InputFileNotFoundError: there is no such file.
        InputError: it is damaged, holds objects that could run code, or something else than image names by class.
    """
    if not path.is_file():
        raise InputFileNotFoundError(
            f"{path}: no such split file. The splits come with Matcher (datasets/COCO2014/splits)."
        )
    try:
        with path.open("rb") as file:
            content = _PlainDataUnpickler(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle fails in nearly any way
        raise InputError(f"{path} is not a pickle of plain data or is damaged ({error}). Fetch it again.") from error
    if not _is_split(content):
        raise InputError(f"{path} must hold a dict from class index to a list of image names. Fetch it again.")
    return {class_index: [normalize_file_name(name) for name in names] for class_index, names in content.items()}


def draw_episodes(
    names_by_class: Mapping[int, Sequence[str]],
    class_indices: Sequence[int],
    num_episodes: int,
    shots: int,
    seed: int = SEED,
) -> list[Episode]:
    """Draw the episodes that the published code draws.

    Drawn are class, query, then supports until there are enough.

    The generator is NumPy's legacy one, and every draw is a choice of one *without* replacement, which permutes all
    candidates: the sequence depends on that.

    Raises:
        InputError: a class has fewer than two images, so that no support but the query could be drawn.
    """
    too_few = [str(index) for index in class_indices if len(set(names_by_class.get(index, ()))) < 2]
    if too_few:
        raise InputError(f"episodes need two images of every class, but there are fewer of {', '.join(too_few)}.")
    generator = np.random.RandomState(seed)

    def draw(candidates: Sequence[Any]) -> Any:
        return candidates[generator.choice(len(candidates), 1, replace=False)[0]]

    episodes = []
    for _ in range(num_episodes):
        class_index = draw(class_indices)
        names = names_by_class[class_index]
        query = draw(names)
        supports: list[str] = []
        while len(supports) < shots:
            name = draw(names)
            if name != query:
                supports.append(name)
        episodes.append(Episode(class_index, query, tuple(supports)))
    return episodes


def read_class_mask(path: Path, class_index: int) -> np.ndarray:
    """Read the (H, W) bool mask of one class from a PNG.

    Its values are class index + 1, 0 for background.

    Raises:
        InputError: the file is no single-channel image, or does not show the class.
    """
    with open_image(path) as image:
        values = np.asarray(image)
    if values.ndim != 2:
        raise InputError(f"{path} must have one channel with class index + 1, but has {values.shape[2]} channels.")
    mask = values == class_index + 1
    if not mask.any():
        raise InputError(
            f"{path} shows no class {class_index} (pixels of value {class_index + 1}), though the split file lists it "
            "for this class. Do masks and splits come from the same place?"
        )
    return mask


def squash_mask(mask: np.ndarray, side: int = EVALUATED_SIDE_PX) -> np.ndarray:
    """Squash an (H, W) bool mask to (side, side), by nearest neighbor.

    Neighbors are chosen as torch's ``interpolate`` chooses them.
    """
    values = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    return torch.nn.functional.interpolate(values, size=(side, side), mode="nearest")[0, 0].numpy() > 0


class EpisodeScores:
    """Sums of intersections and unions of foreground and background, by class.

    Args:
        class_indices: the classes of the fold.
    """

    def __init__(self, class_indices: Sequence[int]) -> None:
        self._counts = {class_index: IouCounts(2) for class_index in class_indices}

    def add(self, class_index: int, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count one episode: two bool masks of one size."""
        self._counts[class_index].add(predicted, truth)

    def class_ious(self) -> dict[int, float | None]:
        """Compute the foreground IoU of every class in per cent.

        None for one that was never drawn.
        """
        return {class_index: counts.ious()[1] for class_index, counts in self._counts.items()}

    def miou(self) -> float:
        """Average the IoU over all classes of the fold, in per cent.

        A class that was never drawn counts as 0, as published.
        """
        ious = self.class_ious().values()
        return sum(iou or 0.0 for iou in ious) / len(ious)

    def fb_iou(self) -> float | None:
        """Average the IoU of foreground and of background, in per cent.

        Each is over all classes together.
        """
        pooled = IouCounts(2)
        for counts in self._counts.values():
            pooled.intersections += counts.intersections
            pooled.unions += counts.unions
        return mean_of_existing(pooled.ious())


class _PlainDataUnpickler(pickle.Unpickler):
    """Unpickler of dicts, lists, text and numbers.

    Whatever needs a class or a function is refused before it is looked up.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise InputError(f"the pickle asks for {module_name}.{global_name} and could run code; not loaded.")


def _is_split(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(key, int) and isinstance(names, list) and all(isinstance(name, str) for name in names)
        for key, names in content.items()
    )
