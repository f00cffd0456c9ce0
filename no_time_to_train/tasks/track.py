"""``nttt track``: a video and a few references in, labelled masks with identities out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train import build
from no_time_to_train.config import Config, config_hash, to_dict
from no_time_to_train.data.video_reader import TruncatedVideoError, Video, VideoFile, open_video
from no_time_to_train.outputs.drawing import draw_detections
from no_time_to_train.outputs.track_files import ClipRecords, write_mot, write_video_annotations
from no_time_to_train.outputs.track_folder import Chunk, FrameRecord, TrackFolder
from no_time_to_train.outputs.video_writer import mp4_writer
from no_time_to_train.runs.progress import Progress
from no_time_to_train.runs.provenance import versions, weight_hashes
from no_time_to_train.runs.run_state import RunSettings, prepare_folder, read_run, write_run
from no_time_to_train.tasks.memory_source import MemorySource, ReferenceOptions, memory_in_folder
from no_time_to_train.tracking.tracker import VideoTracker


@dataclass(frozen=True)
class TrackOptions:
    """The command line of ``nttt track``.

    Attributes:
        video: video file, or folder of frames.
        references: what to look for; not used where ``memory`` is given.
        memory: file of an earlier ``nttt fit``.
        out: results folder, None: ``<video>_tracked``.
        overrides: ``key=value`` settings; those of ``tracking`` decide how detections become tracks.
        max_frames: track only the first frames.
        overwrite: begin anew where ``out`` holds other results.
        command: the command line that continues this run.
    """

    video: Path
    references: ReferenceOptions
    memory: Path | None
    out: Path | None
    overrides: Sequence[str]
    max_frames: int | None
    overwrite: bool
    command: Sequence[str]


def track(options: TrackOptions) -> None:
    """Track the objects of a video and say what was found where.

    Raises:
        InputError: no video, no frames, frames of different sizes, or a folder with other results.
    """
    config = build.compose_config(options.overrides)
    video = open_video(options.video)
    out = options.out or _default_folder(options.video)
    if options.memory is not None:
        source = MemorySource.from_file(options.memory)
    else:
        source = MemorySource.from_references(options.references.read())
    _Run(options, config, video, out, source).run()


def _default_folder(video: Path) -> Path:
    named = video if video.name not in ("", "..") else video.resolve()
    return named.with_name(f"{named.stem if named.is_file() else named.name}_tracked")


class _Run:
    """One call of the command, or its continuation: first the records of all frames, then the files made of them."""

    def __init__(self, options: TrackOptions, config: Config, video: Video, out: Path, source: MemorySource) -> None:
        self._options = options
        self._config = config
        self._video = video
        self._source = source
        self._folder = TrackFolder(out)
        self._settings = _settings(config, video, source)
        if options.overwrite and read_run(out) is not None:
            self._folder.clear()
        earlier = prepare_folder(out, self._settings, overwrite=options.overwrite)
        self._details: dict[str, Any] = {
            "problem": None,
            **(earlier or {}),
            "command": shlex.join(options.command),
            "versions": versions(),
        }

    def run(self) -> None:
        last = self._folder.last_chunk()
        if last is None or not self._is_complete(last):
            start = 0 if last is None else last.first if last.next_key_frame is None else last.next_key_frame
            if start:
                print(f"{self._folder.path} holds frames before {start} from the same settings: continuing.")
            try:
                self._track(start)
            except KeyboardInterrupt:
                self._stop()
                raise
            self._folder.overlay_path.unlink(missing_ok=True)
        self._finish()

    def _is_complete(self, last: Chunk) -> bool:
        limit = self._options.max_frames
        return last.is_end or (limit is not None and limit <= last.end)

    def _track(self, start: int) -> None:
        """Record the frames from a key frame on."""
        self._write_state("running")
        segmenter = build.build_segmenter(self._config)
        models = {"features": segmenter.encoder.model_id, "mask_model": segmenter.mask_model.model_id}
        self._details |= {"device": str(segmenter.device), "models": models}
        print(f"{segmenter.device}: {' + '.join(models.values())}, {self._options.video}", flush=True)
        with ThreadPoolExecutor(1, thread_name_prefix="hashes") as executor:
            hashes = executor.submit(weight_hashes, self._config)
            state = self._folder.state_before(start, segmenter.device)
            memory = memory_in_folder(self._source, segmenter, self._folder.path)
            tracker = VideoTracker(segmenter, memory, self._config.tracking, state=state)
            self._record_chunks(tracker, start)
            self._details |= {"found_again": tracker.num_found_again, "weights": hashes.result()}

    def _record_chunks(self, tracker: VideoTracker, start: int) -> None:
        progress = Progress(max(self._num_frames_expected() - start, 0), "frames")
        chunk: list[FrameRecord] = []
        try:
            for index, image in self._frames(start):
                if chunk and tracker.is_key_frame_due:
                    self._folder.write_chunk(Chunk(start, tuple(chunk), next_key_frame=index), tracker.state())
                    start, chunk = index, []
                chunk.append(FrameRecord.of(tracker.track(image)))
                progress.advance()
        finally:
            progress.end()
            seconds = progress.seconds / progress.done if progress.done else None
            self._details["timings"] = {"frames": progress.done, "seconds_per_frame": seconds}
        limit = self._options.max_frames
        if chunk:
            is_end = limit is None or start + len(chunk) < limit
            self._folder.write_chunk(Chunk(start, tuple(chunk), is_end=is_end))

    def _frames(self, start: int) -> Iterator[tuple[int, np.ndarray]]:
        """Index and picture of the frames from ``start`` on. What a damaged file still gives is used, and reported."""
        try:
            yield from islice(enumerate(self._video.frames()), start, self._options.max_frames)
        except TruncatedVideoError as problem:
            self._details["problem"] = str(problem)

    def _num_frames_expected(self) -> int:
        announced, limit = self._video.num_announced_frames, self._options.max_frames
        announced = announced or getattr(self._video, "num_estimated_frames", 0)
        return min(announced, limit) if limit is not None and announced else limit or announced

    def _stop(self) -> None:
        self._write_state("interrupted")
        print(
            f"\nInterrupted. {self._folder.path} is valid; continue with:\n  {self._details['command']}",
            flush=True,
        )

    def _finish(self) -> None:
        """Everything that is made from the records."""
        records = ClipRecords.read(self._folder, self._options.max_frames)
        height, width = next(records.frames()).image_size_hw
        video: dict[str, Any] = {"file_name": self._video.path.name, "height": height, "width": width}
        if not isinstance(self._video, VideoFile):
            video["file_names"] = [path.name for path in self._video.frame_paths[: records.num_frames]]
        write_mot(self._folder.path / "tracks.txt", records)
        write_video_annotations(self._folder.path / "annotations.json", records, self._source.categories, video)
        if self._details.get("frames") != records.num_frames or not self._folder.overlay_path.is_file():
            self._write_overlay(records)
        self._details |= {"frames": records.num_frames, "tracks": len(records.tracks)}
        self._write_state("finished")
        print(_conclusion(records, self._source, self._folder.path))
        if self._details["problem"]:
            print(f"Note: {self._details['problem']}")

    def _write_overlay(self, records: ClipRecords) -> None:
        categories = self._source.categories
        progress = Progress(records.num_frames, "overlays")
        append = None
        try:
            pictures = (
                draw_detections(image, frame.to_detections(categories), frame.track_ids)
                for frame, (_, image) in zip(records.frames(), self._frames(0), strict=False)
            )
            first = next(pictures)
            with mp4_writer(self._folder.overlay_path, self._video.frame_rate, first.shape[:2]) as append:
                append(first)
                progress.advance()
                for picture in pictures:
                    append(picture)
                    progress.advance()
        finally:
            progress.end()

    def _write_state(self, status: str) -> None:
        write_run(self._folder.path, self._settings, {**self._details, "status": status})


def _settings(config: Config, video: Video, source: MemorySource) -> RunSettings:
    """What must be equal for a folder to be continued."""
    return RunSettings(
        config=to_dict(config),
        config_hash=config_hash(config, "track"),
        references=source.fingerprint,
        images=video.fingerprint,
        min_score=config.tracking.min_score,
    )


def _conclusion(records: ClipRecords, source: MemorySource, out: Path) -> str:
    found = f"{len(records.tracks)} objects in {records.num_frames} frames"
    if not records.tracks:
        return f"{found}. Try a lower --min-score; {out / 'references'} shows what was looked for."
    names = {category.id: category.name for category in source.categories}
    shown = [f"#{t.track_id} {names[t.category_id]} ({t.num_frames} frames)" for t in records.tracks[:10]]
    rest = ", ..." if len(records.tracks) > 10 else ""
    return (
        f"{found}: {', '.join(shown)}{rest}.\nLook at {out / 'overlay.mp4'}; masks are in {out / 'annotations.json'}, "
        f"boxes in {out / 'tracks.txt'}."
    )
