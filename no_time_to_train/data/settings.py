"""Settings of how image files are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from no_time_to_train.errors import InputError
from no_time_to_train.settings import setting

_TILE_SIDES_PX = (64, 1 << 16)

TILES_HELP = (
    "Large images are labeled in overlapping tiles too, at full resolution: the side of a tile in pixels, or "
    "`auto`, the side that the mask model sees. Takes as many times longer as there are tiles."
)

_EXIF_HELP = (
    "`upright` applies the EXIF orientation, as viewers and annotation tools do; `ignore` reads the stored pixels, as "
    "benchmarks do."
)


@dataclass
class ImagesConfig:
    """How image files are read."""

    exif: str = setting("upright", _EXIF_HELP, choices=("upright", "ignore"))

    @property
    def upright(self) -> bool:
        """Return whether images are turned as their EXIF orientation says."""
        return self.exif == "upright"


@dataclass
class BenchImagesConfig(ImagesConfig):
    """How image files of benchmarks are read."""

    exif: str = setting("ignore", _EXIF_HELP, choices=("upright", "ignore"))


def check_tiles(tiles: str, sources: Sequence[str]) -> None:
    """Check the setting ``tiles``, beside the names of the sources of proposals.

    Raises:
        InputError: it is neither none, auto nor a side in pixels, or goes with no source that looks at images.
    """
    if tiles == "none":
        return
    if "boxes" in sources:
        raise InputError("proposals=boxes are boxes of whole images. Use tiles=none, or another source.")
    low, high = _TILE_SIDES_PX
    if tiles != "auto" and not (tiles.isdecimal() and low <= int(tiles) <= high):
        raise InputError(f"tiles={tiles} must be none, auto or the side of a tile, {low} to {high} pixels.")


def tile_side_px(tiles: str, seen_px: int) -> int | None:
    """Return the side of a tile in pixels, None where images are not cut; ``seen_px`` is what the mask model sees.

    Example:
        >>> tile_side_px("auto", 1024), tile_side_px("1500", 1024), tile_side_px("none", 1024)
        (1024, 1500, None)
    """
    if tiles == "none":
        return None
    return seen_px if tiles == "auto" else int(tiles)
