"""Shared by pooling kernels: their integers and arrays, tiles, taps inside the image, and strips."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, register_jitable

from fastconv.kernels.jit.pools.planes import Planes, Tiles
from fastconv.kernels.jit.target import lanes
from fastconv.kernels.jit.vector import load, store

if TYPE_CHECKING:
    from fastconv.kernels.jit.vector import Answer, BaseContext, Context, Signature

# Index of the first integer that is specific to a kernel.
BESIDE = len(Planes._fields) + len(Tiles._fields)

# The `arrays` of a kernel: the input; the output, which is C-contiguous; the position of each extreme in its plane
# (int64); for means one number per row and one per column, by whose product sums are divided, or the random starts of
# windows (int64), down and across; scratch memory.
X, OUT, POSITIONS, DOWN, ACROSS, SCRATCH = range(6)


@intrinsic
def planes_and_tiles(typingctx: Context, ints: types.CPointer) -> Answer:
    """The `Planes` and `Tiles` at the beginning of a kernel's integers."""
    tuples = [types.NamedUniTuple(types.int64, len(fields._fields), fields) for fields in (Planes, Tiles)]

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        values = (builder.load(builder.gep(arguments[0], [ir.IntType(64)(at)])) for at in range(BESIDE))
        made = [context.make_tuple(builder, of, list(islice(values, of.count))) for of in tuples]
        return context.make_tuple(builder, signature.return_type, made)

    return types.Tuple(tuples)(ints), codegen


@register_jitable
def rows_of(tile: int, planes: Planes, tiles: Tiles) -> tuple[int, int, int, int]:
    """The plane of a tile, its offset in the input, and the tile's first output row and the row after its last."""
    plane = tile // tiles.per_plane
    image = plane // planes.channels * planes.xn + plane % planes.channels * planes.xc
    row = tile % tiles.per_plane * tiles.rows
    return plane, image, row, min(row + tiles.rows, planes.oh)


@register_jitable
def inside(start: int, step: int, count: int, extent: int) -> tuple[int, int]:
    """The interval of t < count for which ``0 <= start + t * step < extent``."""
    if start >= 0 and start + (count - 1) * step < extent:
        return 0, count
    if step == 1:  # a division would take longer than a vector of outputs
        begin = min(count, max(0, -start))
        return begin, min(count, max(begin, extent - start))
    begin = min(count, max(0, -(start // step)))
    return begin, min(count, max(begin, (extent - start + step - 1) // step))


@register_jitable
def regular(
    at: int, extent: int, outputs: int, taps: int, stride: int, dilation: int, pad: int, starts: Any, plane: int
) -> tuple[int, int]:
    begin, end = inside(at * stride - pad, dilation, taps, extent)
    return at * stride - pad + begin * dilation, end - begin


@register_jitable
def adaptive(
    at: int, extent: int, outputs: int, taps: int, stride: int, dilation: int, pad: int, starts: Any, plane: int
) -> tuple[int, int]:
    start = at * extent // outputs
    return start, ((at + 1) * extent + outputs - 1) // outputs - start


@functools.cache
def gatherer(dtype: np.dtype, neutral: Any) -> Any:
    """A function that copies lines of an image into a strip."""
    LANES = lanes(dtype)

    @register_jitable
    def gather(x, at, line, lines, column, step, xw, extent, strip, to, pitch, count):
        """Copy `count` values from `column` on of `lines` lines from ``x[at]`` on; neutral outside the image."""
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

    return gather
