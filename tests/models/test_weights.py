from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from no_time_to_train.errors import InputError, InputFileNotFoundError, WeightsNotFoundError
from no_time_to_train.models.catalog import CATALOG, get_spec
from no_time_to_train.models.weights import find_weights, get_weights, list_weights, locate_weights

DINO, SAM = get_spec("dinov2_large"), get_spec("sam2.1_large")


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of $NTTT_WEIGHTS."""
    named = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("NTTT_WEIGHTS", os.pathsep.join(map(str, named)))
    return named


@pytest.mark.parametrize(
    "relative",
    [
        "sam2.1_hiera_large.pt",
        "sam2.1_large.safetensors",
        "sam2.1_large/model.safetensors",
        "sam2.1-hiera-large/sam2.1_hiera_large.pt",
        "facebook/sam2.1-hiera-large/sam2.1_hiera_large.pt",
    ],
)
def test_files_in_any_weights_folder_are_found(folders: tuple[Path, Path], relative: str) -> None:
    expected = touch(folders[1] / relative)
    assert locate_weights(SAM) == find_weights(SAM) == get_weights("sam2.1_large") == expected
    assert locate_weights(get_spec("sam2_large")) is None


def test_earlier_folders_and_the_home_cache(folders: tuple[Path, Path]) -> None:
    in_cache = touch(Path.home() / ".cache" / "nttt" / "sam2.1_hiera_large.pt")
    assert locate_weights(SAM) == in_cache
    in_second = touch(folders[1] / "sam2.1_hiera_large.pt")
    assert locate_weights(SAM) == in_second
    assert locate_weights(SAM) != touch(folders[0] / "other.pt")


def test_encoders_may_be_folders_in_transformers_layout(folders: tuple[Path, Path]) -> None:
    folder = folders[0] / "dinov2-large"
    touch(folder / "config.json")
    assert locate_weights(DINO) is None
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    assert locate_weights(DINO) is None  # a shard is missing
    touch(folder / "model-1.safetensors")
    assert locate_weights(DINO) == folder


def test_an_explicit_path_goes_first(folders: tuple[Path, Path], tmp_path: Path) -> None:
    touch(folders[0] / SAM.official_file)
    mine = touch(tmp_path / "mine.pt")
    assert find_weights(SAM, mine) == find_weights(SAM, str(mine)) == mine
    assert find_weights(SAM, folders[0]) == folders[0] / SAM.official_file
    with pytest.raises(InputError, match="expected dinov2_vitl14_pretrain.pth or model.safetensors"):
        find_weights(DINO, tmp_path)
    with pytest.raises(InputFileNotFoundError, match=r"encoder.weights=.*absent.pth: no such file"):
        find_weights(DINO, "/absent.pth")


def test_the_hub_cache_then_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def snapshot(hub_id: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        calls.append((hub_id, allow_patterns, local_files_only))
        if not local_files_only:
            touch(tmp_path / "snapshot" / "sam2.1_hiera_large.pt")
        return str(tmp_path / "snapshot")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    expected = tmp_path / "snapshot" / "sam2.1_hiera_large.pt"
    assert locate_weights(SAM) is None
    assert find_weights(SAM) == expected  # downloaded
    assert locate_weights(SAM) == expected  # now in the cache
    hub, patterns = "facebook/sam2.1-hiera-large", ["sam2.1_hiera_large.pt"]
    assert calls == [(hub, patterns, True), (hub, patterns, True), (hub, patterns, False), (hub, patterns, True)]
    find_weights(SAM, "someone/else")
    assert calls[-1][0] == "someone/else"


def refuse_with(error: Exception) -> Callable[..., str]:
    def snapshot(*_: object, local_files_only: bool = False, **__: object) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("not cached") if local_files_only else error

    return snapshot


def test_offline_says_where_it_looked_and_what_to_do(folders: tuple[Path, Path]) -> None:
    with pytest.raises(WeightsNotFoundError) as error:
        get_weights("dinov2_large")
    message = str(error.value)
    assert message.startswith(f"Weights not found: dinov2_large (1.2 GB). Looked in {folders[0]}, {folders[1]}, ")
    for part in (
        "Online: nttt weights get dinov2_large.",
        "Offline: copy dinov2_vitl14_pretrain.pth (from https://",
        "set NTTT_WEIGHTS=",
    ):
        assert part in message
    assert error.value.exit_code == 3


@pytest.mark.parametrize("kind", ["GatedRepoError", "RepositoryNotFoundError"])
def test_gated_models(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    import huggingface_hub.errors

    error = getattr(huggingface_hub.errors, kind).__new__(getattr(huggingface_hub.errors, kind))
    error.response = SimpleNamespace(status_code=403)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse_with(error))
    with pytest.raises(WeightsNotFoundError) as raised:
        get_weights("dinov3_large")
    for part in (
        "facebook/dinov3-vitl16-pretrain-lvd1689m is gated and your account has no access (HTTP 403)",
        "the default dinov2_large is free",
        "hf auth login",
        "encoder=dinov3_large encoder.weights=/path/dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth",
    ):
        assert part in str(raised.value)


def test_a_repository_that_does_not_exist_is_not_called_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", refuse_with(RepositoryNotFoundError.__new__(RepositoryNotFoundError))
    )
    with pytest.raises(WeightsNotFoundError, match="someone/else is not on the hub, or is private"):
        find_weights(DINO, "someone/else")


def test_the_list_has_every_model_and_where_it_is(folders: tuple[Path, Path]) -> None:
    found = touch(folders[0] / "dinov2_vits14_pretrain.pth")
    rows = {row.name: row for row in list_weights()}
    assert rows.keys() == CATALOG.keys()
    assert rows["dinov2_small"].location == found
    assert rows["dinov2_base"].location is None
    assert rows["dinov3_base"].gated and rows["dinov3_base"].license == "DINOv3 License"
