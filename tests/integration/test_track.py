"""``nttt track`` with the bundled models on a rendered clip, killed in the middle and continued."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from no_time_to_train import commands
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.outputs.video_writer import mp4_writer
from no_time_to_train.tracking.tracker import VideoTracker
from tools.demo.scenes import NOVEL_CATEGORIES, render_clip

NUM_FRAMES = 9


@pytest.mark.slow
def test_a_killed_run_ends_with_the_files_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, masks = render_clip(np.random.default_rng(1), NOVEL_CATEGORIES, (256, 256), (3, 3), NUM_FRAMES)
    clip = tmp_path / "clip.mp4"
    with mp4_writer(clip, Fraction(10), (256, 256)) as append:
        for frame in frames:
            append(frame)
    references = demo_data_folder() / "benchmark" / "annotations" / "train.json"
    command = ["track", str(clip), "--refs", str(references), "--ref-images", str(references.parents[1] / "train")]
    command += ["--preset", "demo", "--device", "cpu", "--every", "3", "proposals.points_per_side=16"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert commands.main([*command, "--out", str(whole)]) == 0

    unpatched = VideoTracker.track

    def fail_at_frame_7(self: VideoTracker, image: np.ndarray) -> object:
        if self._frame_index == 7:
            raise RuntimeError("killed")
        return unpatched(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(VideoTracker, "track", fail_at_frame_7)
        assert commands.main([*command, "--out", str(parts)]) == 1
    assert commands.main([*command, "--out", str(parts)]) == 0
    assert "holds frames before 6 from the same settings: continuing." in capsys.readouterr().out
    for name in ("annotations.json", "tracks.txt", "overlay.mp4"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name
    tracks = json.loads((whole / "annotations.json").read_text())["annotations"]
    assert sum(sum(mask is not None for mask in track["segmentations"]) >= 6 for track in tracks) >= 2
