"""``nttt track`` in a world of colored squares."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import no_time_to_train as ntt
from no_time_to_train import build
from no_time_to_train.commands import main
from no_time_to_train.data.video_reader import open_video
from no_time_to_train.outputs.track_folder import TrackFolder
from no_time_to_train.outputs.video_writer import mp4_writer
from no_time_to_train.runs import run as run_engine
from no_time_to_train.tasks import track
from tests.color_video import BLUE, RED, ColorFollower, ColorVideoSegmenter, picture

NUM_FRAMES = 14


def clip_frames() -> list[np.ndarray]:
    """A boat that moves on, and a bird that is away in frames 4 to 9."""
    boat = [(RED, 3 * t, 4, 16) for t in range(NUM_FRAMES)]
    bird = [(BLUE, 10, 80 if 4 <= t < 10 else 40, 16) for t in range(NUM_FRAMES)]
    return [picture(*squares) for squares in zip(boat, bird, strict=True)]


@pytest.fixture
def segmenters(monkeypatch: pytest.MonkeyPatch) -> list[ColorVideoSegmenter]:
    """Every segmenter that was built, in order."""
    built: list[ColorVideoSegmenter] = []

    def build_segmenter(config: object) -> ColorVideoSegmenter:
        built.append(ColorVideoSegmenter())
        return built[-1]

    monkeypatch.setattr(build, "build_segmenter", build_segmenter)
    monkeypatch.setattr(run_engine, "weight_hashes", lambda config: {})
    monkeypatch.setattr("no_time_to_train.tracking.tracker.Sam2VideoMemory", ColorFollower)
    return built


@pytest.fixture
def nttt(workplace: Path, segmenters: list[ColorVideoSegmenter]) -> Callable[[str], int]:
    """Runs a command line beside ``frames/``, the clip as a folder, and ``refs/``."""
    (workplace / "frames").mkdir()
    for index, frame in enumerate(clip_frames()):
        Image.fromarray(frame).save(workplace / "frames" / f"{index}.png")
    return lambda line: main(line.split())


def annotations(folder: Path) -> dict:
    return json.loads((folder / "annotations.json").read_text())


def run_record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_writes_the_whole_folder(nttt, workplace: Path, capsys) -> None:
    assert nttt("track frames/ --refs refs/ --every 6") == 0
    out = workplace / "frames_tracked"
    expected = {"overlay.mp4", "annotations.json", "tracks.txt", "run.json", "memory.safetensors"}
    assert {path.name for path in out.iterdir()} == expected | {"references", "chunks", "state"}
    content = annotations(out)
    assert content["categories"] == [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}]
    [video] = content["videos"]
    assert (video["file_name"], video["length"], video["width"], video["height"]) == ("frames", NUM_FRAMES, 64, 64)
    assert video["file_names"][:2] == ["0.png", "1.png"] and len(video["file_names"]) == NUM_FRAMES
    boat, bird = content["annotations"]
    assert (boat["track_id"], boat["category_id"], bird["track_id"], bird["category_id"]) == (1, 9, 2, 16)
    assert all(mask is not None for mask in boat["segmentations"])
    assert [mask is None for mask in bird["segmentations"]] == [4 <= t < 10 for t in range(NUM_FRAMES)]
    lines = (out / "tracks.txt").read_text().splitlines()
    assert lines[:2] == ["1,1,0,4,16,16,0.9000,-1,-1,-1", "1,2,10,40,16,16,0.9000,-1,-1,-1"]
    assert len(lines) == NUM_FRAMES + 8
    run = run_record(out)
    assert (run["status"], run["frames"], run["tracks"], run["problem"]) == ("finished", NUM_FRAMES, 2, None)
    assert run["settings"]["config"]["tracking"]["key_frame_interval"] == 6
    assert run["timings"]["frames"] == NUM_FRAMES and run["device"] == "cpu"
    output = capsys.readouterr().out
    assert "2 objects in 14 frames: #1 boat (14 frames), #2 bird (8 frames)." in output
    assert "frames_tracked/overlay.mp4" in output


def test_the_overlay_shows_the_masks(nttt, workplace: Path) -> None:
    assert nttt("track frames/ --refs refs/") == 0
    frames = list(open_video(workplace / "frames_tracked/overlay.mp4").frames())
    assert len(frames) == NUM_FRAMES
    assert frames[0].shape == (640, 640, 3)
    assert np.abs(frames[0][600, 600].astype(int) - 90).max() < 10
    center = frames[0][120, 80].astype(int)  # of the boat: red, tinted by the color of its track
    assert np.abs(center - RED).max() > 40 and np.abs(center - 90).max() > 40
    assert np.abs(frames[5][480, 180].astype(int) - 90).max() < 10  # the bird is away


def test_a_video_file(nttt, workplace: Path) -> None:
    with mp4_writer(workplace / "clip.mp4", Fraction(5), (64, 64)) as append:
        append(picture((RED, 4, 4, 16)))
    assert nttt("track clip.mp4 --ref refs/r.png:boat:10,10,40,30 --min-score 0.1") == 0
    out = workplace / "clip_tracked"
    assert annotations(out)["videos"][0]["file_name"] == "clip.mp4"
    assert open_video(out / "overlay.mp4").frame_rate == 5
    assert len(list(open_video(out / "overlay.mp4").frames())) == 1


def interrupt_at(monkeypatch: pytest.MonkeyPatch, frame: int, error: BaseException) -> None:
    unpatched = ColorVideoSegmenter.encode
    seen = []

    def encode(self: ColorVideoSegmenter, images: list[np.ndarray], **squares: list[Tensor]) -> list:
        seen.append(images)
        if len(seen) == frame:
            raise error
        return unpatched(self, images, **squares)

    monkeypatch.setattr(ColorVideoSegmenter, "encode", encode)


@pytest.mark.parametrize("key_frame", [1, 2, 4])
def test_an_interrupted_run_is_continued_at_a_key_frame(
    nttt, workplace: Path, monkeypatch, read_folder, capsys, key_frame: int
) -> None:
    assert nttt("track frames/ --refs refs/ --every 4 --out whole") == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, key_frame, KeyboardInterrupt())
        assert nttt("track frames/ --refs refs/ --every 4 --out parts") == 130
    output = capsys.readouterr()
    assert "continue with:\n  nttt track frames/ --refs refs/ --every 4 --out parts" in output.out
    assert run_record(workplace / "parts")["status"] == "interrupted"
    assert len(list(TrackFolder(workplace / "parts").chunks())) == key_frame - 1
    assert nttt("track frames/ --refs refs/ --every 4 --out parts") == 0
    if key_frame > 1:
        assert "from the same settings: continuing." in capsys.readouterr().out
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")


def test_a_crash_is_continued_too(nttt, workplace: Path, monkeypatch, read_folder, segmenters) -> None:
    assert nttt("track frames/ --refs refs/ --every 4 --out whole") == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, RuntimeError("the model broke"))
        assert nttt("track frames/ --refs refs/ --every 4 --out parts") == 1
    assert nttt("track frames/ --refs refs/ --every 4 --out parts") == 0
    assert segmenters[-1].num_detected_frames < segmenters[0].num_detected_frames
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")


def test_the_first_frames_and_then_the_rest(nttt, workplace: Path, read_folder, segmenters) -> None:
    assert nttt("track frames/ --refs refs/ --every 4 --out whole") == 0
    for limit in (6, 9, 100):
        assert nttt(f"track frames/ --refs refs/ --every 4 --out parts --max-frames {limit}") == 0
        assert annotations(workplace / "parts")["videos"][0]["length"] == min(limit, NUM_FRAMES)
        assert len(list(open_video(workplace / "parts/overlay.mp4").frames())) == min(limit, NUM_FRAMES)
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")
    assert nttt("track frames/ --refs refs/ --every 4 --out parts --max-frames 5") == 0  # no model is needed for less
    assert len(segmenters) == 4
    assert annotations(workplace / "parts")["videos"][0]["length"] == 5


def test_a_finished_run_needs_no_model_again(nttt, workplace: Path, segmenters, read_folder, capsys) -> None:
    assert nttt("track frames/ --refs refs/") == 0
    before = read_folder(workplace / "frames_tracked")
    assert nttt("track frames/ --refs refs/") == 0
    assert "holds all frames from the same settings: nothing is left to compute." in capsys.readouterr().out
    assert len(segmenters) == 1
    assert read_folder(workplace / "frames_tracked") == before
    (workplace / "frames_tracked/overlay.mp4").unlink()
    assert nttt("track frames/ --refs refs/") == 0
    assert len(segmenters) == 1 and read_folder(workplace / "frames_tracked") == before


def test_a_folder_of_another_run_needs_a_choice(nttt, workplace: Path, capsys) -> None:
    assert nttt("track frames/ --refs refs/ --out out") == 0
    assert nttt("track frames/ --refs refs/ --out out --every 3") == 1
    assert "with other settings (tracking.key_frame_interval=10 vs 3)" in capsys.readouterr().err
    assert nttt("track frames/ --refs refs/ --out out --classes boat") == 1
    assert "from different references" in capsys.readouterr().err
    Image.fromarray(picture()).save(workplace / "frames" / "99.png")
    assert nttt("track frames/ --refs refs/ --out out") == 1
    assert "of other images" in capsys.readouterr().err
    assert nttt("track frames/ --refs refs/ --out out --classes boat --overwrite") == 0
    assert [a["category_id"] for a in annotations(workplace / "out")["annotations"]] == [9]
    (workplace / "mine").mkdir()
    (workplace / "mine/annotations.json").write_text("precious")
    for flag in ("", " --overwrite"):
        assert nttt(f"track frames/ --refs refs/ --out mine{flag}") == 1
        assert "is not a results folder" in capsys.readouterr().err
    assert [path.name for path in (workplace / "mine").iterdir()] == ["annotations.json"]


def test_what_a_truncated_video_gives_is_used_and_reported(nttt, workplace: Path, monkeypatch, capsys) -> None:
    with mp4_writer(workplace / "clip.mp4", Fraction(5), (64, 64)) as append:
        for frame in clip_frames():
            append(frame)
    announced = open_video(workplace / "clip.mp4")
    longer = type(announced)(announced.path, announced.frame_rate, NUM_FRAMES + 5)
    monkeypatch.setattr(track, "open_video", lambda path, **_: longer)
    assert nttt("track clip.mp4 --refs refs/") == 0
    message = f"clip.mp4 ends after {NUM_FRAMES} of the {NUM_FRAMES + 5} frames that its header announces"
    assert message in capsys.readouterr().out
    assert message in run_record(workplace / "clip_tracked")["problem"]
    assert annotations(workplace / "clip_tracked")["videos"][0]["length"] == NUM_FRAMES


def test_beside_a_gpu_threads_squash_the_frames(nttt, workplace: Path, monkeypatch, read_folder) -> None:
    """The frames and what is found in them are the same."""
    threads = set()

    def square(segmenter: ColorVideoSegmenter, pixels: np.ndarray) -> Tensor:
        threads.add(threading.current_thread().name)
        return torch.from_numpy(pixels.copy())

    monkeypatch.setattr(ColorVideoSegmenter, "square", square)
    ntt.track_video("frames", references="refs", out="in_turns", max_frames=6)
    assert threads == {threading.main_thread().name}
    threads.clear()
    monkeypatch.setattr("no_time_to_train.tasks.track.square_ahead", lambda segmenter: segmenter.square)
    ntt.track_video("frames", references="refs", out="beside", max_frames=6)
    assert threads and all(name.startswith("read-ahead") for name in threads)
    assert annotations(workplace / "beside") == annotations(workplace / "in_turns")


def test_nothing_found(nttt, workplace: Path, capsys) -> None:
    for path in (workplace / "frames").iterdir():
        Image.fromarray(picture()).save(path)
    assert nttt("track frames/ --refs refs/") == 0
    assert "0 objects in 14 frames. Try a lower --min-score" in capsys.readouterr().out
    assert (workplace / "frames_tracked/overlay.mp4").is_file()


def test_bad_input_is_one_message(nttt, workplace: Path, capsys) -> None:
    (workplace / "text.mp4").write_text("this is no video")
    (workplace / "empty").mkdir()
    (workplace / "sizes").mkdir()
    for name, size in (("1.png", (8, 6)), ("2.png", (9, 6))):
        Image.new("RGB", size).save(workplace / "sizes" / name)
    cases = {
        "track nowhere.mp4 --refs refs/": "nowhere.mp4: no such video file or folder of frames",
        "track text.mp4 --refs refs/": "text.mp4 cannot be decoded as a video",
        "track empty/ --refs refs/": "empty has no readable images",
        "track sizes/ --refs refs/": "1.png is 8x6 and 2.png is 9x6",
        "track frames/ --refs nowhere.json": "nowhere.json",
        "track frames/ --refs refs/ --min-score 7": "--min-score 7: give auto, a number from 0 to 1, or",
    }
    for line, message in cases.items():
        assert nttt(line) == 1, line
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, error
        assert len(error.removeprefix("Loading ...\n").splitlines()) == 1
    assert not list(workplace.glob("*_tracked"))
    for line in ("track frames/", "track frames/ --refs a --memory b", "track frames/ --memory b --classes a"):
        assert nttt(line) == 2
    assert nttt("track frames/ --refs refs/ --every 0") == 2


def test_from_python_it_prints_nothing(nttt, workplace: Path, capfd) -> None:
    report = ntt.track_video("frames", references="refs", out="made", max_frames=6)
    assert report.num_frames == 6 and report.problem is None
    assert [(found.track_id, found.category, found.num_frames) for found in report.objects] == [
        (1, "boat", 6),
        (2, "bird", 4),
    ]
    assert (workplace / "made/overlay.mp4").is_file() and capfd.readouterr() == ("", "")
