from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from no_time_to_train.errors import EnvironmentProblemError, InputError, InputFileNotFoundError, UnsafeWeightsError
from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.models.checkpoints import (
    check_names_and_shapes,
    convert_checkpoint,
    read_state_dict,
)

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2)}


def assert_same(found: dict[str, torch.Tensor]) -> None:
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model": WEIGHTS},
        {"model": WEIGHTS, "epoch": 3, "optimizer": {"lr": 0.1}},
        {"state_dict": WEIGHTS},
        {"teacher": {f"backbone.{name}": w for name, w in WEIGHTS.items()} | {"dino_head.weight": torch.zeros(1)}},
    ],
    ids=["bare", "model", "with_optimizer", "state_dict", "teacher"],
)
def test_wrappers_of_pytorch_files_come_off(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "weights.pt")
    assert_same(read_state_dict(tmp_path / "weights.pt"))


def test_safetensors(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert_same(read_state_dict(str(tmp_path / "weights.safetensors")))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old_format"])
def test_python_objects_are_refused_by_name(tmp_path: Path, zipped: bool) -> None:
    content = {"model": WEIGHTS, "args": argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeWeightsError, match=r"model.pt holds Python objects \(argparse.Namespace\)") as error:
        read_state_dict(tmp_path / "model.pt")
    assert "trust=True (nttt weights convert model.pt)" in str(error.value)
    assert error.value.exit_code == 3


class RunsCode:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def test_no_code_runs_without_trust(tmp_path: Path) -> None:
    mark = tmp_path / "code_ran"
    torch.save({"model": WEIGHTS, "extra": RunsCode(mark)}, tmp_path / "model.pt")
    with pytest.raises(UnsafeWeightsError):
        convert_checkpoint(tmp_path / "model.pt", tmp_path / "model.safetensors")
    assert not mark.exists() and not (tmp_path / "model.safetensors").exists()
    convert_checkpoint(tmp_path / "model.pt", tmp_path / "model.safetensors", trust=True)
    assert mark.exists()
    assert_same(load_file(tmp_path / "model.safetensors"))


def test_conversion_gives_tied_weights_their_own_memory(tmp_path: Path) -> None:
    torch.save({"model": {"a": WEIGHTS["a.weight"], "b": WEIGHTS["a.weight"].T}}, tmp_path / "tied.pt")
    converted = load_file(convert_checkpoint(tmp_path / "tied.pt", tmp_path / "new" / "tied.safetensors"))
    assert torch.equal(converted["a"], converted["b"].T)
    with pytest.raises(InputError, match="must end in .safetensors"):
        convert_checkpoint(tmp_path / "tied.pt", tmp_path / "tied.bin")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_files_are_named(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(WEIGHTS, path) if suffix == ".safetensors" else torch.save(WEIGHTS, path)
    whole = path.read_bytes()
    damaged = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"version https://git-lfs"}[damage]
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="is not a readable checkpoint") as error:
        read_state_dict(path)
    assert str(path) in str(error.value)


def test_files_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match=r"absent.pt is not a file"):
        read_state_dict(tmp_path / "absent.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="got list"):
        read_state_dict(tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    with pytest.raises(InputError, match="holds no tensors, only: epoch"):
        read_state_dict(tmp_path / "epoch.pt")


def test_differences_are_one_short_message() -> None:
    check_names_and_shapes(WEIGHTS, WEIGHTS, source="w.pt", model="m")
    found = {f"other.{i}": torch.zeros(1) for i in range(9)} | {"a.bias": torch.zeros(5)}
    with pytest.raises(InputError) as error:
        check_names_and_shapes(WEIGHTS, found, source="w.pt", model="m")
    assert str(error.value).startswith(
        "w.pt does not hold the weights of m: 1 missing (a.weight); "
        "9 unexpected (other.0, other.1, other.2 and 6 more); "
        "1 wrong shape (a.bias is (5,), must be (2,)). "
    )


def test_weights_with_nan_are_not_converted(tmp_path: Path) -> None:
    torch.save({"a": torch.tensor([1.0, float("nan")])}, tmp_path / "nan.pt")
    (tmp_path / "nan.safetensors").write_bytes(b"earlier")
    with pytest.raises(InputError, match="nan.pt: 1 of the 2 values of the weight a are NaN"):
        convert_checkpoint(tmp_path / "nan.pt", tmp_path / "nan.safetensors")
    assert (tmp_path / "nan.safetensors").read_bytes() == b"earlier"


def test_a_few_bytes_do_not_become_a_large_tensor(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "bomb.pt")
    with pytest.raises(InputError, match=r"a has the shape \(1000000, 1000000\), which is larger than the file"):
        read_state_dict(tmp_path / "bomb.pt")


@pytest.mark.parametrize("odd", [{3: torch.zeros(2)}, {"a": torch.eye(2).to_sparse()}])
def test_what_is_no_plain_tensor_with_a_name_is_refused(tmp_path: Path, odd: dict[object, torch.Tensor]) -> None:
    torch.save(odd, tmp_path / "odd.pt")
    with pytest.raises(InputError, match="which is no weight"):
        read_state_dict(tmp_path / "odd.pt")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pt")
    (tmp_path / "w.safetensors").write_bytes(b"earlier")

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"some")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(EnvironmentProblemError, match=r"w.safetensors cannot be written \(.*No space left"):
        convert_checkpoint(tmp_path / "w.pt", tmp_path / "w.safetensors")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.s*")} == {"w.safetensors": b"earlier"}
    assert not list(tmp_path.glob(".*"))


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_file(tmp_path / "file") == expected
