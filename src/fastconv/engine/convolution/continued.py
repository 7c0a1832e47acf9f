"""Images continued past their edges, for strategies that take zeros there: copies with a border, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.boundary import source_indices
from fastconv.engine.convolution.base import Strategy
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.patches import Places, gather
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant
from fastconv.kernels import threads as team

# Images are copied together up to this size, and computed before the next are.
_BATCH_BYTES = 1 << 20


def continues(strategy: Strategy) -> bool:
    """Whether a strategy reads what the boundary of a geometry says; those of other packages need not define this."""
    return getattr(strategy, "continues", False)


def continuing(strategy: Strategy, geometry: ConvGeometry, dtype: np.dtype) -> tuple[float, int]:
    """The seconds and scratch bytes that it takes to continue images for a strategy."""
    if geometry.boundary == "zeros" or continues(strategy):
        return 0.0, 0
    size = _image_values(geometry) * dtype.itemsize
    images = _images_at_once(geometry, dtype.itemsize)
    return -(-geometry.n // images) * 3e-6 + 2 * geometry.n * size / rates().memory, images * size


def continued(strategy: Strategy, once: bool, geometry: ConvGeometry) -> Callable[..., None]:
    """The `run` of a strategy, or `run_once`, or one that continues images for it."""
    run = strategy.run_once if once else strategy.run
    if geometry.boundary == "zeros" or continues(strategy):
        return run

    def run_continued(
        geometry: ConvGeometry,
        x: np.ndarray,
        weight: Any,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
        fill: Any = 0,
    ) -> None:
        g, images, compute = geometry, _images_at_once(geometry, x.itemsize), run
        problem = replace(g, extent=_extent(g), padding=((0, 0),) * g.ndim)
        if once and images < g.n:
            weight, compute = strategy.prepare(problem, weight, threads), strategy.run
        copies = team.aligned_empty(images * _image_values(g), x.dtype)
        for begin in range(0, g.n, images):
            some = replace(problem, n=min(images, g.n - begin))
            copy = _copied(g, x[begin : begin + some.n], copies[: prod(some.x_shape)], fill, threads)
            compute(some, copy, weight, out[begin : begin + some.n], epilogue, threads, max_workspace)

    return run_continued


def _extent(g: ConvGeometry) -> tuple[int, ...]:
    return tuple([i + sum(pads) for i, pads in zip(g.extent, g.padding, strict=True)])


def _image_values(g: ConvGeometry) -> int:
    return g.ic * prod(_extent(g))


def _images_at_once(g: ConvGeometry, itemsize: int) -> int:
    return max(1, min(g.n, _BATCH_BYTES // (_image_values(g) * itemsize)))


def _copied(g: ConvGeometry, x: np.ndarray, values: np.ndarray, fill: Any, threads: int) -> np.ndarray:
    """The images `x` with their border, in the memory of `values`."""
    n, (height, width) = len(x), _extent(g)
    if g.channels_last:
        lines, blocks, pixel = np.moveaxis(x, 1, -1), n, g.ic
        copy = np.moveaxis(values.reshape(n, height, width, g.ic), -1, 1)
    else:
        lines, blocks, pixel = x, n * g.ic, 1
        copy = values.reshape(n, g.ic, height, width)
    rows = _places(-g.pt, g.ih + g.pb, g.ih, g.boundary, blocks, 1)
    cols = _places(-g.pl, g.iw + g.pr, g.iw, g.boundary, 1, pixel)
    source = as_contiguous(lines).reshape(blocks * g.ih, g.iw * pixel)
    target = values.reshape(blocks * height, width * pixel)
    gather(source, target, rows, cols, fill=constant(np.array(fill, x.dtype)), threads=threads)
    return copy


@remembered(REMEMBERED)
def _places(begin: int, end: int, extent: int, boundary: str, blocks: int, width: int) -> Places:
    """Where positions `begin` to `end` of `blocks` axes of `extent` samples are read, one axis after the other.

    Samples are `width` values wide.
    """
    at = source_indices(begin, end, extent, boundary)
    axes = np.where(at < 0, -1, at + extent * np.arange(blocks)[:, np.newaxis]).reshape(-1, 1)
    indices = np.where(axes < 0, -1, axes * width + np.arange(width)).ravel()
    return Places(constant(indices), -begin * width, (extent - begin) * width)
