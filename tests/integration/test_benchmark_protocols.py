"""Every protocol from its files on disk to its number, with the bundled models on miniature data sets."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from no_time_to_train.benchmarks.coco_fsod import NOVEL_CATEGORIES
from no_time_to_train.commands import main
from tests.benchmarks.datasets_on_disk import (
    BOX_XYWH,
    released_objects,
    write_cd_fsod,
    write_coco_2017,
    write_lvis,
    write_pascal_voc,
)

PROTOCOLS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "coco_fsod shots=2": (write_coco_2017, ()),
    "coco_20i fold=0 shots=1": (write_coco_2017, ("miou", "fb_iou")),
    "pascal_voc split=1 shots=2": (write_pascal_voc, ()),
    "pascal_voc split=1 shots=1 evaluator.name=voc": (write_pascal_voc, ("voc_ap50_11pt", "voc_ap50_coco")),
    "cd_fsod domain=uodd shots=5": (lambda root: write_cd_fsod(root, "uodd", released_objects("uodd", 5)), ()),
    "lvis subset=frequent shots=2": (write_lvis, ("lvis_box_AP",)),
}
"""Command line of a run, who writes its data, numbers that it ends with besides AP."""


def show_objects(root: Path) -> None:
    """A bright disc where every ordinary object is: something to be found."""
    x, y, width, height = BOX_XYWH
    for path in root.rglob("*.jpg"):
        image = Image.open(path).convert("RGB")
        ImageDraw.Draw(image).ellipse((x, y, x + width - 1, y + height - 1), (250, 200, 30))
        image.save(path)


@pytest.mark.slow
@pytest.mark.parametrize("line", PROTOCOLS)
def test_from_files_to_the_number(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if line.startswith("lvis") and importlib.util.find_spec("lvis") is None:
        pytest.skip("needs the lvis package")
    write, numbers = PROTOCOLS[line]
    show_objects(write(tmp_path))
    name, *settings = line.split()
    of_data = ("split", "domain", "fold", "subset", "shots")
    data = [f"root={tmp_path}", *(s for s in settings if s.split("=")[0] in of_data)]
    assert main(["data", "verify", name, *data]) == 0, capsys.readouterr().out

    small = ["preset=demo", "device=cpu", "proposals.points_per_side=6", f"runs={tmp_path / 'runs'}"]
    assert main(["bench", f"benchmark={name}", f"root={tmp_path}", *settings, *small]) == 0, capsys.readouterr().err

    [written] = (tmp_path / "runs").rglob("metrics.json")
    metrics = json.loads(written.read_text())
    assert 0 <= metrics["box"]["nAP"] <= 100
    for number in numbers:
        assert metrics[number] is None or 0 <= metrics[number] <= 100, number
    if name == "coco_fsod":
        truth = tmp_path / "coco/annotations/instances_val2017.json"
        assert metrics["box"]["nAP"] == pytest.approx(direct_ap(truth, written.with_name("predictions.json")))


def direct_ap(truth: Path, predictions: Path) -> float:
    """Box AP in per cent over the novel categories, straight from pycocotools."""
    gt = COCO(str(truth))
    evaluation = COCOeval(gt, gt.loadRes(str(predictions)), "bbox")
    evaluation.params.catIds = gt.getCatIds(catNms=list(NOVEL_CATEGORIES))
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return 100 * float(evaluation.stats[0])
