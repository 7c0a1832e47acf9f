"""Windows with long rows that share few values: each is folded lane by lane."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv.engine.pooling.base import Cut, Geometry, RegularSolver, tile_rows
from fastconv.engine.pooling.doubling import has_shared_taps
from fastconv.kernels.jit.pools.planes import STRETCH
from fastconv.kernels.jit.target import lanes

# Windows are folded lane by lane if a row of them has at least as many taps: some vectors. Fewer are enough where
# windows do not overlap, since no solver folds neighbours together there.
_TAPS, _APART_TAPS = 32, 16


class Folding(RegularSolver):
    name = "folding"
    NANOSECONDS: ClassVar[tuple[float, ...]] = (70.0, 4.9, 0.43, 6.5, 0.56, 0.31)

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if g.dw > 1:
            return "reads vectors of neighbouring taps, which dilation sets apart"
        return super().refuse(g, dtype)

    def declines(self, g: Geometry) -> str | None:
        apart = g.sw >= g.kw
        taps = _APART_TAPS if apart else _TAPS
        if g.kw < taps:
            return f"rows of fewer than {taps} taps"
        if g.ow == 1 or apart or (self.kind.averages and not has_shared_taps(g)):
            return None
        return "neighbouring windows can be folded together"

    def steps(self, g: Geometry, dtype: np.dtype) -> int:
        """Blocks of 64 values per lane, the lanes of a block, and the blocks, in double precision."""
        return min(64, g.taps) + lanes(dtype)

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """Windows, the lanes that each leaves, rows of taps, their vectors, and the taps after those."""
        width, rows = lanes(dtype), g.positions * g.kh
        return 1, g.positions, g.positions * width, rows, rows * (g.kw // width), rows * (g.kw % width)

    def cut(self, g: Geometry, dtype: np.dtype, strides: tuple[int, ...]) -> Cut:
        return Cut(tile_rows(g), lanes(dtype) + (min(g.iw, STRETCH) if strides[-1] != 1 else 0))
