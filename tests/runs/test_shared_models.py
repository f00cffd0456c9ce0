"""Networks are loaded again only where their own settings change."""

from __future__ import annotations

import pytest

from no_time_to_train.build import compose_config
from no_time_to_train.config import Config
from no_time_to_train.runs import shared_models
from no_time_to_train.runs.shared_models import segmenter_with_shared_models
from tests.small_benchmark import load_fake_models


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    return load_fake_models(monkeypatch)


@pytest.mark.parametrize("override", ["merging=hard", "matching=nearest_instances", "proposals.points_per_side=3"])
def test_other_settings_of_the_method_share_the_networks(override: str) -> None:
    first = segmenter_with_shared_models(compose_config(["preset=demo"]))
    second = segmenter_with_shared_models(compose_config(["preset=demo", override]))
    assert second.encoder is first.encoder and second.mask_model is first.mask_model
    assert second.config != first.config


NETWORKS = ["encoder=dinov2_small", "mask_model=sam2.1_tiny", "precision=bfloat16", "device=cpu"]


@pytest.mark.parametrize("override", NETWORKS)
def test_other_networks_take_the_place_of_the_first(override: str) -> None:
    first = segmenter_with_shared_models(compose_config(["preset=demo"]))
    second = segmenter_with_shared_models(compose_config(["preset=demo", override]))
    assert second.encoder is not first.encoder
    assert len(shared_models._loaded) == 1
    assert segmenter_with_shared_models(compose_config(["preset=demo"])).encoder is not first.encoder
