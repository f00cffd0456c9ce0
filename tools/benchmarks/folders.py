"""Time and memory of ``nttt label`` over a folder of many images, and for very large ones (demo models)."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tools.benchmarks.tables import print_row, start_table

DEMO = Path(__file__).parents[2] / "data/demo/benchmark"
MODELS = ("--preset", "demo", "--device", "cpu", "proposals.points_per_side=8")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000, help="of the folder of many (2000)")
    parser.add_argument("--megapixels", type=int, nargs="*", default=[1, 24, 100], help="of single images (1 24 100)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), options.images, options.megapixels)


def _measure(folder: Path, num_images: int, megapixels: list[int]) -> None:
    scenes = sorted((DEMO / "test").iterdir())
    memory = folder / "memory.safetensors"
    few = ("--classes", "teal_gear,dotted_flower")
    _run(
        "fit",
        str(DEMO / "annotations/train.json"),
        "--ref-images",
        str(DEMO / "train"),
        *few,
        "-o",
        str(memory),
        *MODELS,
    )
    start_table("One image", "megapixels", "seconds", "CPU s", "peak MB")
    for size in megapixels:
        side = round((size * 1e6) ** 0.5)
        large = folder / f"{size}"
        large.mkdir()
        with Image.open(scenes[0]) as image:
            image.convert("RGB").resize((side, side)).save(large / "a.jpg")
        cost = _label(large, memory, "0.3")
        print_row(size, f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}", f"{cost.megabytes:.0f}")
    many = folder / "many"
    many.mkdir()
    for number in range(num_images):
        os.link(_copied(scenes[number % len(scenes)], folder), many / f"{number:05d}.jpg")
    start_table(f"{num_images} images", "what", "seconds", "CPU s", "CPU ms per image", "peak MB")
    for what, min_score in (("labeled", "0.3"), ("nothing to do", "0.3"), ("another lowest score", "0.4")):
        cost = _label(many, memory, min_score)
        per_image = f"{cost.cpu_seconds / num_images * 1000:.1f}"
        print_row(what, f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}", per_image, f"{cost.megabytes:.0f}")


def _copied(scene: Path, folder: Path) -> Path:
    """Return a copy beside the folders, which can be linked to."""
    copy = folder / "scenes" / scene.name
    if not copy.is_file():
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(scene.read_bytes())
    return copy


@dataclass(frozen=True)
class Cost:
    """Of a command: by the clock, of all threads, and at most in memory."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def _label(images: Path, memory: Path, min_score: str) -> Cost:
    return _run("label", str(images), "--memory", str(memory), "--min-score", min_score, *MODELS)


def _run(*arguments: str) -> Cost:
    """Run a command to its end."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "no_time_to_train", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, kilobytes / 1024)


if __name__ == "__main__":
    main()
