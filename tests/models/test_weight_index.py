from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.models.weight_index import MissingFileError, weight_files
from no_time_to_train.models.weights import list_weights


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": "../a.safetensors"}}',
        "[" * 10**5,
    ],
)
def test_a_damaged_index_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    folder = tmp_path / "dinov2_large"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(InputError, match="index.json") as error:
        weight_files(folder)
    assert not isinstance(error.value, MissingFileError)
    # It counts as there, so that loading and `weights verify` say what is wrong with it; others are listed.
    monkeypatch.setenv("NTTT_WEIGHTS", str(tmp_path))
    assert {row.name: row.location for row in list_weights()}["dinov2_large"] == folder


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="has neither"):
        weight_files(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "a.safetensors"}}')
    with pytest.raises(MissingFileError, match="names a.safetensors, which is not in the folder"):
        weight_files(tmp_path)
