"""A results folder as a review finds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.files.json_files import read_json_or
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category


@dataclass(frozen=True)
class LabeledRun:
    """A run's images, and how they were labeled.

    Attributes:
        images: folder of the images.
        file_names: relative to it, in order.
        categories: of the run, ``_background`` left out.
        min_scores: the run's thresholds.
        upright: whether images were turned as their EXIF orientation says.
    """

    images: Path
    file_names: tuple[str, ...]
    categories: tuple[Category, ...]
    min_scores: MinScores
    upright: bool

    @classmethod
    def read(cls, folder: Path, images: Path | None = None) -> Self:
        """Read ``run.json`` and ``annotations.json`` of a results folder.

        Args:
            folder: that ``label_folder`` wrote.
            images: where the images lie now; None: where they lay when they were labeled.

        Raises:
            InputFileNotFoundError: the folder, its ``run.json`` or the images are missing.
            InputError: ``run.json`` is damaged.
        """
        run = read_json_or(folder / "run.json", None)
        if run is None:
            raise InputFileNotFoundError(
                f"{folder} is no results folder: it has no run.json. Give the folder that labeling wrote, such as "
                "photos_labeled/."
            )
        dataset = read_json_or(folder / "annotations.json", {"categories": [], "images": []})
        categories = [Category(entry["id"], entry["name"]) for entry in dataset["categories"]]
        try:
            settings = run["settings"]
            images = images or Path(settings["images"])
            by_name = settings.get("min_scores", {})
            by_category = {item.id: float(by_name[item.name]) for item in categories if item.name in by_name}
            min_scores = MinScores(float(settings["min_score"]), by_category)
            upright = settings.get("config", {}).get("images", {}).get("exif") == "upright"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder / 'run.json'} is damaged ({error!r}). Label the images again.") from error
        if not images.is_dir():
            raise InputFileNotFoundError(f"The images of {folder} are no longer in {images}. Say where they lie now.")
        names = tuple(entry["file_name"] for entry in dataset["images"])
        shown = tuple(category for category in categories if not category.is_background)
        return cls(images, names, shown, min_scores, upright)
