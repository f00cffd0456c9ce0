"""The examples of every public name are run, in a folder that has the files that they name.

Thresholds are measured once: several examples begin with it, and it takes long.
"""

from __future__ import annotations

import doctest
import inspect
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import no_time_to_train as ntt
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.settings.composing import Composer
from no_time_to_train.tasks import check_references, memory_building
from no_time_to_train.tasks.memory_building import measure_thresholds

BENCHMARK = demo_data_folder() / "benchmark"
NUM_CATEGORIES, NUM_SHOTS, NUM_PHOTOS = 2, 2, 2


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``references.json`` with ``images/``; ``photos/`` with ``ground_truth.json`` and perfect ``predictions.json``."""
    folder: Path = tmp_path_factory.mktemp("examples")
    train = _content("train")
    categories = [category["id"] for category in train["categories"][:NUM_CATEGORIES]]
    chosen = [
        annotation
        for category_id in categories
        for annotation in [a for a in train["annotations"] if a["category_id"] == category_id][:NUM_SHOTS]
    ]
    _write(folder / "references.json", train, chosen, folder / "images", "train")
    test = _content("test")
    photos = {image["id"] for image in test["images"][:NUM_PHOTOS]}
    objects = [annotation for annotation in test["annotations"] if annotation["image_id"] in photos]
    _write(folder / "ground_truth.json", test, objects, folder / "photos", "test")
    predictions = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9} for a in objects
    ]
    (folder / "predictions.json").write_text(json.dumps(predictions))
    shutil.copy(sorted((folder / "photos").iterdir())[0], folder / "photo.jpg")
    ntt.fit(
        folder / "references.json",
        out=folder / "memory.safetensors",
        overrides=["preset=demo", "output.threshold_images=0"],
    )
    return folder


@pytest.fixture(scope="module", autouse=True)
def thresholds_measured_once() -> Iterator[None]:
    """Measure the thresholds of ``references.json`` in the first example that asks for them only."""
    measured: list[MinScores | None] = []

    def measure(*arguments: Any) -> MinScores | None:
        if not measured:
            measured.append(measure_thresholds(*arguments))
        return measured[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_building, "measure_thresholds", measure)
        patch.setattr(check_references, "measure_thresholds", measure)
        yield


def _content(split: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((BENCHMARK / "annotations" / f"{split}.json").read_text())
    return content


def _write(file: Path, content: dict[str, Any], annotations: list[dict[str, Any]], images: Path, split: str) -> None:
    """Write a part of a data set with its images."""
    image_ids = {annotation["image_id"] for annotation in annotations}
    category_ids = {annotation["category_id"] for annotation in annotations}
    part = {
        "images": [image for image in content["images"] if image["id"] in image_ids],
        "annotations": annotations,
        "categories": [category for category in content["categories"] if category["id"] in category_ids],
    }
    file.write_text(json.dumps(part))
    images.mkdir()
    for image in part["images"]:
        shutil.copy(BENCHMARK / split / image["file_name"], images)


PUBLIC = [name for name in ntt.__all__ if not name.startswith("_")]


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_run(name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    text = inspect.getdoc(getattr(ntt, name)) or ""
    example = doctest.DocTestParser().get_doctest(text, {"ntt": ntt, "np": np}, name, None, None)
    assert example.examples, f"{name} has no example in its docstring"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    messages: list[str] = []
    runner.run(example, out=messages.append)
    assert not runner.failures, "".join(messages)


@pytest.mark.parametrize("name", PUBLIC)
def test_first_lines_are_short(name: str) -> None:
    first = (inspect.getdoc(getattr(ntt, name)) or "").splitlines()[0]
    assert first.endswith(".") and len(first.split()) <= 16, first


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ntt.fit("refs.json", segmenter=3), "segmenter must be a Segmenter, as ntt.load_segmenter makes it"),
        (lambda: ntt.check_references("refs.json", segmenter="x"), "segmenter must be a Segmenter"),
        (lambda: list(ntt.segment_video(3, [], "memory.safetensors")), "segmenter must be a Segmenter"),
        (lambda: ntt.build_segmenter(3), "config must be a Config, as ntt.compose_config makes it, got int"),
        (lambda: ntt.fit("refs.json", on_progress=3), "on_progress must be a function, got int"),
        (lambda: ntt.check_references("refs.json", on_progress=3), "on_progress must be a function"),
        (lambda: ntt.compare_proposals(on_progress=3), "on_progress must be a function"),
        (lambda: ntt.prepare_data("coco", on_progress=3), "on_progress must be a function"),
        (lambda: ntt.verify_data("coco", on_progress=3), "on_progress must be a function"),
    ],
)
def test_objects_of_another_kind_are_refused_first(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ntt.InputError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda **named: ntt.label_folder("photos", references="references.json", **named),
        lambda **named: ntt.propose_folder("photos", **named),
        lambda **named: ntt.track_video("photos", references="references.json", **named),
        lambda **named: ntt.fit("references.json", **named),
        lambda **named: ntt.check_references("references.json", **named),
        lambda **named: ntt.compare_proposals(**named),
        lambda overrides, **named: ntt.load_segmenter(*overrides, **named),
    ],
)
def test_every_function_takes_preset_and_device_like_the_command_line(
    call: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compose(composer: Composer, overrides: Sequence[str], shared: Sequence[str] = ()) -> None:
        raise ntt.InputError(" ".join([*shared, *overrides]))

    monkeypatch.setattr(Composer, "compose", compose)
    with pytest.raises(ntt.InputError, match=r"preset=fast device=cpu merging=hard$"):
        call(preset="fast", device="cpu", overrides=["merging=hard"])


def test_settings_beside_a_loaded_segmenter_are_refused() -> None:
    segmenter = object.__new__(ntt.Segmenter)
    for function in (ntt.fit, ntt.check_references):
        with pytest.raises(ntt.InputError, match="so preset=fast merging=hard beside it would change nothing"):
            function("references.json", segmenter=segmenter, preset="fast", overrides=["merging=hard"])
