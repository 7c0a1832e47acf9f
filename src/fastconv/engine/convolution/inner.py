"""Inner products with the weight where it lies, for 1×1 kernels, and for windows that cover the whole image.

Pixels, with their channels last, are the rows of one operand, and filters those of the other. Where rows are few, as
in squeeze-and-excitation blocks and classifying heads, packing the weight would take longer than multiplying by it: one
row reads it as fast as memory delivers it.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution.base import KeepsWeights, is_pixelwise, refuse_unless_real_2d
from fastconv.engine.convolution.layouts import turn
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.products import inner_error, multiply_rows
from fastconv.engine.rates import rates
from fastconv.kernels import threads as team

# Share of the multiply-add peak that several rows reach.
_SHARE = 0.65

# Seconds to add up the lanes of a sum, and to begin and end those of a filter with a few pixels.
_SUM_SECONDS, _TILE_SECONDS = 1e-9, 1.5e-9


class Inner(SumsDirectly, KeepsWeights):
    name = "inner"
    takes_channels_last = True

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        g = geometry
        if g.g > 1:
            return "multiplies by a single group of filters"
        if not (is_pixelwise(g) or _sees_all(g)):
            return "needs a 1×1 kernel at stride 1, or one of the image's extent, without padding"
        return refuse_unless_real_2d(g, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.slots import LANES, NR

        g, itemsize = geometry, dtype.itemsize
        rows, at_once = g.n * g.positions, NR[itemsize] // LANES[itemsize]
        weight = g.oc * g.reduction * itemsize
        products = max(weight / (1.5 * rates().l3), 2 * g.oc * g.reduction * rows / (_SHARE * rates().flops(itemsize)))
        seconds = 1.5e-6 + products + g.oc * (rows * _SUM_SECONDS + ceil(rows / at_once) * _TILE_SECONDS)
        if not _sees_all(g) and not g.channels_last:
            seconds += 2e-6 + rows * (g.ic + g.oc) * itemsize / rates().memory
        return seconds

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return inner_error(geometry.reduction, dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g = geometry
        return 0 if _sees_all(g) else g.n * g.positions * (g.ic + g.oc) * dtype.itemsize

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        g = geometry
        filters = prepared.reshape(g.oc, g.reduction)
        if _sees_all(g):
            rows = x.reshape(g.n, g.reduction)
            rows = rows if rows.strides[1] == rows.itemsize else as_contiguous(rows)
            multiply_rows(rows, filters, out.reshape(g.n, g.oc), threads, epilogue)
            return
        target = _like_pixels(out)
        multiply_rows(_pixels(_with_channels_last(x, threads)), filters, _pixels(target), threads, epilogue)
        if target is not out:
            turn(target, out, threads)


def _sees_all(g: ConvGeometry) -> bool:
    """Whether the only window is the whole image."""
    return g.kernel == g.extent and not any(map(any, g.padding))


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images without gaps and with channels last, as a matrix with a row per pixel."""
    n, channels, height, width = images.shape
    return images.transpose(0, 2, 3, 1).reshape(n * height * width, channels)


def _without_gaps(images: np.ndarray) -> bool:
    return images.transpose(0, 2, 3, 1).flags.c_contiguous


def _like_pixels(images: np.ndarray) -> np.ndarray:
    """`images` themselves if they have channels last without gaps, otherwise scratch memory that does."""
    if _without_gaps(images):
        return images
    n, channels, height, width = images.shape
    scratch = team.aligned_empty(images.size, images.dtype)
    return scratch.reshape(n, height, width, channels).transpose(0, 3, 1, 2)


def _with_channels_last(x: np.ndarray, threads: int) -> np.ndarray:
    target = _like_pixels(x)
    if target is not x:
        if x.strides[3] != x.itemsize or x.strides[2] != x.shape[3] * x.itemsize:
            x = as_contiguous(x)
        turn(x, target, threads)
    return target
