"""Means of windows that divide the image: rows are summed first, whole vectors at a time, and then columns."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv.engine.geometry import UnevenGeometry
from fastconv.engine.pooling.base import Cut, Geometry, PoolSolver, tile_rows
from fastconv.kernels.jit.pools.planes import PIECE
from fastconv.kernels.jit.target import lanes

# Means of equal windows are summed down before across if they have at least as many rows.
_ROWS = 4

_DOUBLE = np.dtype(np.float64)


class Adaptive(PoolSolver):
    name = "adaptive"
    NANOSECONDS: ClassVar[tuple[float, ...]] = (60.0, 2.3, 0.55, 4.6, 1.1)

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if not self.kind.averages:
            return "sums rows before columns, which serves means only"
        if g.windows != "adaptive" if isinstance(g, UnevenGeometry) else not g.is_partition:
            return "windows do not divide the image"
        return super().refuse(g, dtype)

    def declines(self, g: Geometry) -> str | None:
        if isinstance(g, UnevenGeometry):
            # Each value would be converted into the line of sums, and then read again.
            return "a single line, which has no rows to sum" if g.ih == 1 else None
        if g.kh < _ROWS:
            return f"windows of fewer than {_ROWS} rows"
        return "a single window" if g.positions == 1 else None

    def steps(self, g: Geometry, dtype: np.dtype) -> int:
        return 1 if dtype.itemsize == 4 else g.kh + g.kw  # the line of sums is in double precision

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """Lines to sum, their vectors, windows, and their columns."""
        lines = g.oh * (g.kh + 1)
        return 1, lines, lines * g.iw / lanes(_DOUBLE), g.positions, g.positions * g.kw

    def cut(self, g: Geometry, dtype: np.dtype, strides: tuple[int, ...]) -> Cut:
        return Cut(tile_rows(g), PIECE * _DOUBLE.itemsize // dtype.itemsize)

    def kernel(
        self, g: Geometry, dtype: np.dtype, divisors: tuple[np.ndarray, ...]
    ) -> tuple[tuple[()], tuple[np.ndarray, ...]]:
        return (), divisors
