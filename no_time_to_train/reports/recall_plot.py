"""Plot recall against the number of proposals, one curve per source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from no_time_to_train.evaluation.proposal_recall import ImageCoverage, average_recalls
from no_time_to_train.files.atomic import replacing

CURVE_COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
"""Numbers of proposals per image at which the curves are computed."""

_DOTS_PER_INCH = 100


def recall_curve(images: Sequence[ImageCoverage]) -> dict[int, float | None]:
    """Average recall in per cent, by number of proposals.

    The curve goes up to the first number that no image has more of.
    """
    most = max(image.num_proposals for image in images)
    shown = [count for i, count in enumerate(CURVE_COUNTS) if i == 0 or CURVE_COUNTS[i - 1] < most]
    return dict(zip(shown, average_recalls(images, shown), strict=True))


def plot_recall(curves: Mapping[str, Mapping[int, float | None]], path: Path) -> None:
    """Write the curves as PNG.

    A curve ends where the source has no further proposals.

    Args:
        curves: by name of the source, from ``recall_curve``; there are objects.
        path: the image.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(list(curve), np.array(list(curve.values()), float), marker=".", label=name)
    axes.set(xscale="log", xlabel="proposals per image, best predicted IoU first", ylabel="average recall (%)")
    axes.set_xticks([1, 10, 100, 1000], labels=["1", "10", "100", "1000"])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=_DOTS_PER_INCH)
