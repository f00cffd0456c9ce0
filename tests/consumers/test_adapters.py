"""Other programs call the adapters by their own interfaces: ``pytest -m consumers``, each where it is installed.

What each program gets is compared with the annotations of ``label_folder``, on the demo models.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import no_time_to_train as ntt
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.ops.rle import decode_rle

pytestmark = pytest.mark.consumers

BENCHMARK = demo_data_folder() / "benchmark"
NAMES = ("0001.png", "0002.png", "0003.png")
MIN_SCORE = "0.3"

Objects = list[tuple[str, float, np.ndarray]]
"""Category, score and mask of the objects of an image, best first."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory file, three images, and what labeling their folder gives."""
    folder = tmp_path_factory.mktemp("adapters")
    train = json.loads((BENCHMARK / "annotations" / "train.json").read_text())
    train["annotations"] = train["annotations"][:12]
    (folder / "references.json").write_text(json.dumps(train))
    (folder / "photos").mkdir()
    for name in NAMES:  # other programs read JPEG with other decoders, whose pixels may differ by 1
        Image.open(BENCHMARK / "test" / name.replace("png", "jpg")).save(folder / "photos" / name)
    overrides = ["preset=demo", "device=cpu", "proposals.points_per_side=16", "output.threshold_images=0"]
    memory = ntt.fit(folder / "references.json", reference_images=BENCHMARK / "train", overrides=overrides)
    memory.save(folder / "shapes.safetensors")
    ntt.label_folder(folder / "photos", memory=folder / "shapes.safetensors", min_score=MIN_SCORE)
    return folder


@pytest.fixture(scope="module")
def expected(work: Path) -> dict[str, Objects]:
    """What labeling the folder found, by image."""
    content = json.loads((work / "photos_labeled" / "annotations.json").read_text())
    categories = {category["id"]: category["name"] for category in content["categories"]}
    names = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[str, Objects] = {name: [] for name in NAMES}
    for item in content["annotations"]:
        rle = item["segmentation"]
        mask = decode_rle({"size": rle["size"], "counts": rle["counts"].encode()})
        found[names[item["image_id"]]].append((categories[item["category_id"]], item["score"], mask))
    assert sum(map(len, found.values())) >= 5
    return found


def check_equal(found: Objects, expected: Objects) -> None:
    assert [name for name, _, _ in found] == [name for name, _, _ in expected]
    assert np.allclose([score for _, score, _ in found], [score for _, score, _ in expected])
    assert all(np.array_equal(mask, other) for (_, _, mask), (_, _, other) in zip(found, expected, strict=True))


class CvatServer:
    """Stands for the server in CVAT's own driver: gives a task out, takes its annotations."""

    def __init__(self, folder: Path, names: tuple[str, ...], shape: str) -> None:
        self.logger = SimpleNamespace(info=lambda *values: None)
        self.tasks = SimpleNamespace(api=self)
        self.shapes: list[Any] = []
        self._folder = folder
        self.labels = [
            SimpleNamespace(id=100 + number, name=name, type=shape, attributes=[], sublabels=[])
            for number, name in enumerate(names)
        ]

    @property
    def samples(self) -> list[Any]:
        return [
            SimpleNamespace(
                frame_name=name, frame_index=index, media=SimpleNamespace(load_image=self._loader(self._folder / name))
            )
            for index, name in enumerate(NAMES)
        ]

    def _loader(self, path: Path) -> Any:
        return lambda: Image.open(path)

    def partial_update_annotations(self, action: str, task_id: int, *, patched_labeled_data_request: Any) -> None:
        assert action == "create"
        self.shapes = list(patched_labeled_data_request.shapes)


@pytest.fixture
def annotate(work: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run CVAT's driver with the function that its command line would load."""
    pytest.importorskip("cvat_sdk")
    from cvat_cli._internal.common import FunctionLoader
    from cvat_sdk.auto_annotation import driver

    parameters = {"memory": str(work / "shapes.safetensors"), "min_score": MIN_SCORE, "device": "cpu"}
    function = FunctionLoader("no_time_to_train.adapters.cvat", None, parameters).load()

    def run(shape: str, names: tuple[str, ...] | None = None, **options: Any) -> CvatServer:
        own = tuple(label.name for label in function.spec.labels)
        server = CvatServer(work / "photos", names or own, shape)
        monkeypatch.setattr(driver, "TaskDataset", lambda client, task_id, load_annotations: server)
        driver.annotate_task(server, 1, function, **options)
        return server

    return run


def test_cvat_gets_equal_masks(annotate: Any, expected: dict[str, Objects], work: Path) -> None:
    from cvat_sdk.masks import decode_mask

    server = annotate("mask")
    names = {label.id: label.name for label in server.labels}
    for index, file_name in enumerate(NAMES):
        width, height = Image.open(work / "photos" / file_name).size
        shapes = [shape for shape in server.shapes if shape.frame == index]
        masks = [decode_mask(shape.points, image_width=width, image_height=height) for shape in shapes]
        found = [(names[shape.label_id], 0.0, mask) for shape, mask in zip(shapes, masks, strict=True)]
        check_equal(found, [(name, 0.0, mask) for name, _, mask in expected[file_name]])


def test_cvat_gets_polygons_where_it_asks_for_them(annotate: Any, expected: dict[str, Objects]) -> None:
    from pycocotools import mask as coco_mask

    shapes = annotate("polygon", conv_mask_to_poly=True).shapes
    assert {shape.type.value for shape in shapes} == {"polygon"}
    masks = [mask for name in NAMES for _, _, mask in expected[name]]
    for shape, mask in zip(shapes, masks, strict=True):
        [drawn] = coco_mask.frPyObjects([list(shape.points)], *mask.shape)
        assert np.array_equal(decode_rle(drawn), mask)


def test_cvat_gives_a_threshold_and_fewer_labels(annotate: Any, expected: dict[str, Objects]) -> None:
    everything = [entry for objects in expected.values() for entry in objects]
    lowest = float(np.median([score for _, score, _ in everything]))
    name = max(everything, key=lambda entry: entry[1])[0]
    server = annotate("mask", (name,), conf_threshold=lowest, allow_unmatched_labels=True)
    assert len(server.shapes) == sum(other == name and score >= lowest for other, score, _ in everything) > 0


def test_fiftyone_adds_equal_masks(work: Path, expected: dict[str, Objects]) -> None:
    fiftyone = pytest.importorskip("fiftyone")
    from fiftyone.utils.image import read

    from no_time_to_train.adapters.fiftyone import FiftyOneModel

    with FiftyOneModel(work / "shapes.safetensors", min_score=MIN_SCORE, device="cpu") as model:
        assert isinstance(model, fiftyone.core.models.Model)
        assert (model.media_type, model.transforms, model.has_embeddings) == ("image", None, False)
        for name in NAMES:  # as apply_model does; a dataset would need a running MongoDB
            sample = fiftyone.Sample(filepath=str(work / "photos" / name))
            labels = model.predict(read(sample.filepath))
            sample.add_labels(labels, label_field="ours")
            height, width = expected[name][0][2].shape
            found = [
                (item.label, item.confidence, item.to_segmentation(frame_size=(width, height)).mask > 0)
                for item in sample.ours.detections
            ]
            check_equal(found, expected[name])


@pytest.fixture
def autodistill(work: Path) -> Any:
    pytest.importorskip("autodistill")
    from no_time_to_train.adapters import autodistill as adapter

    return adapter


def test_autodistill_gets_equal_masks_of_files_arrays_and_images(
    autodistill: Any, work: Path, expected: dict[str, Objects]
) -> None:
    import cv2
    from autodistill.detection import DetectionBaseModel

    model = autodistill.MemoryModel(work / "shapes.safetensors", min_score=MIN_SCORE, device="cpu")
    assert isinstance(model, DetectionBaseModel)
    path = str(work / "photos" / NAMES[0])
    for image in (path, cv2.imread(path), Image.open(path)):
        found = model.predict(image)
        names = [model.ontology.classes()[number] for number in found.class_id]
        check_equal(list(zip(names, found.confidence, found.mask, strict=True)), expected[NAMES[0]])


def test_autodistill_labels_a_folder_by_an_ontology(
    autodistill: Any, work: Path, expected: dict[str, Objects], tmp_path: Path
) -> None:
    from autodistill.detection import CaptionOntology

    name = expected[NAMES[0]][0][0]
    ontology = CaptionOntology({name: "thing"})
    model = autodistill.MemoryModel(work / "shapes.safetensors", ontology, min_score=MIN_SCORE, device="cpu")
    dataset = model.label(str(work / "photos"), extension=".png", output_folder=str(tmp_path / "out"))
    assert dataset.classes == ["thing"] and len(dataset) == len(NAMES)
    for path, _, detections in dataset:
        assert len(detections) == sum(other == name for other, _, _ in expected[Path(path).name])
        assert set(detections.class_id) <= {0}
    assert "thing" in (tmp_path / "out" / "data.yaml").read_text()


def test_autodistill_is_told_of_an_unknown_category(autodistill: Any, work: Path) -> None:
    from autodistill.detection import CaptionOntology

    with pytest.raises(ntt.InputError, match="names 'boat'"):
        autodistill.MemoryModel(work / "shapes.safetensors", CaptionOntology({"boat": "boat"}), device="cpu")


def test_label_studio_accepts_our_predictions(work: Path, expected: dict[str, Objects]) -> None:
    pytest.importorskip("label_studio_sdk")
    from label_studio_sdk.converter.brush import decode_rle as decode_brush
    from label_studio_sdk.label_interface import LabelInterface
    from starlette.testclient import TestClient

    from no_time_to_train.adapters.label_studio import create_app
    from no_time_to_train.adapters.label_studio_images import TaskImages
    from no_time_to_train.adapters.memory_labeler import MemoryLabeler

    labeler = MemoryLabeler(work / "shapes.safetensors", min_score=MIN_SCORE, overrides=["device=cpu"])
    client = TestClient(create_app(labeler, TaskImages(folder=work)), base_url="http://localhost:9090")
    labels = "".join(f'<Label value="{category.name}"/>' for category in labeler.categories)
    tags = f'<BrushLabels name="kind" toName="photo">{labels}</BrushLabels>'
    config = f'<View><Image name="photo" value="$file"/>{tags}</View>'
    tasks = [
        {"id": number, "data": {"file": f"/data/local-files/?d=photos/{name}"}} for number, name in enumerate(NAMES)
    ]
    answer = client.post("/predict", json={"tasks": tasks, "label_config": config}).json()
    interface = LabelInterface(config)
    for name, [prediction] in zip(NAMES, answer["results"], strict=True):
        assert interface.validate_prediction(prediction)
        found = []
        for result in prediction["result"]:
            height, width = result["original_height"], result["original_width"]
            pixels = decode_brush(result["value"]["rle"]).reshape(height, width, 4)[..., 3]
            found.append((result["value"]["brushlabels"][0], result["score"], pixels > 127))
        check_equal(found, expected[name])
