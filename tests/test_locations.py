from __future__ import annotations

import os
from pathlib import Path

import pytest

from no_time_to_train import locations
from no_time_to_train.errors import InputFileNotFoundError


def test_repository_folders() -> None:
    root = Path(locations.__file__).parents[1]
    assert locations.demo_data_folder() == root / "data" / "demo"
    assert locations.configs_folder() == root / "configs"


def test_packaged_folders_go_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(locations, "_PACKAGE", tmp_path / "no_time_to_train")
    with pytest.raises(InputFileNotFoundError, match="The installation lacks configs"):
        locations.configs_folder()
    (tmp_path / "configs").mkdir()
    packaged = tmp_path / "no_time_to_train" / "_configs"
    packaged.mkdir(parents=True)
    assert locations.configs_folder() == packaged


def test_weights_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Path("~/.cache/nttt").expanduser()
    monkeypatch.delenv("NTTT_WEIGHTS", raising=False)
    assert locations.weights_folders() == [cache]
    monkeypatch.setenv("NTTT_WEIGHTS", os.pathsep.join(["/one", "", "~/two"]))
    assert locations.weights_folders() == [Path("/one"), Path("~/two").expanduser(), cache]
