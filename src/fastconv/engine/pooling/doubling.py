"""Large windows that share most taps with their neighbours: folds of half the extent make those of the whole."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv.engine.pooling.base import (
    Cut,
    Geometry,
    RegularSolver,
    decline_column,
    refuse_wide_strips,
    round_up,
    tile_rows,
)
from fastconv.kernels.jit.target import lanes

# Windows with more taps, most of which neighbouring windows share, are folded by doubling.
_TAPS, _STRIDES = 30, 4


class Doubling(RegularSolver):
    name = "doubling"
    NANOSECONDS: ClassVar[tuple[float, ...]] = (90.0, 43.0, 0.58, 0.35, 0.13, 0.24)

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if max(g.dilation) > 1:
            return "folds neighbouring taps together, which dilation sets apart"
        if g.pt > g.ih:
            return f"would fold {g.pt} rows of padding above an image of {g.ih}"
        return refuse_wide_strips(g) or super().refuse(g, dtype)

    def declines(self, g: Geometry) -> str | None:
        return decline_column(g) or (None if has_shared_taps(g) else "neighbouring windows share few taps")

    def steps(self, g: Geometry, dtype: np.dtype) -> int:
        return 2 * g.kh.bit_length() + 2 * g.kw.bit_length()

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """Image lines, vectors that are folded across and down, values that are picked, and windows."""
        width, lines = lanes(dtype), (g.oh - 1) * g.sh + g.kh
        across = -(-((g.ow - 1) * g.sw + g.kw) // width) * (1 + _doublings(g.kw))
        picked = g.ow if g.sw > 1 or g.kw == 1 else 0
        return 1, lines, lines * across, lines * -(-g.ow // width) * _doublings(g.kh), lines * picked, g.positions

    def cut(self, g: Geometry, dtype: np.dtype, strides: tuple[int, ...]) -> Cut:
        width = lanes(dtype)
        # Each tile folds kh - 1 more lines than it has rows.
        rows = min(g.oh, max(tile_rows(g), 4 * g.kh // g.sh))
        lines = (rows - 1) * g.sh + g.kh
        line = (g.ow - 1) * g.sw + g.kw + width
        return Cut(rows, 2 * line + 2 * lines * round_up(g.ow, width) + width)


def has_shared_taps(g: Geometry) -> bool:
    """Whether a window is large, and its neighbours have most of its taps."""
    return max(g.dilation) == 1 and g.taps > _TAPS and g.sh * g.sw <= _STRIDES and g.pt <= g.ih


def _doublings(extent: int) -> int:
    """The folds per value: one for each bit of the extent but the first, and one more for each that is set."""
    return extent.bit_length() + extent.bit_count() - 2
