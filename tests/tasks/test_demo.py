from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.benchmarks import demo as benchmark_module

COLORS = {1: (255, 0, 0), 2: (0, 0, 255)}
BOX_XYWH = (20, 20, 60, 50)


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six training pictures and three test pictures, each with one object of boat or bird."""
    folder = tmp_path / "bundled/benchmark"
    (folder / "annotations").mkdir(parents=True)
    for split, count in (("train", 6), ("test", 3)):
        (folder / split).mkdir()
        images, annotations = [], []
        for image_id in range(1, count + 1):
            x, y, w, h = BOX_XYWH
            category_id = 1 + image_id % 2
            pixels = np.full((100, 120, 3), 60 + image_id, np.uint8)
            pixels[y : y + h, x : x + w] = COLORS[category_id]
            Image.fromarray(pixels).save(folder / split / f"{image_id}.jpg", quality=95)
            images.append({"id": image_id, "file_name": f"{image_id}.jpg", "height": 100, "width": 120})
            annotations.append(
                {
                    "id": image_id,
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": list(BOX_XYWH),
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
        dataset: dict[str, Any] = {"images": images, "annotations": annotations}
        dataset["categories"] = [{"id": 1, "name": "boat"}, {"id": 2, "name": "bird"}]
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(dataset))
    monkeypatch.setattr(benchmark_module, "demo_data_folder", lambda: folder.parent)
    return folder


def test_table_pictures_and_numbers(nttt, benchmark: Path, workplace: Path, segmenters, capsys) -> None:
    assert nttt("demo --shots 2 --seed 5") == 0
    output = capsys.readouterr().out
    assert output.startswith("cpu: dinov2_demo + sam2_demo, point_grid, 3 images")
    assert "4 references: boat 2, bird 2" in output
    assert "AP in per cent over 3 images with 3 objects" in output
    assert "nttt_demo/sheet.jpg" in output.splitlines()[-1]
    out = workplace / "nttt_demo"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["box"]["nAP50"] == metrics["mask"]["nAP50"] == pytest.approx(100)
    assert set(metrics["per_category"]) == {"boat", "bird"}
    references = json.loads((out / "references.json").read_text())
    assert len(references["annotations"]) == 4
    run = json.loads((out / "run.json").read_text())
    assert (run["shots"], run["seed"], run["status"]) == (2, 5, "finished")
    assert Image.open(out / "sheet.jpg").width > 1000
    assert segmenters[0].config.encoder.name == "dinov2_demo"


def test_another_draw_does_not_continue_the_folder(nttt, benchmark: Path, capsys) -> None:
    assert nttt("demo --shots 1 --limit 2") == 0
    assert "over 2 images with 2 objects" in capsys.readouterr().out
    assert nttt("demo --shots 1") == 0
    assert "holds 2 of 3 images" in capsys.readouterr().out
    assert nttt("demo --shots 2") == 1
    assert "different references" in capsys.readouterr().err
    assert nttt("demo --shots 7 --overwrite") == 1
    assert "Ask for fewer" in capsys.readouterr().err


def test_another_preset_is_taken(nttt, benchmark: Path, segmenters) -> None:
    assert nttt("demo --shots 1 --preset fast") == 0
    assert segmenters[0].config.encoder.name == "dinov2_small"
