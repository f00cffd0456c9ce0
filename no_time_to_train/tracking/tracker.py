"""Objects through a video.

The references find them on key frames; SAM 2's memory follows them in between.

Frames come and go one at a time: what is kept is a bounded memory per object that is followed and one mean feature per
object ever seen, whatever the length of the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from no_time_to_train.errors import InputError
from no_time_to_train.files.arguments import as_object
from no_time_to_train.models.sam2.video_memory import FrameEncoding, Sam2VideoMemory
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.pooling import pool_mask_features
from no_time_to_train.ops.rle import mask_ious, rle_area
from no_time_to_train.ops.transfers import to_device, to_host
from no_time_to_train.references.memory_bank import MemoryBank, as_memory
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.settings import validate
from no_time_to_train.structures import Detections
from no_time_to_train.tracking.association import Scene, best_pairs, mask_overlaps, square_masks
from no_time_to_train.tracking.settings import TrackingConfig
from no_time_to_train.tracking.tracks import Track, TrackedDetections, TrackerState


def segment_video(
    segmenter: Segmenter, frames: Iterable[np.ndarray], memory: MemoryBank, options: TrackingConfig | None = None
) -> Iterator[tuple[int, TrackedDetections]]:
    """Yield labeled instance masks of every frame, with the objects' identities.

    Args:
        segmenter: from ``load_segmenter``; its mask model must be a SAM 2 with memory.
        frames: (H, W, 3) uint8 RGB of one size, taken one at a time (``data.video_reader`` reads files).
        memory: from ``Segmenter.build_memory`` or ``MemoryBank.load``.
        options: None: the defaults.

    Yields:
        The index of the frame, from 0, and what is in it.

    Raises:
        InputError: a frame has another size than those before, or the models do not fit.

    Example:
        >>> segmenter = ntt.load_segmenter("proposals.points_per_side=8", preset="demo", device="cpu")
        >>> memory = ntt.MemoryBank.load("memory.safetensors")
        >>> frames = [ntt.read_image("photo.jpg")] * 2
        >>> [index for index, found in ntt.segment_video(segmenter, frames, memory)]
        [0, 1]
    """
    tracker = VideoTracker(segmenter, memory, options)
    for index, frame in enumerate(frames):
        yield index, tracker.track(frame)


class VideoTracker:
    """Tracker that takes frames one by one and keeps objects' identities.

    Args:
        segmenter, memory, options: see ``segment_video``.
        min_scores: lowest scores of detections, by category; None: ``options.min_score`` for all.
        state: of an earlier tracker with the same arguments; the next frame is then the state's.
        follower: follows objects between key frames; None: the memory of the segmenter's mask model.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        memory: MemoryBank,
        options: TrackingConfig | None = None,
        *,
        min_scores: MinScores | None = None,
        state: TrackerState | None = None,
        follower: Sam2VideoMemory | None = None,
    ) -> None:
        as_object(segmenter, Segmenter, "segmenter", "ntt.load_segmenter")
        memory = as_memory(memory)
        memory.check_encoder(segmenter.encoder)
        state = state or TrackerState()
        options = TrackingConfig() if options is None else options
        self.options = validate(as_object(options, TrackingConfig, "options", "TrackingConfig()"))
        self._min_scores = min_scores or MinScores(self.options.min_score)
        self.num_found_again = state.num_found_again
        self._segmenter = segmenter
        self._memory = memory
        self._follower = follower or Sam2VideoMemory(segmenter.mask_model)  # type: ignore[arg-type]
        self._tracks = list(state.tracks)
        self._frame_index = state.frame_index
        self._size_hw: tuple[int, int] | None = None
        self._last_key_frame = _KeyFrame(state.frame_index)
        self._is_key_frame_due = True

    @property
    def is_key_frame_due(self) -> bool:
        """Return whether the references will be looked for in the next frame."""
        return self._is_key_frame_due

    def state(self) -> TrackerState:
        """Return what has to be kept to go on later.

        Only where a key frame is due: until then there is more to remember.
        """
        if not self._is_key_frame_due:
            raise ValueError("the state can be taken only before a key frame")
        return TrackerState(self._frame_index, tuple(self._tracks), self.num_found_again)

    def track(self, image: np.ndarray, square: Tensor | None = None) -> TrackedDetections:
        """Track the objects into the next frame, (H, W, 3) uint8 RGB; ``square``: it from ``Segmenter.square``."""
        self._check_size(image)
        frame = _Frame(self._frame_index, image, self._segmenter, self._follower, square)
        seen_before = {track.id for track in self._tracks if track.rle is not None}
        self._tracks = self._followed(frame)
        is_key_frame = self._is_key_frame_due
        if is_key_frame:
            self._tracks = self._detected(frame)
        found = self._visible(image, is_key_frame)
        self._plan_key_frame(frame, found, has_lost=bool(seen_before - set(found.track_ids.tolist())))
        self._frame_index += 1
        return found

    def _check_size(self, image: np.ndarray) -> None:
        size_hw = image.shape[:2]
        if self._size_hw is not None and size_hw != self._size_hw:
            raise InputError(
                f"frame {self._frame_index} is {size_hw[1]}x{size_hw[0]}, but those before are "
                f"{self._size_hw[1]}x{self._size_hw[0]}. All frames of a video must have one size."
            )
        self._size_hw = size_hw

    def _followed(self, frame: _Frame) -> list[Track]:
        """Return the tracks after SAM 2 has looked for each of them in the frame."""
        steps = {
            track.id: self._follower.propagate(frame.index, frame.encoding, track.memory)
            for track in self._tracks
            if track.memory is not None
        }
        if not steps:
            return self._tracks
        rles = encode_mask_logits(torch.stack([mask.logits for mask, _ in steps.values()]), frame.size_hw)
        [object_scores] = to_host(torch.stack([mask.object_score for mask, _ in steps.values()]))
        tracks = list(self._tracks)
        for (track_id, (_, memory)), rle, score in zip(steps.items(), rles, object_scores.tolist(), strict=True):
            track = tracks[track_id - 1]
            is_visible = score > 0 and rle_area(rle) > 0
            num_missing = 0 if is_visible else track.num_missing_frames + 1
            keeps = num_missing <= self.options.max_missing_frames
            # What comes back into sight by SAM 2's word alone has to be detected in the very next key frame.
            least = 0 if is_visible else self.options.max_unconfirmed_key_frames - 1
            tracks[track_id - 1] = replace(
                track,
                rle=rle if is_visible else None,
                memory=memory if keeps else None,
                num_missing_frames=num_missing,
                num_unconfirmed=max(track.num_unconfirmed, least),
            )
        return tracks

    def _detected(self, frame: _Frame) -> list[Track]:
        """Return the tracks after the references have been looked for.

        They are confirmed, found again, new, or given up.
        """
        objects = self._detect(frame)
        by_place = self._pairs_in_sight(objects)
        tracks = [
            self._confirmed(track, objects, by_place[row], frame) if row in by_place else _unconfirmed(track)
            for row, track in enumerate(self._tracks)
        ]
        tracks = self._without_doubles(tracks, confirmed=set(by_place))
        free = self._free(objects.detections, set(by_place.values()), tracks)
        by_features = self._pairs_out_of_sight(tracks, objects, free)
        for row, column in by_features.items():
            tracks[row] = self._confirmed(tracks[row], objects, column, frame)
        self.num_found_again += len(by_features)
        for column in free:
            if column not in by_features.values():
                tracks.append(self._new(len(tracks) + 1, objects, column, frame))
        return tracks

    def _detect(self, frame: _Frame) -> _Objects:
        """Return what the references find in the frame; an object may be among it more than once."""
        [encoded] = self._segmenter.encode([frame.image], squares=[frame.square])
        proposals = self._segmenter.propose(encoded, self._memory)
        detections = self._segmenter.label(proposals, self._memory, encoded.pixels)
        detections = self._min_scores.passed(detections)
        squares = square_masks(detections.rles, self._follower.image_size)
        is_large_enough = squares.flatten(1).any(dim=1)  # to be seen at the network's resolution
        detections, squares = detections[is_large_enough.numpy()], squares[is_large_enough]
        squares = to_device(squares, encoded.features.device)
        [features] = to_host(normalize(pool_mask_features(squares, encoded.features), dim=1))
        return _Objects(detections, squares, features)

    def _pairs_in_sight(self, objects: _Objects) -> dict[int, int]:
        """Pair tracks in sight with the detections that confirm them: by place and by features."""
        in_sight = [row for row, track in enumerate(self._tracks) if track.rle is not None]
        ious = mask_ious([t.rle for t in self._tracks if t.rle is not None], objects.detections.rles)
        similarities = _similarities([self._tracks[row] for row in in_sight], objects.features)
        weight = self.options.similarity_weight
        scores = (1 - weight) * ious + weight * similarities.clip(min=0)
        return {in_sight[row]: column for row, column in best_pairs(scores, ious >= max(self.options.min_iou, 1e-9))}

    def _free(self, detections: Detections, taken: set[int], tracks: Sequence[Track]) -> list[int]:
        """Return the positions of detections where no object is in sight, each place once; the best first."""
        covered = [track.rle for track in tracks if track.rle is not None]
        free = []
        for column, rle in enumerate(detections.rles):
            if column not in taken and mask_overlaps([rle], covered).max(initial=0) <= self.options.max_overlap:
                free.append(column)
                covered.append(rle)
        return free

    def _pairs_out_of_sight(self, tracks: Sequence[Track], objects: _Objects, free: Sequence[int]) -> dict[int, int]:
        """Pair tracks out of sight with the free detections that look like them."""
        lost = [row for row, track in enumerate(tracks) if track.rle is None]
        similarities = _similarities([tracks[row] for row in lost], objects.features[list(free)])
        categories = np.array([tracks[row].category_id for row in lost], np.int64)
        is_same_category = categories[:, None] == objects.detections.category_ids[list(free)]
        pairs = best_pairs(similarities, is_same_category & (similarities >= self.options.min_similarity))
        return {lost[row]: free[column] for row, column in pairs}

    def _new(self, track_id: int, objects: _Objects, column: int, frame: _Frame) -> Track:
        empty = Track(track_id, {}, 0.0, 0.0, torch.zeros_like(objects.features[column]))
        return self._confirmed(empty, objects, column, frame)

    def _confirmed(self, track: Track, objects: _Objects, column: int, frame: _Frame) -> Track:
        """Return the track with a detection's mask, which SAM 2 is told as well."""
        detections = objects.detections
        score, category_id = float(detections.scores[column]), int(detections.category_ids[column])
        _, memory = self._follower.condition(frame.index, frame.encoding, objects.squares[column], track.memory)
        category_scores = dict(track.category_scores)
        category_scores[category_id] = category_scores.get(category_id, 0.0) + score
        return replace(
            track,
            category_scores=category_scores,
            score=score,
            predicted_iou=float(detections.predicted_ious[column]),
            feature_sum=track.feature_sum + objects.features[column],
            rle=detections.rles[column],
            memory=memory,
            num_missing_frames=0,
            num_unconfirmed=0,
        )

    def _without_doubles(self, tracks: Sequence[Track], confirmed: set[int]) -> list[Track]:
        """Give up what went undetected for too long, or is an object that was detected as another track's.

        Args:
            tracks: all of them.
            confirmed: positions of those that were detected.
        """
        confirmed_rles = [track.rle for row, track in enumerate(tracks) if row in confirmed and track.rle is not None]
        kept = list(tracks)
        for row, track in enumerate(tracks):
            if row not in confirmed and track.rle is not None:
                is_double = mask_ious([track.rle], confirmed_rles).max(initial=0) > self.options.max_overlap
                if is_double or track.num_unconfirmed >= self.options.max_unconfirmed_key_frames:
                    kept[row] = track.given_up()
        return kept

    def _visible(self, image: np.ndarray, is_key_frame: bool) -> TrackedDetections:
        size_hw = (image.shape[0], image.shape[1])
        categories = tuple(category for category in self._memory.categories if not category.is_background)
        shown = [(track, track.rle) for track in self._tracks if track.rle is not None]
        detections = Detections.from_rles(
            [rle for _, rle in shown],
            scores=[track.score for track, _ in shown],
            category_ids=[track.category_id for track, _ in shown],
            predicted_ious=[track.predicted_iou for track, _ in shown],
            image_size_hw=size_hw,
            categories=categories,
        )
        return TrackedDetections(detections, np.array([track.id for track, _ in shown], np.int64), is_key_frame)

    def _plan_key_frame(self, frame: _Frame, found: TrackedDetections, *, has_lost: bool) -> None:
        """Decide whether the next frame is a key frame."""
        scene = Scene.of(frame.image, found.detections.boxes_xyxy)
        if found.is_key_frame:
            self._last_key_frame = _KeyFrame(frame.index, scene)
        last = self._last_key_frame
        last.has_lost |= has_lost and not found.is_key_frame
        gap = frame.index + 1 - last.index
        is_new = last.scene is not None and (scene.unexplained_change(last.scene) > self.options.max_unexplained_change)
        wanted = (last.has_lost or is_new) and gap >= self.options.min_key_frame_gap
        self._is_key_frame_due = wanted or gap >= self.options.key_frame_interval


@dataclass(eq=False)
class _KeyFrame:
    """The latest key frame, how it looked, and whether an object went out of sight since."""

    index: int
    scene: Scene | None = None
    has_lost: bool = False


@dataclass(frozen=True, eq=False)
class _Frame:
    """One frame; SAM 2 encodes it when it is first needed. What finds and what follows objects share its square."""

    index: int
    image: np.ndarray
    segmenter: Segmenter = field(repr=False)
    follower: Sam2VideoMemory = field(repr=False)
    given_square: Tensor | None = field(repr=False)

    @cached_property
    def square(self) -> Tensor:
        return self.segmenter.square(self.image) if self.given_square is None else self.given_square

    @cached_property
    def encoding(self) -> FrameEncoding:
        return self.follower.encode(self.image, self.square)

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, eq=False)
class _Objects:
    """The detections of a key frame: also as (N, S, S) bool squares on the device, and their (N, D) unit features."""

    detections: Detections
    squares: Tensor
    features: Tensor


def _unconfirmed(track: Track) -> Track:
    return track if track.rle is None else replace(track, num_unconfirmed=track.num_unconfirmed + 1)


def _similarities(tracks: Sequence[Track], features: Tensor) -> np.ndarray:
    """(tracks, detections) cosine of each track's mean feature and each detection's."""
    if not tracks:
        return np.zeros((0, len(features)))
    return (normalize(torch.stack([track.feature_sum for track in tracks]), dim=1) @ features.T).numpy()
