"""Pooling with windows that share few values and are wider than vectors: each is folded lane by lane.

Four vectors are folded side by side, so that no fold waits for the one before it; lanes are folded at the end. Sums are
taken in blocks, in which each lane adds few values, and blocks are added up in double precision, so that the error does
not grow with the window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from fastconv.kernels.jit.pools.folds import FOLDS
from fastconv.kernels.jit.pools.planes import STRETCH
from fastconv.kernels.jit.pools.shared import (
    ACROSS,
    DOWN,
    OUT,
    SCRATCH,
    X,
    gatherer,
    planes_and_tiles,
    regular,
    rows_of,
)
from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.target import lanes
from fastconv.kernels.jit.vector import broadcast, load, store

# Number of values that a lane adds up in one block of a sum.
_BLOCK = 64


def folding_kernel(dtype: np.dtype, fold: str) -> Callable[..., None]:
    """The tile kernel for windows with column dilation 1.

    ``arrays``, ``ints``: as for `doubling_kernel`, with scratch memory for a vector and `STRETCH` values of a line.
    """
    neutral, LANES, MEAN = FOLDS[fold].neutral(dtype), lanes(dtype), int(FOLDS[fold].averages)
    # A block of one row; maxima need none.
    PIECE = 4 * LANES * _BLOCK
    gather = gatherer(dtype, neutral)
    fold_vectors, fold_values = FOLDS[fold].vectors, FOLDS[fold].values

    @register_jitable
    def folded(lines, at, count, vectors, rest):
        """Fold a line: its whole vectors into `vectors`, the values after them into `rest`."""
        a, b, c, d = vectors
        j = 0
        while j + 4 * LANES <= count:
            a, b = fold_vectors(a, load(lines, at + j)), fold_vectors(b, load(lines, at + j + LANES))
            c = fold_vectors(c, load(lines, at + j + 2 * LANES))
            d = fold_vectors(d, load(lines, at + j + 3 * LANES))
            j += 4 * LANES
        while j + LANES <= count:
            a = fold_vectors(a, load(lines, at + j))
            j += LANES
        for k in range(j, count):
            rest = fold_values(rest, lines[at + k])
        return (a, b, c, d), rest

    @register_jitable
    def gathered(scratch, own, vectors, rest):
        """Fold all lanes into one value."""
        a, b, c, d = vectors
        store(scratch, own, fold_vectors(fold_vectors(a, b), fold_vectors(c, d)))
        for lane in range(LANES):
            rest = fold_values(rest, scratch[own + lane])
        return rest

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, scratch = arrays[X], arrays[OUT], arrays[SCRATCH]
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
                        value = (blocks + value) / (arrays[DOWN][r] * arrays[ACROSS][q])
                    out[(plane * p.oh + r) * p.ow + q] = value

    return loop
