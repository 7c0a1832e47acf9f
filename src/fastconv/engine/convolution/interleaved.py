"""Depthwise layers by vectors across channels: as many planes as a vector has lanes are interleaved.

`direct` has its vectors across the columns. Small planes do not fill them, and strides take shuffles. Here a tap is one
multiply-add per position, whatever the extents, stride and dilation (kernels/simd/interleaved.h). Images with channels
last are interleaved already, and those of depthwise layers are read where they lie (kernels/simd/depthwise.h).
"""

from __future__ import annotations

import functools
from math import ceil
from typing import NamedTuple

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution.base import (
    PreparesFirst,
    element_strides,
    refuse_unless_real_2d,
    sum_error,
    window,
)
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import rates, ratios
from fastconv.kernels import threads as team

# Bytes of the strip and the sums of a tile, in L1 or close to it, and the columns that fill a block (interleaved.h).
_TILE_BYTES, _COLUMNS = 1 << 16, 14

# Channels-last images. Bytes of the channels of a tile, for filters of more taps than a few or whose rows are gathered:
# those rows are to stay in L1.
_FEW_TAPS, _FEW_TAPS_BYTES, _CHANNEL_BYTES = 9, 512, 256

# Rows are gathered for filters of many taps, as far as they fit into L2; and for others if columns lie a multiple of
# half a page apart, as far as they stay close to L1 (512 channels of 28 columns then took 0.8 times as long, of 48
# columns 1.4 times).
_MANY_TAPS, _GATHERED_BYTES = 25, 1 << 18
_CROWDED_DISTANCE, _CROWDED_BYTES = 2048, 3 << 14

# A thread takes so many rows at a time as a filter has, or more, since it gathers those above them anew.
_KERNELS_AT_A_TIME = 4

# Tiles of fewer products are handed out several at a time: handing out takes as long as a small one.
_PRODUCTS_AT_A_TIME = 1 << 16

# Share of the multiply-add peak that blocks reach, and how much longer those of several channels take.
_EFFICIENCY, _OF_CHANNELS = 0.62, 1.5

# Of channels-last images: share of the peak, and seconds to read and write a vector of 32 bytes.
_IN_PLACE_EFFICIENCY, _IN_PLACE_SECONDS = 0.5, 0.8e-9

# Seconds per tile, and per further channel of it; to interleave 32 bytes of the image, and to write 32 of the output.
_TILE_SECONDS, _CHANNEL_SECONDS, _READ_SECONDS, _WRITE_SECONDS = 8e-8, 1.1e-8, 0.9e-9, 1.1e-9

# Reading and writing takes as many times as long where planes lie a multiple of a page apart, and so share places in
# L1, and where each of them has pages of its own.
_PAGE, _CROWDED = 4096, 2.0


# Seconds to interleave a value of a filter.
_PACK_SECONDS = 1e-9


class _Tile(NamedTuple):
    """The extents of a tile, and of the strip that it reads."""

    rows: int
    cols: int
    lines: int
    pitch: int


@functools.lru_cache(maxsize=REMEMBERED)
def _tile(g: ConvGeometry) -> _Tile:
    """Parts of a plane of about equal extents, each with a strip that stays in the cache; whole planes if these do."""
    from fastconv.kernels.slots import VECTOR_BYTES

    icg, most = g.ic // g.g, _TILE_BYTES // VECTOR_BYTES
    high, wide = (g.kh - 1) * g.dh + 1, (g.kw - 1) * g.dw + 1

    def share(extent: int, once: int, each: int, least: int) -> int:
        """Of an axis, if a tile takes `once` vectors and `each` per step along it."""
        fitting = max(least, (most - once) // each)
        return -(-extent // -(-extent // fitting))

    lines = (min(g.oh, 4) - 1) * g.sh + high
    cols = share(g.ow, icg * lines * (wide - g.sw), icg * lines * g.sw + min(g.oh, 4), _COLUMNS)
    pitch = (cols - 1) * g.sw + wide
    rows = share(g.oh, icg * pitch * (high - g.sh), icg * pitch * g.sh + cols, 1)
    return _Tile(rows, cols, (rows - 1) * g.sh + high, pitch)


@functools.lru_cache(maxsize=REMEMBERED)
def _launch(
    g: ConvGeometry,
    dtype: np.dtype,
    strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    out_strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    activation: int = 0,
) -> Launch:
    """The launch for images and outputs with these `element_strides`."""
    from fastconv.kernels.slots import LANES, arguments

    rows, cols, _, _ = _tile(g)
    down, across = -(-g.oh // rows), -(-g.ow // cols)
    image, plane, row, position = out_strides
    ints = arguments("interleaved")(
        **window(g, strides),
        rows=rows,
        cols=cols,
        down=down,
        across=across,
        activation=activation,
        out_image=image,
        out_plane=plane,
        out_row=row,
        out_position=position,
    )
    tiles = g.n * -(-g.oc // LANES[dtype.itemsize]) * down * across
    grain = max(1, _PRODUCTS_AT_A_TIME * tiles // max(1, g.n * g.oc * g.positions * g.reduction))
    return Launch.of("interleaved", dtype, ints, tiles, grain)


@functools.lru_cache(maxsize=REMEMBERED)
def _in_place(
    g: ConvGeometry,
    dtype: np.dtype,
    strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    out_strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    activation: int = 0,
) -> Launch:
    """The launch of kernels/simd/depthwise.h, for images and outputs with these `element_strides`."""
    from fastconv.kernels.slots import arguments

    bytes_of_tile = _FEW_TAPS_BYTES if g.taps <= _FEW_TAPS else _CHANNEL_BYTES
    bytes_of_rows = ((g.kh - 1) * g.dh + 1) * g.iw * bytes_of_tile
    crowded = strides[3] * dtype.itemsize % _CROWDED_DISTANCE == 0 and g.sh == g.sw == 1
    gathered = bytes_of_rows <= (_GATHERED_BYTES if g.taps > _MANY_TAPS else _CROWDED_BYTES if crowded else 0)
    split = gathered or g.taps > _FEW_TAPS
    channels = min(g.oc, bytes_of_tile // dtype.itemsize) if split else g.oc
    image, _, row, position = out_strides
    ints = arguments("depthwise")(
        **window(g, strides),
        channels=channels,
        across=g.oc // channels,
        gathered=gathered,
        activation=activation,
        out_image=image,
        out_row=row,
        out_position=position,
    )
    least = _KERNELS_AT_A_TIME * g.kh if gathered else 1
    grain = max(least, _PRODUCTS_AT_A_TIME // max(1, g.ow * channels * g.taps))
    return Launch.of("depthwise", dtype, ints, g.n * ints.across * g.oh, grain)


def _is_in_place(g: ConvGeometry, dtype: np.dtype) -> bool:
    """Whether kernels/simd/depthwise.h computes the problem, if channels are side by side."""
    from fastconv.kernels.slots import LANES

    return g.g == g.ic == g.oc >= LANES[dtype.itemsize]


@functools.lru_cache(maxsize=REMEMBERED)
def _packing(g: ConvGeometry, dtype: np.dtype) -> tuple[Launch, int]:
    """How filters are interleaved, and their bytes then."""
    from fastconv.kernels.slots import LANES, arguments, packed

    ints = arguments("interleave_filters")(oc=g.oc, taps=g.reduction)
    blocks = -(-g.oc // LANES[dtype.itemsize])
    return Launch.of("interleave_filters", dtype, ints, blocks), packed("interleave_filters", dtype, ints)


def _cost_in_place(g: ConvGeometry, dtype: np.dtype) -> float:
    """That of images with channels last."""
    from fastconv.kernels.slots import LANES

    lanes = LANES[dtype.itemsize]
    vectors = g.n * ceil(g.oc / lanes) * g.positions
    products = 2 * vectors * lanes * g.taps / (rates().flops(dtype.itemsize) * _IN_PLACE_EFFICIENCY)
    return 2e-6 + products + vectors * lanes * dtype.itemsize / 32 * _IN_PLACE_SECONDS / ratios().l2


def _crowding(plane_bytes: int) -> float:
    """By how much the distance between planes slows down reading or writing several at a time."""
    return _CROWDED if plane_bytes % _PAGE == 0 or plane_bytes > 2 * _PAGE else 1.0


class Interleaved(SumsDirectly, PreparesFirst):
    name = "interleaved"
    takes_channels_last = True

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.slots import LANES

        if geometry.channels_last and _is_in_place(geometry, dtype):
            return _cost_in_place(geometry, dtype)
        g, lanes, tile = geometry, LANES[dtype.itemsize], _tile(geometry)
        blocks = g.n * ceil(g.oc / lanes)
        tiles = blocks * ceil(g.oh / tile.rows) * ceil(g.ow / tile.cols)
        # Fewer sums than a block has wait for one another; several channels of a group share less of L1.
        sums = max(g.positions, _COLUMNS // 2) * (1.0 if g.ic == g.g else _OF_CHANNELS)
        products = 2 * blocks * lanes * sums * g.reduction / (rates().flops(dtype.itemsize) * _EFFICIENCY)
        read = tiles * g.ic // g.g * min(tile.lines, g.ih) * min(tile.pitch, g.iw) * _READ_SECONDS
        written = blocks * g.positions * _WRITE_SECONDS
        read *= _crowding(g.ih * g.iw * dtype.itemsize)
        written *= _crowding(g.positions * dtype.itemsize)
        begun = tiles * (_TILE_SECONDS + (g.ic // g.g - 1) * _CHANNEL_SECONDS)
        return 2e-6 + begun + products + (read + written) * lanes * dtype.itemsize / 32 / ratios().l2

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return geometry.oc * geometry.reduction * _PACK_SECONDS / ratios().l2

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry, dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        if geometry.channels_last and _is_in_place(geometry, dtype):
            return threads * _in_place(geometry, dtype).scratch + _packing(geometry, dtype)[1]
        return threads * _launch(geometry, dtype).scratch + _packing(geometry, dtype)[1]

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> np.ndarray:
        launch, size = _packing(geometry, weight.dtype)
        packed = team.aligned_empty(size // weight.itemsize, weight.dtype)
        launch.run((as_contiguous(weight), packed), 1)
        return packed

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
        side_by_side = x.strides[1] == out.strides[1] == x.itemsize
        launched = _in_place if side_by_side and _is_in_place(geometry, x.dtype) else _launch
        launch = launched(geometry, x.dtype, element_strides(x), element_strides(out), epilogue.activation)
        launch.run((x, prepared, epilogue.bias, out), threads, (epilogue.parameter,))
