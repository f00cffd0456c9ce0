from __future__ import annotations

import json

import pytest

from no_time_to_train.data.lvis import read_lvis
from no_time_to_train.errors import InputError
from tests.benchmarks.datasets_on_disk import write_lvis


@pytest.fixture
def path(tmp_path):
    return write_lvis(tmp_path) / "lvis/lvis_v1_train.json"


def test_names_come_from_urls(path) -> None:
    dataset = read_lvis(path)
    assert [i.file_name for i in dataset.images] == [
        "train2017/000000000001.jpg",
        "train2017/000000000002.jpg",
        "val2017/000000000003.jpg",
    ]
    assert not any(a.is_crowd for a in dataset.annotations) and dataset.has_masks
    assert dataset.frequencies["rare1"] == "rare" and dataset.frequencies["frequent2"] == "frequent"


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [("images", "coco_url", "image 1 has no coco_url"), ("categories", "frequency", "without a frequency.*frequent1")],
)
def test_what_lvis_files_have(path, section: str, key: str, message: str) -> None:
    content = json.loads(path.read_text())
    del content[section][0][key]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_lvis(path)
