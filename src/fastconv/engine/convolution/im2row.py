"""Implicit im2row: a matrix product whose rows are output positions, packed from the image, and columns are filters.

Small maps have too few positions to fill the tiles of `implicit`, whose columns they are. Here they are rows, of which
a tile needs few, and filters fill the tiles. Rows are packed once for all filters, whatever the stride.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from math import gcd

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution.base import (
    FEW_THREADS,
    Packing,
    PacksFilters,
    element_strides,
    equal_parts,
    is_pixelwise,
    refuse_unless_real_2d,
    share_among_many,
    share_blocks,
    share_panels,
    sum_error,
    window,
)
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import rates, ratios

# Most steps of a block of the reduction, whose sums are added up; a panel of filters of so many steps stays in L1.
_STEPS = 256

# The most positions of a block. Each block reads all filters, which are beyond L2 if there are many: blocks of 96
# positions took 3 to 10 % longer, and if there are few channels, up to a fifth.
_MOST_ROWS = 256

# Filters of a block if two threads share them.
_BLOCK_FILTERS = 96

# Seconds to pack one step of MR positions that are neighbours in the image, or have neighbouring channels; of MR
# positions with neither; and of neighbours that a 1×1 kernel sees, each step of which is on another cache line.
_NEAR_SECONDS, _APART_SECONDS, _PIXEL_SECONDS = 0.6e-9, 1.6e-9, 1.2e-9

# Seconds more if the channels share so few places in L1 that the next taps find their lines evicted: on planes of
# 16 × 16 and 32 × 32 positions, calls took 1.3 and 1.7 times as long as on those beside them.
_CROWDED_SECONDS, _PAGE, _WAYS = 8e-9, 4096, 8

# Seconds to pack one value of a filter into memory, and into L1 where it is used.
_FILTER_SECONDS, _IN_PLACE_SECONDS = 0.6e-9, 0.45e-9

# Seconds to begin and end the blocks of each further group.
_GROUP_SECONDS = 2.5e-6

# Seconds to find where a step of a block lies, to begin packing MR positions with channels last, and to begin and end
# their sums with a panel of filters.
_STEP_SECONDS, _BEGIN_SECONDS, _TILE_SECONDS = 5e-9, 5e-8, 1e-8

# Seconds per output to write it in its place.
_PLACE_SECONDS = 0.5e-9


def _pack_seconds(g: ConvGeometry, itemsize: int) -> float:
    """Seconds to pack one step of MR positions."""
    from fastconv.kernels.slots import CACHE_LINE, MR

    if is_pixelwise(g):
        return _PIXEL_SECONDS
    # Windows with channels last are packed tap by tap, and those at padding more slowly still.
    near = g.taps == 1 if g.channels_last else g.sw <= 2 and g.ow >= 4 * MR
    crowded = 0.0
    if not g.channels_last and g.taps > 1:
        apart = gcd(g.ih * g.iw * itemsize, _PAGE)
        places = _PAGE // max(apart, CACHE_LINE)
        crowded = _CROWDED_SECONDS if g.ic // g.g > _WAYS * places else 0.0
    return crowded + (_NEAR_SECONDS if near else _APART_SECONDS)


def _steps(g: ConvGeometry) -> int:
    """Those of about equal blocks, of whole taps if one fits.

    To begin and end the sums of a block of its own for the last 48 of 304 steps took a tenth of the call.
    """
    channels = g.ic // g.g
    unit = channels if channels <= _STEPS else 1
    units = g.reduction // unit
    return unit * -(-units // -(-units // (_STEPS // unit)))


def _rows(g: ConvGeometry, itemsize: int) -> int:
    """The most positions of a block: half of L2 holds what is packed of them at a time."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import MR

    return max(MR, min(_MOST_ROWS, cache_bytes()[1] // 2 // (_steps(g) * itemsize)) // MR * MR)


def _tile_seconds(g: ConvGeometry, itemsize: int, in_place: bool) -> Callable[[int, int], float]:
    """A function that says what a tile takes: a block of positions, and so many panels of filters."""
    from fastconv.kernels.slots import MR, NR

    nr = NR[itemsize]
    product = 2.2 * MR * nr * g.reduction / rates().flops(itemsize)
    packed = g.reduction * _pack_seconds(g, itemsize) / ratios().l2 * itemsize / 4
    filters = nr * g.reduction * (_IN_PLACE_SECONDS / ratios().l2 if in_place else itemsize / rates().l3)

    def seconds(rows: int, panels: int) -> float:
        return rows // MR * (packed + panels * product) + panels * filters

    return seconds


@functools.lru_cache(maxsize=REMEMBERED)
def _launch(
    g: ConvGeometry,
    dtype: np.dtype,
    threads: int,
    strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    out_strides: tuple[int, int, int] = (0, 0, 0),
    activation: int = 0,
    in_place: bool = False,
) -> Launch:
    """The launch for images with these strides, and an output with those from image, channel and position to the next.

    All are in elements.
    """
    from fastconv.kernels.slots import MR, NR, arguments

    nr, positions, most = NR[dtype.itemsize], g.n * g.positions, _rows(g, dtype.itemsize)
    panels = -(-(g.oc // g.g) // nr)
    if threads > FEW_THREADS:
        groups = equal_parts(-(-positions // MR), most // MR)
        numbered = ((g.g * -(-positions // (n * MR)), n * MR) for n in groups)
        rows, block_panels = share_among_many(numbered, panels, threads, _tile_seconds(g, dtype.itemsize, in_place))
    else:
        shares, least = max(1, -(-positions // most)), -(-_BLOCK_FILTERS // nr)
        if panels < threads * least:
            # Threads share positions, which are even shares only if there are many. At least four register tiles per
            # thread, or their filters would be read for too few products.
            shares = max(shares, min(threads, positions // (4 * MR)))
        if g.g % threads:
            shares = share_blocks(shares, -(-positions // MR), panels, least, threads)
        rows = max(MR, -(-positions // shares // MR) * MR)
        block_panels = share_panels(panels, least, g.g * -(-positions // rows), threads)
    blocks = -(-positions // rows)
    out_image, out_plane, out_position = out_strides
    ints = arguments("im2row")(
        **window(g, strides),
        kc=_steps(g),
        rows=rows,
        blocks=blocks,
        block_panels=block_panels,
        channel_blocks=-(-panels // block_panels),
        in_place=in_place,
        activation=activation,
        out_image=out_image,
        out_plane=out_plane,
        out_position=out_position,
    )
    return Launch.of("im2row", dtype, ints, g.g * blocks * ints.channel_blocks)


@functools.lru_cache(maxsize=REMEMBERED)
def _packing(g: ConvGeometry, dtype: np.dtype) -> Packing:
    """How filters are packed (`pack_columns` in kernels/simd/im2row.h)."""
    from fastconv.kernels.slots import NR, arguments, packed

    panels = -(-(g.oc // g.g) // NR[dtype.itemsize])
    ints = arguments("pack_columns")(M=g.oc // g.g, C=g.ic // g.g, taps=g.taps, kc=_steps(g), panels=panels)
    return Packing(Launch.of("pack_columns", dtype, ints, g.g * panels), g.g * packed("pack_columns", dtype, ints))


@functools.lru_cache(maxsize=REMEMBERED)
def _in_one_row(g: ConvGeometry) -> ConvGeometry:
    return replace(g, extent=(1, g.positions))


def _joined(g: ConvGeometry, x: np.ndarray) -> ConvGeometry:
    """A 1×1 kernel sees one row of positions if the rows of the image follow each other."""
    return _in_one_row(g) if is_pixelwise(g) and x.strides[2] == g.iw * x.strides[3] else g


class Im2row(SumsDirectly, PacksFilters):
    name = "im2row"
    packing = staticmethod(_packing)
    takes_channels_last = True

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.slots import LANES, MR, NR

        g, lanes = geometry, LANES[dtype.itemsize]
        rows = -(-g.n * g.positions // MR)
        # A tile of few rows waits for its multiply-adds, as one of a single vector does.
        vectors = max(3, -(-(g.oc // g.g) // lanes))
        products = 2 * g.g * rows * MR * vectors * lanes * g.reduction / rates().flops(dtype.itemsize)
        packed = g.g * rows * g.reduction * _pack_seconds(g, dtype.itemsize)
        placed = 0 if g.channels_last else g.n * g.oc * g.positions * _PLACE_SECONDS
        blocks = -(-rows * MR // _rows(g, dtype.itemsize))
        fixed = 2e-6 + (g.g - 1) * _GROUP_SECONDS + g.g * blocks * g.reduction * _STEP_SECONDS
        if g.channels_last:
            panels = -(-(g.oc // g.g) // NR[dtype.itemsize])
            fixed += g.g * rows * -(-g.reduction // _steps(g)) * (_BEGIN_SECONDS + panels * _TILE_SECONDS)
        return fixed + 1.1 * products + (packed + placed) / ratios().l2 * dtype.itemsize / 4

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.cpu import cache_bytes

        g = geometry
        values = g.oc * g.reduction
        if _in_place(g, dtype.itemsize):
            return values * _IN_PLACE_SECONDS / ratios().l2
        seconds = 3e-6 + values * _FILTER_SECONDS / ratios().l2
        if values * dtype.itemsize > cache_bytes()[1]:
            seconds += values * dtype.itemsize / rates().memory
        return seconds

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry, dtype, _steps(geometry))

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        in_place = _in_place(geometry, dtype.itemsize)
        launch = _launch(geometry, dtype, threads, in_place=in_place)
        return launch.workspace(threads) + (0 if in_place else _packing(geometry, dtype).size)

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        _multiply(geometry, x, prepared, out, epilogue, threads)

    def run_once(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        weight: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        weight = as_contiguous(weight)
        in_place = _in_place(geometry, x.itemsize)
        filters = weight if in_place else self.prepare(geometry, weight, threads)
        _multiply(geometry, x, filters, out, epilogue, threads, in_place)


def _in_place(g: ConvGeometry, itemsize: int) -> bool:
    """Whether a one-shot call packs filters where it uses them, since there is a single block of positions."""
    return g.taps == 1 and g.n * g.positions <= _rows(g, itemsize)


def _multiply(
    geometry: ConvGeometry,
    x: np.ndarray,
    filters: np.ndarray,
    out: np.ndarray,
    epilogue: Epilogue,
    threads: int,
    in_place: bool = False,
) -> None:
    """Convolve with packed `filters`, or with those of a weight `in_place`."""
    image, plane, _, position = element_strides(out)
    g, placed = _joined(geometry, x), (image, plane, position)
    launch = _launch(g, x.dtype, threads, element_strides(x), placed, epilogue.activation, in_place)
    launch.run((x, filters, epilogue.bias, out), threads, (epilogue.parameter,))
