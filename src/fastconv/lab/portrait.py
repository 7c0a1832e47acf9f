"""A trained network as one picture: how it learnt, what it confuses, what its filters are, and what they see."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.lab import digits
from fastconv.lab.chart import file_format
from fastconv.lab.learning import Learnt, maps_of

_BLUE, _ORANGE, _INK, _DPI = "#0072B2", "#D55E00", "#222222", 150

# Planes in a row.
_MOST_BESIDE = 8


def draw(path: str | os.PathLike[str], learnt: Learnt) -> None:
    """Draw the learning curve, the confusion matrix, the first layer's filters and the maps of one held-out image."""
    suffix = file_format(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 10.5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.25], squeeze=False)[:, 0]
    curve, matrix = upper.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_curve(curve, learnt)
    _draw_confusion(matrix, learnt.confusion)
    image = learnt.data.held_out.images[:1]
    weights = learnt.trainable.parameters["conv1.weight"][:, 0]
    first, second = maps_of(learnt.network, image, "conv1 relu", "pool2")
    rows = [
        ("Filters of the first layer", list(weights), "RdBu_r"),
        ("What they see", [image[0, 0], *first[0]], "gray"),
        ("The second layer's maps", list(second[0]), "gray"),
    ]
    for part, (title, planes, colours) in zip(
        lower.subfigures(3, 1, height_ratios=[1, 1, 1.5], squeeze=False)[:, 0], rows, strict=True
    ):
        _draw_planes(part, title, planes, colours)
    figure.suptitle(
        f"{learnt.network.title} on {learnt.data.title}: {learnt.accuracy:.2%} of held-out images are right"
    )
    figure.savefig(path, format=suffix, dpi=_DPI, facecolor="white")


def _draw_curve(axes: Any, learnt: Learnt) -> None:
    numbers = [epoch.number for epoch in learnt.epochs]
    axes.plot(numbers, [epoch.loss for epoch in learnt.epochs], color=_BLUE, marker="o", markersize=3)
    axes.set(xlabel="epoch", yscale="log")
    axes.set_ylabel("loss (log scale), circles", color=_BLUE)
    right = axes.twinx()
    errors = [100 * (1 - (epoch.held_out or 0)) for epoch in learnt.epochs]
    right.plot(numbers, errors, color=_ORANGE, marker="s", markersize=3)
    right.set_ylabel("wrong held-out images in %, squares", color=_ORANGE)
    right.set_ylim(0, None)
    axes.set_title("Learning", loc="left", fontsize=10, color=_INK)


def _draw_confusion(axes: Any, confusion: np.ndarray) -> None:
    shares = confusion / np.maximum(1, confusion.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if shares[row, column] > 0.5 else _INK
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
    ticks = range(digits.CLASSES)
    axes.set(xticks=ticks, yticks=ticks, xlabel="taken for", ylabel="digit")
    axes.set_title("Held-out images", loc="left", fontsize=10, color=_INK)


def _draw_planes(part: Any, title: str, planes: Sequence[np.ndarray], colours: str) -> None:
    part.suptitle(title, x=0.01, ha="left", fontsize=10, color=_INK)
    rows = -(-len(planes) // _MOST_BESIDE)
    for axes, plane in zip(part.subplots(rows, -(-len(planes) // rows), squeeze=False).flat, planes, strict=True):
        most = np.abs(plane).max()
        low = -most if colours == "RdBu_r" else 0  # white is zero
        axes.imshow(plane, cmap=colours, vmin=low, vmax=most or 1, interpolation="nearest")
        axes.set_axis_off()
