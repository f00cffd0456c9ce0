"""Folders of transformers run no code: not on loading, and not after a question on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from no_time_to_train.errors import InputError, NoTimeToTrainError, UnsafeWeightsError
from no_time_to_train.models.detector import load_detector
from no_time_to_train.models.dino.encoder import load_dino
from no_time_to_train.models.transformers_folders import read_config, read_image_processor
from tests.models.test_detector import save_owlv2, save_yolos

PACKAGE = Path(__file__).parents[2] / "no_time_to_train"


def save_dinov2(folder: Path) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28)
    Dinov2Model(config).save_pretrained(folder)
    return folder


def add_code(folder: Path, file: str) -> Path:
    """Give the folder harmless code that leaves a file behind, and have one of its settings name that code."""
    left = folder / "code_was_here"
    (folder / "code.py").write_text(f"import pathlib\npathlib.Path({str(left)!r}).touch()\nclass Anything: pass\n")
    settings = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    classes = ("AutoConfig", "AutoModel", "AutoModelForObjectDetection", "AutoImageProcessor")
    settings["auto_map"] = dict.fromkeys(classes, "code.Anything")
    settings["model_type"] = "somebodys_own"
    (folder / file).write_text(json.dumps(settings))
    return left


@pytest.mark.parametrize(
    ("save", "load", "file"),
    [
        (save_dinov2, lambda folder: load_dino("dinov2_small", weights=folder), "config.json"),
        (save_yolos, lambda folder: load_detector(str(folder)), "config.json"),
        (save_yolos, lambda folder: load_detector(str(folder)), "preprocessor_config.json"),
        (save_owlv2, lambda folder: load_detector(str(folder)), "config.json"),
    ],
    ids=["encoder", "detector", "image_processor", "owlv2"],
)
def test_code_of_a_folder_never_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save: Callable[[Path], Path],
    load: Callable[[Path], object],
    file: str,
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nothing may be asked"))
    left = add_code(save(tmp_path), file)
    with pytest.raises(UnsafeWeightsError, match=rf"{file} names code to run \(auto_map.*not loaded"):
        load(tmp_path)
    assert not left.exists()


def test_the_code_of_these_folders_would_run_if_it_were_trusted(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    from transformers import AutoConfig

    left = add_code(save_dinov2(tmp_path), "config.json")
    with pytest.raises(AttributeError):
        AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    assert left.exists()


@pytest.mark.parametrize(
    ("nested", "shown"),
    [
        ({"vision_config": {"auto_map": {"AutoConfig": "owner/repository--code.Config"}}}, "auto_map"),
        ({"attn_implementation": "owner/attention"}, "attn_implementation: owner/attention"),
        ({"backbone_config": {"_attn_implementation": "owner/attention"}}, "_attn_implementation: owner/attention"),
    ],
)
def test_code_that_lies_elsewhere_is_refused_too(tmp_path: Path, nested: dict[str, object], shown: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2", **nested}))
    with pytest.raises(UnsafeWeightsError, match=shown):
        read_config(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "3", "[" * 100_000, '{"model_type": "nonsense"}', "{}", '{"a":' * 50_000]
)
def test_broken_settings_are_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    for file, read in (("config.json", read_config), ("preprocessor_config.json", read_image_processor)):
        (tmp_path / file).write_text(text)
        with pytest.raises(InputError, match=file):
            read(tmp_path)


def test_weights_that_are_no_safetensors(tmp_path: Path) -> None:
    (save_yolos(tmp_path) / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(NoTimeToTrainError, match="is not a readable safetensors file"):
        load_detector(str(tmp_path))


def test_transformers_loads_in_one_module_only() -> None:
    """There every call says that no code is trusted."""
    calls = [
        (path.name, line) for path in PACKAGE.rglob("*.py") for line in path.read_text().split(".from_pretrained(")[1:]
    ]
    assert len(calls) == 3
    for name, call in calls:
        assert name == "transformers_folders.py"
        assert "trust_remote_code=False" in call.partition("\n\n")[0]
