"""Direct convolution of planes, one output row at a time, with the kernel's extents as constants.

Equation, for one output channel m of one image, with c over the input channels of its group::

    out[r, q] = bias[m] + sum_{c, i, j} weight[m, c, i, j] * x[c, r * sh - pt + i * dh, q * sw - pl + j * dw]

A row of `out` stays in L1 while the channels are added to it one by one; within a channel the taps are
unrolled and LLVM vectorises over q.

Boundary cases: rows outside the image shorten the loop over i; columns 0 to `first` and `last` to ow, where
some tap falls outside, are computed one by one with the loop over j shortened; all between is free of tests.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastconv.kernels.jit import finish_row, tile_kernel

# LLVM unrolls this many taps completely; past it, it stops vectorising the loop around them.
MAX_UNROLLED_TAPS = 49

# The integers of a direct kernel, in order. Strides of x are in elements; `row_tile` output rows are one tile.
INTS = [
    "ic",
    "oc",
    "icg",
    "ocg",
    "ih",
    "iw",
    "oh",
    "ow",
    "kh",
    "kw",
    "sh",
    "sw",
    "dh",
    "dw",
    "pt",
    "pl",
    "xn",
    "xc",
    "xh",
    "xw",
    "row_tile",
    "row_tiles",
    "first",
    "last",
    "activation",
]


def specialisation(kh: int, kw: int, step: int) -> tuple[int, int, int]:
    """The constants that are compiled in for a kernel: 0 stands for "read at run time"."""
    taps = (kh, kw) if kh * kw <= MAX_UNROLLED_TAPS else (0, 0)
    return (*taps, step if step in (1, 2) else 0)


@functools.cache
def direct_kernel(dtype: np.dtype, KH: int, KW: int, STEP: int) -> Any:
    """The tile kernel for one `specialisation`. Tile: `row_tile` output rows of one output channel of one image.

    ``arrays``: x, weight (C-contiguous), out (C-contiguous), the address of `kernels.epilogue.ROW` or null, bias
    or null. ``ints``: `INTS`. ``scalars``: the activation's parameter.
    """

    def loop(arrays, ints, scalars, begin, end, worker):
        _ic, oc, icg, ocg, ih, iw, oh, ow = (
            ints[0],
            ints[1],
            ints[2],
            ints[3],
            ints[4],
            ints[5],
            ints[6],
            ints[7],
        )
        sh, sw, dh, dw, pt, pl = ints[10], ints[11], ints[12], ints[13], ints[14], ints[15]
        xn, xc, xh, xw = ints[16], ints[17], ints[18], ints[19]
        row_tile, row_tiles, first, last, activation = ints[20], ints[21], ints[22], ints[23], ints[24]
        kh, kw, step = KH or ints[8], KW or ints[9], STEP or sw * xw
        x, weight, out = arrays[0], arrays[1], arrays[2]
        for tile in range(begin, end):
            plane = tile // row_tiles
            m = plane % oc
            image = plane // oc * xn + m // ocg * icg * xc
            row0 = tile % row_tiles * row_tile
            for r in range(row0, min(row0 + row_tile, oh)):
                o = (plane * oh + r) * ow
                top = r * sh - pt
                i0 = min(kh, max(0, -(top // dh)))
                i1 = min(kh, max(i0, (ih - top + dh - 1) // dh))
                for q in range(ow):
                    out[o + q] = 0
                for c in range(icg):
                    w = (m * icg + c) * kh * kw
                    source = image + c * xc + top * xh - pl * xw
                    if KH and i0 == 0 and i1 == KH:
                        for q in range(first, last):
                            total = out[o + q]
                            for i in range(KH):
                                for j in range(KW):
                                    total += weight[w + i * KW + j] * x[source + i * dh * xh + j * dw * xw + q * step]
                            out[o + q] = total
                    else:
                        for i in range(i0, i1):
                            for j in range(kw):
                                for q in range(first, last):
                                    out[o + q] += (
                                        weight[w + i * kw + j] * x[source + i * dh * xh + j * dw * xw + q * step]
                                    )
                    for border in range(2):
                        for q in range(last if border else 0, ow if border else first):
                            left = q * sw - pl
                            j0 = min(kw, max(0, -(left // dw)))
                            j1 = min(kw, max(j0, (iw - left + dw - 1) // dw))
                            total = out[o + q]
                            for i in range(i0, i1):
                                for j in range(j0, j1):
                                    total += (
                                        weight[w + i * kw + j] * x[source + i * dh * xh + j * dw * xw + q * sw * xw]
                                    )
                            out[o + q] = total
                finish_row(arrays[3], out, o, ow, arrays[4], m, activation, scalars[0])

    return tile_kernel(loop, dtype)
