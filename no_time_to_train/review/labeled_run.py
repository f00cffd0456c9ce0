"""A results folder as a review finds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.files.json_files import is_text, is_whole_number, read_json_or
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category

logger = logging.getLogger(__name__)


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
            InputError: ``run.json`` or ``annotations.json`` is damaged.
        """
        run = read_json_or(folder / "run.json", None)
        if run is None:
            raise InputFileNotFoundError(
                f"{folder} is no results folder: it has no run.json. Give the folder that labeling wrote, such as "
                "photos_labeled/."
            )
        annotations = folder / "annotations.json"
        dataset = read_json_or(annotations, {"categories": [], "images": []})
        try:
            categories = _categories_of(dataset["categories"])
            names = tuple(_file_name_of(entry) for entry in dataset["images"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{annotations} is damaged ({error!r}). Label the images again.") from error
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
        shown = tuple(category for category in categories if not category.is_background)
        return cls(images, names, shown, min_scores, upright)


def read_added_categories(path: Path) -> list[Category]:
    """Read the categories that a review wrote; none where it wrote none.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return _categories_of(read_json_or(path, []))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}). Remove it, and add the categories again.") from error


def last_labeling(folder: Path, review: Path) -> Path:
    """Return the folder that a review labeled last; the results folder itself where it labeled none.

    Args:
        folder: the results folder.
        review: the review's own folder in it.

    Raises:
        InputError: the file that says it is damaged.
    """
    path = review / "round.json"
    try:
        content = read_json_or(path, None)
        later = None if content is None else Path(content["folder"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}). Remove it: the first labeling is shown then.") from error
    if later is None:
        return folder
    found = folder / later
    if later.is_absolute() and not found.is_dir():  # of earlier versions, and moved since
        found = review / later.name
    if found.is_dir():
        return found
    logger.warning("%s, labeled last, is no more: the first labeling is shown.", found)
    return folder


def _categories_of(entries: Any) -> list[Category]:
    """Raise KeyError or TypeError where the entries are no categories."""
    if not isinstance(entries, list):
        raise TypeError(f"no list of categories: {str(entries)[:60]}")
    for entry in entries:
        if not is_whole_number(entry["id"]) or not is_text(entry["name"]):
            raise TypeError(f"no category: {str(entry)[:60]}")
    return [Category(entry["id"], entry["name"]) for entry in entries]


def _file_name_of(entry: Any) -> str:
    """Raise KeyError or TypeError where the entry names no file."""
    name = entry["file_name"]
    if not isinstance(name, str) or not name or "\0" in name:
        raise TypeError(f"no file name: {str(name)[:60]!r}")
    return name
