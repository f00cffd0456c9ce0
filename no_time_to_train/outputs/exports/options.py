"""Choices that all formats share, and the image files of an export."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from no_time_to_train.errors import InputError
from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.json_files import is_number

IMAGE_CHOICES = ("copy", "link", "none")
SHAPE_CHOICES = ("mask", "polygon")

_JPEG_SUFFIXES = (".jpg", ".jpeg")
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class ExportOptions:
    """How an export is written.

    Attributes:
        image_files: ``copy`` them, ``link`` to them (symbolic links), or ``none``.
        val_share: part of the images for validation, 0..1, where the format divides them.
        shape: ``mask`` (exact) or ``polygon`` (can be edited by its corners), where the format knows both.
        image_prefix: what stands before file names in Label Studio tasks.
    """

    image_files: str = "copy"
    val_share: float = 0.2
    shape: str = "mask"
    image_prefix: str = "/data/local-files/?d=images/"

    def __post_init__(self) -> None:
        for name, choices in (("image_files", IMAGE_CHOICES), ("shape", SHAPE_CHOICES)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        if not is_number(self.val_share) or not 0 <= self.val_share < 1:
            raise InputError(f"val_share must be at least 0 and below 1, got {self.val_share!r}.")

    def place(self, source: Path, target: Path) -> None:
        """Put an image file into the export."""
        if self.image_files == "none":
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.image_files == "link":
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)

    def place_jpeg(self, source: Path, target: Path) -> None:
        """Put an image into the export as a JPEG file; other files are saved anew, with their EXIF data."""
        if source.suffix.lower() in _JPEG_SUFFIXES or self.image_files == "none":
            self.place(source, target)
            return
        with replacing(target) as unfinished, Image.open(source) as image:
            image.convert("RGB").save(unfinished, format="JPEG", quality=_JPEG_QUALITY, exif=image.getexif())
