"""Running extremes and means along one axis, by doubling.

With fold the maximum, the minimum or the sum, and S_p[t] the fold of the p values from t on::

    S_1 = x,    S_2p[t] = fold(S_p[t], S_p[t + p])
    extreme of k values:  fold(S_p[t], S_p[t + k - p]),  p the largest power of two within k
    sum of k values:      one S_p for each bit p of k, each starting where the one before it ends

An output costs about log2 k folds, all of them over neighbouring values, so that they fill vectors; van Herk's and Gil
and Werman's three comparisons depend on each other and do not. Sums are added in pairs: no error grows along a line, as
it would in a running sum.

Index map. The array is (outer, n, inner). A tile is a segment of n and some of the inner columns of one outer index;
its continued lines are gathered into a buffer ``[t][column]``, where a step of p is p * columns.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv.kernels.jit import as_int64, tile_kernel
from fastconv.kernels.taps import larger, smaller


@register_jitable
def total(a, b):
    return a + b


@functools.cache
def window_kernel(dtype: np.dtype, fold: str) -> Any:
    """The tile kernel for `fold`, one of "maximum", "minimum" and "mean".

    ``arrays``: x, out (C-contiguous), workspace, the source index of each continued place (int64; -1 is the fill
    value), and the fill value. ``ints``: as unpacked below; strides of x in elements; places from `inside` to `outside`
    of a line are the array itself. ``scalars``: none.
    """
    combine = {"maximum": larger, "minimum": smaller, "mean": total}[fold]
    MEAN = fold == "mean"
    ZERO = dtype.type(0)

    def loop(arrays, ints, scalars, begin, end, worker):
        n, inner, k = ints[0], ints[1], ints[2]
        xo, xn, xi = ints[3], ints[4], ints[5]
        segment, segments, columns, across = ints[6], ints[7], ints[8], ints[9]
        inside, outside, scratch = ints[10], ints[11], ints[12]
        x, out, fill = arrays[0], arrays[1], arrays[4][0]
        source = as_int64(arrays[3])
        buffer = arrays[2]
        for tile in range(begin, end):
            c0 = tile % across * columns
            t0 = tile // across % segments * segment
            outer = tile // (across * segments)
            width = min(columns, inner - c0)
            outputs = min(segment, n - t0)
            places = outputs + k - 1
            b0 = worker * scratch
            image = outer * xo + c0 * xi
            first, last = min(max(inside - t0, 0), places), min(max(outside - t0, 0), places)
            last = max(first, last)
            for t in range(places):
                if first <= t < last:
                    continue
                at = source[t0 + t]
                for c in range(width):
                    buffer[b0 + t * width + c] = x[image + at * xn + c * xi] if at >= 0 else fill
            start = image + (t0 - inside) * xn
            if xi == 1 and width > 1:
                for t in range(first, last):
                    for c in range(width):
                        buffer[b0 + t * width + c] = x[start + t * xn + c]
            elif xn == 1 and width == 1:
                for t in range(first, last):
                    buffer[b0 + t] = x[start + t]
            else:
                for t in range(first, last):
                    for c in range(width):
                        buffer[b0 + t * width + c] = x[start + t * xn + c * xi]
            o = (outer * n + t0) * inner + c0
            if MEAN:
                sums = b0 + places * width
                for i in range(outputs * width):
                    buffer[sums + i] = ZERO
            p, offset, valid = 1, 0, places * width
            while True:
                if MEAN and k & p:
                    for i in range(outputs * width):
                        buffer[sums + i] += buffer[b0 + offset * width + i]
                    offset += p
                if 2 * p > k:
                    break
                valid -= p * width
                step = p * width
                for i in range(b0, b0 + valid):
                    buffer[i] = combine(buffer[i], buffer[i + step])
                p *= 2
            if MEAN:
                for t in range(outputs):
                    for c in range(width):
                        out[o + t * inner + c] = buffer[sums + t * width + c] / k
            else:
                rest = b0 + (k - p) * width
                for t in range(outputs):
                    for c in range(width):
                        out[o + t * inner + c] = combine(buffer[b0 + t * width + c], buffer[rest + t * width + c])

    return tile_kernel(loop, dtype)
