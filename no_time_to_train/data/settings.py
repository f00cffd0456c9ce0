"""Settings of how image files are read."""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting

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
