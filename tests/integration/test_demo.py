"""The bundled models on the bundled benchmark, end to end, with the numbers they are expected to give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import no_time_to_train as ntt
from no_time_to_train import commands
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.models.native_code import find_compiler
from no_time_to_train.segmenter import Segmenter

BENCHMARK = demo_data_folder() / "benchmark"


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return ntt.load_segmenter(preset="demo", device="cpu")


def test_the_ten_lines_of_the_readme(segmenter: Segmenter, tmp_path: Path) -> None:
    references = ntt.load_references(BENCHMARK / "annotations" / "train.json", images=BENCHMARK / "train")
    few = ntt.ReferenceSet(references.categories, references.instances[:40])
    memory = segmenter.build_memory(few)
    memory.save(tmp_path / "shapes.safetensors")
    picture = sorted((BENCHMARK / "test").glob("*.jpg"))[0]
    detections = segmenter.segment(picture, ntt.MemoryBank.load(tmp_path / "shapes.safetensors"))
    confident = detections[detections.scores >= 0.35]
    image = ntt.read_image(picture)
    assert 0 < len(confident) < len(detections)
    assert confident.masks.shape == (len(confident), *image.shape[:2])
    assert ntt.draw_detections(image, confident).dtype == np.uint8
    # Every box is the tight half-open box of its mask.
    for mask, box in zip(confident.masks, confident.boxes_xyxy, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("decoder", [pytest.param("plain", marks=pytest.mark.slow), "compiled"])
def test_every_decoder_gives_the_same_detections(segmenter: Segmenter, decoder: str) -> None:
    if decoder == "compiled" and find_compiler() is None:
        pytest.skip("no C++ compiler")
    other = ntt.load_segmenter(f"mask_model.decoder={decoder}", preset="demo", device="cpu")
    references = ntt.load_references(BENCHMARK / "annotations" / "train.json", images=BENCHMARK / "train")
    memory = segmenter.build_memory(ntt.ReferenceSet(references.categories, references.instances[:20]))
    image = min((BENCHMARK / "test").glob("*.jpg"))
    fast, slow = segmenter.segment(image, memory), other.segment(image, memory)
    assert len(fast) == len(slow)
    np.testing.assert_allclose(fast.scores, slow.scores, atol=1e-3)
    assert (fast.category_ids == slow.category_ids).mean() > 0.95  # equal scores may change places
    assert (fast.masks == slow.masks).mean() > 0.995


def test_demo_writes_its_table_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert commands.main(["demo", "--out", str(out), "--limit", "6", "--shots", "3", "--seed", "0"]) == 0
    printed = capsys.readouterr().out
    assert "box nAP" in printed and "striped_star" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["num_images"] == 6
    # What these six images gave when the models were released, with room for another machine's rounding.
    assert metrics["box"]["nAP50"] > 60
    assert metrics["mask"]["nAP50"] > 60
    assert len(list((out / "overlays").glob("*.jpg"))) == 6
    assert Image.open(out / "sheet.jpg").width > 500
    assert (out / "index.html").is_file() and (out / "references.json").is_file()


@pytest.mark.slow
def test_demo_benchmark_numbers(tmp_path: Path) -> None:
    assert commands.main(["demo", "--out", str(tmp_path / "demo"), "--shots", "10", "--seed", "0"]) == 0
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert metrics["num_images"] == 80
    assert metrics["box"]["nAP"] > 45
    assert metrics["mask"]["nAP"] > 45


@pytest.mark.slow
def test_demo_and_bench_give_the_same_predictions(tmp_path: Path) -> None:
    drawing = ["--out", str(tmp_path / "demo"), "--shots", "2", "--seed", "5", "--limit", "3"]
    assert commands.main(["demo", *drawing, "--device", "cpu"]) == 0
    settings = ["preset=demo", "device=cpu", "shots=2", "seed=5", "limit=3", f"runs={tmp_path / 'runs'}"]
    assert commands.main(["bench", "benchmark=demo", *settings]) == 0
    [benched] = (tmp_path / "runs").glob("demo/*/shots=2/seed=5/predictions.json")
    assert benched.read_bytes() == (tmp_path / "demo/predictions.json").read_bytes()
