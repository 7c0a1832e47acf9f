"""The textbook: lower windows to the columns of a matrix, and multiply the filters by it.

The matrix of some images, or of some rows of one image, is written out whole. The product is that of `implicit`, for
which the matrix is an image of K channels under 1×1 filters.
"""

from __future__ import annotations

import functools
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.convolution.base import PreparesFirst, element_strides, window
from fastconv.engine.convolution.implicit import Implicit, is_pointwise, multiply
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import rates
from fastconv.kernels import threads as team

# Size of a matrix, small enough that it is still in a shared cache when it is read.
_CHUNK_BYTES = 4 << 20

_IMPLICIT = Implicit()


class _Chunk(NamedTuple):
    """The part that is lowered together: whole images, or some output rows of one. Results do not depend on it."""

    images: int
    rows: int
    values: int


@functools.lru_cache(maxsize=REMEMBERED)
def _chunk(g: ConvGeometry, itemsize: int, max_workspace: int) -> _Chunk:
    row = g.ic * g.taps * g.ow
    most = min(_CHUNK_BYTES, max_workspace) // (row * itemsize)
    images = min(max(1, g.n), most // g.oh)
    rows = g.oh if images else max(1, most)
    return _Chunk(max(1, images), rows, max(1, images) * rows * row)


@functools.lru_cache(maxsize=REMEMBERED)
def _product(g: ConvGeometry, images: int, columns: int) -> ConvGeometry:
    """The product of the filters and the matrix as a 1×1 convolution: rows are channels, all columns one image row."""
    return ConvGeometry(images, g.g, g.ic * g.taps, g.oc, (1, columns), (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


class Im2col(SumsDirectly, PreparesFirst):
    name = "im2col"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        reason = _IMPLICIT.refuse(geometry, dtype)
        if reason is None and prod(geometry.columns_shape) >= 2**58:
            return "its matrix has more elements than memory has addresses"
        return reason

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g = geometry
        lowered = 0 if g.taps == 1 else g.n * g.ic * g.taps * g.positions * dtype.itemsize
        # Multiplying the matrix costs as much as multiplying without it.
        return 5e-6 + lowered / rates().memory + _IMPLICIT.cost(g, dtype)

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return _IMPLICIT.prepare_cost(geometry, dtype)

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return _IMPLICIT.error(_product(geometry, geometry.n, geometry.positions), dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        chunk = _chunk(geometry, dtype.itemsize, max_workspace)
        product = _product(geometry, chunk.images, chunk.rows * geometry.ow)
        return chunk.values * dtype.itemsize + _IMPLICIT.workspace_bytes(product, dtype, threads, max_workspace)

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> np.ndarray:
        return _IMPLICIT.prepare(_product(geometry, 1, 1), weight, threads)

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
        if is_pointwise(g, x):  # the image is its own matrix
            multiply(g, x, prepared, out, epilogue, threads)
            return
        from fastconv.kernels.slots import arguments

        chunk = _chunk(g, x.itemsize, max_workspace)
        matrix = team.aligned_empty(chunk.values, x.dtype)
        ints = arguments("im2col")(**window(g, element_strides(x)))
        for image in range(0, g.n, chunk.images):
            for row in range(0, g.oh, chunk.rows):
                source = x[image : image + chunk.images]
                target = out[image : image + chunk.images, :, row : row + chunk.rows]
                images, rows = len(source), target.shape[2]
                product = _product(g, images, rows * g.ow)
                part = ints._replace(n=images, oh=rows, pt=g.pt - row * g.sh)
                Launch.of("im2col", x.dtype, part, images * g.ic).run((source, matrix), threads)
                columns = matrix[: images * product.ic * product.iw].reshape(product.x_shape)
                multiply(product, columns, prepared, target, epilogue, threads)
