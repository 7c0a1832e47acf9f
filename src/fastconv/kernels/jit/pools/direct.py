"""Pooling tap by tap, a vector of neighbouring outputs at a time.

Output rows are folded in *blocks* (blocks.py), which share the rows of taps that their windows have in common. Rows of
taps are clipped to those inside the image. Where a column of taps falls outside, where columns are not contiguous in
memory, or where the output is narrower than a vector, the values that the outputs read are first gathered into a
*strip*, with neutral values around the image::

    strip[l, j, t] = x[top + l * dh, left + j * dw + t * sw]        (for sw <= 2: strip[l, t] = x[.., left + t])
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.kernels.jit.pools.blocks import fold_block
from fastconv.kernels.jit.pools.folds import FOLDS
from fastconv.kernels.jit.pools.placing import fold_places, offset_type
from fastconv.kernels.jit.pools.shared import (
    ACROSS,
    BESIDE,
    DOWN,
    OUT,
    POSITIONS,
    SCRATCH,
    X,
    gatherer,
    inside,
    planes_and_tiles,
    rows_of,
)
from fastconv.kernels.jit.stopping import stops
from fastconv.kernels.jit.target import lanes
from fastconv.kernels.jit.vector import as_int32, as_int64, broadcast, store

# Number of taps that are folded between two checks whether to stop.
TAPS = 1 << 14


def direct_kernel(
    dtype: np.dtype, fold: str, times: bool, KH: int, KW: int, STEP: int, SH: int, PLACES: bool
) -> Callable[..., None]:
    """The tile kernel that folds tap by tap.

    `KH` and `KW` are the extents of the window, or 0 if they are read at run time. `STEP` is 2 if windows use every
    second column of a line, else 1. `SH` is the stride of rows if windows skip no line, or 0.

    With `PLACES`, extremes are found together with their positions (placing.py), and `KH` is 0.

    ``arrays``: as in shared.py; with `times` sums are multiplied and not divided, and LANES numbers more can be read
    across. With `PLACES`, offsets are read across instead: of the first tap of each window that is in the plane.
    ``ints``: `Planes`, `Tiles`, and then: rows of a strip; the first and the last column for which x is read in place;
    whether strips hold neighbouring columns.
    """
    neutral, LANES = FOLDS[fold].neutral(dtype), lanes(dtype)
    FOLD = f"{fold} {int(times)}"
    COLUMNS = int(FOLDS[fold].averages and STEP == 2 and SH == KH > 0)
    ROWS = 1 if not SH else 4 if SH == 1 or COLUMNS else 2
    SPEC, SINGLE = f"{FOLD} {KH} {KW} {STEP} {ROWS} {SH} {COLUMNS}", f"{FOLD} 0 {KW} {STEP} 1 0 {COLUMNS}"
    PLACED, PLACE_VALUES = f"{fold} {KW} {STEP}", 8 // dtype.itemsize
    as_offsets = as_int32 if offset_type(dtype).itemsize == 4 else as_int64
    gather = gatherer(dtype, neutral)

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, heights, widths, scratch = arrays[X], arrays[OUT], arrays[DOWN], arrays[ACROSS], arrays[SCRATCH]
        p, tiles = planes_and_tiles(ints)
        group, left, right, kept = ints[BESIDE], ints[BESIDE + 1], ints[BESIDE + 2], ints[BESIDE + 3]
        kh, kw = KH or p.kh, KW or p.kw
        whole0, whole1 = (p.pt + p.sh - 1) // p.sh, (p.ih + p.pt - KH) // p.sh + 1
        corner = worker * tiles.scratch
        asked = 0  # taps since the last check whether to stop
        strip = corner + ROWS * LANES + (LANES * PLACE_VALUES if PLACES else 0)
        places, unseen, narrow = as_int64(arrays[POSITIONS]), as_offsets(widths), as_int64(scratch)
        narrow_corner = (corner + LANES) // PLACE_VALUES  # after the values
        for tile in range(begin, end):
            plane, image, row0, row1 = rows_of(tile, p, tiles)
            last = row0
            while last < row1:
                first, last = last, min(last + group, row1)
                top = first * p.sh - p.pt
                for part in range(3):
                    q0, q1 = (0, left) if part == 0 else (left, right) if part == 1 else (right, p.ow)
                    if q0 == q1:
                        continue
                    column = q0 * p.sw - p.pl
                    if part == 1:
                        source, at, line_step, tap_step = x, image + top * p.xh + column * p.xw, p.dh * p.xh, p.dw
                    else:
                        count = max(q1 - q0, LANES)
                        parts, span, step, tap_step = kw, count, p.sw, count
                        if kept:
                            parts, span, step, tap_step = 1, (count - 1) * p.sw + (kw - 1) * p.dw + 1, 1, p.dw
                        line_step = parts * span
                        lines = (last - first - 1) * p.sh + kh
                        line0, line1 = inside(top, p.dh, lines, p.ih)
                        source, at = scratch, strip
                        if KH:  # a few lines outside cost less than clipping rows
                            for t in range(line0 * line_step):
                                scratch[at + t] = neutral
                            for t in range(line1 * line_step, lines * line_step):
                                scratch[at + t] = neutral
                        else:
                            at -= line0 * line_step
                        for j in range(parts):
                            gather(
                                x,
                                image + (top + line0 * p.dh) * p.xh,
                                p.dh * p.xh,
                                line1 - line0,
                                column + j * p.dw,
                                step,
                                p.xw,
                                p.iw,
                                scratch,
                                at + line0 * line_step + j * span,
                                line_step,
                                span,
                            )
                    edge = max(0, q1 - q0 - LANES)
                    r = first
                    while r < last:
                        whole = KH > 0 and r + ROWS <= last and (part != 1 or (r >= whole0 and r + ROWS <= whole1))
                        tap0, tap1 = 0, KH
                        if not whole and (not KH or part == 1):
                            tap0, tap1 = inside(r * p.sh - p.pt, p.dh, kh, p.ih)
                        row = (plane * p.oh + r) * p.ow
                        target, to, out_step = out, row + q0, p.ow
                        if p.ow < LANES:
                            target, to, out_step = scratch, corner, LANES
                        at_row = at + ((r - first) * p.sh + tap0) * line_step
                        for q in range(0, q1 - q0, LANES):
                            if not KH:
                                asked += kh * kw
                                if asked >= TAPS:
                                    asked = 0
                                    if stops(arrays, worker):
                                        return
                            k = min(q, edge)
                            seen, to_k = at_row + k * STEP, to + k
                            if PLACES:
                                placed, to_place = places, to_k
                                if p.ow < LANES:
                                    placed, to_place = narrow, narrow_corner
                                fold_places(
                                    PLACED,
                                    source,
                                    seen,
                                    line_step,
                                    tap_step,
                                    tap1 - tap0,
                                    kw,
                                    p.dh * p.iw,
                                    p.dw,
                                    unseen,
                                    q0 + k,
                                    target,
                                    to_k,
                                    placed,
                                    to_place,
                                    (r * p.sh - p.pt + tap0 * p.dh) * p.iw + (q0 + k) * p.sw - p.pl,
                                    p.sw,
                                )
                            elif whole:
                                fold_block(
                                    SPEC,
                                    source,
                                    seen,
                                    line_step,
                                    tap_step,
                                    kh,
                                    kw,
                                    target,
                                    to_k,
                                    out_step,
                                    heights,
                                    r,
                                    widths,
                                    q0 + k,
                                )
                            elif tap0 < tap1:
                                fold_block(
                                    SINGLE,
                                    source,
                                    seen,
                                    line_step,
                                    tap_step,
                                    tap1 - tap0,
                                    kw,
                                    target,
                                    to_k,
                                    out_step,
                                    heights,
                                    r,
                                    widths,
                                    q0 + k,
                                )
                            else:
                                store(target, to_k, broadcast(neutral))
                        done = ROWS if whole else 1
                        if p.ow < LANES:
                            for i in range(done):
                                for q in range(p.ow):
                                    out[row + i * p.ow + q] = scratch[corner + i * LANES + q]
                            for q in range(p.ow if PLACES else 0):
                                places[row + q] = narrow[narrow_corner + q]
                        r += done

    return loop
