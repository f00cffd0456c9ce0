from __future__ import annotations

from PIL import Image

from no_time_to_train.data.image_checks import image_fault
from tests.benchmarks.datasets_on_disk import HEIGHT, WIDTH, write_image


def test_faults(tmp_path) -> None:
    path = tmp_path / "a.png"
    assert "no such image file" in image_fault(path, (HEIGHT, WIDTH))
    write_image(path)
    assert image_fault(path, (HEIGHT, WIDTH)) is None
    assert "swapped" in image_fault(path, (WIDTH, HEIGHT))
    Image.new("F", (WIDTH, HEIGHT)).save(tmp_path / "floats.tif")
    assert "32-bit float pixels" in image_fault(tmp_path / "floats.tif", (HEIGHT, WIDTH))
    path.write_bytes(path.read_bytes()[:-30])
    assert "a.png cannot be read (truncated" in image_fault(path, (HEIGHT, WIDTH))
    path.write_bytes(b"")
    assert "the file is empty" in image_fault(path, (HEIGHT, WIDTH))
