"""Only what is needed is loaded."""

from __future__ import annotations

import pytest
import torch

from no_time_to_train import build
from no_time_to_train.build import build_proposer, compose_config, load_segmenter
from no_time_to_train.errors import InputError
from no_time_to_train.models.no_encoder import NoEncoder
from tests.test_segmenter import ColorEncoder, SquareMaskModel


@pytest.mark.parametrize(
    ("overrides", "needs_encoder"),
    [
        (["proposals=point_grid"], False),
        (["proposals=automatic_masks"], False),
        (["proposals=semantic_clusters"], True),
        (["proposals=union", "proposals.sources=[point_grid,automatic_masks]"], False),
        (["proposals=union", "proposals.sources=[point_grid,semantic_clusters]"], True),
        (["proposals=point_grid", "proposals.consistency=drop"], True),
        (["proposals=point_grid", "scoring.consistency_exponent=1"], True),
    ],
)
def test_the_encoder_is_loaded_where_something_looks_at_features(
    overrides: list[str], needs_encoder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "load_models", lambda config: (ColorEncoder(), SquareMaskModel()))
    monkeypatch.setattr(build, "_load_mask_model", lambda config: SquareMaskModel())
    segmenter = build_proposer(compose_config(overrides))
    assert isinstance(segmenter.encoder, NoEncoder) != needs_encoder


def test_masks_without_an_encoder_are_those_with_one() -> None:
    overrides = ["preset=demo", "device=cpu", "proposals=point_grid", "proposals.point_grid.points_per_side=4"]
    image = torch.randint(0, 255, (40, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    segmenters = [build_proposer(compose_config(overrides)), load_segmenter(*overrides)]
    without, with_one = (segmenter.propose(segmenter.encode([image])[0]) for segmenter in segmenters)
    assert without.rles() == with_one.rles()
    assert torch.equal(without.predicted_ious, with_one.predicted_ious)


def test_one_encoder_has_one_name() -> None:
    with pytest.raises(InputError, match="are one setting"):
        load_segmenter(encoder="dinov2_demo", features="dinov2_demo")
