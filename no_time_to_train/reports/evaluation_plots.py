"""Draw precision-recall curves and the confusion matrix of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from no_time_to_train.evaluation.detection_errors import ScoreCurve
from no_time_to_train.files.atomic import replacing

MAX_CURVES = 20
"""Categories with a line of their own: those with the most objects."""
MAX_CONFUSED = 30
"""Categories of the confusion matrix: those with the most objects."""
_DOTS_PER_INCH = 100


def plot_curves(curves: Mapping[str, ScoreCurve], path: Path) -> None:
    """Write precision against recall as PNG; a dot is the best threshold.

    Args:
        curves: by category name.
        path: the image.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    shown = sorted(curves, key=lambda name: -curves[name].num_objects)[:MAX_CURVES]
    for number, name in enumerate(shown):
        curve, best = curves[name], curves[name].best()
        color = colormaps["tab20"](number % 20)
        note = "nothing right" if best is None else f"F1 {best[1]:.2f} at {best[0]:.2f}"
        axes.plot(curve.recall, curve.precision, color=color, label=f"{name}: {note}")
        if best is not None:
            position = int(np.flatnonzero(curve.scores == best[0])[-1])
            axes.plot(curve.recall[position], curve.precision[position], "o", color=color)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision (mask IoU 0.5)")
    axes.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside right upper")
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=_DOTS_PER_INCH)


def plot_confusion(counts: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Write the confusion matrix as PNG.

    Args:
        counts: (C + 1, C + 1), see ``confusion_matrix``.
        names: of the C categories.
        path: the image.
    """
    from matplotlib.figure import Figure

    largest = sorted(np.argsort(-counts.sum(axis=1)[:-1], kind="stable")[:MAX_CONFUSED])
    kept = [*largest, len(names)]
    shown = counts[np.ix_(kept, kept)]
    own = [names[i] for i in largest]
    side = 3.2 + 0.42 * len(kept)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(kept)), [*own, "missed"], rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(kept)), [*own, "nothing there"])
    axes.set(xlabel="found as", ylabel="annotated as")
    for row, column in zip(*np.nonzero(shown), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(shown[row, column]), ha="center", va="center", color=color, fontsize="small")
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=_DOTS_PER_INCH)
