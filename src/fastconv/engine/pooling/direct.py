"""Tap by tap, a vector of neighbouring outputs at a time."""

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
from fastconv.kernels.jit.lookup import Constant
from fastconv.kernels.jit.target import lanes

# A worker's strips should stay in its L2 cache.
_STRIP_BYTES = 128 << 10

# A block of windows is folded without a check whether to stop.
MOST_TAPS = 2**20


class Direct(RegularSolver):
    name = "direct"
    NANOSECONDS: ClassVar[tuple[float, ...]] = (100.0, 9.4, 1.8, 0.1, 0.5, 0.3, 0.2, 0.9)

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if g.taps > MOST_TAPS:
            return f"folds a window of {g.taps} taps without a break, the limit is {MOST_TAPS}"
        return refuse_wide_strips(g) or super().refuse(g, dtype)

    def declines(self, g: Geometry) -> str | None:
        return decline_column(g)

    def steps(self, g: Geometry, dtype: np.dtype) -> int:
        """Those of a row, and then of the rows: of many rows in blocks of 64, and these in blocks again."""
        return g.kw + min(g.kh, 64 + g.kh // 64)

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """Rows, vectors, their taps if these are compiled in, otherwise taps and rows of taps; and gathered values."""
        width, compiled = lanes(dtype), all(_unrolled(g))
        vectors, gathered, kept = g.oh * -(-g.ow // width), gathered_values(g, dtype), g.sw <= 2
        return (
            1,
            g.oh,
            vectors,
            vectors * g.taps if compiled else 0,
            0 if compiled else vectors * g.taps,
            0 if compiled else vectors * g.kh,
            gathered if kept else 0,
            0 if kept else gathered,
        )

    def cut(self, g: Geometry, dtype: np.dtype, strides: tuple[int, ...]) -> Cut:
        return strips(g, dtype, strides, g.kh if all(_unrolled(g)) else min(g.kh, g.ih))

    def kernel(
        self, g: Geometry, dtype: np.dtype, divisors: tuple[np.ndarray, ...]
    ) -> tuple[tuple[Constant, ...], tuple[np.ndarray, ...]]:
        times = False
        if divisors:
            down, across = divisors
            divisors = down, np.append(across, np.ones(lanes(dtype), dtype))
            # Multiplying by the reciprocal of a power of 2 is exact, and takes a fifth of the time of a division.
            times = all(bool((abs(np.frexp(of_axis)[0]) == 0.5).all()) for of_axis in divisors)
            if times:
                divisors = tuple(1 / of_axis for of_axis in divisors)
        KH, KW = _unrolled(g)
        step = g.sw if g.sw <= 2 else 1
        return (self.kind.fold, times, KH, KW, step, g.sh if KH > 1 else 0, False), divisors


def gathered_values(g: Geometry, dtype: np.dtype) -> int:
    """The values of a plane that are gathered into strips, about."""
    width, kept = lanes(dtype), g.sw <= 2
    if kept and g.ow >= width and g.pl == 0:
        return 0
    lines = g.oh * min(g.kh, g.sh if g.dh == 1 else g.kh)
    return lines * max(g.ow, width) * (g.sw if kept else g.kw)


def strips(g: Geometry, dtype: np.dtype, strides: tuple[int, ...], lines: int) -> Cut:
    """How planes are cut, and which columns are gathered into strips that hold so many `lines` of a window."""
    width, rows = lanes(dtype), tile_rows(g)
    kept = g.sw <= 2
    first = min(g.ow, -(-g.pl // g.sw))
    last = max(first, min(g.ow, (g.iw + g.pl - (g.kw - 1) * g.dw - 1) // g.sw + 1))
    left, right = round_up(first, width), g.ow - round_up(g.ow - last, width)
    # Two narrow strips cost more than they save.
    worth = width if (left, right) == (0, g.ow) else 4 * width
    if not kept or strides[-1] != 1 or right - left < worth:
        left = right = g.ow
    widest = max(left, g.ow - right, width)
    line = (widest - 1) * g.sw + (g.kw - 1) * g.dw + 1 if kept else g.kw * widest
    group = 1
    if g.dh == 1:
        group = max(1, min(rows, (_STRIP_BYTES // (line * dtype.itemsize) - g.kh) // g.sh + 1))
    lines = (group - 1) * g.sh + lines
    # Nothing is gathered if every vector lies within the image.
    scratch = 0 if right - left == g.ow >= width else 4 * width + lines * line
    return Cut(rows, scratch, (group, left, right, int(kept)))


def _unrolled(g: Geometry) -> tuple[int, int]:
    """The extents of a window that are compiled in; 0 means "read at run time".

    Windows of up to 3 × 3 with both strides 1 or both 2 have a kernel of their own for every type. It finds the taps
    of a row anywhere, unless it reads two vectors for every second column.
    """
    is_small = max(g.kh, g.kw) <= 3 and g.sw <= 2 and (g.kh == 1 or g.sh == g.sw)
    return (g.kh, g.kw) if is_small and g.dh == 1 and (g.dw == 1 or g.sw == 1) else (0, 0)
