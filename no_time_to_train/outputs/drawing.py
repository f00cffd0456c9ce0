"""Drawings of detections and references, made with Pillow.

A drawing has a size at which its labels can be read, not the image's own: a 24-megapixel image is made
smaller first, so that memory stays small, and a thumbnail is made larger.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from no_time_to_train.data.images import ImageSource, as_pixels
from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import Rle, decode_rle, rle_area, rles_to_boxes_xyxy
from no_time_to_train.outputs.fonts import drawable
from no_time_to_train.structures import Detections

Color = tuple[int, int, int]

LONGEST_SIDE_PX = (640, 1600)
"""Drawings are made with their longer side in this range."""

_REDUCING_GAP = 2.0
"""An image that is more than twice as large as can be seen is first made smaller by a whole factor."""
_STRIP_PX = 2**22

_FILL_OPACITY = 0.42
_BACKDROP: Color = (255, 255, 255)
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_MAX_LABEL_CHARACTERS = 40


def category_color(category_id: int) -> Color:
    """Choose a bright color by the id alone.

    So a category looks the same in every image and run.
    """
    hue = (category_id * _GOLDEN_RATIO + 0.55) % 1.0
    lightness = (0.50, 0.60, 0.44)[category_id % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.90)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(image: ImageSource, detections: Detections, track_ids: Sequence[int] | None = None) -> np.ndarray:
    """Draw masks with contours, and a label with name and score.

    Args:
        image: (H, W, 3) uint8 RGB, or as of ``Segmenter.segment``.
        detections: of this image; all are drawn, so select the confident ones first.
        track_ids: of a video's objects: they choose the colors in place of the categories, and stand in the labels.

    Returns:
        A new (h, w, 3) uint8 image of the same shape of frame, its longer side within ``LONGEST_SIDE_PX``.

    Raises:
        InputError: the detections are of an image of another size, or there are none.

    Example:
        >>> image = ntt.read_image("photo.jpg")
        >>> ntt.draw_detections(image, ntt.Detections.empty(image.shape[:2])).shape[2]
        3
    """
    image = as_pixels(image)
    if not isinstance(detections, Detections):
        raise InputError(f"detections must be what Segmenter.segment returns, got {type(detections).__name__}.")
    if detections.image_size_hw != image.shape[:2]:
        raise InputError(f"detections are of a {detections.image_size_hw} image, but this one is {image.shape[:2]}")
    canvas, scale = _canvas(image)
    names = detections.category_names
    if track_ids is None:
        colors = [category_color(int(category_id)) for category_id in detections.category_ids]
    else:
        colors = [category_color(int(track_id)) for track_id in track_ids]
        names = [f"{name} #{track_id}" for name, track_id in zip(names, track_ids, strict=True)]
    # Large masks first, so that small objects in front of them stay visible.
    boxes = detections.boxes_xyxy * scale
    by_area = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")
    for position in by_area:
        _paint(canvas, decode_rle(detections.rles[position]), colors[position])
    labels = [
        (f"{name} {score:.2f}", color, box)
        for name, score, color, box in zip(names, detections.scores, colors, boxes, strict=True)
    ]
    return _with_labels(canvas, labels)


def draw_masks(image: np.ndarray, rles: Sequence[Rle]) -> np.ndarray:
    """Draw masks with contours, each in a color of its own.

    The small ones are in front of the large ones.

    Args:
        image: (H, W, 3) uint8 RGB.
        rles: masks of the image's size; their order chooses the colors.

    Returns:
        A new (h, w, 3) uint8 image of the same shape of frame, its longer side within ``LONGEST_SIDE_PX``.
    """
    canvas, _ = _canvas(image)
    for number in sorted(range(len(rles)), key=lambda number: -rle_area(rles[number])):
        _paint(canvas, decode_rle(rles[number]), category_color(number))
    return canvas


def draw_named_masks(image: np.ndarray, masks: Sequence[tuple[Rle, str, Color]]) -> np.ndarray:
    """Draw masks with contours, each with a label and a color of its own.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: of the image's size, with label and color; the most important first.

    Returns:
        A new (h, w, 3) uint8 image of the same shape of frame, its longer side within ``LONGEST_SIDE_PX``.
    """
    canvas, scale = _canvas(image)
    for rle, _, color in sorted(masks, key=lambda mask: -rle_area(mask[0])):
        _paint(canvas, decode_rle(rle), color)
    boxes = rles_to_boxes_xyxy([rle for rle, _, _ in masks]) * scale
    return _with_labels(canvas, [(text, color, box) for (_, text, color), box in zip(masks, boxes, strict=True)])


def draw_reference(
    image: np.ndarray,
    box_xyxy: tuple[float, float, float, float],
    name: str,
    category_id: int,
    mask: Rle | None = None,
    context_ratio: float = 0.5,
) -> np.ndarray:
    """Draw a reference's mask, or its box, on its surroundings.

    Args:
        image: (H, W, 3) uint8 RGB.
        box_xyxy: of the instance, in pixels of the image.
        name: category name, for the label.
        category_id: chooses the color.
        mask: of the image's size.
        context_ratio: the crop is the box, larger by this share of its longer side.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    margin = max(x2 - x1, y2 - y1) * context_ratio / 2
    left, top = max(int(x1 - margin), 0), max(int(y1 - margin), 0)
    right, bottom = min(math.ceil(x2 + margin), width), min(math.ceil(y2 + margin), height)
    canvas, scale = _canvas(image[top:bottom, left:right])
    box = (np.array(box_xyxy) - (left, top, left, top)) * scale
    color = category_color(category_id)
    if mask is not None:
        _paint(canvas, decode_rle(mask)[top:bottom, left:right], color)
    else:
        outline = Image.fromarray(canvas)
        ImageDraw.Draw(outline).rectangle(tuple(box.tolist()), outline=color, width=_line_width(canvas.shape))
        canvas = np.array(outline)
    return _with_labels(canvas, [(name, color, box)])


def image_sheet(images: Sequence[np.ndarray], columns: int, cell_px: int = 400, gap_px: int = 8) -> np.ndarray:
    """Arrange images of any size as a grid on white.

    Each is scaled to fit its square cell.

    Args:
        images: (h, w, 3) uint8 each, at least one.
        columns: cells in a row.
        cell_px: side of a cell in pixels.
        gap_px: white space between cells and around them.
    """
    if not images or columns < 1:
        raise ValueError(f"a sheet needs at least one image and one column, got {len(images)} and {columns}")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    pitch = cell_px + gap_px
    sheet = Image.new("RGB", (columns * pitch + gap_px, rows * pitch + gap_px), _BACKDROP)
    for number, image in enumerate(images):
        scale = cell_px / max(image.shape[:2])
        width, height = (max(round(side * scale), 1) for side in (image.shape[1], image.shape[0]))
        cell = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
        row, column = divmod(number, columns)
        left = gap_px + column * pitch + (cell_px - width) // 2
        top = gap_px + row * pitch + (cell_px - height) // 2
        sheet.paste(cell, (left, top))
    return np.array(sheet)


def _canvas(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the canvas to draw on, and its size relative to the image."""
    longest = max(image.shape[:2])
    low, high = LONGEST_SIDE_PX
    scale = min(max(longest, low), high) / longest
    if scale == 1:
        return image.copy(), 1.0
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    factor = max(int(1 / scale / _REDUCING_GAP), 1)
    box = (0, 0, image.shape[1] / factor, image.shape[0] / factor)
    if factor > 1:
        image = _reduced(image, factor)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, box=box)), scale


def _reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Return means of squares of pixels; made of strips, as Pillow's copy of a large image is larger than the image."""
    rows = factor * max(_STRIP_PX // (factor * image.shape[1]), 1)
    strips = range(0, image.shape[0], rows)
    return np.concatenate([np.asarray(Image.fromarray(image[top : top + rows]).reduce(factor)) for top in strips])


def _paint(canvas: np.ndarray, mask: np.ndarray, color: Color) -> None:
    """Tint the mask (bool, the frame of the canvas at any size) and draw its contour, in place.

    Only the surroundings of the mask are looked at: most are a small part of their image.
    """
    line = _line_width(canvas.shape)
    surroundings = _surroundings(mask, canvas.shape, line)
    if surroundings is None:
        return
    rows, columns = surroundings
    coverage = _resized(mask, canvas.shape, rows, columns)[..., None] / np.float32(255)
    inside = coverage[..., 0] >= 0.5
    region = canvas[rows, columns]
    tinted = region + coverage * _FILL_OPACITY * (np.asarray(color, np.float32) - region)
    region[:] = np.where((inside & ~_eroded(inside, line))[..., None], color, np.round(tinted))


def _surroundings(mask: np.ndarray, shape: tuple[int, ...], line: int) -> tuple[slice, slice] | None:
    """Return rows and columns of the canvas that a mask and its contour may touch; None: the mask is empty."""
    found = []
    for axis, side in enumerate(shape[:2]):
        occupied = np.flatnonzero(mask.any(axis=1 - axis))
        if not len(occupied):
            return None
        scale = side / mask.shape[axis]
        margin = line + math.ceil(scale)  # interpolation reaches one pixel of the mask further
        first, last = math.floor(occupied[0] * scale) - margin, math.ceil((occupied[-1] + 1) * scale) + margin
        found.append(slice(max(first, 0), min(last, side)))
    return found[0], found[1]


def _resized(mask: np.ndarray, shape: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
    """Return rows and columns of the mask brought to the canvas's size, as (h, w) float32 in 0..255."""
    parts, box = [], []
    for wanted, have, side in zip((rows, columns), mask.shape, shape[:2], strict=True):
        scale = have / side
        reach = math.ceil(max(scale, 1)) + 1  # of the interpolation, in pixels of the mask
        first = max(math.floor(wanted.start * scale) - reach, 0)
        parts.append(slice(first, min(math.ceil(wanted.stop * scale) + reach, have)))
        box.append((wanted.start * scale - first, min(wanted.stop * scale, have) - first))
    # Decoded masks are column-major: transposed, Pillow takes them without turning them.
    transposed = Image.fromarray(mask[parts[0], parts[1]].T.view(np.uint8) * np.uint8(255))
    size = (rows.stop - rows.start, columns.stop - columns.start)
    (top, bottom), (left, right) = box
    resized = transposed.resize(size, Image.Resampling.BILINEAR, box=(top, left, bottom, right))
    return np.asarray(resized, np.float32).T


def _eroded(mask: np.ndarray, radius: int) -> np.ndarray:
    """Pixels whose neighbors left, right, above and below, ``radius`` steps on, are all inside; so is the border."""
    eroded = mask
    for _ in range(radius):
        padded = np.pad(eroded, 1, mode="edge")
        eroded = eroded & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return eroded


def _line_width(shape: tuple[int, ...]) -> int:
    return max(round(max(shape[:2]) / 500), 2)


def _with_labels(canvas: np.ndarray, labels: Sequence[tuple[str, Color, np.ndarray]]) -> np.ndarray:
    """Draw a chip at each box's upper left corner: (text, color, box_xyxy), most important first."""
    height, width = canvas.shape[:2]
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    size_px = min(max(max(height, width) // 55, 13), 26)
    taken: list[tuple[float, float, float, float]] = []
    for text, color, box in labels:
        text = text if len(text) <= _MAX_LABEL_CHARACTERS else text[: _MAX_LABEL_CHARACTERS - 1] + "…"
        font, text = drawable(text, size_px)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        padding = max(round((bottom - top) * 0.3), 2)
        size = (right - left + 2 * padding, bottom - top + 2 * padding)
        x, y = _free_place(box, size, (width, height), taken)
        taken.append((x, y, x + size[0], y + size[1]))
        draw.rounded_rectangle(taken[-1], radius=padding, fill=color)
        draw.text((x + padding - left, y + padding - top), text, font=font, fill=_readable_on(color))
    return np.array(image)


def _free_place(
    box_xyxy: np.ndarray,
    size: tuple[float, float],
    frame: tuple[int, int],
    taken: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float]:
    """Find a free place for a label: above the box, else inside, else below."""
    width, height = size
    x1, y1, x2, y2 = box_xyxy.tolist()
    candidates = [(x1, y1 - height), (x1, y1), (x2 - width, y1 - height), (x2 - width, y2 - height), (x1, y2)]
    places = [
        (min(max(x, 0), max(frame[0] - width, 0)), min(max(y, 0), max(frame[1] - height, 0))) for x, y in candidates
    ]

    def is_free(place: tuple[float, float]) -> bool:
        x, y = place
        return all(x >= c or x + width <= a or y >= d or y + height <= b for a, b, c, d in taken)

    return next((place for place in places if is_free(place)), places[0])


def _readable_on(color: Color) -> Color:
    """Choose black or white, whichever stands out from this background."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
