"""Follow objects through a video by a few references: ``nttt track``."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from no_time_to_train import build
from no_time_to_train.config import Config, config_hash, to_dict
from no_time_to_train.data.video_reader import TruncatedVideoError, Video, VideoFile, open_video
from no_time_to_train.files.arguments import as_count, as_path
from no_time_to_train.outputs.drawing import draw_detections
from no_time_to_train.outputs.track_files import ClipRecords, write_mot, write_video_annotations
from no_time_to_train.outputs.track_folder import Chunk, FrameRecord, TrackFolder
from no_time_to_train.outputs.video_writer import mp4_writer
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.min_scores import MinScoreRequest, read_min_score
from no_time_to_train.runs.image_labeling import Square, square_ahead
from no_time_to_train.runs.prefetch import read_ahead
from no_time_to_train.runs.progress import Counter, OnProgress, tell_nobody
from no_time_to_train.runs.run import Run, add_missing_hashes, describe_models, hashing_weights
from no_time_to_train.runs.run_state import RunSettings
from no_time_to_train.settings.overrides import with_named
from no_time_to_train.structures import ReferenceSet
from no_time_to_train.tasks.memory_source import MemorySource, begin_with_memory
from no_time_to_train.tasks.threshold_choice import ThresholdChoice

if TYPE_CHECKING:
    from torch import Tensor

    from no_time_to_train.tracking.tracker import VideoTracker


@dataclass(frozen=True)
class TrackedObject:
    """One object of a video, over all of its frames.

    Attributes:
        track_id: its number in the files.
        category: name of the category that it has over the whole video.
        num_frames: in which it is visible.
        score: mean over these frames.
    """

    track_id: int
    category: str
    num_frames: int
    score: float


@dataclass(frozen=True)
class TrackReport:
    """Findings of ``track_video``.

    Attributes:
        out: the results folder: ``overlay.mp4``, ``annotations.json`` (YouTube-VIS), ``tracks.txt`` (MOT).
        num_frames: of the video, as far as it was tracked.
        objects: by ascending track id.
        problem: why the video ended before its time; None: it did not.
    """

    out: Path
    num_frames: int
    objects: tuple[TrackedObject, ...]
    problem: str | None


def track_video(
    video: str | Path,
    *,
    references: str | Path | ReferenceSet | None = None,
    memory: str | Path | MemoryBank | None = None,
    reference_images: str | Path | None = None,
    categories: Sequence[str] | None = None,
    out: str | Path | None = None,
    min_score: MinScoreRequest = None,
    preset: str | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    max_frames: int | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = tell_nobody,
    command: Sequence[str] = (),
) -> TrackReport:
    """Follow the objects that references show through a video.

    A folder that holds the results of a part of the frames already is continued.

    Args:
        video: video file, or folder of frames.
        references: COCO file, folder, or what ``load_references`` returned.
        memory: in place of references: what ``fit`` returned, or its file. It brings its settings along.
        reference_images: folder of the references' images; None: found beside the references.
        categories: names of the references' categories to use; None: all.
        out: results folder; None: ``<video>_tracked``.
        min_score: lowest score of a detection, as of ``label_folder``; None or ``"auto"``: measured on the reference
            images, or kept in the memory.
        preset: as of ``load_segmenter``.
        device: as of ``load_segmenter``.
        overrides: settings as ``"key=value"``; those of ``tracking`` decide how detections become tracks.
        max_frames: only the first frames.
        overwrite: begin anew where ``out`` holds other results.
        on_progress: is told how far the run is.
        command: what continues the run, for ``run.json``.

    Raises:
        InputError: no video, no frames, frames of different sizes, or a folder with other results.
        RunInterrupted: Ctrl-C; the folder holds what was done and can be continued.

    Example:
        >>> report = ntt.track_video("clip.mp4", references="refs.json", max_frames=100)  # doctest: +SKIP
        >>> [found.category for found in report.objects]  # doctest: +SKIP
        ['boat', 'bird']
    """
    overrides = with_named(overrides, preset=preset, device=device)
    asked = read_min_score(min_score)
    if isinstance(asked, float):
        overrides = [*overrides, f"tracking.min_score={asked}"]
    source, config = MemorySource.opened(references, memory, reference_images, categories, overrides)
    thresholds = ThresholdChoice.of(asked, config, overrides, "tracking.min_score")
    thresholds.check(source.categories)
    path = as_path(video, "video")
    clip = open_video(path, upright=config.images.upright)
    folder = _default_folder(path) if out is None else as_path(out, "out")
    settings = RunSettings(
        config=to_dict(config),
        config_hash=config_hash(config, "track"),
        references=source.fingerprint,
        reference_counts=source.counts,
        images=clip.fingerprint,
        min_score=config.tracking.min_score,
        asked_min_score=thresholds.describe_request(),
    )
    with Run(folder, settings, command=command, overwrite=overwrite, on_progress=on_progress) as run:
        work = _Work(run, config, clip, source, thresholds, max_frames)
        run.carry_out(work.do, lambda: None, work.how_far)
        return work.report()


def _default_folder(video: Path) -> Path:
    named = video if video.name not in ("", "..") else video.resolve()
    return named.with_name(f"{named.stem if named.is_file() else named.name}_tracked")


class _Work:
    """The frames that have no record yet, then the files that are made of the records of all frames."""

    def __init__(
        self,
        run: Run,
        config: Config,
        video: Video,
        source: MemorySource,
        thresholds: ThresholdChoice,
        max_frames: int | None,
    ) -> None:
        self._run = run
        self._config = config
        self._video = video
        self._source = source
        self._thresholds = thresholds
        self._limit = as_count(max_frames, "max_frames")
        self._folder = TrackFolder(run.path)
        self._records: ClipRecords
        self._num_recorded = 0
        run.details = {"problem": None, **run.details}

    def do(self) -> None:
        """Track what is not tracked yet, then write everything that is made of the records."""
        start = 0 if self._run.earlier is None else self._folder.next_frame(self._limit)
        if start is None:
            self._run.say(f"{self._folder.path} holds all frames from the same settings: nothing is left to compute.")
            self._run.begin()
            add_missing_hashes(self._config, self._run.details)
        else:
            if start:
                self._run.say(f"{self._folder.path} holds frames before {start} from the same settings: continuing.")
            self._track(start)
            self._folder.overlay_path.unlink(missing_ok=True)
        self._write_files()

    def how_far(self) -> str:
        """Say how many frames are done."""
        return f"{self._num_recorded} frames tracked"

    def report(self) -> TrackReport:
        """Say what was found."""
        names = {category.id: category.name for category in self._source.categories}
        objects = tuple(
            TrackedObject(track.track_id, names[track.category_id], track.num_frames, track.score)
            for track in self._records.tracks
        )
        return TrackReport(self._run.path, self._records.num_frames, objects, self._run.details["problem"])

    def _track(self, start: int) -> None:
        """Record the frames from a key frame on."""
        from no_time_to_train.tracking.tracker import VideoTracker

        segmenter = build.build_segmenter(self._config)
        details = self._run.details
        details |= describe_models(segmenter)
        self._run.say(f"{segmenter.device}: {' + '.join(details['models'].values())}, {self._video.path}")
        with hashing_weights(self._config, details):
            state = self._folder.state_before(start, segmenter.device)
            memory, min_scores = begin_with_memory(self._run, self._source, segmenter, self._thresholds)
            tracker = VideoTracker(segmenter, memory, self._config.tracking, min_scores=min_scores, state=state)
            self._record_chunks(tracker, start, square_ahead(segmenter))
            details["found_again"] = tracker.num_found_again

    def _record_chunks(self, tracker: VideoTracker, start: int, square: Square | None) -> None:
        counter = Counter("frames", max(self._num_frames_expected() - start, 0), self._run.on_progress)
        chunk: list[FrameRecord] = []
        self._num_recorded = start
        try:
            with closing(self._frames(start)) as frames, closing(_with_squares(frames, square)) as squared:
                for index, image, squashed in squared:
                    if chunk and tracker.is_key_frame_due:
                        self._folder.write_chunk(Chunk(start, tuple(chunk), next_key_frame=index), tracker.state())
                        start, chunk = index, []
                        self._num_recorded = start
                    chunk.append(FrameRecord.of(tracker.track(image, squashed)))
                    counter.advance()
        finally:
            self._run.details["timings"] = counter.timings()
        if chunk:
            is_end = self._limit is None or start + len(chunk) < self._limit
            self._folder.write_chunk(Chunk(start, tuple(chunk), is_end=is_end))

    def _frames(self, start: int) -> Generator[tuple[int, np.ndarray], None, None]:
        """Yield index and image of the frames from ``start`` on; what a damaged file still gives is used."""
        try:
            yield from islice(enumerate(self._video.frames()), start, self._limit)
        except TruncatedVideoError as problem:
            self._run.details["problem"] = str(problem)

    def _num_frames_expected(self) -> int:
        announced, limit = self._video.num_announced_frames, self._limit
        announced = announced or getattr(self._video, "num_estimated_frames", 0)
        return min(announced, limit) if limit is not None and announced else limit or announced

    def _write_files(self) -> None:
        """Write everything that is made from the records."""
        self._records = records = ClipRecords.read(self._folder, self._limit)
        height, width = next(records.frames()).image_size_hw
        video: dict[str, Any] = {"file_name": self._video.path.name, "height": height, "width": width}
        if not isinstance(self._video, VideoFile):
            video["file_names"] = [path.name for path in self._video.frame_paths[: records.num_frames]]
        path, details = self._folder.path, self._run.details
        write_mot(path / "tracks.txt", records)
        write_video_annotations(path / "annotations.json", records, self._source.categories, video)
        if details.get("frames") != records.num_frames or not self._folder.overlay_path.is_file():
            self._write_overlay(records)
        details |= {"frames": records.num_frames, "tracks": len(records.tracks)}

    def _write_overlay(self, records: ClipRecords) -> None:
        categories = self._source.categories
        counter = Counter("overlays", records.num_frames, self._run.on_progress)
        with closing(self._frames(0)) as frames:
            overlays = (
                draw_detections(image, frame.to_detections(categories), frame.track_ids)
                for frame, (_, image) in zip(records.frames(), frames, strict=False)
            )
            first = next(overlays)
            with mp4_writer(self._folder.overlay_path, self._video.frame_rate, first.shape[:2]) as append:
                append(first)
                counter.advance()
                for overlay in overlays:
                    append(overlay)
                    counter.advance()


def _with_squares(
    frames: Iterable[tuple[int, np.ndarray]], square: Square | None
) -> Generator[tuple[int, np.ndarray, Tensor | None], None, None]:
    """Yield frames with their squares for the models, which threads make ahead; None: they are made in turn."""
    if square is None:
        yield from ((index, image, None) for index, image in frames)
        return

    def squash(frame: tuple[int, np.ndarray]) -> tuple[int, np.ndarray, Tensor | None]:
        return *frame, square(frame[1])

    yield from read_ahead(squash, frames)
