"""Extremes and their positions, tap by tap along the rows of the output."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv.engine.geometry import UnevenGeometry
from fastconv.engine.pooling.base import Geometry, PoolSolver


class Places(PoolSolver):
    name = "places"
    NANOSECONDS: ClassVar[tuple[float, ...]] = (100.0, 0.64, 4.8, 1.06)

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if isinstance(g, UnevenGeometry):
            return "windows differ in extent"
        return super().refuse(g, dtype) if self.kind.positions else "finds positions, which are not wanted"

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """Windows, lines of one tap each, and their values."""
        lines = g.oh * g.taps
        return 1, g.positions, lines, lines * g.ow
