"""Means of adaptive windows, which differ in extent.

First the image rows under a row of windows are summed into a line, whole vectors at a time. Then each window sums its
columns of that line, which neighbouring windows may share::

    line[t] = sum_i x[top + i, t]
    out[r, q] = sum_{left <= t < left + columns} line[t] / (rows * columns)

The line is in double precision, so that the error does not grow with the window. Wide lines are summed in pieces: a
piece contains whole windows only, or begins with a window that is wider than it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.kernels.jit.pools.planes import PIECE, STRETCH
from fastconv.kernels.jit.pools.shared import ACROSS, DOWN, OUT, SCRATCH, X, adaptive, planes_and_tiles, rows_of
from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.vector import as_float64


def adaptive_kernel(dtype: np.dtype) -> Callable[..., None]:
    """The tile kernel of means of adaptive windows.

    ``arrays``: as in shared.py, with scratch memory for `PIECE` values of double precision. ``ints``: `Planes` and
    `Tiles`.
    """

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, line = arrays[X], arrays[OUT], as_float64(arrays[SCRATCH])
        p, tiles = planes_and_tiles(ints)
        asked = 0  # values since the last check whether to stop
        zero = worker * PIECE
        for tile in range(begin, end):
            plane, image, row0, row1 = rows_of(tile, p, tiles)
            for r in range(row0, row1):
                top, rows = adaptive(r, p.ih, p.oh, p.kh, p.sh, p.dh, p.pt, ints, plane)
                first = last = 0  # the columns of the line
                for q in range(p.ow):
                    left, columns = adaptive(q, p.iw, p.ow, p.kw, p.sw, p.dw, p.pl, ints, plane)
                    value, t = -0.0, left
                    while t < left + columns:
                        if t < first or min(left + columns, t + PIECE) > last:
                            first, last = t, min(p.iw, t + PIECE)
                            for j in range(last - first):
                                line[zero + j] = -0.0
                            for i in range(rows):
                                asked += last - first
                                if asked >= STRETCH:
                                    asked = 0
                                    if stops(arrays, worker):
                                        return
                                at = image + (top + i) * p.xh + first * p.xw
                                if p.xw == 1:
                                    for j in range(last - first):
                                        line[zero + j] += x[at + j]
                                else:
                                    for j in range(last - first):
                                        line[zero + j] += x[at + j * p.xw]
                        ends = min(left + columns, last)
                        for j in range(zero + t - first, zero + ends - first):
                            value += line[j]
                        t = ends
                    out[(plane * p.oh + r) * p.ow + q] = value / (arrays[DOWN][r] * arrays[ACROSS][q])

    return loop
