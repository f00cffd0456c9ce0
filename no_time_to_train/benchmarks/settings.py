"""Settings of the benchmarks: which one, which part, which data."""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting

_CUSTOM = {"name": ("custom",)}


@dataclass
class BenchmarkConfig:
    """The benchmark and its part.

    Its settings may be named alone: `split=1`.
    """

    name: str = setting(
        "demo",
        "Benchmark.",
        choices=("demo", "coco_fsod", "pascal_voc", "cd_fsod", "coco_20i", "lvis", "custom"),
    )
    root: str = setting(
        "data", "Folder of the data sets (`nttt data list` shows what belongs there).", affects_results=False
    )
    split: int = setting(1, "Split of PASCAL VOC.", between=(1, 3), when={"name": ("pascal_voc",)})
    domain: str = setting(
        "artaxor",
        "Data set of CD-FSOD.",
        choices=("artaxor", "clipart1k", "dior", "deepfish", "neu_det", "uodd"),
        when={"name": ("cd_fsod",)},
    )
    fold: int = setting(0, "Fold of COCO-20i.", between=(0, 3), when={"name": ("coco_20i",)})
    subset: str = setting(
        "all", "Categories of LVIS.", choices=("all", "rare", "common", "frequent"), when={"name": ("lvis",)}
    )
    references: str | None = setting(
        None,
        "COCO file to draw references from; `custom` needs it, elsewhere it replaces the benchmark's own. The "
        "`references.json` of an earlier run is used as it is.",
        is_file=True,
    )
    reference_images: str | None = setting(
        None, "Folder of the images of `references`; null: found beside the file.", affects_results=False
    )
    annotations: str | None = setting(None, "COCO file of the target images.", is_file=True, when=_CUSTOM)
    images: str | None = setting(
        None, "Folder of the target images; null: found beside the file.", affects_results=False, when=_CUSTOM
    )
    categories: list[str] = setting([], "Only these categories; empty: all.", when=_CUSTOM)
    sampler: str = setting(
        "default",
        "How references are drawn: `default` is the benchmark's own as in the paper, `paper` its seeded sampler, `tfa` "
        "the lists of TFA and Kang, `released` the released CD-FSOD shots, `all` everything in `references`.",
        choices=("default", "paper", "tfa", "released", "filled_up", "all"),
    )
    first_annotation_only: bool = setting(
        False,
        "A repeated image gives its first annotation again, as in the published code.",
        when={"name": ("cd_fsod",)},
    )
    limit: int | None = setting(None, "Only the first this many target images.", between=(1, 1 << 30))
