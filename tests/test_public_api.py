"""The examples of every public name are run."""

from __future__ import annotations

import doctest
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import no_time_to_train as ntt
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.outputs.coco_json import write_result_entries

WITHOUT_EXAMPLE_YET = {"Config"}


@pytest.fixture(scope="session")
def segmenter() -> ntt.Segmenter:
    """The demo models, loaded once for all examples."""
    return ntt.load_segmenter(preset="demo", device="cpu")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``annotations.json`` of two categories and its images, and ``results.json`` that finds all."""
    source = demo_data_folder() / "benchmark"
    folder: Path = tmp_path_factory.mktemp("demo")
    content = json.loads((source / "annotations" / "train.json").read_text())
    return folder
