"""A benchmark as a value.

It says where images and annotations lie, what is scored and how references are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.data.downloads import Download
from no_time_to_train.data.image_roots import locate_images
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.structures import Category


@dataclass(frozen=True)
class AnnotatedImages:
    """Annotated images on disk, read when they are first asked for.

    Attributes:
        what: for messages, "training images".
        annotations: the file or folder with the annotations.
        images: the folder that file names are relative to; None: found beside the annotations.
        reader: reads ``annotations``; None: it is a COCO file.
        advice: what to do where something is missing.
        images_setting: the setting that names ``images``, for messages.
    """

    what: str
    annotations: Path
    images: Path | None
    reader: Callable[[], CocoDataset] | None = None
    advice: str = ""
    images_setting: str = "benchmark.images"

    @cached_property
    def dataset(self) -> CocoDataset:
        """Read the annotations, once.

        Raises InputFileNotFoundError where they are missing, InputError where they are damaged.
        """
        if not self.annotations.exists():
            raise InputFileNotFoundError(
                f"{self.annotations} with the {self.what} is missing (looked in {self.annotations.parent.resolve()})."
                f" {self.advice}".rstrip()
            )
        if self.reader is not None:
            return self.reader()
        state = self.annotations.stat()
        return _read_coco_once(self.annotations, self.images, state.st_mtime_ns, state.st_size)

    def images_folder(self, file_names: Sequence[str]) -> Path:
        """Return the folder below which all images are.

        Raises:
            InputFileNotFoundError: some are missing; the message counts them and names the first.
        """
        if self.images is None:
            return locate_images(file_names, self.annotations, what=self.what, parameter=self.images_setting)
        missing = [name for name in file_names if not (self.images / name).is_file()]
        if missing:
            raise InputFileNotFoundError(
                f"{len(missing)} of {len(file_names)} {self.what} are missing in {self.images.resolve()} (first: "
                f"{missing[0]}). {self.advice}".rstrip()
            )
        return self.images


@lru_cache(maxsize=2)
def _read_coco_once(path: Path, images: Path | None, modified_ns: int, num_bytes: int) -> CocoDataset:
    """Read a file once for all runs of a sweep.

    COCO's training annotations alone take half a minute.
    """
    return read_coco(path, images, upright=False)


@dataclass(frozen=True)
class RequiredData:
    """Something a benchmark needs on disk.

    Attributes:
        what: it is, and where it comes from.
        provides: the files and folders it consists of, relative to ``benchmark.root``.
        license: of the data.
        download: where it can be had directly; None: only as ``instructions`` say.
        unpack_into: folder below the root that an archive is unpacked into; None: ``download`` is the file itself.
        instructions: where people get it, where it cannot be downloaded directly.
        size: in words, where there is no download that knows.
    """

    what: str
    provides: tuple[str, ...]
    license: str
    download: Download | None = None
    unpack_into: str | None = None
    instructions: str = ""
    size: str = ""


Sampler = Callable[[AnnotatedImages, Sequence[str], BenchConfig], CocoDataset]
"""(training images, names of the categories, settings) -> the drawn references as a data set."""


@dataclass(frozen=True)
class Benchmark:
    """Everything that sets one benchmark apart from the others.

    Attributes:
        name: of ``benchmark.name``.
        description: one line for people.
        train, test: the images that references are drawn from, and those that are labeled and scored.
        samplers: how references can be drawn, by the name in ``benchmark.sampler``; the first is the default.
        requires: what it needs on disk.
        categories: (settings, test set, training images) -> those of the test set that are scored, in its order.
        part: the setting that chooses a part of the benchmark, and its values; None: it has no parts.
        variants: other settings, by dotted name and value, with which it needs other data.
        evaluator: what scores it by default.
    """

    name: str
    description: str
    train: Callable[[BenchConfig], AnnotatedImages]
    test: Callable[[BenchConfig], AnnotatedImages]
    samplers: Mapping[str, Sampler]
    requires: Callable[[BenchConfig], tuple[RequiredData, ...]]
    categories: Callable[[BenchConfig, CocoDataset, AnnotatedImages], tuple[Category, ...]]
    part: tuple[str, tuple[str | int, ...]] | None = None
    variants: tuple[tuple[str, str], ...] = ()
    evaluator: str = "coco"


def all_categories(config: BenchConfig, truth: CocoDataset, train: AnnotatedImages) -> tuple[Category, ...]:
    """Return every category of the test set.

    A ``Benchmark.categories`` for benchmarks that score all of them.
    """
    return truth.categories


def categories_named(truth: CocoDataset, names: Sequence[str], setting: str) -> tuple[Category, ...]:
    """Select categories by name, in the data set's order.

    Raises:
        InputError: some are missing; ``setting`` is what asks for them.
    """
    known = [category.name for category in truth.categories]
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(
            f"{truth.name} lacks {len(missing)} of the {len(names)} categories of {setting}: {', '.join(missing)}. "
            f"It has: {', '.join(known)}."
        )
    return tuple(category for category in truth.categories if category.name in names)


def prepare_advice(name: str) -> str:
    """Return the end of every message about missing benchmark data."""
    return f"`nttt data prepare {name}` downloads it or says what to put where."
