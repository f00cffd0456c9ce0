"""The bundled benchmark of synthetic scenes, complete in the package."""

from __future__ import annotations

from no_time_to_train.benchmarks import samplers
from no_time_to_train.benchmarks.benchmark import AnnotatedImages, Benchmark, all_categories
from no_time_to_train.files.paths import demo_data_folder


def _images(what: str, split: str) -> AnnotatedImages:
    folder = demo_data_folder() / "benchmark"
    return AnnotatedImages(
        what=what,
        annotations=folder / "annotations" / f"{split}.json",
        images=folder / split,
        advice="Reinstall the package: the demo benchmark comes with it.",
    )


BENCHMARK = Benchmark(
    name="demo",
    description="synthetic scenes that come with the package",
    train=lambda config: _images("training images", "train"),
    test=lambda config: _images("test images", "test"),
    samplers={"paper": samplers.paper},
    requires=lambda config: (),
    categories=all_categories,
)
