"""Lowering along rows only: a matrix kh times smaller than that of `im2col`, whose overlapping parts are multiplied.

Cho and Brand, MEC: Memory-efficient Convolution for Deep Neural Network, 2017. Each column of the kernel becomes
channels of its own, and what is left is a convolution by kernels of kh×1: its product is that of `implicit`, which
reads the rows that neighbouring outputs share where they lie.
"""

from __future__ import annotations

import numpy as np

from fastconv.engine.convolution.base import PreparesFirst
from fastconv.engine.convolution.implicit import Implicit, multiply
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import rates
from fastconv.engine.replay import unrepeatable

_IMPLICIT = Implicit()


def _lowered(g: ConvGeometry, images: int) -> ConvGeometry:
    """What is left to compute once rows are lowered."""
    padding = g.padding[0], (0, 0)
    return ConvGeometry(images, g.g, g.ic * g.kw, g.oc, (g.ih, g.ow), (g.kh, 1), (g.sh, 1), (g.dh, 1), padding)


def _values(g: ConvGeometry) -> tuple[int, int]:
    """Values of an image with padded rows, and of its matrix."""
    return g.ic * g.ih * (g.iw + sum(g.padding[1])), g.ic * g.kw * g.ih * g.ow


class Mec(SumsDirectly, PreparesFirst):
    name = "mec"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return _IMPLICIT.refuse(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return self.least_cost(geometry, dtype) + _IMPLICIT.cost(_lowered(geometry, geometry.n), dtype)

    def least_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        copied = 2 * sum(_values(geometry)) * dtype.itemsize
        return geometry.n * (1e-5 * (1 + geometry.kw) + copied / rates().memory)

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return _IMPLICIT.prepare_cost(_lowered(geometry, 1), dtype)

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return _IMPLICIT.error(_lowered(geometry, geometry.n), dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        # Filters are turned, too, before they are packed.
        values = sum(_values(geometry)) + geometry.oc * geometry.reduction
        product = _IMPLICIT.workspace_bytes(_lowered(geometry, 1), dtype, threads, max_workspace)
        return values * dtype.itemsize + product

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> np.ndarray:
        lowered = _lowered(geometry, 1)
        turned = weight.swapaxes(2, 3).reshape(lowered.weight_shape)
        return _IMPLICIT.prepare(lowered, turned, threads)

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
        unrepeatable()
        g, lowered = geometry, _lowered(geometry, 1)
        padded = np.zeros((g.ic, g.ih, g.iw + sum(g.padding[1])), x.dtype)
        matrix = np.empty((g.ic, g.kw, g.ih, g.ow), x.dtype)
        for image in range(g.n):
            padded[:, :, g.pl : g.pl + g.iw] = x[image]
            for column in range(g.kw):
                first = column * g.dw
                matrix[:, column] = padded[:, :, first : first + (g.ow - 1) * g.sw + 1 : g.sw]
            part = out[image : image + 1]
            multiply(lowered, matrix.reshape(lowered.x_shape), prepared, part, epilogue, threads)
