"""Label images by a memory file alone: what all adapters share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from no_time_to_train import build
from no_time_to_train.config import config_hash
from no_time_to_train.data.images import ImageSource
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.min_scores import MinScoreRequest, choose_min_scores
from no_time_to_train.structures import Category, Detections
from no_time_to_train.tasks.threshold_choice import ThresholdChoice


class MemoryLabeler:
    """Find in an image what ``label_folder`` would annotate.

    The file brings encoder, mask model, settings and thresholds along. Calls may come from several threads; one image
    is labeled at a time.

    Args:
        memory: file of ``fit``.
        min_score: lowest score of an object, as of ``label_folder``; None or ``"auto"``: the file's own thresholds.
        overrides: settings as ``"key=value"``, such as ``"device=cuda"``.

    Attributes:
        categories: what can be found.
        version: changes with everything that can change what is found.

    Raises:
        InputFileNotFoundError: there is no such file.
        InputError: the file is no memory bank, or a setting or threshold is wrong.
        WeightsNotFoundError: a model's weights are not there.

    Example:
        >>> labeler = MemoryLabeler("memory.safetensors", overrides=["proposals.points_per_side=8", "device=cpu"])
        >>> labeler.label("photo.jpg").image_size_hw
        (480, 640)
    """

    def __init__(self, memory: str | Path, *, min_score: MinScoreRequest = None, overrides: Sequence[str] = ()) -> None:
        bank = MemoryBank.load(memory)
        config = build.compose_config_for(bank, overrides)
        choice = ThresholdChoice.of(min_score, config, overrides, "output.draw_min_score")
        self.categories: tuple[Category, ...] = tuple(c for c in bank.categories if not c.is_background)
        self._min_scores = choose_min_scores(
            choice.asked, bank.categories, measured=bank.min_scores, otherwise=choice.otherwise
        )
        self.version = _version(Path(memory).stem, bank.fingerprint, config_hash(config), self._min_scores.to_json())
        self._bank = bank
        self._segmenter = build.build_segmenter(config)
        self._lowest_kept = config.output.min_score
        self._lock = Lock()

    def label(self, image: ImageSource, *, min_score: float | None = None) -> Detections:
        """Return the objects of an image, best first.

        Args:
            image: (H, W, 3) uint8 RGB, an image of Pillow, or a file.
            min_score: in place of the thresholds.

        Raises:
            InputFileNotFoundError, UnreadableImageError: the file is missing or no image.
            InputError: the image is nothing of these.
        """
        with self._lock:
            found = self._segmenter.segment(image, self._bank).scoring_at_least(self._lowest_kept)
        return self._min_scores.passed(found) if min_score is None else found.scoring_at_least(min_score)


def _version(name: str, *parts: object) -> str:
    """Return the name with 8 hex digits of everything else."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{name}-{digest[:8]}"
