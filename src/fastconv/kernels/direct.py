"""Direct convolution, tap by tap over strips of rows, with the kernel's extents as constants.

Equation, for one output channel m of one image, with c over the input channels of its group::

    out[r, q] = epilogue(sum_{c, i, j} weight[m, c, i, j] * x[c, r * sh - pt + i * dh, q * sw - pl + j * dw])

Index map. The input that a tile needs is gathered into a *strip*, zeros around the image included and columns split
by their phase modulo `split`, so that every tap reads neighbouring values; of the sums every `keep`-th is an output,
sw = split * keep::

    strip[line, phase, t] = x[c, row0 * sh - pt + line, col0 * sw - pl + t * split + phase]
    tap (i, j) of output (r, q) is strip[r * sh + i * dh, (j * dw) % split, q * keep + (j * dw) // split]

Where a stride or dilation leaves most lines unused, the strip holds those of each tap in turn (line i * row_tile + r),
and likewise a phase for each tap (phase j). The sums of a tile stay in a second strip, whose rows are a multiple of
`WIDTH` long: vector loops have no rest. Gathering costs a copy; testing for borders inside the loops cost more.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastconv.kernels.jit import finish_row, tile_kernel

# LLVM unrolls this many taps completely; past it, it stops vectorising the loop around them.
MAX_UNROLLED_TAPS = 49

# Rows of sums are a multiple of this many values: the widest vector.
WIDTH = 16


def specialisation(kh: int, kw: int, split: int, dw: int) -> tuple[int, int, int, int]:
    """The constants that are compiled in for a kernel; zeros stand for "read at run time"."""
    return (kh, kw, split, dw) if kh * kw <= MAX_UNROLLED_TAPS and split <= 4 and dw <= 2 else (0, 0, 0, 0)


@functools.cache
def direct_kernel(dtype: np.dtype, KH: int, KW: int, SPLIT: int, DW: int) -> Any:
    """The tile kernel for one `specialisation`.

    Tile: `row_tile` rows of `col_tile` columns of one output plane. ``arrays``: x, weight and out (C-contiguous), the
    address of `kernels.epilogue.ROW` or null, bias or null, workspace (`scratch` values a worker). ``ints``: as
    unpacked below; strides of x in elements. ``scalars``: the activation's parameter.
    """

    ZERO = dtype.type(0)

    def loop(arrays, ints, scalars, begin, end, worker):
        oc, icg, ocg, ih, iw, oh, ow = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6]
        kh, kw, sh, dw, pt, pl = ints[7], ints[8], ints[9], ints[10], ints[11], ints[12]
        row_tile, row_tiles, col_tile, col_tiles = ints[13], ints[14], ints[15], ints[16]
        row_step, tap_step, segment, line_step, dh = ints[17], ints[18], ints[19], ints[20], ints[21]
        split, keep, tap_phases, phases, pitch, scratch = ints[22], ints[23], ints[24], ints[25], ints[26], ints[27]
        xn, xc, xh, xw, activation = ints[28], ints[29], ints[30], ints[31], ints[32]
        kh, kw, split, dw, phases = KH or kh, KW or kw, SPLIT or split, DW or dw, SPLIT or phases
        x, weight, out, bias, sums = arrays[0], arrays[1], arrays[2], arrays[4], arrays[5]
        sums0 = worker * scratch
        strip = arrays[5]
        strip0 = sums0 + row_tile * (((col_tile - 1) * keep + WIDTH) // WIDTH * WIDTH)
        for tile in range(begin, end):
            plane = tile // (row_tiles * col_tiles)
            row0 = tile // col_tiles % row_tiles * row_tile
            col0 = tile % col_tiles * col_tile
            m = plane % oc
            rows, cols = min(row_tile, oh - row0), min(col_tile, ow - col0)
            width = ((cols - 1) * keep + WIDTH) // WIDTH * WIDTH
            for c in range(icg):
                image = plane // oc * xn + (m // ocg * icg + c) * xc
                for phase in range(phases):
                    left = col0 * split * keep - pl + (phase * dw if tap_phases else phase)
                    first = min(pitch, max(0, -(left // split)))
                    last = min(pitch, max(first, (iw - left + split - 1) // split))
                    for s in range((rows - 1) * row_step + (kh - 1) * tap_step + 1):
                        y = row0 * sh - pt + s // segment * dh + s % segment * line_step
                        line = strip0 + (s * phases + phase) * pitch
                        source = image + y * xh + left * xw
                        begin_copy, end_copy = (first, last) if 0 <= y < ih else (pitch, pitch)
                        for t in range(begin_copy):
                            strip[line + t] = 0
                        if xw == 1:
                            for t in range(begin_copy, end_copy):
                                strip[line + t] = x[source + t * split]
                        else:
                            for t in range(begin_copy, end_copy):
                                strip[line + t] = x[source + t * split * xw]
                        for t in range(end_copy, pitch):
                            strip[line + t] = 0
                w = (m * icg + c) * kh * kw
                for r in range(rows):
                    row = sums0 + r * width
                    line = strip0 + r * row_step * phases * pitch
                    if KH:
                        for q in range(width):
                            total = sums[row + q] if c > 0 else ZERO
                            for i in range(KH):
                                for j in range(KW):
                                    at = line + (i * tap_step * SPLIT + (j * DW) % SPLIT) * pitch + (j * DW) // SPLIT
                                    total += weight[w + i * KW + j] * strip[at + q]
                            sums[row + q] = total
                    else:
                        if c == 0:
                            for q in range(width):
                                sums[row + q] = ZERO
                        for i in range(kh):
                            for j in range(kw):
                                phase, shift = (j, 0) if tap_phases else (j * dw % split, j * dw // split)
                                at = line + (i * tap_step * phases + phase) * pitch + shift
                                for q in range(width):
                                    sums[row + q] += weight[w + i * kw + j] * strip[at + q]
            for r in range(rows):
                o = (plane * oh + row0 + r) * ow + col0
                for q in range(cols):
                    out[o + q] = sums[sums0 + r * width + q * keep]
                finish_row(arrays[3], out, o, cols, bias, m, activation, scalars[0])

    return tile_kernel(loop, dtype)
