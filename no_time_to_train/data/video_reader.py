"""Videos as streams of RGB frames.

They are files that PyAV (FFmpeg) decodes, or folders of frames.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from no_time_to_train.data.image_search import search_images
from no_time_to_train.data.images import image_size_hw, read_image
from no_time_to_train.errors import InputError, InputFileNotFoundError, missing_package

try:
    import av
    import av.error
except ImportError as error:
    raise missing_package(error) from error

logger = logging.getLogger(__name__)

_DEFAULT_FRAME_RATE = Fraction(25)
"""Of folders of frames, and of files that do not tell."""


_LEAST_SHARE_OF_ESTIMATE = 0.9
"""A frame rate that changes makes the estimate wrong by some; a file with fewer frames is cut."""


class TruncatedVideoError(InputError):
    """The frames up to here are good, but there should be more."""


@dataclass(frozen=True)
class VideoFile:
    """A video file.

    Attributes:
        path: the file.
        frame_rate: frames per second.
        num_announced_frames: as the file's header says, 0 where it does not; the file may hold fewer.
        num_estimated_frames: by its duration and frame rate, for headers without a count (mkv, webm); 0: unknown.
    """

    path: Path
    frame_rate: Fraction
    num_announced_frames: int
    num_estimated_frames: int = 0

    @property
    def fingerprint(self) -> str:
        """Return what changes where it is another video."""
        return f"{self.path.resolve().as_posix()} ({self.path.stat().st_size} bytes)"

    def frames(self) -> Iterator[np.ndarray]:
        """Decode the frames, (H, W, 3) uint8 RGB, as they are asked for.

        They come in the order they are shown.

        A rotation written beside the frames is not applied: masks refer to the stored pixels.

        Raises:
            TruncatedVideoError: after the last frame that can be decoded, where the file breaks off or is damaged.
            InputError: not even the first frame can be decoded.
        """
        count = 0
        try:
            with _opened(self.path) as container:
                for frame in container.decode(video=0):
                    if count == 0 and frame.rotation:
                        logger.warning("%s: players rotate it by %d degrees; frames are taken as stored.", self.path,
                                       frame.rotation)  # fmt: skip
                    count += 1
                    yield frame.to_ndarray(format="rgb24")
        except av.error.FFmpegError as error:
            if not count:
                raise _undecodable(self.path, error) from error
            raise TruncatedVideoError(
                f"{self.path} is damaged after frame {count} ({_reason(error)}); only the frames before can be used."
            ) from error
        if not count:
            raise InputError(f"{self.path} holds no frames. Write the video again.")
        if count < self.num_announced_frames:
            raise TruncatedVideoError(
                f"{self.path} ends after {count} of the {self.num_announced_frames} frames that its header announces: "
                "it is cut off, or some frames are damaged."
            )
        if not self.num_announced_frames and count < _LEAST_SHARE_OF_ESTIMATE * self.num_estimated_frames - 1:
            raise TruncatedVideoError(
                f"{self.path} ends after {count} of about {self.num_estimated_frames} frames that its duration stands "
                "for: it is cut off, or some frames are damaged."
            )


@dataclass(frozen=True)
class FrameFolder:
    """A folder of images of one size, as a video.

    They are shown in the order of their names (numbers by value: 9 before 10).

    Attributes:
        path: the folder.
        frame_paths: its images.
        frame_rate: frames per second they are shown with.
        upright: whether their EXIF orientation is applied.
    """

    path: Path
    frame_paths: tuple[Path, ...]
    frame_rate: Fraction = _DEFAULT_FRAME_RATE
    upright: bool = True

    @property
    def num_announced_frames(self) -> int:
        """Return the number of frames."""
        return len(self.frame_paths)

    @property
    def fingerprint(self) -> str:
        """Return what changes where it is another video."""
        num_bytes = sum(path.stat().st_size for path in self.frame_paths)
        return f"{self.path.resolve().as_posix()} ({len(self.frame_paths)} frames, {num_bytes} bytes)"

    def frames(self) -> Iterator[np.ndarray]:
        """Read the frames, (H, W, 3) uint8 RGB each.

        Raises like ``read_image`` at a file that cannot be read.
        """
        return (read_image(path, upright=self.upright) for path in self.frame_paths)


Video = VideoFile | FrameFolder


def open_video(path: Path | str, *, upright: bool = True) -> Video:
    """Open a video file or a folder of frames; decode nothing yet.

    Args:
        path: of the file or the folder.
        upright: whether the EXIF orientation of frames that are image files is applied.

    Raises:
        InputFileNotFoundError: there is neither.
        InputError: the file is no video, the folder has no images, or its images differ in size.
    """
    path = Path(path)
    if path.is_dir():
        found = search_images(path)
        found.say_what_is_left_out(path)
        paths = tuple(sorted(found.paths, key=_natural_order))
        _check_one_size(path, paths, upright)
        return FrameFolder(path, paths, upright=upright)
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such video file or folder of frames.")
    try:
        with _opened(path) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no frames, only {_kinds(container)}. Give a video, or its frames.")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate or _DEFAULT_FRAME_RATE
            return VideoFile(path, Fraction(rate), stream.frames, _estimated_frames(container, stream, Fraction(rate)))
    except av.error.FFmpegError as error:
        raise _undecodable(path, error) from error


def _opened(path: Path) -> av.container.InputContainer:
    return av.open(str(path), metadata_errors="replace")


def _estimated_frames(container: av.container.InputContainer, stream: av.VideoStream, rate: Fraction) -> int:
    if stream.duration is not None and stream.time_base is not None:
        return round(stream.duration * stream.time_base * rate)
    return round(Fraction(container.duration or 0, av.time_base) * rate)


def _kinds(container: av.container.InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing at all"


def _undecodable(path: Path, error: av.error.FFmpegError) -> InputError:
    return InputError(
        f"{path} cannot be decoded as a video ({_reason(error)}, {path.stat().st_size:,} bytes). Give a file that "
        "FFmpeg plays (mp4, mov, mkv, webm, avi ...), or a folder of its frames as jpg or png."
    )


def _reason(error: av.error.FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that orders runs of digits by their value."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _check_one_size(folder: Path, paths: tuple[Path, ...], upright: bool) -> None:
    first = image_size_hw(paths[0], upright=upright)
    for path in paths[1:]:
        size = image_size_hw(path, upright=upright)
        if size != first:
            raise InputError(
                f"All frames of {folder} must have one size, but {paths[0].name} is {first[1]}x{first[0]} and "
                f"{path.name} is {size[1]}x{size[0]} (width x height). Resize them, or give each size its own folder."
            )
