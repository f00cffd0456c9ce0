from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import no_time_to_train as ntt
from no_time_to_train.errors import InputError
from no_time_to_train.ops.brush_rle import decode_brush, encode_brush
from no_time_to_train.ops.rle import decode_rle
from no_time_to_train.ops.row_rle import decode_rows, encode_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg")
    return tmp_path


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def only(path: Path) -> tuple[str, tuple, np.ndarray | None]:
    [item] = ntt.load_references(path).instances
    return item.category.name, item.box_xyxy, None if item.mask is None else decode_rle(item.mask)


def labelme(*shapes: dict, **extra: object) -> dict:
    return {"imagePath": "..\\pics\\a.jpg", "imageHeight": 40, "imageWidth": 60, "shapes": list(shapes)} | extra


def task(*results: dict, address: str = "/data/upload/3/0a1b2c3d-a.jpg", key: str = "annotations") -> list:
    size = {"original_width": 60, "original_height": 40}
    return [{"id": 5, "data": {"image": address}, key: [{"result": [size | result for result in results]}]}]


def brush(mask: np.ndarray) -> dict:
    return {"type": "brushlabels", "value": {"rle": encode_brush(mask), "brushlabels": ["boat"]}}


def test_yolo_boxes(folder: Path) -> None:
    write(folder / "classes.txt", "bird\nboat\n")
    write(folder / "a.txt", "1 0.5 0.5 0.5 0.25\n\n")
    assert only(folder) == ("boat", (15, 15, 45, 25), None)


def test_yolo_faults_are_counted(folder: Path) -> None:
    write(folder / "data.yaml", "train: .\nnames: [bird, boat]\n")
    write(folder / "a.txt", "7 0.5 0.5 0.5 0.25\n1 0.5 0.5\nx y\n")
    with pytest.raises(InputError, match="a YOLO data set, but has 1 lines with a category that is not among the 2"):
        ntt.load_references(folder)


def test_labelme_shapes(folder: Path, caplog) -> None:
    crop = io.BytesIO()
    Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8)).save(crop, format="PNG")
    shapes = [
        {"label": "boat", "points": [[30, 20], [10, 5]], "shape_type": "rectangle"},
        {
            "label": "bird",
            "points": [[4, 6], [5, 7]],
            "shape_type": "mask",
            "mask": base64.b64encode(crop.getvalue()).decode(),
        },
        {"label": "sun", "points": [[30, 20], [30, 25]], "shape_type": "circle"},
        {"label": "sun", "points": [[30, 20]], "shape_type": "point"},
    ]
    write(folder / "a.json", labelme(*shapes))
    with caplog.at_level(logging.WARNING):
        references = ntt.load_references(folder)
    assert "left out shapes of kind point (1)" in caplog.text
    bird, boat, sun = sorted(references.instances, key=lambda item: item.category.name)
    assert boat.box_xyxy == (10, 5, 30, 20) and boat.mask is None
    assert bird.box_xyxy == (4, 6, 6, 8) and decode_rle(bird.mask).sum() == 3
    assert decode_rle(sun.mask).sum() == pytest.approx(np.pi * 25, rel=0.03)


def test_labelme_of_another_size(folder: Path) -> None:
    write(folder / "a.json", labelme({"label": "b", "points": [[0, 0], [9, 9], [0, 9]]}, imageWidth=61))
    with pytest.raises(InputError, match="LabelMe files, but has 1 files of another size than their image"):
        ntt.load_references(folder)


def test_label_studio_regions(folder: Path) -> None:
    value = {"x": 50, "y": 50, "width": 25, "height": 25, "rectanglelabels": ["boat"]}
    upright = {"type": "rectanglelabels", "value": value | {"rotation": 0}}
    assert only(write(folder / "x.json", task(upright))) == ("boat", (30, 20, 45, 30), None)
    name, _, mask = only(write(folder / "x.json", task({"type": "rectanglelabels", "value": value | {"rotation": 90}})))
    assert np.array_equal(mask, rectangle(20, 20, 30, 35))
    corners = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["boat"]}
    _, _, mask = only(write(folder / "x.json", task({"type": "polygonlabels", "value": corners}, key="predictions")))
    assert np.array_equal(mask, rectangle(0, 0, 30, 20))
    mask = rectangle(3, 4, 20, 30)
    found = only(write(folder / "x.json", task(brush(mask), address="/data/local-files/?d=here/a.jpg")))
    assert np.array_equal(found[2], mask)


def test_a_brush_of_another_size_is_refused(folder: Path) -> None:
    path = write(folder / "x.json", task(brush(np.ones((20, 30), bool))))
    with pytest.raises(InputError, match=r"task 5, region .*: the brush mask has 600 pixels, but its image of 60x40"):
        ntt.load_references(path)
    path = write(folder / "x.json", task(brush(rectangle(0, 0, 9, 9)) | {"original_width": 30, "original_height": 20}))
    with pytest.raises(InputError, match="regions drawn on an image of another size"):
        ntt.load_references(path)


def test_a_damaged_brush_is_refused(folder: Path) -> None:
    region = brush(rectangle(3, 4, 20, 30))
    region["value"]["rle"] = region["value"]["rle"][:20]
    with pytest.raises(InputError, match="ends too early"):
        ntt.load_references(write(folder / "x.json", task(region)))


def test_cvat_elements(folder: Path) -> None:
    template = (
        "<annotations><version>1.1</version><meta><task><labels><label><name>bird</name></label>"
        "<label><name>boat</name></label></labels></task></meta>"
        '<image id="0" name="a.jpg" width="{}" height="40">{}</image></annotations>'
    )
    box = '<box label="boat" xtl="10" ytl="5" xbr="30.5" ybr="20" {}/>'
    path = folder / "annotations.xml"
    assert only(write(path, template.format(60, box.format("")))) == ("boat", (10, 5, 30.5, 20), None)
    assert only(write(path, template.format(60, box.format('rotation="180"'))))[2].sum() == pytest.approx(
        15 * 20.5, 0.05
    )
    assert [c.name for c in ntt.load_references(folder).categories] == ["bird", "boat"]
    with pytest.raises(InputError, match="images of another size than the file says"):
        ntt.load_references(write(path, template.format(61, box.format(""))))
    mask = '<mask label="boat" rle="1, 2" left="59" top="0" width="1" height="4"/>'
    with pytest.raises(InputError, match="must add up to 4, got 3"):
        ntt.load_references(write(path, template.format(60, mask)))
    with pytest.raises(InputError, match="XML of a video"):
        ntt.load_references(write(path, "<annotations><track/></annotations>"))


def test_voc_boxes_and_difficult_objects(folder: Path, caplog) -> None:
    thing = (
        "<object><name>boat</name><difficult>{}</difficult>"
        "<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object>"
    )
    text = "<annotation><size><width>60</width><height>40</height></size>{}</annotation>"
    write(folder / "a.xml", text.format(thing.format(0) + thing.format(1)))
    with caplog.at_level(logging.WARNING):
        assert only(folder) == ("boat", (10, 5, 30, 20), None)
    assert "left out objects marked difficult (1)" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("x.json", '[{"data": {"image"', "not valid JSON .*Export it again"),
        ("x.xml", "<annotations><image", "not valid XML"),
        ("x.json", {"classes": [], "regions": {}}, r"in no known format \(it has classes, regions\). Known: COCO"),
        ("x.json", [{"annotator": 1, "image": "a.jpg"}], "JSON-MIN"),
        ("x.zip", "PK", "is an archive. Unpack it"),
        ("data.yaml", "names: [", "not valid YAML"),
        ("data.yaml", "names: boat", "has no names: of categories"),
    ],
)
def test_bad_files_are_one_clear_message(folder: Path, name: str, content: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        ntt.load_references(write(folder / name, content))


def test_label_studios_coco_export(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "a.jpg").rename(folder / "images" / "0a1b2c3d-a.jpg")
    name = r"..\..\label-studio\label-studio\media\upload\1\0a1b2c3d-a.jpg"
    content = {
        "images": [{"id": 0, "file_name": name, "width": 60, "height": 40}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "segmentation": [], "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 0, "name": "boat"}],
    }
    write(folder / "result.json", content)
    assert only(folder) == ("boat", (1, 2, 4, 6), None)


def test_brush_run_lengths() -> None:
    rng = np.random.default_rng(0)
    for mask in (rng.random((17, 23)) < 0.5, np.zeros((300, 200), bool), np.ones((5, 7), bool)):
        assert np.array_equal(decode_brush(encode_brush(mask), mask.shape), mask)
        assert np.array_equal(decode_rows(encode_rows(mask), mask.shape), mask)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.txt", b"nan 0.5 0.5 0.5 0.5", "1 lines that are no numbers"),
        ("a.txt", b"0 0.5 inf 0.5 0.5", "1 lines that are no numbers"),
        ("data.yaml", b"names: [caf\xe9]", "data.yaml is not UTF-8 text"),
        ("data.yaml", b"names: {1000000000: boat}", "data.yaml was read as a YOLO data set, but has no names"),
        ("data.yaml", b"names: " + b"[" * 5000, "data.yaml is not valid YAML"),
    ],
)
def test_damaged_yolo_files(folder: Path, file: str, content: bytes, message: str) -> None:
    write(folder / "data.yaml", "names: [boat]")
    write(folder / "a.txt", "0 0.5 0.5 0.5 0.25")
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        ntt.load_references(folder / "data.yaml")


def test_numbers_too_large_for_any_image_are_damages(folder: Path) -> None:
    shape = {"label": "boat", "shape_type": "rectangle", "points": [[10**400, 1], [30, 20]]}
    write(folder / "a.json", labelme(shape))
    with pytest.raises(InputError, match="1 damaged shapes"):
        ntt.load_references(folder)
    (folder / "a.json").unlink()
    value = {"x": 10**400, "y": 1, "width": 3, "height": 4, "rectanglelabels": ["boat"]}
    with pytest.raises(InputError, match="1 damaged regions"):
        ntt.load_references(write(folder / "tasks.json", task({"type": "rectanglelabels", "value": value})))
