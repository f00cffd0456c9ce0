from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from no_time_to_train.errors import WeightsNotFoundError
from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.models import catalog
from no_time_to_train.models.verification import verify_weights
from tests.models.test_detector import save_owlv2


@pytest.fixture
def known_tiny_sam2(tiny_sam2, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny SAM 2 as the catalog's only model; its folder is searched."""
    spec, checkpoint, _ = tiny_sam2
    monkeypatch.setattr(catalog, "CATALOG", MappingProxyType({"tiny": spec}))
    monkeypatch.setenv("NTTT_WEIGHTS", str(checkpoint.parent))
    return checkpoint.rename(checkpoint.with_name(spec.official_file))


def test_good_weights(known_tiny_sam2: Path) -> None:
    report = verify_weights("tiny")
    assert report.problem is None
    assert report.location == known_tiny_sam2
    assert report.sha256 == {known_tiny_sam2.name: sha256_of_file(known_tiny_sam2)}


def test_weights_that_do_not_fit(known_tiny_sam2: Path) -> None:
    torch.save({"model": {"other": torch.zeros(1)}}, known_tiny_sam2)
    problem = verify_weights("tiny").problem
    assert problem is not None and "1 unexpected (other)" in problem
    known_tiny_sam2.write_bytes(b"nothing")
    problem = verify_weights("tiny").problem
    assert problem is not None and "not a readable checkpoint" in problem


def test_absent_weights(known_tiny_sam2: Path) -> None:
    known_tiny_sam2.unlink()
    with pytest.raises(WeightsNotFoundError, match="Fetch it with: nttt weights get tiny"):
        verify_weights("tiny")


def test_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTTT_WEIGHTS", str(tmp_path))
    folder = save_owlv2(tmp_path / "owlv2")
    assert verify_weights("owlv2").problem is None
    (folder / "model.safetensors").write_bytes(b"nothing")
    assert "is not a readable safetensors file" in str(verify_weights("owlv2").problem)
