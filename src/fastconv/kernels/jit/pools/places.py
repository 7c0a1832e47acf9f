"""Extremes of equal windows and their positions, tap by tap along the rows of the output.

Neighbouring outputs are compared with one tap each, without branches that depend on values: going from window to window
took four times as long, mostly because of mispredicted branches.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.kernels.jit.pools.folds import FOLDS
from fastconv.kernels.jit.pools.planes import STRETCH
from fastconv.kernels.jit.pools.shared import OUT, POSITIONS, X, inside, planes_and_tiles, rows_of
from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.vector import as_int64

# The overhead of a line, in values.
LINE = 16


def places_kernel(dtype: np.dtype, fold: str) -> Callable[..., None]:
    """The tile kernel of extremes and their positions in the plane: the first of equal values, but the last NaN.

    ``arrays``: as in shared.py. ``ints``: `Planes`, `Tiles`.
    """
    neutral, replaces = FOLDS[fold].neutral(dtype), FOLDS[fold].replaces

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, places = arrays[X], arrays[OUT], as_int64(arrays[POSITIONS])
        p, tiles = planes_and_tiles(ints)
        asked = 0  # values since the last check whether to stop
        step, reach = p.sw * p.xw, (p.ow - 1) * p.sw
        column0, column1 = inside(reach - p.pl, p.dw, p.kw, p.iw + reach)
        for tile in range(begin, end):
            plane, image, row0, row1 = rows_of(tile, p, tiles)
            for r in range(row0, row1):
                to = (plane * p.oh + r) * p.ow
                for q in range(p.ow):
                    out[to + q] = neutral
                    places[to + q] = -1
                top = r * p.sh - p.pt
                tap0, tap1 = inside(top, p.dh, p.kh, p.ih)
                for i in range(tap0, tap1):
                    y = top + i * p.dh
                    for j in range(column0, column1):
                        asked += p.ow + LINE
                        if asked >= STRETCH:
                            asked = 0
                            if stops(arrays, worker):
                                return
                        column = j * p.dw - p.pl
                        first, last = inside(column, p.sw, p.ow, p.iw)
                        at, place = image + y * p.xh + column * p.xw, y * p.iw + column
                        for q in range(first, last):
                            value, best, found = x[at + q * step], out[to + q], places[to + q]
                            better = replaces(best, value) | (found < 0)
                            out[to + q] = value if better else best
                            places[to + q] = place + q * p.sw if better else found

    return loop
