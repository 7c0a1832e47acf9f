"""Pooling of planes: three kernels that fold the values under a window, by maximum or by sum.

Equation, for one plane x and a fold (the largest value, or the sum) over taps i, j::

    out[r, q] = fold_i fold_j x[r * sh - pt + i * dh, q * sw - pl + j * dw]        (a mean divides this by its count)

`direct_kernel` folds vectors of neighbouring outputs tap by tap: a row of taps first, then the rows. A *block* of
several output rows shares the rows of taps that they have in common. Every second column is picked by one shuffle
of two vectors; the lanes are brought into order once, before they are stored.

`doubling_kernel` is for large windows. As powers are found by squaring, windows of extent w give those of 2 w, and one
value more those of 2 w + 1::

    fold_k[q] = fold(fold_w[q], fold_w[q + w])                                     k = 2 w
    fold_k[q] = fold(fold(fold_w[q], fold_w[q + w]), x[q + 2 w])                   k = 2 w + 1

so an output costs at most 2 log2(k) folds an axis, of whole vectors, along the rows and then down the columns. Sums are
sums of pairs: their error grows with log2(k), not along the row as that of a running sum does, and a NaN or an infinity
stays in its windows. The maximum of van Herk and of Gil and Werman takes 3 folds an axis, whatever the extent, but
scans rows value by value.

`general_kernel` walks each window by itself. It has the windows that are not all alike, and the indices.

Boundary cases. Taps outside the image are left out. Rows of taps are clipped to those inside. Where a column of taps
falls outside, where columns do not follow each other in memory, and where the output is narrower than a vector, what
the outputs see is gathered first into a *strip*, with neutral values around the image::

    strip[l, j, t] = x[top + l * dh, left + j * dw + t * sw]        (for sw <= 2: strip[l, t] = x[.., left + t])

The order in which values are folded is the same everywhere, and neutral values change nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from fastconv.kernels.jit import as_int64, tile_kernel
from fastconv.kernels.vector import Emitter, broadcast, lanes, load, maximum, store

INT64 = ir.IntType(64)

# Windows of at most this extent are unrolled.
MAX_UNROLLED = 3


def unrolled(kh: int, kw: int, dense: bool) -> tuple[int, int]:
    """The extents that are compiled in for a window: 0 stands for "read at run time"."""
    return (kh, kw) if dense and max(kh, kw) <= MAX_UNROLLED else (0, 0)


def neutral_value(dtype: np.dtype, mean: bool) -> Any:
    """The value that changes nothing: sums keep even the sign of a zero."""
    if mean:
        return dtype.type(-0.0)
    return dtype.type(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min)


class _Block:
    """Writes the instructions of one block; `KH` and `KW` are 0 where they are read at run time."""

    def __init__(
        self, builder: ir.IRBuilder, scalar: types.Number, mean: int, KH: int, KW: int, STEP: int, rows: int, SH: int
    ) -> None:
        self.builder, self.KH, self.KW, self.STEP, self.rows, self.SH = builder, KH, KW, STEP, rows, SH
        self.vector = Emitter(builder, scalar)
        # Of equal values, of zeros that is, the first stays.
        self.fold = (lambda best, value: self.vector.add(best, value)) if mean else self._larger
        self.load = self.vector.load_even_unordered if STEP == 2 else self.vector.load

    def _larger(self, best: ir.Value, value: ir.Value) -> ir.Value:
        return self.vector.maximum(value, best)

    def moved(self, pointer: ir.Value, steps: int | ir.Value, step: ir.Value) -> ir.Value:
        steps = INT64(steps) if isinstance(steps, int) else steps
        return self.builder.gep(pointer, [self.builder.mul(steps, step)])

    def folded(self, taps: list[ir.Value]) -> ir.Value:
        return functools.reduce(self.fold, taps)

    def folded_at_run_time(self, count: ir.Value, tap: Any) -> ir.Value:
        """``tap(0)`` to ``tap(count - 1)``, at least one."""
        best = cgutils.alloca_once_value(self.builder, tap(INT64(0)))
        with cgutils.for_range(self.builder, count, start=INT64(1)) as loop:
            self.builder.store(self.fold(self.builder.load(best), tap(loop.index)), best)
        return self.builder.load(best)

    def row(self, source: ir.Value, tap_step: ir.Value, kw: ir.Value) -> ir.Value:
        """A row of taps."""
        if not self.KW:
            return self.folded_at_run_time(kw, lambda j: self.load(self.moved(source, j, tap_step)))
        if self.STEP == 1:
            return self.folded([self.load(self.moved(source, j, tap_step)) for j in range(self.KW)])
        taps = []
        for j in range(0, self.KW - 1, 2):
            pair = [self.vector.load(self.builder.gep(source, [INT64(j + at * self.vector.lanes)])) for at in (0, 1)]
            taps += self.vector.deinterleave_unordered(*pair)
        if self.KW % 2:
            taps.append(self.load(self.builder.gep(source, [INT64(self.KW - 1)])))
        return self.folded(taps)

    def compute(self, source: ir.Value, line_step: ir.Value, tap_step: ir.Value, kh: ir.Value, kw: ir.Value) -> list:
        """The folds of the block's rows."""

        def row(line):
            return self.row(self.moved(source, line, line_step), tap_step, kw)

        if not self.KH:
            folds = [self.folded_at_run_time(kh, row)]
        else:
            taps: list[list[ir.Value]] = [[] for _ in range(self.rows)]
            for line in range((self.rows - 1) * self.SH + self.KH):
                value = row(line)
                for r, of_row in enumerate(taps):
                    if 0 <= line - r * self.SH < self.KH:
                        of_row.append(value)
                        of_row[:] = [self.folded(of_row)]
            folds = [value for (value,) in taps]
        return [self.vector.ordered(value) for value in folds] if self.STEP == 2 else folds


@intrinsic(prefer_literal=True)
def fold_block(typingctx, spec, x, at, line_step, tap_step, kh, kw, out, to, out_step, counts, row, column):
    """Fold the windows of one block, the first of which starts at ``x[at]``, into ``out[to]``.

    A mean divides by ``counts[row]``, of the block's first row, times ``counts[column]``.
    """
    if not isinstance(spec, types.StringLiteral):
        return None

    def codegen(context, builder, signature, arguments):
        (_, x, at, line_step, tap_step, kh, kw, out, to, out_step, counts, row, column) = arguments
        mean, *shape = map(int, spec.literal_value.split())
        block = _Block(builder, signature.args[1].dtype, mean, *shape)
        vector = block.vector
        folds = block.compute(builder.gep(x, [at]), line_step, tap_step, kh, kw)
        if mean:
            widths = vector.load(builder.gep(counts, [column]))
            for r, fold in enumerate(folds):
                height = builder.load(builder.gep(counts, [builder.add(row, INT64(r))]))
                folds[r] = builder.fdiv(fold, vector.mul(vector.broadcast(height), widths))
        out = builder.gep(out, [to])
        for r, fold in enumerate(folds):
            vector.store(block.moved(out, r, out_step), fold)
        return context.get_dummy_value()

    integer = types.int64
    signature = [spec, x, *[integer] * 5, out, integer, integer, counts, integer, integer]
    return types.void(*signature), codegen


@register_jitable
def inside(start, step, count, extent):
    """The interval of t < count for which ``0 <= start + t * step < extent``."""
    if start >= 0 and start + (count - 1) * step < extent:
        return 0, count
    if step == 1:  # a division takes longer than a vector of outputs
        begin = min(count, max(0, -start))
        return begin, min(count, max(begin, extent - start))
    begin = min(count, max(0, -(start // step)))
    return begin, min(count, max(begin, (extent - start + step - 1) // step))


@functools.cache
def _shared(dtype: np.dtype, mean: bool) -> tuple[Any, Any]:
    """What both kernels of one fold do: `count_taps` and `gather`."""
    typed, neutral, LANES = dtype.type, neutral_value(dtype, mean), lanes(dtype)

    @register_jitable
    def count_taps(counts, at, windows, step, taps, extent, pad, divisor, count_include_pad):
        """What means divide by along one axis."""
        for window in range(windows):
            start = window * step - pad
            begin, end = inside(start, 1, taps, extent)
            count = min(start + taps, extent + pad) - start if count_include_pad else end - begin
            counts[at + window] = typed(divisor or count)

    @register_jitable
    def gather(x, at, line, lines, column, step, xw, extent, strip, to, pitch, count):
        """`count` values from `column` on of each of the `lines` from ``x[at]`` on; neutral outside the image."""
        begin, end = inside(column, step, count, extent)
        for _ in range(lines):
            for t in range(begin):
                strip[to + t] = neutral
            if step * xw == 1 and end - begin >= LANES:
                t = begin
                while t < end:
                    k = min(t, end - LANES)
                    store(strip, to + k, load(x, at + (column + k) * xw))
                    t += LANES
            else:
                for t in range(begin, end):
                    strip[to + t] = x[at + (column + t * step) * xw]
            for t in range(end, count):
                strip[to + t] = neutral
            at += line
            to += pitch

    return count_taps, gather


@functools.cache
def direct_kernel(dtype: np.dtype, mean: bool, KH: int, KW: int, STEP: int, SH: int) -> Any:
    """The tile kernel that folds tap by tap. Tile: `row_tile` output rows of one plane.

    `KH` and `KW` are of `unrolled`. `STEP` is 2 where every second column of a line is seen, else 1. `SH` is the
    stride of rows whose windows overlap, or 0.

    ``arrays``: x, out (C-contiguous), scratch of the workers. ``ints``: as unpacked below. Strides of x are in
    elements; columns from `left` to `right` are read in place, all others from strips, `group` rows at a time;
    `kept` strips hold neighbouring columns. ``scalars``: the divisor of every mean, or 0 for its count.
    """
    neutral, LANES = neutral_value(dtype, mean), lanes(dtype)
    MEAN = int(mean)
    ROWS = {0: 1, 1: 4}.get(SH, 2)
    SPEC, SINGLE = f"{MEAN} {KH} {KW} {STEP} {ROWS} {SH}", f"{MEAN} 0 {KW} {STEP} 1 0"
    count_taps, gather = _shared(dtype, mean)

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, scratch = arrays[0], arrays[1], arrays[2]
        channels, ih, iw, oh, ow = ints[0], ints[1], ints[2], ints[3], ints[4]
        sh, sw, dh, dw, pt, pl = ints[7], ints[8], ints[9], ints[10], ints[11], ints[12]
        xn, xc, xh, xw = ints[13], ints[14], ints[15], ints[16]
        row_tile, row_tiles, room, count_include_pad = ints[17], ints[18], ints[19], ints[20]
        group, left, right, kept = ints[21], ints[22], ints[23], ints[24]
        kh, kw = KH or ints[5], KW or ints[6]
        heights = worker * room
        widths = heights + oh
        whole0, whole1 = (pt + sh - 1) // sh, (ih + pt - KH) // sh + 1
        corner = widths + ow + LANES
        strip = corner + ROWS * LANES
        if MEAN:
            count_taps(scratch, heights, oh, sh, kh, ih, pt, 1.0 if scalars[0] else 0.0, count_include_pad)
            count_taps(scratch, widths, ow, sw, kw, iw, pl, scalars[0], count_include_pad)
        for tile in range(begin, end):
            plane = tile // row_tiles
            image = plane // channels * xn + plane % channels * xc
            row0 = tile % row_tiles * row_tile
            row1 = min(row0 + row_tile, oh)
            for first in range(row0, row1, group):
                last = min(first + group, row1)
                top = first * sh - pt
                for part in range(3):
                    q0, q1 = (0, left) if part == 0 else (left, right) if part == 1 else (right, ow)
                    if q0 == q1:
                        continue
                    column = q0 * sw - pl
                    if part == 1:
                        source, at, line_step, tap_step = x, image + top * xh + column * xw, dh * xh, dw
                    else:
                        count = max(q1 - q0, LANES)
                        planes, span, step, tap_step = kw, count, sw, count
                        if kept:
                            planes, span, step, tap_step = 1, (count - 1) * sw + (kw - 1) * dw + 1, 1, dw
                        line_step = planes * span
                        lines = (last - first - 1) * sh + kh
                        line0, line1 = inside(top, dh, lines, ih)
                        source, at = scratch, strip
                        if KH:  # a few lines outside are cheaper than rows that are clipped
                            for t in range(line0 * line_step):
                                scratch[at + t] = neutral
                            for t in range(line1 * line_step, lines * line_step):
                                scratch[at + t] = neutral
                        else:
                            at -= line0 * line_step
                        for j in range(planes):
                            gather(
                                x,
                                image + (top + line0 * dh) * xh,
                                dh * xh,
                                line1 - line0,
                                column + j * dw,
                                step,
                                xw,
                                iw,
                                scratch,
                                at + line0 * line_step + j * span,
                                line_step,
                                span,
                            )
                    r = first
                    while r < last:
                        whole = False
                        if KH and r + ROWS <= last and (part != 1 or (r >= whole0 and r + ROWS <= whole1)):
                            whole = True
                        tap0, tap1 = 0, KH
                        if not whole and (not KH or part == 1):
                            tap0, tap1 = inside(r * sh - pt, dh, kh, ih)
                        row = (plane * oh + r) * ow
                        target, to, out_step = out, row + q0, ow
                        if ow < LANES:
                            target, to, out_step = scratch, corner, LANES
                        at_row = at + ((r - first) * sh + tap0) * line_step
                        q = 0
                        while q < q1 - q0:
                            k = max(0, min(q, q1 - q0 - LANES))
                            q += LANES
                            if whole:
                                fold_block(
                                    SPEC,
                                    source,
                                    at_row + k * STEP,
                                    line_step,
                                    tap_step,
                                    kh,
                                    kw,
                                    target,
                                    to + k,
                                    out_step,
                                    scratch,
                                    heights + r,
                                    widths + q0 + k,
                                )
                            elif tap0 < tap1:
                                fold_block(
                                    SINGLE,
                                    source,
                                    at_row + k * STEP,
                                    line_step,
                                    tap_step,
                                    tap1 - tap0,
                                    kw,
                                    target,
                                    to + k,
                                    out_step,
                                    scratch,
                                    heights + r,
                                    widths + q0 + k,
                                )
                            else:
                                store(target, to + k, broadcast(neutral))
                        done = ROWS if whole else 1
                        if ow < LANES:
                            for i in range(done):
                                for q in range(ow):
                                    out[row + i * ow + q] = scratch[corner + i * LANES + q]
                        r += done

    return tile_kernel(loop, dtype)


@register_jitable
def total(best, value):
    return best + value


@register_jitable
def larger(best, value):
    return value if value > best else best


@register_jitable
def larger_or_nan(best, value):
    return value if (value > best) | (value != value) else best


@register_jitable
def regular(at, extent, outputs, taps, stride, dilation, pad, starts, plane):
    begin, end = inside(at * stride - pad, dilation, taps, extent)
    return at * stride - pad + begin * dilation, end - begin


@register_jitable
def adaptive(at, extent, outputs, taps, stride, dilation, pad, starts, plane):
    start = at * extent // outputs
    return start, ((at + 1) * extent + outputs - 1) // outputs - start


@register_jitable
def drawn(at, extent, outputs, taps, stride, dilation, pad, starts, plane):
    return starts[plane * outputs + at], taps


# Where a window starts inside the image, and how many taps it has there.
WINDOWS = {"regular": regular, "adaptive": adaptive, "drawn": drawn}


@functools.cache
def general_kernel(dtype: np.dtype, mean: bool, windows: str, INDICES: bool) -> Any:
    """The tile kernel that walks one of the `WINDOWS` after the other. Tile: `row_tile` output rows of one plane.

    Arguments are those of `direct_kernel`, but instead of scratch: with `INDICES` where in its plane each maximum
    stands (int64), the first of equal values, but the last NaN, as torch has it; and the starts of windows that were
    drawn, down and across (int64).
    """
    typed, neutral, window, MEAN = dtype.type, neutral_value(dtype, mean), WINDOWS[windows], int(mean)
    fold = total if mean else larger_or_nan if dtype.kind == "f" else larger

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, out_at = arrays[0], arrays[1], as_int64(arrays[2])
        row_starts, column_starts = as_int64(arrays[3]), as_int64(arrays[4])
        channels, ih, iw, oh, ow, kh, kw = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6]
        sh, sw, dh, dw, pt, pl = ints[7], ints[8], ints[9], ints[10], ints[11], ints[12]
        xn, xc, xh, xw = ints[13], ints[14], ints[15], ints[16]
        row_tile, row_tiles, count_include_pad = ints[17], ints[18], ints[20]
        for tile in range(begin, end):
            plane = tile // row_tiles
            image = plane // channels * xn + plane % channels * xc
            row0 = tile % row_tiles * row_tile
            for r in range(row0, min(row0 + row_tile, oh)):
                top, rows = window(r, ih, oh, kh, sh, dh, pt, row_starts, plane)
                for q in range(ow):
                    left, columns = window(q, iw, ow, kw, sw, dw, pl, column_starts, plane)
                    to = (plane * oh + r) * ow + q
                    best, at = neutral, -1
                    for i in range(rows):
                        row = image + (top + i * dh) * xh
                        if INDICES:
                            for j in range(columns):
                                value = x[row + (left + j * dw) * xw]
                                if (value > best) | (value != value) | (at < 0):
                                    best, at = value, (top + i * dh) * iw + left + j * dw
                        else:
                            of_row = neutral
                            for j in range(columns):
                                of_row = fold(of_row, x[row + (left + j * dw) * xw])
                            best = fold(best, of_row)
                    if INDICES:
                        out_at[to] = at
                    if MEAN:
                        if count_include_pad:
                            rows_counted = min(r * sh - pt + kh, ih + pt) - (r * sh - pt)
                            columns = min(q * sw - pl + kw, iw + pl) - (q * sw - pl)
                            best /= typed(scalars[0] or float(rows_counted) * float(columns))
                        else:
                            best /= typed(scalars[0] or float(rows) * float(columns))
                    out[to] = best

    return tile_kernel(loop, dtype)


@register_jitable
def later_or_larger(best, value):
    return maximum(value, best)


@register_jitable
def top_bit(value):
    """The largest power of 2 that is at most `value`."""
    bit = 1
    while 2 * bit <= value:
        bit *= 2
    return bit


@functools.cache
def doubling_kernel(dtype: np.dtype, mean: bool) -> Any:
    """The tile kernel that doubles windows. Tile: `row_tile` output rows of one plane; dilation is 1.

    Arguments are those of `direct_kernel`, without what follows `count_include_pad`.
    """
    neutral, LANES = neutral_value(dtype, mean), lanes(dtype)
    count_taps, gather = _shared(dtype, mean)
    MEAN, fold = int(mean), total if mean else later_or_larger

    @register_jitable
    def widen(lines, lone, width, more, source, step, target, count):
        """Windows of 2 * width, and `more`, in `target`, from those of `width` in `source` and the `lone` values."""
        q = 0
        while q < count:
            best = fold(load(lines, source + q), load(lines, source + q + width * step))
            if more:
                best = fold(best, load(lines, lone + q + 2 * width * step))
            store(lines, target + q, best)
            q += LANES

    def loop(arrays, ints, scalars, begin, end, worker):
        x, out, scratch = arrays[0], arrays[1], arrays[2]
        channels, ih, iw, oh, ow, kh, kw = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6]
        sh, sw, pt, pl = ints[7], ints[8], ints[11], ints[12]
        xn, xc, xh, xw = ints[13], ints[14], ints[15], ints[16]
        row_tile, row_tiles, room, count_include_pad = ints[17], ints[18], ints[19], ints[20]
        span = (ow - 1) * sw + kw
        pitch = (ow + LANES - 1) // LANES * LANES
        heights = worker * room
        widths = heights + oh
        line = widths + ow
        work = line + span + LANES
        rows = work + span + LANES
        folds = rows + ((row_tile - 1) * sh + kh) * pitch
        if MEAN:
            count_taps(scratch, heights, oh, sh, kh, ih, pt, 1.0 if scalars[0] else 0.0, count_include_pad)
            count_taps(scratch, widths, ow, sw, kw, iw, pl, scalars[0], count_include_pad)
        for tile in range(begin, end):
            plane = tile // row_tiles
            image = plane // channels * xn + plane % channels * xc
            row0 = tile % row_tiles * row_tile
            row1 = min(row0 + row_tile, oh)
            top = row0 * sh - pt
            count = (row1 - row0 - 1) * sh + kh
            for y in range(top, top + count):
                to = rows + (y - top) * pitch
                if y < 0 or y >= ih:
                    for q in range(pitch):
                        scratch[to + q] = neutral
                    continue
                gather(x, image + y * xh, 0, 1, -pl, 1, xw, iw, scratch, line, 0, span)
                width, bit, source = 1, top_bit(kw), line
                while bit > 1:
                    bit //= 2
                    more = int((kw & bit) > 0)
                    wide = 2 * width + more
                    target = to if bit == 1 and sw == 1 else work
                    widen(scratch, line, width, more, source, 1, target, span - wide + 1)
                    width, source = wide, target
                if source != to:
                    for q in range(ow):
                        scratch[to + q] = scratch[source + q * sw]
            width, bit, source = 1, top_bit(kh), rows
            while bit > 1:
                bit //= 2
                more = int((kh & bit) > 0)
                wide = 2 * width + more
                for at in range(0, (count - wide + 1) * pitch, pitch):
                    widen(scratch, rows + at, width, more, source + at, pitch, folds + at, pitch)
                width, source = wide, folds
            for r in range(row0, row1):
                at, to = source + (r - row0) * sh * pitch, (plane * oh + r) * ow
                for q in range(ow):
                    if MEAN:
                        out[to + q] = scratch[at + q] / (scratch[heights + r] * scratch[widths + q])
                    else:
                        out[to + q] = scratch[at + q]

    return tile_kernel(loop, dtype)
