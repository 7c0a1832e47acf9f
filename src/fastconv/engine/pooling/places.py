"""Extremes and their positions, tap by tap, a vector of neighbouring outputs at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv.engine.geometry import PoolGeometry, UnevenGeometry
from fastconv.engine.pooling.base import Cut, Geometry, PoolSolver, decline_column, refuse_wide_strips
from fastconv.engine.pooling.direct import MOST_TAPS, gathered_values, strips
from fastconv.kernels.jit.lookup import Constant
from fastconv.kernels.jit.target import lanes

# Offsets in a plane take 32 bits next to values that are not wider.
_MOST_POSITIONS = 2**31

# Taps of a row that are compiled in, so that none is addressed by a multiplication.
_MOST_UNROLLED = 3


class Places(PoolSolver):
    name = "places"
    NANOSECONDS: ClassVar[tuple[float, ...]] = (100.0, 9.4, 4.0, 1.0, 0.3, 0.9)

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if isinstance(g, UnevenGeometry):
            return "windows differ in extent"
        if not self.kind.positions:
            return "finds positions, which are not wanted"
        if g.taps > MOST_TAPS:
            return f"folds a window of {g.taps} taps without a break, the limit is {MOST_TAPS}"
        refusal = super().refuse(g, dtype) or refuse_wide_strips(g)
        if refusal is None and g.ih * g.iw >= _MOST_POSITIONS:
            return f"counts fewer than {_MOST_POSITIONS} positions of a plane"
        if refusal is None and g.is_blind:
            return "some windows see nothing but padding"
        return refusal

    def declines(self, g: Geometry) -> str | None:
        return decline_column(g)

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """Rows, vectors, their taps, and gathered values."""
        vectors, gathered = g.oh * -(-g.ow // lanes(dtype)), gathered_values(g, dtype)
        return 1, g.oh, vectors, vectors * g.taps, *((gathered, 0) if g.sw <= 2 else (0, gathered))

    def cut(self, g: Geometry, dtype: np.dtype, strides: tuple[int, ...]) -> Cut:
        cut = strips(g, dtype, strides, min(g.kh, g.ih))
        of_positions = lanes(dtype) * 8 // dtype.itemsize  # of outputs narrower than a vector
        return cut._replace(scratch=cut.scratch + of_positions) if cut.scratch else cut

    def kernel(
        self, g: Geometry, dtype: np.dtype, divisors: tuple[np.ndarray, ...]
    ) -> tuple[tuple[Constant, ...], tuple[np.ndarray, ...]]:
        assert isinstance(g, PoolGeometry)  # others are refused
        offsets = np.zeros(g.ow + lanes(dtype), np.int64 if dtype.itemsize == 8 else np.int32)
        clipped = g.first_offsets
        offsets[: len(clipped)] = clipped
        constants = self.kind.fold, g.kw if g.kw <= _MOST_UNROLLED else 0, 2 if g.sw == 2 else 1
        return constants, (np.zeros(0, dtype), offsets)
