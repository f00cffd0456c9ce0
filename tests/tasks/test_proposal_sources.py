from __future__ import annotations

import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.proposals.combined import Union
from no_time_to_train.proposals.point_grid import PointGrid
from no_time_to_train.tasks.proposal_sources import parse_sources


def test_reading() -> None:
    sources = parse_sources("point_grid, semantic_clusters[n_clusters=[4,8],seed=3],point_grid+boxes[max_boxes=9]")
    assert [source.text for source in sources] == [
        "point_grid",
        "semantic_clusters[n_clusters=[4,8],seed=3]",
        "point_grid+boxes[max_boxes=9]",
    ]
    assert sources[1].parts == (("semantic_clusters", ("proposals.n_clusters=[4,8]", "proposals.seed=3")),)
    assert sources[2].parts == (("point_grid", ()), ("boxes", ("proposals.max_boxes=9",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no source is named"),
        ("point_grid,boxes,point_grid", "point_grid is named twice"),
        ("point_grid[seed=1", "brackets in 'point_grid.seed=1' do not close"),
        ("point_grid]seed=1[", "do not close"),
        ("point_grid[16]", "'point_grid.16.': must be the name of a source"),
        ("point grid", ": must be the name of a source"),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_sources(text)


def test_building() -> None:
    alone, both = parse_sources("point_grid[points_per_side=7],point_grid+point_grid[points_per_side=5]")
    shared = ["proposals.points_per_side=9", "proposals.min_predicted_iou=0.1"]
    config, source = alone.build(shared)
    assert source == PointGrid(7, 0.1)
    assert config.proposals.point_grid.points_per_side == 7
    assert both.build(shared)[1] == Union((PointGrid(9, 0.1), PointGrid(5, 0.1)))


def test_unknown_sources_and_settings_are_named() -> None:
    with pytest.raises(InputError, match="proposals=point_gird: no such option.*Did you mean 'point_grid'"):
        parse_sources("point_gird")[0].build([])
    with pytest.raises(InputError, match="proposals.points_per_sied: no such setting"):
        parse_sources("point_grid[points_per_sied=3]")[0].build([])
    with pytest.raises(InputError, match="needs one of proposals.boxes.boxes_file"):
        parse_sources("boxes")[0].build([])
