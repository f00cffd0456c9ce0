"""What a run found, in numbers small enough to keep for any number of images."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """One image: category id and score of every detection kept, best first; 16 bytes each."""

    file_name: str
    category_ids: Sequence[int]
    scores: Sequence[float]

    @classmethod
    def of(cls, record: ImageRecord) -> ImageSummary:
        """Summarize what was found in an image."""
        ids, scores = ([entry[name] for entry in record.entries] for name in ("category_id", "score"))
        return cls(record.file_name, array("q", ids), array("d", scores))

    @property
    def found(self) -> Iterator[tuple[int, float]]:
        """Yield (category id, score) of every detection."""
        return zip(self.category_ids, self.scores, strict=True)

    @property
    def best_score(self) -> float | None:
        """Return the best score, None where nothing was found."""
        return max(self.scores, default=None)

    def counts(self, min_scores: MinScores) -> Counter[int]:
        """Count the objects that score enough, by category id."""
        return Counter(category_id for category_id, score in self.found if score >= min_scores.of(category_id))


@dataclass(frozen=True)
class RunSummary:
    """All images of a run, and from which score on a detection counts as an object."""

    images: tuple[ImageSummary, ...]
    categories: tuple[Category, ...]
    min_scores: MinScores

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of objects by category name."""
        totals: Counter[int] = Counter()
        for image in self.images:
            totals.update(image.counts(self.min_scores))
        return {category.name: totals[category.id] for category in self.categories}

    @property
    def num_objects(self) -> int:
        """Return the number of objects of all categories."""
        return sum(self.counts.values())

    @property
    def best_score(self) -> float | None:
        """Return the best score of all detections kept, None where there is none."""
        return max((image.best_score for image in self.images if image.best_score is not None), default=None)

    @property
    def header(self) -> tuple[str, ...]:
        """Return the columns of ``summary.csv``."""
        return ("image", *(category.name for category in self.categories), "objects", "best_score")

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Yield one row per image; ``best_score`` is empty where nothing was found."""
        for image in self.images:
            counts = image.counts(self.min_scores)
            numbers = [counts[category.id] for category in self.categories]
            best = "" if image.best_score is None else f"{image.best_score:.4f}"
            yield (image.file_name, *numbers, sum(numbers), best)
