"""Sums of shifted products: for each tap, 1×1 filters on the image moved by that tap, and no matrix of windows.

Anderson, Vasudevan, Keane and Gregg, Low-memory GEMM-based convolution algorithms for deep neural networks, 2017. Of
their variants, this is the one that accumulates into the output, so that a single product is kept besides it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from fastconv.engine.convolution.base import PreparesFirst, finish_planes
from fastconv.engine.convolution.implicit import Implicit, multiply
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import rates
from fastconv.engine.replay import unrepeatable

_IMPLICIT = Implicit()


def _pointwise(g: ConvGeometry, images: int) -> ConvGeometry:
    """The product of one tap's filters and the pixels that this tap sees, as a 1×1 convolution."""
    return ConvGeometry(images, g.g, g.ic, g.oc, g.out_extent, (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


def _padded_extent(g: ConvGeometry) -> tuple[int, int]:
    rows, columns = (extent + sum(pads) for extent, pads in zip(g.extent, g.padding, strict=True))
    return rows, columns


def _seen(g: ConvGeometry, padded: np.ndarray) -> Iterator[np.ndarray]:
    """What each tap sees of a padded image: a view with the extent of the output."""
    for tap in product(*map(range, g.kernel)):
        at = (
            slice(k * d, k * d + (o - 1) * s + 1, s)
            for k, d, o, s in zip(tap, g.dilation, g.out_extent, g.stride, strict=True)
        )
        yield padded[:, :, *at]


class _Taps(tuple[np.ndarray, ...]):
    """The packed filters of each tap."""

    @property
    def nbytes(self) -> int:
        return sum(filters.nbytes for filters in self)


class Kn2row(SumsDirectly, PreparesFirst):
    name = "kn2row"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return _IMPLICIT.refuse(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        products = geometry.taps * _IMPLICIT.cost(_pointwise(geometry, geometry.n), dtype)
        return self.least_cost(geometry, dtype) + products

    def least_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g = geometry
        rows, columns = _padded_extent(g)
        # The image is copied once; the product of each tap is written, read, and added to the output.
        copied = 2 * g.ic * rows * columns + 3 * g.taps * g.oc * g.positions
        return 1e-5 * (1 + g.taps) * g.n + g.n * copied * dtype.itemsize / rates().memory

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return geometry.taps * _IMPLICIT.prepare_cost(_pointwise(geometry, 1), dtype)

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return _IMPLICIT.error(geometry, dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g = geometry
        rows, columns = _padded_extent(g)
        values = g.ic * rows * columns + g.oc * g.positions
        return values * dtype.itemsize + _IMPLICIT.workspace_bytes(_pointwise(g, 1), dtype, threads, max_workspace)

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> _Taps:
        g = _pointwise(geometry, 1)
        taps = product(*map(range, geometry.kernel))
        return _Taps(_IMPLICIT.prepare(g, weight[:, :, row, column, None, None], threads) for row, column in taps)

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: _Taps,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        unrepeatable()
        g, pointwise = geometry, _pointwise(geometry, 1)
        padded = np.zeros((1, g.ic, *_padded_extent(g)), x.dtype)
        inside = padded[:, :, g.pt : g.pt + g.ih, g.pl : g.pl + g.iw]
        term = np.empty((1, *out.shape[1:]), x.dtype)
        for image in range(g.n):
            inside[...] = x[image]
            total = out[image : image + 1]
            for number, (seen, filters) in enumerate(zip(_seen(g, padded), prepared, strict=True)):
                multiply(pointwise, seen, filters, term if number else total, PLAIN, threads)
                if number:
                    total += term
        finish_planes(out, epilogue, threads)
