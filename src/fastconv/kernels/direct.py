"""Direct convolution: a block of sums in registers, and every line of the image shared among its rows.

Equation, for one output channel m of one image, with c over the input channels of its group::

    out[b, q] = epilogue(sum_{c, i, j} weight[m, c, i, j] * x[c, b * sh - pt + i * dh, q * sw - pl + j * dw])

A *block* is a few rows of sums, each of a few vectors. For a column j of taps, up to `TAPS` weights are held in
registers, and each line is loaded once for all the taps that meet it::

    line      taps that it meets (3 taps, 4 rows, stride 1)
     0        row 0, tap 0
     1        row 0, tap 1;  row 1, tap 0
     2        row 0, tap 2;  row 1, tap 1;  row 2, tap 0         rows + taps - 1 loads
     3                       row 1, tap 2;  row 2, tap 1; ...    for rows * taps multiply-adds
     ...

so that in 10 rows and 5 taps a load serves 3.6 of them. Nothing else depends on the kernel's extents, which are read at
run time: columns of more taps are taken in runs that are about equal. Unrolling the columns too gained nothing. A
column of one run is a kernel of its own, since small kernels feel every branch: their blocks take some tens of cycles.

Index map. Lines of stride 1 and any dilation dh: rows of one residue modulo dh see the lines of one residue, and are
blocks of their own, without dilation. Lines of stride 2: line l of a block is tap l - 2 * r of row r. At other
strides lines are not shared; each tap loads all rows of the block. So does a plane of very few rows, whose blocks are
as many neighbouring vectors of one row instead: `flat`.

Columns of stride 2 are loaded as every second value of two vectors. Other strides, and all that lies at a border, are
the business of kernels/sweep.pyx, which makes lines of them without gaps. (Masked loads at borders were no faster: a
mask takes a register, and its blocks then spill.)

Complex numbers are pairs of reals: their sums are two vectors, of the products with the real and the imaginary
parts of the weights, that are combined at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.blocks import COMPLEX_TAPS, LEAKY_RELU, RELU, TAPS
from fastconv.kernels.target import lanes
from fastconv.kernels.vector import Emitter, as_int64, is_given

INT64 = ir.IntType(64)


class _Block:
    """Writes the instructions of one block: `rows` vectors of sums; lines are shared as rows are `stride` apart."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        scalar: types.Number,
        rows: int,
        across: int,
        stride: int,
        every_second: int,
        is_complex: int,
    ) -> None:
        self.rows, self.across, self.stride = rows, across, stride
        self.builder = builder
        self.vector = Emitter(builder, scalar)
        self.load = self.vector.load_even_unordered if every_second else self.vector.load
        self.ordered = self.vector.ordered if every_second else lambda vector: vector
        self.parts = 1 + is_complex
        # LLVM turns these variables into registers.
        self.sums = [
            [[cgutils.alloca_once(builder, self.vector.type) for _ in range(self.parts)] for _ in range(across)]
            for _ in range(rows)
        ]
        self.steps = [INT64(self.vector.lanes * (1 + every_second) * at) for at in range(across)]
        self.constant = builder.module.add_metadata([])

    def clear(self) -> None:
        for row in self.sums:
            for parts in row:
                for part in parts:
                    self.builder.store(self.vector.zero(), part)

    def moved(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(pointer, [offset])

    def weights(self, pointer: ir.Value, step: ir.Value, taps: int) -> list[list[ir.Value]]:
        """Vectors of the parts of each of `taps` weights, `step` apart."""
        found = []
        for _ in range(taps):
            parts = [self.builder.load(self.moved(pointer, INT64(part))) for part in range(self.parts)]
            for part in parts:  # no store changes it: it need not be loaded again
                part.set_metadata("invariant.load", self.constant)
            found.append([self.vector.broadcast(part) for part in parts])
            pointer = self.moved(pointer, step)
        return found

    def line(self, source: ir.Value) -> list[ir.Value]:
        """Its values that the first tap of a column meets."""
        return [self.load(self.moved(source, step)) for step in self.steps]

    def add(self, row: int, weight: list[ir.Value], line: list[ir.Value]) -> None:
        for parts, values in zip(self.sums[row], line, strict=True):
            for total, part in zip(parts, weight, strict=True):
                self.builder.store(self.vector.fma(part, values, self.builder.load(total)), total)

    def add_column(self, source: ir.Value, line_step: ir.Value, tap_step: ir.Value, weights: list) -> None:
        """Add the products of a column of weights, the first of which meets `source` in row 0."""
        if self.stride:
            for line in range((self.rows - 1) * self.stride + len(weights)):
                met = [(row, line - row * self.stride) for row in range(self.rows)]
                met = [(row, tap) for row, tap in met if 0 <= tap < len(weights)]
                values = self.line(source) if met else []
                for row, tap in met:
                    self.add(row, weights[tap], values)
                source = self.moved(source, line_step)
        else:
            for weight in weights:
                line = source
                for row in range(self.rows):
                    self.add(row, weight, self.line(line))
                    line = self.moved(line, line_step)
                source = self.moved(source, tap_step)

    def finish(self, bias: ir.Value, activation: ir.Value, parameter: ir.Value) -> None:
        """Bias and the simple activations of real numbers, as kernels/simd/epilogue.h has them."""
        vector, builder = self.vector, self.builder
        bias, slope, zero = vector.broadcast(bias), vector.broadcast(parameter), vector.zero()
        sums = [total for row in self.sums for (total,) in row]
        for total in sums:
            builder.store(vector.add(builder.load(total), bias), total)
        for code in (RELU, LEAKY_RELU):
            with builder.if_then(builder.icmp_signed("==", activation, INT64(code))):
                for total in sums:
                    value = builder.load(total)
                    low = zero if code == RELU else vector.mul(slope, value)
                    builder.store(builder.select(builder.fcmp_ordered("<", value, zero), low, value), total)

    def write(self, out: ir.Value, step: ir.Value) -> None:
        for row in self.sums:
            for at, parts in enumerate(row):
                values = [self.ordered(self.builder.load(part)) for part in parts]
                finished = values[0] if len(values) == 1 else self.combined(*values)
                self.vector.store(self.moved(out, INT64(at * self.vector.lanes)), finished)
            out = self.moved(out, step)

    def combined(self, by_real: ir.Value, by_imaginary: ir.Value) -> ir.Value:
        """Complex sums from those of both parts of the image times one part of the weights."""
        vector, lanes = self.vector, range(self.vector.lanes)
        turned = vector.shuffle(by_imaginary, by_imaginary, [lane ^ 1 for lane in lanes])
        less, more = vector.sub(by_real, turned), vector.add(by_real, turned)
        return vector.shuffle(less, more, [lane + lane % 2 * vector.lanes for lane in lanes])


@intrinsic(prefer_literal=True)
def compute_block(
    typingctx,
    spec,
    source,
    channel_step,
    line_step,
    tap_step,
    shifts,
    weight,
    channels,
    kw,
    runs,
    long_runs,
    run,
    out,
    out_step,
    finishes,
    bias,
    activation,
    parameter,
):
    """Compute one block, whose first value sees `source`, into `out`.

    The taps of a column fall into `runs` runs; the first `long_runs` have `run` taps, the others one less.
    """
    if not isinstance(spec, types.StringLiteral):
        return None

    def codegen(context, builder, signature, arguments):
        (_, source, channel_step, line_step, tap_step, shifts, weight, channels, kw, *rest) = arguments
        runs, long_runs, run, out, out_step, finishes, bias, activation, parameter = rest
        *shape, whole = map(int, spec.literal_value.split())
        block = _Block(builder, signature.args[1].dtype, *shape)
        weight_step = builder.mul(kw, INT64(block.parts))

        def add_run(count, lines, weights):
            with cgutils.for_range(builder, kw) as column:
                shift = builder.load(block.moved(shifts, column.index))
                of_column = block.moved(weights, builder.mul(column.index, INT64(block.parts)))
                lines = block.moved(lines, shift)
                block.add_column(lines, line_step, tap_step, block.weights(of_column, weight_step, count))

        block.clear()
        at_weight = cgutils.alloca_once_value(builder, weight)
        with cgutils.for_range(builder, channels) as channel:
            lines = block.moved(source, builder.mul(channel.index, channel_step))
            if whole:
                weights = builder.load(at_weight)
                add_run(whole, lines, weights)
                builder.store(block.moved(weights, builder.mul(weight_step, INT64(whole))), at_weight)
            else:
                at_lines = cgutils.alloca_once_value(builder, lines)
                with cgutils.for_range(builder, runs) as this:
                    is_short = builder.zext(builder.icmp_signed(">=", this.index, long_runs), INT64)
                    taps = builder.sub(run, is_short)
                    lines, weights = builder.load(at_lines), builder.load(at_weight)
                    for count in range(1, (COMPLEX_TAPS if block.parts == 2 else TAPS) + 1):
                        with builder.if_then(builder.icmp_signed("==", taps, INT64(count))):
                            add_run(count, lines, weights)
                    builder.store(block.moved(lines, builder.mul(taps, tap_step)), at_lines)
                    builder.store(block.moved(weights, builder.mul(taps, weight_step)), at_weight)
        if block.vector.is_float and block.parts == 1:
            with builder.if_then(finishes):
                block.finish(bias, activation, parameter)
        block.write(out, out_step)
        return context.get_dummy_value()

    integer, number = types.int64, types.unliteral(bias)
    ints = [integer] * 5
    signature = [spec, source, *ints[:3], shifts, weight, *ints, out, integer, types.boolean, number, integer, number]
    return types.void(*signature), codegen


@intrinsic
def moved(typingctx, pointer, offset):
    """``&pointer[offset]``"""

    def codegen(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), codegen


def sweep_kernel(
    dtype: np.dtype, is_complex: bool, rows: int, across: int, stride: int, every_second: bool, taps: int
) -> Callable[..., None]:
    """The sweep by blocks of `rows` vectors whose lines are shared at `stride` 1 or 2, or not at all: 0.

    `dtype` is that of an item (`item_dtype`).

    The taps of a column are one run of so many `taps`, or 0: runs that are read at run time.

    It computes a rectangle, at least as large as a block, of the output planes ``begin <= m < end``. ``arrays``: the
    first line that it sees, weight, out, bias or null, the shift of each tap of a line (int64). ``ints``: `Sweep` of
    kernels/sweep.pyx, in reals. ``scalars``: the activation's parameter.
    """
    SPEC = f"{rows} {across} {stride} {int(every_second)} {int(is_complex)} {taps}"
    BLOCK, LANES, EVERY = rows, lanes(dtype) * across, 2 if every_second else 1
    number = dtype.type
    NO_BIAS = number(-0.0 if dtype.kind == "f" else 0)  # the zero that changes nothing

    def loop(arrays, ints, scalars, begin, end, worker):
        channel, line, tap, row, out_vector, out_row, out_plane = (
            ints[0],
            ints[1],
            ints[2],
            ints[3],
            ints[4],
            ints[5],
            ints[6],
        )
        rows, cols, channels, kw, weights = ints[7], ints[8], ints[9], ints[10], ints[11]
        runs, long_runs, run, activation, flat = ints[12], ints[13], ints[14], ints[15], ints[16]
        source, weight, out, bias, shifts = arrays[0], arrays[1], arrays[2], arrays[3], as_int64(arrays[4])
        has_bias = is_given(bias) and activation <= LEAKY_RELU
        finishes = has_bias or 0 < activation <= LEAKY_RELU
        row_step, col_step = (1, BLOCK * LANES) if flat else (BLOCK, LANES)
        for m in range(begin, end):
            for r in range(0, rows, row_step):
                r = min(r, rows - row_step)
                for q in range(0, cols, col_step):
                    q = min(q, cols - col_step)
                    compute_block(
                        SPEC,
                        moved(source, r * row + q * EVERY),
                        channel,
                        line,
                        tap,
                        shifts,
                        moved(weight, m * weights),
                        channels,
                        kw,
                        runs,
                        long_runs,
                        run,
                        moved(out, (m - begin) * out_plane + r * out_row + q),
                        out_vector,
                        finishes,
                        bias[m] if has_bias else NO_BIAS,
                        activation,
                        number(scalars[0]),
                    )

    return loop
