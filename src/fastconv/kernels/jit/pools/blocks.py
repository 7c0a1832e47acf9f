"""The instructions for one block: several rows of outputs, one vector each, folded tap by tap.

Each row of taps is folded first, then the rows. Every second column is selected by one shuffle of two vectors, and the
lanes are put in order once, before they are stored. Sums over rows that no two windows share go down the columns first,
which halves the shuffles. Maxima do not, since of equal zeros the first in row-major order must stay.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.jit.pools.folds import FOLDS, Fold
from fastconv.kernels.jit.vector import Emitter

if TYPE_CHECKING:
    from fastconv.kernels.jit.vector import Answer, BaseContext, Context, Signature

INT64: ir.IntType = ir.IntType(64)

# Sums of many rows are taken in blocks of this many, which are summed in blocks again, and so on.
_BLOCK, _LEVELS = 64, 3


class _Block:
    """Writes the instructions for one block; `KH` and `KW` are 0 if they are read at run time."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        scalar: types.Number,
        fold: Fold,
        KH: int,
        KW: int,
        STEP: int,
        rows: int,
        SH: int,
        DOWN: int,
    ) -> None:
        self.builder, self.KH, self.KW, self.STEP = builder, KH, KW, STEP
        self.rows, self.SH, self.DOWN, self.averages = rows, SH, DOWN, fold.averages
        self.vector = Emitter(builder, scalar)
        self.fold = functools.partial(fold.emit, self.vector)

    def moved(self, pointer: ir.Value, steps: int | ir.Value, step: ir.Value) -> ir.Value:
        steps = INT64(steps) if isinstance(steps, int) else steps
        return self.builder.gep(pointer, [self.builder.mul(steps, step)])

    def folded(self, taps: list[ir.Value]) -> ir.Value:
        return functools.reduce(self.fold, taps)

    def folded_down(self, lines: list[list[ir.Value]]) -> list[ir.Value]:
        return [self.folded(list(column)) for column in zip(*lines, strict=True)]

    def folded_at_run_time(self, count: ir.Value, line: Callable[[ir.Value], list[ir.Value]]) -> list[ir.Value]:
        """Fold ``line(0)`` to ``line(count - 1)``, at least one."""
        best = [cgutils.alloca_once_value(self.builder, value) for value in line(INT64(0))]
        with cgutils.for_range(self.builder, count, start=INT64(1)) as loop:
            for at, value in zip(best, line(loop.index), strict=True):
                self.builder.store(self.fold(self.builder.load(at), value), at)
        return [self.builder.load(at) for at in best]

    def summed_at_run_time(self, count: ir.Value, row: Callable[[ir.Value], ir.Value]) -> ir.Value:
        """Sum ``row(0)`` to ``row(count - 1)`` in blocks of blocks: the error hardly grows with their number."""
        builder, vector = self.builder, self.vector
        none = vector.broadcast(ir.Constant(vector.element, -0.0))
        sums = [cgutils.alloca_once_value(builder, none) for _ in range(_LEVELS)]
        with cgutils.for_range(builder, count) as loop:
            builder.store(vector.add(builder.load(sums[0]), row(loop.index)), sums[0])
            done = builder.add(loop.index, INT64(1))
            for level, (low, high) in enumerate(itertools.pairwise(sums), 1):
                rest = builder.and_(done, INT64(_BLOCK**level - 1))
                with builder.if_then(builder.icmp_unsigned("==", rest, INT64(0)), likely=False):
                    builder.store(vector.add(builder.load(high), builder.load(low)), high)
                    builder.store(none, low)
        return functools.reduce(vector.add, [builder.load(at) for at in reversed(sums)])

    def seen(self, line: ir.Value, tap_step: ir.Value) -> list[ir.Value]:
        """The vectors from which the taps of one line are `picked`."""
        if self.STEP == 1:
            return [self.vector.load(self.moved(line, j, tap_step)) for j in range(self.KW)]
        lanes, paired = self.vector.lanes, self.KW // 2 * 2
        at = [j + half for j in range(0, paired, 2) for half in (0, lanes)]
        if self.KW % 2:
            at += [paired, paired + lanes - 1]  # so that nothing past the last value of the window is read
        return [self.vector.load(self.builder.gep(line, [INT64(offset)])) for offset in at]

    def picked(self, seen: list[ir.Value]) -> list[ir.Value]:
        if self.STEP == 1:
            return seen
        pairs = list(zip(seen[::2], seen[1::2], strict=True))
        taps = [tap for pair in pairs[: self.KW // 2] for tap in self.vector.deinterleave_unordered(*pair)]
        return taps + [self.vector.even_unordered(*pair) for pair in pairs[self.KW // 2 :]]

    def row(self, line: ir.Value, tap_step: ir.Value, kw: ir.Value) -> ir.Value:
        """Fold a row of taps."""
        if self.KW:
            return self.folded(self.picked(self.seen(line, tap_step)))
        load = self.vector.load_even_unordered if self.STEP == 2 else self.vector.load
        (fold,) = self.folded_at_run_time(kw, lambda j: [load(self.moved(line, j, tap_step))])
        return fold

    def compute(
        self, source: ir.Value, line_step: ir.Value, tap_step: ir.Value, kh: ir.Value, kw: ir.Value
    ) -> list[ir.Value]:
        """The folds of the block's rows."""

        def row(line: int | ir.Value) -> ir.Value:
            return self.row(self.moved(source, line, line_step), tap_step, kw)

        def seen(line: int | ir.Value) -> list[ir.Value]:
            return self.seen(self.moved(source, line, line_step), tap_step)

        if self.DOWN and self.KH:
            rows = range(0, self.rows * self.SH, self.SH)
            columns = [self.folded_down([seen(first + i) for i in range(self.KH)]) for first in rows]
            folds = [self.folded(self.picked(row)) for row in columns]
        elif self.DOWN:
            folds = [self.folded(self.picked(self.folded_at_run_time(kh, seen)))]
        elif self.averages and not self.KW:
            folds = [self.summed_at_run_time(kh, row)]
        elif not self.KH:
            folds = self.folded_at_run_time(kh, lambda line: [row(line)])
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
def fold_block(
    typingctx: Context,
    spec: types.Type,
    x: types.CPointer,
    at: types.Integer,
    line_step: types.Integer,
    tap_step: types.Integer,
    kh: types.Integer,
    kw: types.Integer,
    out: types.CPointer,
    to: types.Integer,
    out_step: types.Integer,
    heights: types.CPointer,
    row: types.Integer,
    widths: types.CPointer,
    column: types.Integer,
) -> Answer:
    """Fold the windows of one block, of which the first starts at ``x[at]``, into ``out[to]``.

    A mean is divided (or multiplied) by ``heights[row]``, of the block's first row, times ``widths[column]``.
    """
    if not isinstance(spec, types.StringLiteral):
        return None

    def codegen(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: Sequence[ir.Value]
    ) -> ir.Value:
        (_, x, at, line_step, tap_step, kh, kw, out, to, out_step, heights, row, widths, column) = arguments
        name, *numbers = spec.literal_value.split()
        times, *shape = map(int, numbers)
        block = _Block(builder, signature.args[1].dtype, FOLDS[name], *shape)
        vector = block.vector
        folds = block.compute(builder.gep(x, [at]), line_step, tap_step, kh, kw)
        if block.averages:
            scale = vector.mul if times else builder.fdiv
            across = vector.load(builder.gep(widths, [column]))
            for r, fold in enumerate(folds):
                down = builder.load(builder.gep(heights, [builder.add(row, INT64(r))]))
                folds[r] = scale(fold, vector.mul(vector.broadcast(down), across))
        out = builder.gep(out, [to])
        for r, fold in enumerate(folds):
            vector.store(block.moved(out, r, out_step), fold)
        return context.get_dummy_value()

    integer = types.int64
    signature = [spec, x, *[integer] * 5, out, integer, integer, heights, integer, widths, integer]
    return types.void(*signature), codegen
