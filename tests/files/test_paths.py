from __future__ import annotations

import os
from pathlib import Path

import pytest

from no_time_to_train.errors import InputFileNotFoundError
from no_time_to_train.files import paths


def test_repository_folders() -> None:
    root = Path(paths.__file__).parents[2]
    assert paths.demo_data_folder() == root / "data" / "demo"
    assert paths.configs_folder() == root / "no_time_to_train" / "configs"


def test_packaged_folders_go_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "no_time_to_train")
    with pytest.raises(InputFileNotFoundError, match="The installation lacks data/demo"):
        paths.demo_data_folder()
    (tmp_path / "data/demo").mkdir(parents=True)
    packaged = tmp_path / "no_time_to_train" / "_data/demo"
    packaged.mkdir(parents=True)
    assert paths.demo_data_folder() == packaged


def test_weights_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Path("~/.cache/nttt").expanduser()
    monkeypatch.delenv("NTTT_WEIGHTS", raising=False)
    assert paths.weights_folders() == [cache]
    monkeypatch.setenv("NTTT_WEIGHTS", os.pathsep.join(["/one", "", "~/two"]))
    assert paths.weights_folders() == [Path("/one"), Path("~/two").expanduser(), cache]
