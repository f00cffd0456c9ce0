from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from no_time_to_train.errors import InputError
from no_time_to_train.models.detector import load_detector
from no_time_to_train.models.dino.encoder import load_dino
from no_time_to_train.models.weight_headers import WeightTotals, check_finite, no_larger_than, totals_of_folder
from tests.models.test_detector import save_yolos
from tests.models.test_transformers_folders import save_dinov2


def test_totals_come_from_all_files(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3)}, tmp_path / "1.safetensors")
    save_file({"b": torch.zeros(4), "c": torch.zeros(())}, tmp_path / "2.safetensors")
    names = {"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert totals_of_folder(tmp_path) == WeightTotals(3, 11)


def test_weights_must_be_floating_point(tmp_path: Path) -> None:
    save_file(
        {"position_ids": torch.arange(3), "a.weight": torch.ones(3, dtype=torch.int32)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(InputError, match=r"weight a.weight is of type I32, must be floating point"):
        totals_of_folder(tmp_path)


def test_networks_may_be_built_that_are_little_larger_than_their_weights() -> None:
    with no_larger_than(WeightTotals(2, 12), "w"), torch.device("meta"):
        torch.nn.Linear(100, 100)
    torch.nn.Linear(3, 3)


@pytest.mark.parametrize(("layers", "width"), [(1, 10**6), (10**6, 1)])
def test_networks_far_larger_than_their_weights_are_stopped(layers: int, width: int) -> None:
    with (
        pytest.raises(InputError, match="w does not hold the weights of the network that its settings describe"),
        no_larger_than(WeightTotals(2, 12), "w"),
        torch.device("meta"),
    ):
        [torch.nn.Linear(width, width) for _ in range(layers)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    weights = {"a": torch.zeros(3), "b": torch.tensor([1.0, value]), "ids": torch.arange(3)}
    with pytest.raises(InputError, match="w.pt: 1 of the 2 values of the weight b are NaN or infinite"):
        check_finite(weights.items(), "w.pt")
    check_finite({"large": torch.full((9,), 3e38), "empty": torch.zeros(0)}.items(), "w.pt")


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_hidden_layers": 10**4},
        {"num_hidden_layers": 10**12},
        {"hidden_size": 10**6},
        {"hidden_size": 10**9},
        {"mlp_ratio": 1e12},
        {"patch_size": 0},
        {"image_size": 10**6},
        {"image_size": -28},
        {"num_attention_heads": 0},
        {"num_hidden_layers": "12"},
        {"hidden_size": None},
        {"hidden_act": "nonsense"},
        {"out_features": 3},
        {"num_labels": 10**9},
        {"id2label": [1]},
    ],
    ids=str,
)
def test_absurd_settings_of_an_encoder_are_one_error(tmp_path: Path, settings: dict[str, Any]) -> None:
    change(save_dinov2(tmp_path) / "config.json", **settings)
    with pytest.raises(InputError, match=str(tmp_path)):
        load_dino("dinov2_small", weights=tmp_path)


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"num_hidden_layers": 10**6}),
        ("config.json", {"num_detection_tokens": 10**9}),
        ("config.json", {"hidden_size": 10**7}),
        ("preprocessor_config.json", {"size": {"height": 10**9, "width": 10**9}}),
        ("preprocessor_config.json", {"image_mean": "bright"}),
        ("preprocessor_config.json", {"format": "x"}),
        ("preprocessor_config.json", {"size": {"height": [[]], "width": 8}}),
    ],
    ids=str,
)
def test_absurd_settings_of_a_detector_are_one_error(tmp_path: Path, file: str, settings: dict[str, Any]) -> None:
    change(save_yolos(tmp_path) / file, **settings)
    with pytest.raises(InputError, match=str(tmp_path)):
        load_detector(str(tmp_path))


def test_a_network_with_nan_is_refused(tmp_path: Path) -> None:
    path = save_dinov2(tmp_path) / "model.safetensors"
    weights = load_file(path)
    weights["layernorm.weight"][3] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 of the 16 values of the weight layernorm.weight are NaN"):
        load_dino("dinov2_small", weights=tmp_path)
