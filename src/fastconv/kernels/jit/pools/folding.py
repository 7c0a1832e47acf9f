"""Pooling with windows that share few values and are wider than vectors: each is folded lane by lane.

Four vectors are folded side by side, so that no fold waits for the one before it; lanes are folded at the end. Sums are
taken in blocks, in which each lane adds few values, and blocks are added up in double precision, so that the error does
not grow with the window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from fastconv.kernels.jit.pools.planes import STRETCH
from fastconv.kernels.jit.pools.shared import (
    gatherer,
    larger,
    larger_or_nan,
    later_or_larger,
    neutral_value,
    planes_and_tiles,
    regular,
    rows_of,
    total,
)
from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.target import lanes
from fastconv.kernels.jit.vector import broadcast, load, store

# Number of values that a lane adds up in one block of a sum.
_BLOCK = 64


def folding_kernel(dtype: np.dtype, mean: bool) -> Callable[..., None]:
    """The tile kernel for windows with column dilation 1.

    ``arrays``, ``ints``: as for `doubling_kernel`; scratch memory for a vector and `STRETCH` values of a line.
    """
    neutral, LANES, MEAN = neutral_value(dtype, mean), lanes(dtype), int(mean)
    # A block of one row; maxima need none.
    PIECE = 4 * LANES * _BLOCK
    gather = gatherer(dtype, neutral)
    fold = total if mean else later_or_larger
    fold_lanes = total if mean else larger_or_nan if dtype.kind == "f" else larger

    @register_jitable
    def folded(lines, at, count, vectors, rest):
        """Fold a line: its whole vectors into `vectors`, the values after them into `rest`."""
        a, b, c, d = vectors
        j = 0
        while j + 4 * LANES <= count:
            a, b = fold(a, load(lines, at + j)), fold(b, load(lines, at + j + LANES))
            c, d = fold(c, load(lines, at + j + 2 * LANES)), fold(d, load(lines, at + j + 3 * LANES))
            j += 4 * LANES
        while j + LANES <= count:
            a = fold(a, load(lines, at + j))
            j += LANES
        for k in range(j, count):
            rest = fold_lanes(rest, lines[at + k])
        return (a, b, c, d), rest

    @register_jitable
    def gathered(scratch, own, vectors, rest):
        """Fold all lanes into one value."""
        a, b, c, d = vectors
        store(scratch, own, fold(fold(a, b), fold(c, d)))
        for lane in range(LANES):
            rest = fold_lanes(rest, scratch[own + lane])
        return rest

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, scratch = arrays[0], arrays[1], arrays[2]
        p, tiles = planes_and_tiles(ints)
        asked = 0  # values since the last check whether to stop
        own = worker * tiles.scratch
        line = own + LANES
        none = broadcast(neutral)
        for tile in range(begin, end):
            plane, image, row0, row1 = rows_of(tile, p, tiles)
            for r in range(row0, row1):
                top, rows = regular(r, p.ih, p.oh, p.kh, p.sh, p.dh, p.pt, ints, plane)
                for q in range(p.ow):
                    left, columns = regular(q, p.iw, p.ow, p.kw, p.sw, 1, p.pl, ints, plane)
                    vectors, rest, held, blocks = (none, none, none, none), neutral, 0, -0.0
                    for i in range(rows):
                        row = image + (top + i * p.dh) * p.xh
                        for j in range(0, columns, PIECE):
                            count = min(columns - j, PIECE)
                            asked += count
                            if asked >= STRETCH:
                                asked = 0
                                if stops(arrays, worker):
                                    return
                            if p.xw == 1:
                                vectors, rest = folded(x, row + left + j, count, vectors, rest)
                            else:
                                gather(x, row, 0, 1, left + j, 1, p.xw, p.iw, scratch, line, 0, count)
                                vectors, rest = folded(scratch, line, count, vectors, rest)
                            if MEAN:
                                held += max(count // (4 * LANES) + 3, count % LANES)
                                if held >= _BLOCK:
                                    blocks += gathered(scratch, own, vectors, rest)
                                    vectors, rest, held = (none, none, none, none), neutral, 0
                    value = gathered(scratch, own, vectors, rest)
                    if MEAN:
                        value = (blocks + value) / (arrays[3][r] * arrays[4][q])
                    out[(plane * p.oh + r) * p.ow + q] = value

    return loop
