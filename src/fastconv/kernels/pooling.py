"""Pooling of planes, first along the rows of the image, then down its columns.

Equation, for one plane x and a fold (the largest value, or the sum) over taps i, j in row-major order::

    row[y, q] = fold_j x[y, q * sw - pl + j * dw]
    out[r, q] = fold_i row[r * sh - pt + i * dh, q]        (a mean divides this by its count)

so that a value costs kh + kw steps instead of kh * kw, and the first of equal maxima stays the first: it is the first
of its row, in the first row that has it.

A pooled row is kept in slot ``y & mask`` of the worker's ring, tagged with its y, until another row takes its place:
windows that overlap find it there. The results do not depend on the size of the ring, only the work does.

Boundary cases: taps outside the image are left out, so nothing is padded. Columns 0 to `first` and `last` to ow, where
some tap falls outside, are pooled one by one with the loop over j shortened; all between is free of tests. With
dilation a window may have no tap inside at all: its fold is the neutral value, at index -1.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv.kernels.jit import as_int64, tile_kernel

# The integers of a pooling kernel, in order. Strides of x are in elements; `row_tile` output rows are one tile.
INTS = [
    "c",
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
    "mask",
    "count_include_pad",
]

# Windows of at most this extent are unrolled.
MAX_UNROLLED = 3


def specialisation(kh: int, kw: int, step: int, dense: bool) -> tuple[int, int, int]:
    """The constants that are compiled in for a window: 0 stands for "read at run time".

    `dense` taps follow each other in memory, and in the rows of the image.
    """
    constant_step = step if step in (1, 2) else 0
    small = dense and max(kh, kw) <= MAX_UNROLLED and constant_step
    return (kh, kw, constant_step) if small else (0, 0, constant_step)


@register_jitable
def larger(value, best):
    return value if value > best else best


@register_jitable
def larger_or_nan(value, best):
    # For a NaN the sum is that NaN. Were it written as `value`, LLVM would merge the two tests and then store
    # only where they hold; such stores are several times slower on AMD than a maximum, a blend and a plain store.
    return value + value if value != value else larger(value, best)


@register_jitable
def larger_and_where(value, at, best, best_at):
    """The larger value and its index: the first of equal values, but the last NaN, as torch has it."""
    if (value > best) | (value != value):
        return value, at
    return best, best_at


@register_jitable
def total(value, best):
    return best + value


@register_jitable
def taps_inside(start, dilation, taps, extent):
    """The interval of taps t for which ``0 <= start + t * dilation < extent``."""
    begin = min(taps, max(0, -(start // dilation)))
    return begin, min(taps, max(begin, (extent - start + dilation - 1) // dilation))


@register_jitable
def window_extent(start, taps, extent, pad, inside, count_include_pad):
    """What a mean counts along one axis: the window clipped to the padded image, or its taps `inside` the image."""
    return float(min(start + taps, extent + pad) - start if count_include_pad else inside)


@functools.cache
def max_kernel(dtype: np.dtype, KH: int, KW: int, STEP: int, INDICES: bool) -> Any:
    """The tile kernel of maxima; with `INDICES` it also stores where in its plane each maximum stands."""
    if dtype.kind == "f":
        return _pool_kernel(dtype, larger_or_nan, -np.inf, KH, KW, STEP, INDICES, False)
    return _pool_kernel(dtype, larger, np.iinfo(dtype).min, KH, KW, STEP, INDICES, False)


@functools.cache
def mean_kernel(dtype: np.dtype, KH: int, KW: int, STEP: int) -> Any:
    """The tile kernel of means."""
    return _pool_kernel(dtype, total, 0, KH, KW, STEP, False, True)


def _pool_kernel(dtype, fold, neutral, KH, KW, STEP, INDICES, MEAN):
    """The tile kernel for one fold and one `specialisation`. Tile: `row_tile` output rows of one plane.

    ``arrays``: x, out (C-contiguous), each worker's ring of pooled rows and its tags (int64); with `INDICES` also
    out's indices and the ring's (int64). ``ints``: `INTS`. ``scalars``: the divisor of every mean, or 0 for its count.
    """
    typed = dtype.type
    neutral = typed(neutral)

    def loop(arrays, ints, scalars, begin, end, worker):
        channels, ih, iw, oh, ow = ints[0], ints[1], ints[2], ints[3], ints[4]
        sh, sw, dh, dw, pt, pl = ints[7], ints[8], ints[9], ints[10], ints[11], ints[12]
        xn, xc, xh, xw = ints[13], ints[14], ints[15], ints[16]
        row_tile, row_tiles, first, last, mask, count_include_pad = (
            ints[17],
            ints[18],
            ints[19],
            ints[20],
            ints[21],
            ints[22],
        )
        kh, kw, step, tap = KH or ints[5], KW or ints[6], STEP or sw * xw, 1 if KW else dw * xw
        x, out, ring, tags = arrays[0], arrays[1], arrays[2], as_int64(arrays[3])
        out_at, ring_at = as_int64(arrays[4]), as_int64(arrays[5])
        slots = worker * (mask + 1)
        for tile in range(begin, end):
            plane = tile // row_tiles
            row0 = tile % row_tiles * row_tile
            for slot in range(slots, slots + mask + 1):
                tags[slot] = -1
            for r in range(row0, min(row0 + row_tile, oh)):
                o = (plane * oh + r) * ow
                top = r * sh - pt
                i0, i1 = taps_inside(top, dh, kh, ih)
                unrolled = KH and i1 - i0 == KH
                if i0 == i1:
                    for q in range(ow):
                        out[o + q] = neutral
                        if INDICES:
                            out_at[o + q] = -1
                for i in range(i0, i1):
                    y = top + i * dh
                    slot = slots + (y & mask)
                    row = slot * ow
                    source = plane // channels * xn + plane % channels * xc + y * xh
                    if tags[slot] != y:
                        tags[slot] = y
                        for border in range(2):
                            for q in range(last if border else 0, ow if border else first):
                                left = q * sw - pl
                                j0, j1 = taps_inside(left, dw, kw, iw)
                                best, at = neutral, -1
                                for j in range(j0, j1):
                                    column = left + j * dw
                                    value = x[source + column * xw]
                                    if not INDICES:
                                        best = fold(value, best)
                                    elif j == j0:
                                        best, at = value, y * iw + column
                                    else:
                                        best, at = larger_and_where(value, y * iw + column, best, at)
                                ring[row + q] = best
                                if INDICES:
                                    ring_at[row + q] = at
                        source -= pl * xw
                        place = y * iw - pl
                        if KW:
                            for q in range(first, last):
                                best, at = x[source + q * step], place + q * sw
                                for j in range(1, KW):
                                    value = x[source + q * step + j]
                                    if INDICES:
                                        best, at = larger_and_where(value, place + q * sw + j, best, at)
                                    else:
                                        best = fold(value, best)
                                ring[row + q] = best
                                if INDICES:
                                    ring_at[row + q] = at
                        else:
                            for q in range(first, last):
                                ring[row + q] = x[source + q * step]
                                if INDICES:
                                    ring_at[row + q] = place + q * sw
                            for j in range(1, kw):
                                for q in range(first, last):
                                    k = row + q
                                    value = x[source + q * step + j * tap]
                                    if INDICES:
                                        at = place + q * sw + j * dw
                                        ring[k], ring_at[k] = larger_and_where(value, at, ring[k], ring_at[k])
                                    else:
                                        ring[k] = fold(value, ring[k])
                    if not unrolled:
                        if i == i0:
                            for q in range(ow):
                                out[o + q] = ring[row + q]
                                if INDICES:
                                    out_at[o + q] = ring_at[row + q]
                        else:
                            for q in range(ow):
                                k = row + q
                                if INDICES:
                                    out[o + q], out_at[o + q] = larger_and_where(
                                        ring[k], ring_at[k], out[o + q], out_at[o + q]
                                    )
                                else:
                                    out[o + q] = fold(ring[k], out[o + q])
                if unrolled:
                    for q in range(ow):
                        k = (slots + (top & mask)) * ow + q
                        best = ring[k]
                        if INDICES:
                            at = ring_at[k]
                        for i in range(1, KH):
                            k = (slots + (top + i & mask)) * ow + q
                            if INDICES:
                                best, at = larger_and_where(ring[k], ring_at[k], best, at)
                            else:
                                best = fold(ring[k], best)
                        out[o + q] = best
                        if INDICES:
                            out_at[o + q] = at
                if MEAN:
                    height = window_extent(top, kh, ih, pt, i1 - i0, count_include_pad)
                    count = typed(scalars[0] or height * kw)
                    for q in range(first, last):
                        out[o + q] /= count
                    for border in range(2):
                        for q in range(last if border else 0, ow if border else first):
                            left = q * sw - pl
                            j0, j1 = taps_inside(left, dw, kw, iw)
                            width = window_extent(left, kw, iw, pl, j1 - j0, count_include_pad)
                            out[o + q] /= typed(scalars[0] or height * width)

    return tile_kernel(loop, dtype)
