"""What is wrong with a setting is said clearly."""

from __future__ import annotations

import re

import pytest

from no_time_to_train.build import compose_bench_config, compose_config
from no_time_to_train.config import BenchConfig
from no_time_to_train.errors import InputError
from no_time_to_train.settings import settings_of


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features=dinov2_lagre", "features=dinov2_lagre: no such option.*Did you mean 'dinov2_large'"),
        ("features=dino", r"Did you mean 'dinov2_\w+', 'dinov2_\w+' or 'dinov2_\w+'"),
        ("propsals=boxes", r"propsals: no such setting. Did you mean 'proposals'\?"),
        ("merging=sfot", "merging=sfot: no such option.*graph_diffusion.*Did you mean 'soft'"),
        ("preset=papr", "preset=papr: no such option.*Did you mean 'paper'"),
        ("merging.exponentt=1", "merging.exponentt: no such setting. Did you mean 'merging.exponent'"),
        ("mergin.exponent=1", "mergin.exponent: no such setting. Did you mean 'merging.exponent'"),
        ("points_per_side=9", "Did you mean 'proposals.point_grid.points_per_side'"),
        ("merging.exponent=high", "merging.exponent=high"),
        ("merging.nms_iou_threshold=1.5", "merging.nms_iou_threshold=1.5 is out of range.*between 0 and 1"),
        ("merging.nms_iou_threshold=nan", "merging.nms_iou_threshold=nan must be a finite number"),
        ("mask_model.decoder=quick", "mask_model.decoder=quick is not a choice.*folded, plain"),
        ("proposals.point_grid.prefilter=semantic", "needs one of proposals.point_grid.prefilter_min_similarity"),
        ("proposals=boxes", "needs one of proposals.boxes.boxes_file and proposals.boxes.detector"),
        ("proposals=union", "proposals=union puts different sources together; name some of point_grid"),
        ("proposals.sources=[union]", "is not a choice"),
        ("precision=double", "precision=double is not a choice"),
        ("split=2", r"split: no such setting. It is a setting of `nttt bench` \(benchmark.split\)"),
        ("shots=2", "It is a setting of `nttt bench`"),
        ("experiment=cd_fsod", "It is a setting of `nttt bench`"),
        ("proposals.point_grid=3", "It is a section, e.g. proposals.point_grid."),
        ("+new=1", "cannot be added or removed, only changed: write new=VALUE"),
        ("~merging", "cannot be added or removed"),
        ("+merging._target_=os.system", "cannot be added"),
        ("merging._target_=os.system", "Hydra's own"),
        ("merging@x=hard", "Hydra's own"),
        ("hydra.run.dir=/tmp/x", "nothing of `hydra.` can be set"),
        ("merging.max_masks=1,2", "one value is expected"),
        ("tiles=big", "tiles=big must be none, auto or the side of a tile"),
        ("tiles=20", "64 to 65536 pixels"),
        ("images.exif=sideways", "upright, ignore"),
        ("proposals.point_grid.points_per_side=abc", "^proposals.point_grid.points_per_side=abc cannot be read"),
        ("proposals.points_per_side=abc", r"^proposals.points_per_side=abc cannot be read. Allowed: whole number"),
        ("encoder.image_size=x=y", "^encoder.image_size=x=y cannot be read. Allowed: whole number from"),
        ("proposals.sources=boxes", "proposals.sources=boxes cannot be read. Allowed: some of point_grid"),
        ("encoder.image_size=1)", r"encoder.image_size=1\) cannot be read"),
    ],
)
def test_a_bad_override_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose_config([override])


_LISTS_OF_NUMBERS = [setting.key for setting in settings_of(BenchConfig()) if setting.type == "list[int]"]


@pytest.mark.parametrize("key", _LISTS_OF_NUMBERS)
@pytest.mark.parametrize(
    "value", ["[[1],{a:b}]", "[[1]]", "[{a:1}]", "[1,x=y]", "[1,a]", "[1,null]", "[nan]", "x=y", "3"]
)
def test_lists_of_numbers_hold_numbers(key: str, value: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(key)}=.* cannot be read. Allowed: list of whole numbers"):
        compose_config(["proposals=semantic_clusters", f"{key}={value}"])


def test_a_misspelled_experiment_is_refused() -> None:
    with pytest.raises(InputError, match="experiment=cd_fsdo: no such option.*Did you mean 'cd_fsod'"):
        compose_bench_config(["experiment=cd_fsdo"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["proposals=point_grid", "proposals.n_clusters=[3]"],
        ["proposals.semantic_clusters.seed=3"],
        ["proposals.boxes.max_boxes=3"],
        ["proposals.point_grid.prefilter_top_k=5"],
        ["proposals.min_consistency=0.5"],
        ["proposals.sources=[boxes]"],
        ["merging=hard", "merging.diffusion_alpha=0.9"],
        ["merging=none", "merging.exponent=0.9"],
        ["matching.nearest_instances.num_neighbors=3"],
    ],
)
def test_a_setting_without_effect_is_refused_with_the_reason(overrides: list[str]) -> None:
    with pytest.raises(InputError, match=rf"^{overrides[-1].split('=')[0]}=.* would change nothing: it is used with "):
        compose_config(overrides)
