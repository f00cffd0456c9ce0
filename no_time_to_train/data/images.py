"""Image files in and out of arrays: RGB ``uint8``, whatever the file's own mode.

EXIF orientation is applied, as viewers, browsers and annotation tools do; benchmarks ask for the stored pixels, which
the published code reads. TIFF and HEIC files are decoded upright in any case, by their decoders. Of files with several
images the first is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, features

from no_time_to_train.errors import InputError, InputFileNotFoundError, Parameter, install_command
from no_time_to_train.files.arguments import as_path

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif"}
)
"""Of the files that are taken for images; some need more than Pillow, see :func:`missing_decoder`."""

ImageSource: TypeAlias = Image.Image | np.ndarray | str | Path
"""An image as callers give it, see :func:`as_pixels`."""

_HEIC_SUFFIXES = frozenset({".heic", ".heif"})
_FORMATS_WITH_FRAMES = frozenset({"GIF", "TIFF", "WEBP", "PNG", "AVIF"})
_EXIF_ORIENTATION_TAG = 0x0112
_DECODED_UPRIGHT = frozenset({"TIFF", "HEIF"})
"""Formats whose decoders apply the orientation themselves."""
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""
_TURNED, _STORED_PIXELS = Parameter("images.exif", "upright"), Parameter("images.exif", "ignore")
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})


class UnreadableImageError(InputError):
    """The file is there but is no image Pillow can decode."""


def missing_decoder(suffix: str) -> str | None:
    """Return how to install what reads images of a suffix, ``.heic``; None where nothing is missing."""
    if suffix.lower() in _HEIC_SUFFIXES and not _registers_heic():
        return install_command("heic")
    if suffix.lower() == ".avif" and not features.check("avif"):
        return "pip install -U pillow (11.3 or newer reads AVIF)"
    return None


@cache
def _registers_heic() -> bool:
    """Make Pillow read HEIC; return whether it can."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


_STRIP_PX = 2**22
"""Pixels that are copied at a time."""


def read_image(path: Path, *, upright: bool = True) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB.

    Gray, palette and CMYK images are converted, transparent ones composited on black, 16-bit gray divided by 257. Of an
    animation or a file of several pages the first image is read.

    Args:
        path: the file.
        upright: apply the file's EXIF orientation; else the pixels are those that are stored.

    Raises:
        InputFileNotFoundError: there is no such file.
        UnreadableImageError: truncated, corrupt, no image, a decoder is missing, or 32-bit pixels without a known
            range.

    Example:
        >>> image = ntt.read_image("photo.jpg")
        >>> image.dtype, image.shape[2]
        (dtype('uint8'), 3)
    """
    with open_image(path) as image:
        if image.format in _FORMATS_WITH_FRAMES and getattr(image, "n_frames", 1) > 1:
            _say_first_of_several(image.format)
        return _decode(image, upright)


def as_pixels(image: object, *, upright: bool = True) -> np.ndarray:
    """Return an image that a caller gives as (H, W, 3) uint8 RGB.

    Args:
        image: such an array, a gray one of (H, W) or (H, W, 1), an image of Pillow, or a file.
        upright: as of :func:`read_image`.

    Raises:
        InputError: anything else; the message says how to mend it.
        InputFileNotFoundError, UnreadableImageError: see :func:`read_image`.

    Example:
        >>> from no_time_to_train.data.images import as_pixels
        >>> as_pixels(np.zeros((4, 6), np.uint8)).shape
        (4, 6, 3)
    """
    if isinstance(image, str | Path):
        return read_image(Path(image), upright=upright)
    if isinstance(image, Image.Image):
        return _check_pixels(_decode(image, upright))
    if not isinstance(image, np.ndarray):
        hint = {"Tensor": "image.cpu().numpy()", "list": "np.array(image, np.uint8)"}.get(type(image).__name__)
        raise InputError(
            f"image must be a file, an image of Pillow or an array of (H, W, 3) uint8 RGB, got {type(image).__name__}."
            + (f" Use {hint}." if hint else "")
        )
    return _check_pixels(image)


def all_as_pixels(images: Sequence[ImageSource], *, upright: bool = True) -> list[np.ndarray]:
    """Return several images as (H, W, 3) uint8 RGB; arguments and errors as of :func:`as_pixels`."""
    if not isinstance(images, list | tuple) and not (isinstance(images, np.ndarray) and images.ndim == 4):
        raise InputError(f"images must be a list of images, got {type(images).__name__}. A single one is [image].")
    return [as_pixels(image, upright=upright) for image in images]


def _check_pixels(image: np.ndarray) -> np.ndarray:
    """Return an array as (H, W, 3) uint8; gray becomes RGB."""
    if image.dtype == np.uint8 and image.size and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)):
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.dtype == np.uint8 and image.size and image.ndim == 3 and image.shape[2] == 3:
        return image
    hint = ""
    if not image.size:
        hint = " It holds no pixels."
    elif image.ndim == 4 and len(image) == 1:
        hint = " Use image[0]."
    elif image.ndim == 3 and image.shape[2] == 4:
        hint = " Use image[..., :3]."
    elif image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] > 4:
        hint = " The channels come last: image.transpose(1, 2, 0)."
    if image.dtype.kind == "f":
        hint += " Values of 0..1 become uint8 by (image * 255).round().astype(np.uint8)."
    elif image.dtype == np.uint16:
        hint += " 16 bits become 8 by (image // 257).astype(np.uint8)."
    raise InputError(f"image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}.{hint}")


def _decode(image: Image.Image, upright: bool) -> np.ndarray:
    """Return an opened image as (H, W, 3) uint8 RGB."""
    # Asked for first: decoders that apply it take it away.
    orientation = _pending_orientation(image) if upright else 1
    image.load()
    if orientation != 1:
        image = image.transpose(_TRANSPOSITIONS[orientation])
    return _pixels(image if image.mode == "RGB" and not image.has_transparency_data else _to_rgb(image))


def _pixels(image: Image.Image) -> np.ndarray:
    """Copy the pixels of an RGB image, a strip at a time: at once, Pillow needs three times their size on the way."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(_STRIP_PX // max(image.width, 1), 1)
    for top in range(0, image.height if image.width else 0, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def image_size_hw(path: Path, *, upright: bool = True) -> tuple[int, int]:
    """Return (height, width) of an image file, from its header only; arguments and errors as of :func:`read_image`."""
    with open_image(path) as image:
        if upright and _pending_orientation(image) >= 5:
            return image.width, image.height
        return image.height, image.width


def exif_orientation(path: Path) -> int:
    """Return the EXIF orientation that reading upright applies, 1 to 8; 1 also for files that cannot be read."""
    try:
        with open_image(path) as image:
            return _pending_orientation(image)
    except UnreadableImageError:
        return 1


def _pending_orientation(image: Image.Image) -> int:
    """Return the orientation, 1 to 8, that is still to be applied to the pixels as Pillow gives them."""
    if image.format in _DECODED_UPRIGHT:
        return 1
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION_TAG)
    except Exception:  # broken EXIF: the pixels are fine, and there is no orientation to speak of
        return 1
    # Values outside 1..8 (0, 65537 ...) occur in the wild and mean nothing.
    return orientation if orientation in _TRANSPOSITIONS else 1


@cache
def _say_first_of_several(image_format: str) -> None:
    logger.warning("Of %s files with several images (pages, frames) only the first is read.", image_format)


def describe_size_mismatch(found_hw: Sequence[int], what: str, image_hw: Sequence[int], image_name: str) -> str | None:
    """Describe how a mask's or annotation file's size differs from the image's.

    None where they agree.
    """
    if list(found_hw) == list(image_hw):
        return None
    height, width = image_hw
    hint = "Was the image resized after labeling?"
    if list(found_hw) == [width, height]:
        hint = (
            "Width and height are swapped: annotations of images turned as their EXIF orientation says go with "
            f"{_TURNED}, those of the stored pixels with {_STORED_PIXELS}."
        )
    return (
        f"{what} is {list(found_hw)} but {image_name} is {width}x{height} (height, width = {height}, {width}). {hint}"
    )


def resize_for_model(image: np.ndarray, side: int) -> np.ndarray:
    """Squash (H, W, 3) uint8 to (side, side, 3) uint8 with Pillow's bicubic filter, as SAM 2's input is made."""
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file with Pillow; whatever goes wrong with it inside the block is one clear error."""
    path = as_path(path, "image")
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such image file.")
    missing = missing_decoder(path.suffix)
    if missing is not None:
        raise UnreadableImageError(f"{path} cannot be read ({path.suffix.lower()} needs a package more: {missing}).")
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
        return f"truncated: the image does not end within the file's {num_bytes:,} bytes"
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
