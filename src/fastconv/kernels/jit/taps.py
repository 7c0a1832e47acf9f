"""Windows of any number of axes, as offsets into an already continued image: sums of products, and extremes of sums.

    out[p] = sum_t(tap[t] * x[start(p) + offset[t]])
    out[p] = max_t(tap[t] + x[start(p) + offset[t]]), or the least of these

A line of outputs along the last axis reads one line of the image per tap, at a constant offset; the start of the line
is computed from the extents of the other axes. Sums stay in the order of the taps; four taps are added at a time, which
saves loads and stores of the sums.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.vector import as_int64


def sum_kernel(dtype: np.dtype) -> Callable[..., None]:
    """The tile kernel of sums of products. Tile: a span of outputs of one line.

    ``arrays``: x, taps, out (all C-contiguous), offsets, extents of out, strides of x (int64). ``ints``: axes, taps,
    spans of a line, outputs of a span.
    """
    ZERO = dtype.type(0)

    def loop(arrays, ints, scalars, begin, end, worker):
        axes, taps, spans, span = ints[0], ints[1], ints[2], ints[3]
        x, tap, out = arrays[0], arrays[1], arrays[2]
        offset, extent, stride = as_int64(arrays[3]), as_int64(arrays[4]), as_int64(arrays[5])
        width = extent[axes - 1]
        for tile in range(begin, end):
            first = tile % spans * span
            n = min(span, width - first)
            line = tile // spans
            o = line * width + first
            start = first
            for axis in range(axes - 2, -1, -1):
                start += line % extent[axis] * stride[axis]
                line //= extent[axis]
            for q in range(n):
                out[o + q] = ZERO
            t = 0
            while t + 4 <= taps:
                if t % 512 == 0 and stops(arrays, worker):
                    return
                a, b, c, d = tap[t], tap[t + 1], tap[t + 2], tap[t + 3]
                i, j, k, m = start + offset[t], start + offset[t + 1], start + offset[t + 2], start + offset[t + 3]
                for q in range(n):
                    out[o + q] = (((out[o + q] + a * x[i + q]) + b * x[j + q]) + c * x[k + q]) + d * x[m + q]
                t += 4
            while t < taps:
                a, i = tap[t], start + offset[t]
                for q in range(n):
                    out[o + q] = out[o + q] + a * x[i + q]
                t += 1

    return loop


def extreme_kernel(dtype: np.dtype, fold: str) -> Callable[..., None]:
    """The tile kernel of maxima or minima of sums, which are NaN if any sum is; otherwise as `sum_kernel`."""
    HIGHEST = fold == "maximum"
    FIRST = dtype.type(-np.inf if HIGHEST else np.inf)

    def loop(arrays, ints, scalars, begin, end, worker):
        axes, taps, spans, span = ints[0], ints[1], ints[2], ints[3]
        x, tap, out = arrays[0], arrays[1], arrays[2]
        offset, extent, stride = as_int64(arrays[3]), as_int64(arrays[4]), as_int64(arrays[5])
        width = extent[axes - 1]
        for tile in range(begin, end):
            first = tile % spans * span
            n = min(span, width - first)
            line = tile // spans
            o = line * width + first
            start = first
            for axis in range(axes - 2, -1, -1):
                start += line % extent[axis] * stride[axis]
                line //= extent[axis]
            for q in range(n):
                out[o + q] = FIRST
            for t in range(taps):
                if t % 512 == 0 and stops(arrays, worker):
                    return
                a, i = tap[t], start + offset[t]
                for q in range(n):
                    value, best = a + x[i + q], out[o + q]
                    stays = best >= value if HIGHEST else best <= value
                    out[o + q] = best if stays or best != best else value

    return loop
