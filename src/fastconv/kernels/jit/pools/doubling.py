"""Pooling with large windows, in logarithmically many folds.

As in computing powers by squaring, windows of extent w give those of 2 w, and with one more value those of 2 w + 1::

    fold_k[q] = fold(fold_w[q], fold_w[q + w])                                     k = 2 w
    fold_k[q] = fold(fold(fold_w[q], fold_w[q + w]), x[q + 2 w])                   k = 2 w + 1

so an output costs at most 2 log2(k) folds of whole vectors per axis, along the rows and then down the columns. Sums are
pairwise: their error grows with log2(k), not along the row as in a running sum, and NaN or infinity stays in its
windows. The maximum by van Herk and by Gil and Werman takes 3 folds per axis for any extent, but scans rows value by
value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from fastconv.kernels.jit.pools.folds import FOLDS
from fastconv.kernels.jit.pools.shared import ACROSS, DOWN, OUT, SCRATCH, X, gatherer, planes_and_tiles, rows_of
from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.target import lanes
from fastconv.kernels.jit.vector import load, store


@register_jitable
def top_bit(value: int) -> int:
    """The largest power of 2 that is at most `value`."""
    bit = 1
    while 2 * bit <= value:
        bit *= 2
    return bit


def doubling_kernel(dtype: np.dtype, fold: str) -> Callable[..., None]:
    """The tile kernel that doubles windows, for dilation 1.

    ``arrays``: as in shared.py. ``ints``: `Planes`, `Tiles`.
    """
    neutral, LANES = FOLDS[fold].neutral(dtype), lanes(dtype)
    gather = gatherer(dtype, neutral)
    MEAN, folded = int(FOLDS[fold].averages), FOLDS[fold].vectors

    @register_jitable
    def widen(lines, lone, width, more, source, step, target, count):
        """From windows of `width` in `source` make those of 2 * width, or 2 * width + 1 with the `lone` values."""
        q = 0
        while q < count:
            best = folded(load(lines, source + q), load(lines, source + q + width * step))
            if more:
                best = folded(best, load(lines, lone + q + 2 * width * step))
            store(lines, target + q, best)
            q += LANES

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, heights, widths, scratch = arrays[X], arrays[OUT], arrays[DOWN], arrays[ACROSS], arrays[SCRATCH]
        p, tiles = planes_and_tiles(ints)
        span = (p.ow - 1) * p.sw + p.kw
        pitch = (p.ow + LANES - 1) // LANES * LANES
        line = worker * tiles.scratch
        work = line + span + LANES
        rows = work + span + LANES
        folds = rows + ((tiles.rows - 1) * p.sh + p.kh) * pitch
        for tile in range(begin, end):
            plane, image, row0, row1 = rows_of(tile, p, tiles)
            top = row0 * p.sh - p.pt
            count = (row1 - row0 - 1) * p.sh + p.kh
            for y in range(top, top + count):
                if (y - top) % 16 == 0 and stops(arrays, worker):
                    return
                to = rows + (y - top) * pitch
                if y < 0 or y >= p.ih:
                    for q in range(pitch):
                        scratch[to + q] = neutral
                    continue
                gather(x, image + y * p.xh, 0, 1, -p.pl, 1, p.xw, p.iw, scratch, line, 0, span)
                width, bit, source = 1, top_bit(p.kw), line
                while bit > 1:
                    bit //= 2
                    more = int((p.kw & bit) > 0)
                    wide = 2 * width + more
                    target = to if bit == 1 and p.sw == 1 else work
                    widen(scratch, line, width, more, source, 1, target, span - wide + 1)
                    width, source = wide, target
                if source != to:
                    for q in range(p.ow):
                        scratch[to + q] = scratch[source + q * p.sw]
            width, bit, source = 1, top_bit(p.kh), rows
            while bit > 1:
                bit //= 2
                more = int((p.kh & bit) > 0)
                wide = 2 * width + more
                if stops(arrays, worker):
                    return
                for line_of_folds in range(count - wide + 1):
                    at = line_of_folds * pitch
                    widen(scratch, rows + at, width, more, source + at, pitch, folds + at, pitch)
                width, source = wide, folds
            for r in range(row0, row1):
                at, to = source + (r - row0) * p.sh * pitch, (plane * p.oh + r) * p.ow
                for q in range(p.ow):
                    if MEAN:
                        out[to + q] = scratch[at + q] / (heights[r] * widths[q])
                    else:
                        out[to + q] = scratch[at + q]

    return loop
