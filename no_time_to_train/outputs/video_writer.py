"""Write images one after the other into an MP4 file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from no_time_to_train.files.atomic import replacing

_OPTIONS = {"crf": "23", "preset": "veryfast"}
_MAX_RATE_DENOMINATOR = 1 << 16


@contextmanager
def mp4_writer(path: Path, frame_rate: Fraction, size_hw: tuple[int, int]) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that appends an (H, W, 3) uint8 RGB image.

    The file is there when the block ends well, or not at all.

    Args:
        path: of the file.
        frame_rate: images per second.
        size_hw: (height, width) of every image. H.264 stores even sides: an odd one gets its last line twice.
    """
    height, width = (side + side % 2 for side in size_hw)
    with replacing(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=frame_rate.limit_denominator(_MAX_RATE_DENOMINATOR), options=_OPTIONS
        )
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"

        def append(image: np.ndarray) -> None:
            if image.shape != (*size_hw, 3):
                raise ValueError(f"every image must be {(*size_hw, 3)}, got {image.shape}")
            padding = ((0, height - size_hw[0]), (0, width - size_hw[1]), (0, 0))
            frame = av.VideoFrame.from_ndarray(np.pad(image, padding, mode="edge"), format="rgb24")
            container.mux(stream.encode(frame))

        yield append
        container.mux(stream.encode(None))
