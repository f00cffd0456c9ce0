from __future__ import annotations

from pathlib import Path

import torch

from no_time_to_train.commands import main
from no_time_to_train.models import verification, weights
from no_time_to_train.models.verification import VerificationReport
from no_time_to_train.models.weights import WeightsRow


def test_list(monkeypatch, capsys) -> None:
    rows = [
        WeightsRow("dinov2_large", "features", 1217, "Apache-2.0", False, Path("here/model")),
        WeightsRow("dinov3_large", "features", 1213, "DINOv3 License", True, None),
    ]
    monkeypatch.setattr(weights, "list_weights", lambda: rows)
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["dinov2_large", "1217", "MB", "Apache-2.0", "here/model"]
    assert lines[3].split()[-2:] == ["gated", "-"]


def test_verify_reports_all_before_it_fails(monkeypatch, capsys, tmp_path: Path) -> None:
    def verify(name: str) -> VerificationReport:
        return VerificationReport(
            name, tmp_path, {"model.safetensors": "0f" * 32}, None if name == "b" else "bad shape"
        )

    monkeypatch.setattr(verification, "verify_weights", verify)
    assert main(["weights", "verify", "a", "b"]) == 3
    output = capsys.readouterr()
    assert "a: bad shape" in output.out and "b: ok" in output.out and "0f0f" in output.out
    assert "1 of the models checked cannot be used: a." in output.err


def test_get_of_an_unknown_model(capsys) -> None:
    assert main(["weights", "get", "dinov2_lage"]) == 1
    assert "Did you mean 'dinov2_large'?" in capsys.readouterr().err


def test_convert(tmp_path: Path, capsys) -> None:
    source = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(2)}, source)
    assert main(["weights", "convert", str(source)]) == 0
    assert source.with_suffix(".safetensors").is_file()
    assert main(["weights", "convert", str(source), "-o", str(tmp_path / "model.bin")]) == 1
    assert "must end in .safetensors" in capsys.readouterr().err
