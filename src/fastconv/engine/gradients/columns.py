"""The input's gradient as the adjoint of im2col: one matrix product, whose columns are added to the pixels they see.

    cols[(c, t), p] = sum_m weight[m, (c, t)] * grad[m, p]        for the taps t and the output positions p

It multiplies as often as the phases of the stride do, but all at once: where maps are small, each phase has too few
positions to be worth its launches and its packed weights. The weight lies column by column, and is packed from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution.base import finish_planes, refuse_unless_real
from fastconv.engine.convolution.implicit import Implicit, multiply, transposed_packing
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.plan import Plan, SumsDirectly
from fastconv.engine.rates import rates, ratios
from fastconv.engine.remembering import remembered
from fastconv.engine.rounding import running_error
from fastconv.kernels import threads as team

# Columns that are computed together, before they are added: from a shared cache.
_COLUMNS_BYTES = 1 << 20

# Weights that are packed together: scratch memory of that size is kept for the next call.
_PACKED_BYTES = 4 << 20

# Seconds to write a value of a column and to add it to its pixel, to begin a line of such values, and to pack a value
# of the weight; fitted to layers of 16 to 512 channels on the machine of reference.
_ADD_SECONDS, _LINE_SECONDS, _PACK_SECONDS = 1e-9, 4e-9, 6e-10

_IMPLICIT = Implicit()


@remembered(REMEMBERED)
def _product(g: ConvGeometry) -> ConvGeometry:
    """The product as a 1×1 convolution: the columns of a channel are its filters, all positions one row."""
    one = (1, 1)
    return ConvGeometry(g.n, g.g, g.oc, g.ic * g.taps, (1, g.positions), one, one, one, ((0, 0), (0, 0)))


def _parts(g: ConvGeometry, itemsize: int) -> Iterator[tuple[ConvGeometry, slice, slice]]:
    """Parts of the problem, each with some channels: its geometry, those channels, and the filters that see them."""
    channels, filters = g.ic // g.g, g.oc // g.g
    packed, column = filters * g.taps * itemsize, g.taps * g.positions * itemsize
    most = max(1, min(_PACKED_BYTES // packed, _COLUMNS_BYTES // column))
    if most >= g.ic:
        yield g, slice(0, g.ic), slice(0, g.oc)
    elif most >= channels:
        groups = most // channels
        for first in range(0, g.g, groups):
            some = min(groups, g.g - first)
            seen = slice(first * filters, (first + some) * filters)
            part = replace(g, g=some, ic=some * channels, oc=some * filters)
            yield part, slice(first * channels, (first + some) * channels), seen
    else:
        for first in range(0, g.ic, channels):
            seen = slice(first // channels * filters, (first // channels + 1) * filters)
            for begin in range(first, first + channels, most):
                some = min(most, first + channels - begin)
                yield replace(g, g=1, ic=some, oc=filters), slice(begin, begin + some), seen


class Columns(SumsDirectly):
    """One matrix product, and col2im."""

    name = "col2im"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        if geometry.taps == 1 and max(geometry.stride) == 1:
            return "adds columns of several taps, and this kernel has one"
        return refuse_unless_real(dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g, product = geometry, _product(geometry)
        lines = g.n * g.ic * g.taps * prod(g.out_extent[:-1])
        moved = lines * (_LINE_SECONDS + g.out_extent[-1] * _ADD_SECONDS) + prod(g.weight_shape) * _PACK_SECONDS
        return 6e-6 + _IMPLICIT.cost(product, dtype) + moved / ratios().l2

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Of the product, and of the sum over taps."""
        return _IMPLICIT.error(_product(geometry), dtype) + running_error(geometry.taps, dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        part, _, _ = next(_parts(geometry, dtype.itemsize))
        product = _product(replace(part, n=min(part.n, _images(part, dtype.itemsize))))
        columns = prod(product.out_shape) * dtype.itemsize
        return columns + _IMPLICIT.workspace_bytes(product, dtype, threads, max_workspace)

    def run(self, plan: Plan, grad: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute the gradient `out`, given that of the output, in the shapes of the geometry."""
        g, threads = plan.geometry, plan.threads
        weight = as_contiguous(weight).reshape(g.oc, g.ic // g.g, g.taps)
        rows = as_contiguous(grad).reshape(g.n, g.oc, 1, g.positions)
        for part, channels, filters in _parts(g, out.itemsize):
            in_group = slice(channels.start % (g.ic // g.g), None)
            packing = transposed_packing(_product(part), out.dtype, apart=prod(weight.shape[1:]))
            packed = packing.packed(weight[filters, in_group], threads)
            step = _images(part, out.itemsize)
            for first in range(0, g.n, step):
                some = replace(part, n=min(step, g.n - first))
                product = _product(some)
                columns = team.aligned_empty(prod(product.out_shape), out.dtype).reshape(product.out_shape)
                multiply(product, rows[first : first + step, filters], packed, columns, PLAIN, threads)
                add_columns(some, columns, out[first : first + step, channels], threads)
        finish_planes(out, epilogue, threads)


def _images(g: ConvGeometry, itemsize: int) -> int:
    """The number of images whose columns are computed together."""
    return max(1, _COLUMNS_BYTES // (g.ic * g.taps * g.positions * itemsize))


@remembered(REMEMBERED)
def _adding(g: ConvGeometry, dtype: np.dtype, apart: int) -> Launch:
    from fastconv.kernels.slots import arguments

    def of_axes(names: str, values: tuple[int, ...], missing: int) -> dict[str, int]:
        return dict(zip(names.split(), (missing,) * (3 - g.ndim) + values, strict=True))

    ints = arguments("col2im")(
        channels=g.ic,
        image=apart,
        **of_axes("id ih iw", g.extent, 1),
        **of_axes("kd kh kw", g.kernel, 1),
        **of_axes("od oh ow", g.out_extent, 1),
        **of_axes("sd sh sw", g.stride, 1),
        **of_axes("dd dh dw", g.dilation, 1),
        **of_axes("pf pt pl", tuple(before for before, _ in g.padding), 0),
    )
    return Launch.of("col2im", dtype, ints, g.n * g.ic)


def add_columns(g: ConvGeometry, columns: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Add every value of the columns to the pixel that it comes from; the channels of `out` are contiguous."""
    launch = _adding(g, out.dtype, out.strides[0] // out.itemsize)
    # Every value of the columns is read here and written there.
    launch.run((columns, out), workers_for(2 * columns.nbytes / rates().memory, threads))
