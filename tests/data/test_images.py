import io

import numpy as np
import pytest
import torch
from PIL import Image, features

from no_time_to_train.data import images
from no_time_to_train.data.images import (
    UnreadableImageError,
    all_as_pixels,
    as_pixels,
    describe_size_mismatch,
    exif_orientation,
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


def test_transparent_palette_color_becomes_black(tmp_path):
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


CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [0, 255, 255], [255, 0, 255]]], np.uint8)
"""As it is to be seen: red, green, blue over yellow, cyan, magenta."""

STORED = {
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.transpose(1, 0, 2),
    6: np.rot90(CORNERS, 1),
    7: CORNERS.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90(CORNERS, -1),
}
"""How a camera that writes this EXIF orientation stores it."""


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_images_are_turned_upright_from_every_orientation(tmp_path, orientation, suffix):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(stored, tmp_path / f"a{suffix}", exif=turned(orientation), **options)
    np.testing.assert_array_equal(read_image(path), CORNERS)
    assert image_size_hw(path) == (2, 3) and exif_orientation(path) == orientation
    np.testing.assert_array_equal(read_image(path, upright=False), STORED[orientation])
    assert image_size_hw(path, upright=False) == STORED[orientation].shape[:2]


@pytest.mark.parametrize("orientation", STORED)
def test_tiff_is_turned_once(tmp_path, orientation):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    path = save(stored, tmp_path / "a.tif", exif=turned(orientation))
    np.testing.assert_array_equal(read_image(path), CORNERS)
    assert image_size_hw(path) == (2, 3)


def test_heic_is_left_to_its_decoder(tmp_path):
    """The container has a rotation of its own, which the decoder applies; EXIF's is a copy of it."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    large = CORNERS.repeat(32, 0).repeat(32, 1)
    path = save(Image.fromarray(large), tmp_path / "a.heic", exif=turned(6), quality=100)
    pixels = read_image(path)
    assert pixels.shape[:2] == image_size_hw(path) == (64, 96)
    np.testing.assert_allclose(pixels[16::32, 16::32].astype(int), CORNERS, atol=40)


@pytest.mark.parametrize("orientation", STORED)
def test_heic_of_phones_is_turned_once(tmp_path, orientation):
    """Phones turn and mirror by the container's ``irot`` and ``imir``, and repeat it in EXIF."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    file = pillow_heif.from_pillow(
        Image.fromarray(np.ascontiguousarray(STORED[orientation].repeat(32, 0).repeat(32, 1)))
    )
    file.info["exif"] = turned(orientation).tobytes()
    path = tmp_path / "a.heic"
    file.save(path, quality=100)
    content = path.read_bytes()
    assert (b"irot" in content, b"imir" in content) == (orientation in (3, 5, 6, 7, 8), orientation in (2, 4, 5, 7))
    for upright in (True, False):  # no decoder gives the stored pixels
        pixels = read_image(path, upright=upright)
        assert pixels.shape[:2] == image_size_hw(path) == (64, 96) and exif_orientation(path) == 1
        np.testing.assert_allclose(pixels[16::32, 16::32].astype(int), CORNERS, atol=40)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
@pytest.mark.parametrize("orientation", STORED)
def test_avif_is_turned_once(tmp_path, orientation):
    large = np.ascontiguousarray(STORED[orientation].repeat(32, 0).repeat(32, 1))
    path = save(Image.fromarray(large), tmp_path / "a.avif", exif=turned(orientation), quality=95)
    pixels = read_image(path)
    assert pixels.shape[:2] == image_size_hw(path) == (64, 96)
    np.testing.assert_allclose(pixels[16::32, 16::32].astype(int), CORNERS, atol=40)


@pytest.mark.parametrize("orientation", [0, 9])
def test_orientations_without_meaning_change_nothing(tmp_path, orientation):
    path = save(Image.fromarray(CORNERS), tmp_path / "a.png", exif=turned(orientation))
    np.testing.assert_array_equal(read_image(path), CORNERS)
    assert exif_orientation(path) == 1


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp"])
def test_of_several_images_the_first_is_read_and_that_is_said_once(tmp_path, caplog, suffix):
    images._say_first_of_several.cache_clear()
    first, second = Image.new("RGB", (3, 2), RED), Image.new("RGB", (3, 2), GRAY)
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(first, tmp_path / f"a{suffix}", save_all=True, append_images=[second], **options)
    for _ in range(2):
        assert (read_image(path) == RED).all()
    assert [record.getMessage() for record in caplog.records] == [
        f"Of {first_format(path)} files with several images (pages, frames) only the first is read."
    ]


def first_format(path) -> str:
    with Image.open(path) as image:
        return str(image.format)


def test_heic_without_its_package_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_registers_heic", lambda: False)
    path = tmp_path / "a.HEIC"
    path.write_bytes(b"anything")
    with pytest.raises(UnreadableImageError, match=r"\.heic needs a package more: pip install '\.\[heic\]'"):
        read_image(path)


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


def test_resize_squashes_to_a_square():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 4:] = 255
    resized = resize_for_model(image, 16)
    assert resized.shape == (16, 16, 3) and resized.dtype == np.uint8
    assert (resized[:, :4] == 0).all() and (resized[:, 12:] == 255).all()


def test_size_mismatch_recognizes_swapped_sides():
    assert describe_size_mismatch([4, 6], "RLE size", (4, 6), "a.jpg") is None
    assert "[2, 3] but a.jpg is 6x4 (height, width = 4, 6)" in describe_size_mismatch(
        [2, 3], "RLE size", (4, 6), "a.jpg"
    )
    assert "swapped" in describe_size_mismatch([6, 4], "RLE size", (4, 6), "a.jpg")


def test_what_is_plainly_an_image_becomes_rgb(tmp_path):
    rgb = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    gray = np.arange(20, dtype=np.uint8).reshape(4, 5)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    for given in (rgb, Image.fromarray(rgb), tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(as_pixels(given), rgb)
    for given in (gray, gray[..., None], Image.fromarray(gray)):
        assert np.array_equal(as_pixels(given), np.stack([gray] * 3, axis=2))
    assert np.array_equal(as_pixels(Image.fromarray(rgb).convert("RGBA")), rgb)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "got NoneType"),
        ([[1, 2], [3, 4]], r"got list. Use np.array\(image, np.uint8\)"),
        (torch.zeros(4, 5, 3, dtype=torch.uint8), r"got Tensor. Use image.cpu\(\).numpy\(\)"),
        (np.zeros((4, 5, 3)), r"got \(4, 5, 3\) float64. Values of 0..1 become uint8 by \(image \* 255\)"),
        (np.zeros((4, 5, 3), np.uint16), "16 bits become 8 by"),
        (np.zeros((3, 40, 50), np.uint8), r"image.transpose\(1, 2, 0\)"),
        (np.zeros((4, 5, 4), np.uint8), r"Use image\[..., :3\]"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"Use image\[0\]"),
        (np.zeros((0, 5, 3), np.uint8), "holds no pixels"),
        (np.zeros((4, 0), np.uint8), "holds no pixels"),
        (np.zeros(7, np.uint8), r"got \(7,\) uint8"),
        (np.zeros((4, 5, 3), object), "got .* object"),
        (np.zeros((4, 5, 2), np.uint8), r"got \(4, 5, 2\)"),
    ],
)
def test_what_is_no_image_says_how_to_mend_it(given, message):
    with pytest.raises(InputError, match=f"image must be .*{message}"):
        as_pixels(given)


@pytest.mark.parametrize("given", ["photo.jpg", np.zeros((4, 5, 3), np.uint8), None])
def test_several_images_are_a_list(given):
    with pytest.raises(InputError, match=r"images must be a list of images.* A single one is \[image\]"):
        all_as_pixels(given)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_strips_hold_every_pixel(tmp_path, monkeypatch, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 3), np.uint8)
    path = tmp_path / "a.tiff"
    Image.fromarray(pixels).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.array(image.convert("RGB"))
    monkeypatch.setattr(images, "_STRIP_PX", 50)
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="holds no pixels"):
        as_pixels(Image.new("RGB", size))
