"""Check that image files are there, whole, and of the annotated size."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.data.images import describe_size_mismatch, read_image
from no_time_to_train.errors import InputError, InputFileNotFoundError


def image_fault(path: Path, annotated_size_hw: tuple[int, int]) -> str | None:
    """Decode a benchmark's image file and describe its fault; None: none."""
    try:
        height, width, _ = read_image(path, upright=False).shape  # benchmarks take no notice of EXIF orientations
    except (InputError, InputFileNotFoundError) as error:
        return str(error)
    return describe_size_mismatch(annotated_size_hw, "size in the annotations", (height, width), str(path))
