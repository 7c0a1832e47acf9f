"""From window to window, tap by tap: whatever the others refuse."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv.engine.geometry import UnevenGeometry
from fastconv.engine.pooling.base import Geometry, PoolSolver
from fastconv.kernels.jit.lookup import Constant
from fastconv.kernels.jit.pools.planes import STRETCH


class Walking(PoolSolver):
    name = "walking"
    NANOSECONDS: ClassVar[tuple[float, ...]] = (60.0, 6.4, 3.6, 0.63)

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if self.kind.averages and _windows(g) == "drawn":
            return "takes the starts of drawn windows in place of the divisors of means"
        return super().refuse(g, dtype)

    def steps(self, g: Geometry, dtype: np.dtype) -> int:
        return 1 if dtype.itemsize == 4 else g.kh + g.kw  # sums in single precision are taken in double

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """Windows, rows of taps, and taps."""
        rows = g.positions * g.kh
        return 1, g.positions, rows, rows * g.kw

    def kernel(
        self, g: Geometry, dtype: np.dtype, divisors: tuple[np.ndarray, ...]
    ) -> tuple[tuple[Constant, ...], tuple[np.ndarray, ...]]:
        return (self.kind.fold, _windows(g), self.kind.positions, g.iw > STRETCH), divisors


def _windows(g: Geometry) -> str:
    """What the kernel calls such windows."""
    return g.windows if isinstance(g, UnevenGeometry) else "regular"
