import io
import logging

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.data.images import (
    UnreadableImageError,
    describe_size_mismatch,
    find_images,
    image_size_hw,
    read_image,
    resize_for_model,
)
from no_time_to_train.errors import InputError, InputFileNotFoundError

RED, GRAY = (200, 10, 20), (90, 90, 90)


def save(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        (Image.new("RGB", (3, 2), RED), ".png", RED),
        (Image.new("L", (3, 2), 90), ".png", GRAY),
        (Image.new("1", (3, 2), 1), ".png", (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (200, 100, 50, 0)), ".png", (0, 0, 0)),
        (Image.new("RGBA", (3, 2), (*RED, 255)), ".png", RED),
        (Image.new("LA", (3, 2), (200, 0)), ".png", (0, 0, 0)),
        (Image.new("RGB", (3, 2), RED).convert("P", palette=Image.Palette.ADAPTIVE), ".png", RED),
        (Image.new("CMYK", (3, 2), (0, 0, 0, 255)), ".tif", (0, 0, 0)),
        (Image.fromarray(np.full((2, 3), 90 * 257, np.uint16)), ".png", GRAY),
        (Image.fromarray(np.full((2, 3), 65535, np.uint16)), ".tif", (255, 255, 255)),
        (Image.fromarray(np.full((2, 3), 90 * 257, np.int32)), ".tif", GRAY),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, image, suffix, expected):
    pixels = read_image(save(image, tmp_path / f"a{suffix}"))
    assert pixels.shape == (2, 3, 3) and pixels.dtype == np.uint8 and pixels.flags.writeable
    assert (pixels == expected).all()


def test_half_transparent_pixels_are_darkened_by_the_black_below(tmp_path):
    path = save(Image.new("RGBA", (1, 1), (200, 100, 50, 128)), tmp_path / "a.png")
    np.testing.assert_allclose(read_image(path)[0, 0], [100, 50, 25], atol=1)


def test_transparent_palette_colour_becomes_black(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putdata([0, 1])
    pixels = read_image(save(image, tmp_path / "a.png", transparency=0))
    assert pixels.tolist() == [[[0, 0, 0], [0, 255, 0]]]


def test_float_and_wide_integer_pixels_are_refused(tmp_path):
    for values in (np.ones((2, 2), np.float32), np.full((2, 2), 70000, np.int32)):
        path = save(Image.fromarray(values), tmp_path / "a.tif")
        with pytest.raises(UnreadableImageError, match=r"a\.tif cannot be read .*8 or 16 bits"):
            read_image(path)


@pytest.mark.parametrize(("orientation", "num_warnings"), [(1, 0), (6, 1), (0, 0), (9, 0)])
def test_exif_orientation_is_not_applied_and_said_once(tmp_path, caplog, orientation, num_warnings):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.new("RGB", (4, 2)), tmp_path / "a.jpg", exif=exif)
    with caplog.at_level(logging.WARNING):
        assert read_image(path).shape == (2, 4, 3)
    assert image_size_hw(path) == (2, 4)
    assert len(caplog.records) == num_warnings


def test_broken_files_give_one_clear_error(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (tmp_path / "text.jpg").write_text("no image at all")
    (tmp_path / "empty.png").touch()
    for name, reason in {"cut.jpg": "truncated", "text.jpg": "not an image", "empty.png": "empty"}.items():
        with pytest.raises(UnreadableImageError, match=rf"{name} cannot be read \(.*{reason}"):
            read_image(tmp_path / name)
    with pytest.raises(InputFileNotFoundError, match="gone"):
        read_image(tmp_path / "gone.jpg")


def test_find_images_is_sorted_recursive_and_knows_suffixes(tmp_path):
    names = ["b.JPG", "a.png", "sub/c.webp", "sub/d.tiff", "e.jpeg"]
    for name in [*names, "notes.txt", "._a.png", ".cache/x.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(tmp_path) == sorted(tmp_path / name for name in names)


def test_find_images_says_what_is_there_instead(tmp_path):
    with pytest.raises(InputError, match="it is empty"):
        find_images(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.HEIC").touch()
    with pytest.raises(InputError, match=r"no readable images .*found 3 \.heic: convert"):
        find_images(tmp_path)
    with pytest.raises(InputFileNotFoundError, match="not a folder"):
        find_images(tmp_path / "gone")


def test_resize_squashes_to_a_square():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 4:] = 255
    resized = resize_for_model(image, 16)
    assert resized.shape == (16, 16, 3) and resized.dtype == np.uint8
    assert (resized[:, :4] == 0).all() and (resized[:, 12:] == 255).all()


def test_size_mismatch_recognises_swapped_sides():
    assert describe_size_mismatch([4, 6], "RLE size", (4, 6), "a.jpg") is None
    assert "[2, 3] but a.jpg is 6x4 (height, width = 4, 6)" in describe_size_mismatch(
        [2, 3], "RLE size", (4, 6), "a.jpg"
    )
    assert "swapped" in describe_size_mismatch([6, 4], "RLE size", (4, 6), "a.jpg")
