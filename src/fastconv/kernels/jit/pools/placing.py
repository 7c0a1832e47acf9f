"""The instructions for extremes and where they are, a vector of neighbouring outputs at a time.

Next to a vector of extremes is a vector of the taps that they come from, as offsets in the plane from the window's
first tap. Each tap replaces both in the lanes where its value is larger, so that of equal values the first in row-major
order stays, or where it is NaN, so that the last NaN stays: as in torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.jit.pools.folds import FOLDS
from fastconv.kernels.jit.vector import Emitter

if TYPE_CHECKING:
    from fastconv.kernels.jit.vector import Answer, BaseContext, Context, Signature

INT64: ir.IntType = ir.IntType(64)

# Bits of a value that are at least compared with an offset in as many bits.
_LEAST_BITS = 32


def offset_type(dtype: np.dtype) -> np.dtype:
    """The type of offsets in a plane: as wide as values, which one comparison then selects, but of at least 32 bits."""
    return np.dtype(f"i{max(dtype.itemsize, _LEAST_BITS // 8)}")


@intrinsic(prefer_literal=True)
def fold_places(
    typingctx: Context,
    spec: types.Type,
    x: types.CPointer,
    at: types.Integer,
    line_step: types.Integer,
    tap_step: types.Integer,
    kh: types.Integer,
    kw: types.Integer,
    line_offset: types.Integer,
    tap_offset: types.Integer,
    unseen: types.CPointer,
    column: types.Integer,
    out: types.CPointer,
    to: types.Integer,
    places: types.CPointer,
    to_place: types.Integer,
    first: types.Integer,
    across: types.Integer,
) -> Answer:
    """Fold `kh` rows of `kw` taps, of which the first is at ``x[at]``, into ``out[to]`` and ``places[to_place]``.

    `spec` is a fold, the number of taps across if that is compiled in, or 0, and the step between columns. Taps are
    `line_offset` and `tap_offset` apart in the plane, where the first of them is at `first` for the first output, and
    `across` further on for each of the next. ``unseen[column]`` are the offsets of the first taps within the plane: the
    places of extremes that no tap exceeds.
    """
    if not isinstance(spec, types.StringLiteral):
        return None

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        (_, x, at, line_step, tap_step, kh, kw, line_offset, tap_offset) = arguments[:9]
        (unseen, column, out, to, places, to_place, first, across) = arguments[9:]
        name, *numbers = spec.literal_value.split()
        KW, STEP = map(int, numbers)
        vector = Emitter(builder, signature.args[1].dtype)
        bits = max(vector.bits, _LEAST_BITS)
        integer = ir.IntType(bits)
        offsets = ir.VectorType(integer, vector.lanes)

        def splat(value: ir.Value) -> ir.Value:
            return vector._splat(builder.trunc(value, integer) if bits < INT64.width else value, offsets)

        dtype = np.dtype(signature.args[1].dtype.name)
        none = FOLDS[name].neutral(dtype)
        best = cgutils.alloca_once_value(
            builder, vector.broadcast(ir.Constant(vector.element, float(none) if vector.is_float else int(none)))
        )
        begin = builder.bitcast(builder.gep(unseen, [column]), offsets.as_pointer())
        begin = builder.load(begin, align=bits // 8)
        found = cgutils.alloca_once_value(builder, vector.unordered(begin) if STEP == 2 else begin)
        start = builder.gep(x, [at])

        def tap(line: ir.Value, offset: ir.Value, j: ir.Value) -> None:
            pointer = builder.gep(line, [builder.mul(j, tap_step)])
            value = vector.load_even_unordered(pointer) if STEP == 2 else vector.load(pointer)
            before = builder.load(best)
            replaces = vector.replaces(value, before)
            builder.store(builder.select(replaces, value, before), best)
            place = splat(builder.add(offset, builder.mul(j, tap_offset)))
            builder.store(builder.select(replaces, place, builder.load(found)), found)

        with cgutils.for_range(builder, kh) as rows:
            line = builder.gep(start, [builder.mul(rows.index, line_step)])
            offset = builder.mul(rows.index, line_offset)
            for j in range(KW):
                tap(line, offset, INT64(j))
            if not KW:
                with cgutils.for_range(builder, kw) as taps:
                    tap(line, offset, taps.index)
        extremes, taken = builder.load(best), builder.load(found)
        if STEP == 2:
            extremes, taken = vector.ordered(extremes), vector.ordered(taken)
        vector.store(builder.gep(out, [to]), extremes)
        lanes = ir.Constant(offsets, list(range(vector.lanes)))
        taken = builder.add(taken, builder.add(builder.mul(lanes, splat(across)), splat(first)))
        wide = ir.VectorType(INT64, vector.lanes)
        target = builder.bitcast(builder.gep(places, [to_place]), wide.as_pointer())
        builder.store(builder.sext(taken, wide) if bits < INT64.width else taken, target, align=8)
        return context.get_dummy_value()

    integer = types.int64
    signature = [spec, x, *[integer] * 7, unseen, integer, out, integer, places, *[integer] * 3]
    return types.void(*signature), codegen
