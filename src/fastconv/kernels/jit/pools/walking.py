"""Pooling window by window, where windows differ in extent, or the output is a single column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv.kernels.jit.pools.folds import FOLDS
from fastconv.kernels.jit.pools.planes import STRETCH
from fastconv.kernels.jit.pools.shared import (
    ACROSS,
    DOWN,
    OUT,
    POSITIONS,
    X,
    adaptive,
    planes_and_tiles,
    regular,
    rows_of,
)
from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.vector import as_int64


@register_jitable
def drawn(
    at: int, extent: int, outputs: int, taps: int, stride: int, dilation: int, pad: int, starts: Any, plane: int
) -> tuple[int, int]:
    start: int = starts[plane * outputs + at]
    return start, taps


@register_jitable
def line_sum(x: Any, at: int, apart: int, count: int) -> float:
    """The sum of neighbouring values of a line, in double precision, and in chains that hide an addition's latency."""
    a = b = c = d = e = f = g = h = -0.0
    whole = count // 8 * 8
    for j in range(0, whole, 8):
        first = at + j * apart
        a += x[first]
        b += x[first + apart]
        c += x[first + 2 * apart]
        d += x[first + 3 * apart]
        e += x[first + 4 * apart]
        f += x[first + 5 * apart]
        g += x[first + 6 * apart]
        h += x[first + 7 * apart]
    for j in range(whole, count):
        a += x[at + j * apart]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


# The start of a window inside the image, and its number of taps there.
WINDOWS: dict[str, Callable[..., tuple[int, int]]] = {"regular": regular, "adaptive": adaptive, "drawn": drawn}


def walking_kernel(dtype: np.dtype, fold: str, windows: str, INDICES: bool, LONG: bool) -> Callable[..., None]:
    """The tile kernel that goes from window to window, for one kind of `WINDOWS`.

    ``arrays``: as in shared.py; with `INDICES` positions are those of the first of equal values, but of the last NaN,
    as in torch. ``ints``: `Planes`, `Tiles`. `LONG` kernels check whether to stop within a row as well; the others
    would take a third longer if they did.
    """
    # Sums in single precision are taken in double: value by value, their error would grow with the window.
    window, MEAN = WINDOWS[windows], int(FOLDS[fold].averages)
    neutral = -0.0 if MEAN else FOLDS[fold].neutral(dtype)
    folded, replaces = FOLDS[fold].values, FOLDS[fold].replaces

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, out_at = arrays[X], arrays[OUT], as_int64(arrays[POSITIONS])
        row_starts, column_starts = as_int64(arrays[DOWN]), as_int64(arrays[ACROSS])
        p, tiles = planes_and_tiles(ints)
        asked = 0  # values since the last check whether to stop
        for tile in range(begin, end):
            plane, image, row0, row1 = rows_of(tile, p, tiles)
            for r in range(row0, row1):
                top, rows = window(r, p.ih, p.oh, p.kh, p.sh, p.dh, p.pt, row_starts, plane)
                for q in range(p.ow):
                    left, columns = window(q, p.iw, p.ow, p.kw, p.sw, p.dw, p.pl, column_starts, plane)
                    to = (plane * p.oh + r) * p.ow + q
                    best, at = neutral, -1
                    for i in range(rows):
                        row, of_row = image + (top + i * p.dh) * p.xh, neutral
                        asked += 0 if LONG else columns
                        if asked >= STRETCH:
                            asked = 0
                            if stops(arrays, worker):
                                return
                        for j in range(0, columns if MEAN else 0, STRETCH):
                            count = min(columns - j, STRETCH)
                            if LONG:
                                asked += count
                                if asked >= STRETCH:
                                    asked = 0
                                    if stops(arrays, worker):
                                        return
                            of_row += line_sum(x, row + (left + j) * p.xw, p.xw, count)
                        for j in range(0 if MEAN else columns):
                            if LONG:
                                asked += 1
                                if asked >= STRETCH:
                                    asked = 0
                                    if stops(arrays, worker):
                                        return
                            value = x[row + (left + j * p.dw) * p.xw]
                            if not INDICES:
                                of_row = folded(of_row, value)
                            elif replaces(best, value) | (at < 0):
                                best, at = value, (top + i * p.dh) * p.iw + left + j * p.dw
                        if not INDICES:
                            best = folded(best, of_row)
                    if INDICES:
                        out_at[to] = at
                    if MEAN:
                        best /= arrays[DOWN][r] * arrays[ACROSS][q]
                    out[to] = best

    return loop
