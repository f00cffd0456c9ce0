"""A video on a GPU that is not there: key frames, frames in between, and what the host waits for."""

from __future__ import annotations

import numpy as np
import pytest

from no_time_to_train.build import build_proposals, compose_config
from no_time_to_train.models.dino.encoder import load_dino
from no_time_to_train.models.sam2.model import load_sam2
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.memory_bank_builder import MemoryBankBuilder
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category
from no_time_to_train.tracking.settings import TrackingConfig
from no_time_to_train.tracking.tracker import VideoTracker
from no_time_to_train.tracking.tracks import TrackedDetections
from tests.pretend_card import PretendCard, pretend_card
from tools.demo.scenes import NOVEL_CATEGORIES, render_clip


def make_segmenter(device: str) -> Segmenter:
    settings = ["preset=demo", "proposals.points_per_side=4", "scoring=similarity", "merging.max_detections=2"]
    config = compose_config(settings)
    models = load_dino("dinov2_demo", device=device), load_sam2("sam2_demo", device=device)
    return Segmenter(*models, config, proposals=build_proposals(config))


def track(segmenter: Segmenter, memory: MemoryBank, card: PretendCard | None = None) -> list[TrackedDetections]:
    options = TrackingConfig(min_score=0.0, max_unexplained_change=1.0)
    tracker, found = VideoTracker(segmenter, memory, options), []
    for frame in make_frames():
        if card is not None:
            card.waits.clear()
        found.append(tracker.track(frame))
    return found


def make_frames() -> list[np.ndarray]:
    return list(render_clip(np.random.default_rng(3), NOVEL_CATEGORIES, (120, 160), (2, 2), 3)[0])


def make_memory(segmenter: Segmenter) -> MemoryBank:
    """A category that everything in the first frame resembles."""
    encoder, category = segmenter.encoder, Category(1, "object")
    builder = MemoryBankBuilder([category], encoder.feature_dim)
    builder.add(category, segmenter.encode(make_frames()[:1])[0].features.mean(dim=(0, 1)))
    return builder.build(encoder_id=encoder.model_id, encoder_image_size=encoder.image_size)


@pytest.mark.slow
def test_tracks_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = make_segmenter("cpu")
    memory = make_memory(segmenter)
    on_cpu = track(segmenter, memory)
    with pretend_card(monkeypatch, "cuda:1") as card:
        on_card = track(make_segmenter("cuda:1"), memory, card)
    num_objects = len(on_cpu[-1].track_ids)
    assert num_objects and [found.is_key_frame for found in on_cpu] == [True, False, False]
    for mine, theirs in zip(on_card, on_cpu, strict=True):
        np.testing.assert_array_equal(mine.track_ids, theirs.track_ids)
        assert (mine.detections.masks == theirs.detections.masks).mean() > 0.999
    assert card.waits == {
        "models.sam2.video_memory._step: to_copy": num_objects,
        "ops.masks._crossings: nonzero": 1,
        "ops.transfers.to_host: synchronize": 2,
    }
