from __future__ import annotations

import logging
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.data.images import UnreadableImageError
from no_time_to_train.data.video_reader import FrameFolder, TruncatedVideoError, VideoFile, open_video
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.outputs.video_writer import mp4_writer

NUM_FRAMES = 12


def gray_frames(count: int = NUM_FRAMES) -> list[np.ndarray]:
    """Each brighter than the one before."""
    return [np.full((48, 64, 3), 20 + 15 * index, np.uint8) for index in range(count)]


def write_mp4(path: Path, frames: list[np.ndarray]) -> Path:
    with mp4_writer(path, Fraction(30000, 1001), frames[0].shape[:2]) as append:
        for frame in frames:
            append(frame)
    return path


def write_folder(folder: Path, *names: str, size: tuple[int, int] = (8, 6)) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", size, (number, 0, 0)).save(folder / name)
    return folder


def test_frames_of_a_file(tmp_path: Path) -> None:
    video = open_video(write_mp4(tmp_path / "clip.mp4", gray_frames()))
    assert isinstance(video, VideoFile)
    assert (video.frame_rate, video.num_announced_frames) == (Fraction(30000, 1001), NUM_FRAMES)
    read = list(video.frames())
    assert len(read) == NUM_FRAMES
    for frame, written in zip(read, gray_frames(), strict=True):
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - written).max() <= 4
    assert len(list(video.frames())) == NUM_FRAMES  # a second time


def test_frames_are_decoded_as_they_are_asked_for(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "clip.mp4", gray_frames())
    frames = open_video(path).frames()
    next(frames)
    frames.close()
    path.unlink()


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert len(list(open_video(write_mp4(tmp_path / "clip.mp4", gray_frames(1))).frames())) == 1


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", "f2.png", "f10.png", "f1.png", "F01.png")
    (folder / "notes.txt").write_text("no frame")
    video = open_video(folder)
    assert isinstance(video, FrameFolder)
    assert [path.name for path in video.frame_paths] == ["F01.png", "f1.png", "f2.png", "f10.png"]
    assert (video.frame_rate, video.num_announced_frames) == (25, 4)
    assert [int(frame[0, 0, 0]) for frame in video.frames()] == [3, 2, 0, 1]


def test_frames_that_are_left_out_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "frames", "1.png")
    (folder / "2.png").symlink_to("nowhere.png")
    assert len(list(open_video(folder).frames())) == 1
    assert "1 file not read: 1 links to nothing" in caplog.text


def test_the_fingerprint_changes_with_the_frames(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", "1.png", "2.png")
    before = open_video(folder).fingerprint
    assert open_video(folder).fingerprint == before
    write_folder(folder, "3.png")
    assert open_video(folder).fingerprint != before
    path = write_mp4(tmp_path / "clip.mp4", gray_frames(2))
    before = open_video(path).fingerprint
    assert open_video(write_mp4(path, gray_frames())).fingerprint != before


def test_frames_of_different_sizes_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", "1.png", "2.png")
    write_folder(folder, "3.png", size=(6, 8))
    with pytest.raises(InputError, match=r"one size, but 1\.png is 8x6 and 3\.png is 6x8 \(width x height\)"):
        open_video(folder)


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match="no such video file or folder of frames"):
        open_video(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="has no readable images"):
        open_video(tmp_path)
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(InputError, match=r"text\.mp4 cannot be decoded as a video \(.*16 bytes\)\. Give a file that"):
        open_video(tmp_path / "text.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.mp4 cannot be decoded as a video"):
        open_video(tmp_path / "empty.mp4")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 800)
    with pytest.raises(InputError, match=r"sound\.wav has no frames, only audio"):
        open_video(tmp_path / "sound.wav")


def test_a_file_cut_off_before_its_index_is_no_video(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "clip.mp4", gray_frames())
    path.write_bytes(path.read_bytes()[:-400])  # the index stands at the end
    with pytest.raises(InputError, match="cannot be decoded as a video"):
        open_video(path)


def test_a_truncated_file_gives_what_can_be_read_and_then_says_so(tmp_path: Path) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, 48, 64, 3), np.uint8))
    path = write_mp4(tmp_path / "clip.mp4", noise)
    index_first = faststart(path, tmp_path / "fast.mp4")
    content = index_first.read_bytes()
    index_first.write_bytes(content[: len(content) * 2 // 3])
    frames = []
    with pytest.raises(TruncatedVideoError, match=r"fast\.mp4 (ends after|is damaged after frame) \d+"):
        for frame in open_video(index_first).frames():
            frames.append(frame)
    assert 2 <= len(frames) < NUM_FRAMES


def test_a_cut_file_without_a_frame_count_says_so(tmp_path: Path) -> None:
    path = matroska(write_mp4(tmp_path / "clip.mp4", gray_frames() * 4), tmp_path / "clip.mkv")
    whole = open_video(path)
    assert isinstance(whole, VideoFile)
    assert whole.num_announced_frames == 0 and whole.num_estimated_frames == pytest.approx(48, abs=1)
    assert len(list(whole.frames())) == 48
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    frames = []
    with pytest.raises(TruncatedVideoError, match=r"clip\.mkv (ends after|is damaged after frame) \d+"):
        for frame in open_video(path).frames():
            frames.append(frame)
    assert 2 <= len(frames) < 43


def matroska(source: Path, target: Path) -> Path:
    """The same video in a container whose header does not count frames."""
    import av

    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                after.mux(packet)
    return target


def faststart(source: Path, target: Path) -> Path:
    """The same video with its index in front, as on the web, so that the beginning can be played alone."""
    import av

    with (
        av.open(str(source)) as before,
        av.open(str(target), "w", options={"movflags": "+faststart"}) as after,
    ):
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                after.mux(packet)
    return target


def test_a_broken_frame_of_a_folder_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", "1.png", "2.png", size=(200, 100))
    noise = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    Image.fromarray(noise).save(folder / "2.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:3000])
    frames = open_video(folder).frames()
    next(frames)
    with pytest.raises(UnreadableImageError, match=r"2\.png cannot be read"):
        next(frames)


def test_a_rotation_beside_the_frames_is_only_told(tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch) -> None:
    from no_time_to_train.data import video_reader

    class RotatedFrame:
        rotation = -90

        def to_ndarray(self, format: str) -> np.ndarray:
            return np.zeros((4, 6, 3), np.uint8)

    class Container:
        def __enter__(self) -> Container:
            return self

        def __exit__(self, *_: object) -> None: ...

        def decode(self, video: int) -> list[RotatedFrame]:
            return [RotatedFrame(), RotatedFrame()]

    monkeypatch.setattr(video_reader, "_opened", lambda path: Container())
    with caplog.at_level(logging.WARNING):
        frames = list(VideoFile(tmp_path / "phone.mp4", Fraction(30), 2).frames())
    assert [frame.shape for frame in frames] == [(4, 6, 3)] * 2
    assert len(caplog.messages) == 1 and "rotate it by -90 degrees" in caplog.messages[0]
