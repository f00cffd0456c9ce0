"""Image files in and out of arrays: RGB ``uint8``, whatever the file's own mode.

EXIF orientation is not applied: annotations refer to the stored pixels, and the published code reads them so too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.errors import InputError, InputFileNotFoundError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})

_EXIF_ORIENTATION_TAG = 0x0112
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})


class UnreadableImageError(InputError):
    """The file is there but is no image Pillow can decode."""


def find_images(folder: Path) -> list[Path]:
    """All image files under a folder and its sub-folders, sorted by path.

    Hidden files and folders are left out (macOS leaves ``._photo.jpg`` stubs that are no images).

    Raises:
        InputFileNotFoundError: there is no such folder.
        InputError: the folder holds no image; the message counts what it holds instead.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputFileNotFoundError(f"{folder} is not a folder. Give the folder that holds the images.")
    files = [path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder))]
    images = sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"{folder} has no readable images (looked for jpg png webp tif bmp; {_describe(files)}).")
    return images


def _is_hidden(relative_path: Path) -> bool:
    return any(part.startswith(".") for part in relative_path.parts)


def _describe(files: list[Path]) -> str:
    if not files:
        return "it is empty"
    counts = Counter(path.suffix.lower() or "without suffix" for path in files)
    found = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
    advice = ": convert them to jpg or png" if counts.keys() & {".heic", ".heif", ".avif"} else ""
    return f"found {found}{advice}"


def read_image(path: Path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, the file's EXIF orientation not applied.

    Gray, palette and CMYK images are converted, transparent ones composited on black, 16-bit gray divided by 257.

    Raises:
        InputFileNotFoundError: there is no such file.
        UnreadableImageError: truncated, corrupt, no image, or 32-bit pixels without a known range.

    Example:
        >>> image = ntt.read_image("photo.jpg")
        >>> image.dtype, image.shape[2]
        (dtype('uint8'), 3)
    """
    with open_image(path) as image:
        image.load()
        _warn_if_rotated(image, Path(path))
        return np.array(_to_rgb(image))


def image_size_hw(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, from its header only; raises like :func:`read_image`."""
    with open_image(path) as image:
        return image.height, image.width


def describe_size_mismatch(found_hw: Sequence[int], what: str, image_hw: Sequence[int], image_name: str) -> str | None:
    """What to say where a mask, or an annotation file, has another size than the image; None where they agree."""
    if list(found_hw) == list(image_hw):
        return None
    height, width = image_hw
    hint = "Was the image resized after labelling?"
    if list(found_hw) == [width, height]:
        hint = "Width and height are swapped: was it labelled as an EXIF orientation shows it?"
    return (
        f"{what} is {list(found_hw)} but {image_name} is {width}x{height} (height, width = {height}, {width}). {hint}"
    )


def resize_for_model(image: np.ndarray, side: int) -> np.ndarray:
    """Squash (H, W, 3) uint8 to (side, side, 3) uint8 with Pillow's bicubic filter, as SAM 2's input is made."""
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file with Pillow; whatever goes wrong with it inside the block is one clear error."""
    path = Path(path)
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such image file.")
    try:
        with Image.open(path) as image:
            yield image
    except (MemoryError, InputError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        raise UnreadableImageError(f"{path} cannot be read ({_reason(path, error)}).") from error


def _reason(path: Path, error: Exception) -> str:
    num_bytes = path.stat().st_size
    if num_bytes == 0:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not an image Pillow knows, {num_bytes:,} bytes"
    if "truncated" in str(error).lower():
        return f"truncated: the picture does not end within the file's {num_bytes:,} bytes"
    return str(error) or type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _sixteen_bit_to_gray(image).convert("RGB")
    if image.mode == "F":
        raise UnreadableImageError(
            f"{getattr(image, 'filename', 'image')} cannot be read (32-bit float pixels have no known range). "
            "Save it with 8 or 16 bits per channel."
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
    return image.convert("RGB")


def _sixteen_bit_to_gray(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImageError(
            f"{getattr(image, 'filename', 'image')} cannot be read (32-bit pixels between {values.min()} and "
            f"{values.max()}; 16-bit ones must be between 0 and 65535). Save it with 8 or 16 bits per channel."
        )
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def _warn_if_rotated(image: Image.Image, path: Path) -> None:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION_TAG)
    except Exception:  # broken EXIF: the pixels are fine, and there is no orientation to speak of
        return
    # Values outside 1..8 (0, 65537 ...) occur in the wild and mean nothing.
    if orientation in range(2, 9):
        logger.warning(
            "%s has EXIF orientation %d, which is not applied: viewers show it rotated or mirrored, boxes and masks "
            "refer to the stored pixels.",
            path,
            orientation,
        )
