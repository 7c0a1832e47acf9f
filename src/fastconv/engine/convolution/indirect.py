"""Matrix products of output positions and filters that read the image where it lies: grouped and strided layers.

Each group is a product of its own, of few columns. The register tiles of `implicit` and `im2row` would be half empty,
and their packing would take as long as the product. Here tiles have shapes for few filters, and what a group sees is
laid out once, with its channels last (kernels/simd/indirect.h).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.convolution.base import (
    FEW_THREADS,
    Packing,
    PacksFilters,
    PreparesFirst,
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
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant

Strides = tuple[int, int, int, int]

# Bytes of what a block of positions sees, which stays in L2, and the most positions whose sums do, too. (Where groups
# share cache lines of images with channels last, blocks of a few rows took longer: they read all filters more often.)
_STRIP_BYTES, _POSITIONS = 1 << 18, 1024

# Groups of more channels are laid out some at a time.
_MANY_CHANNELS = 96

# Positions of the smallest planes that are read where they lie. (Of 7×7 ones, tiles took up to a third longer.)
_PLANE = 128

# The fewest channels of images in planes that are read where they lie: a run of steps has those of a tap. (Patches of
# three colours took up to a tenth longer.)
_RUN = 8

# And the most: lines of more planes share places in L1. (192 planes of 32×32, a page apart, took 1.3 times as long as
# strips of them, 192 of 28×28 took 1.1 times.)
_MOST_PLANES = 128

# How many times as long as reading the filters the blocks along the edges take, which have few positions.
_EDGE = 2

# Filters of a block if two threads share them.
_BLOCK_FILTERS = 96

# Tiles of fewer products are handed out several at a time: handing out takes as long as a small one.
_PRODUCTS_AT_A_TIME = 1 << 16

# Positions of a register tile of one, two and three vectors, and the share of the multiply-add peak that it reaches.
# One vector waits for its broadcasts.
_HEIGHTS, _EFFICIENCY = (8, 6, 4), (0.92, 1.0, 1.0)

# Seconds of a register tile beside its steps, of a block of positions of a group, likewise of a single position, and to
# fetch a value of the filters.
_TILE_SECONDS, _BLOCK_SECONDS, _PIXEL_SECONDS, _FILTER_SECONDS = 6e-9, 5e-7, 1.5e-7, 3.5e-11

# Seconds to lay out a value of the image, and to write one of the output: in planes, and with channels last.
_READ_SECONDS, _WRITE_SECONDS = (2.5e-10, 1e-10), (3.5e-10, 7e-11)

# Writing to planes takes as many times as long where they lie a multiple of a page apart, so that those of a tile share
# places in L1.
_PAGE, _CROWDED = 4096, 2.0

# How much longer products take if filters are beyond L2: panels of them compete with pixels for L2. (`im2row` packs the
# pixels, and reads each panel from L1.)
_MANY_FILTERS = 1.09

# Seconds to fetch a cache line of a pixel from beyond L2, for one group.
_LINE_SECONDS = 2.5e-9

# How much longer channels of 1×1 layers take to be laid out side by side where pixels lie a multiple of so many bytes
# apart, and so share a few places in L1.
_CROWDED_PIXEL, _CROWDED_READING = 1024, 8.0

# Seconds of a launch; and how much faster than the rate of L3 says the filters of a single position are read.
_LAUNCH_SECONDS, _STREAMED = 1.8e-6, 1.8

# Seconds to pack a value of a filter.
_PACK_SECONDS = 0.6e-9


def _panels(g: ConvGeometry, itemsize: int) -> dict[int, int]:
    """How many panels of filters of a group have so many vectors, the most first (see `panel_first` of gemm.h)."""
    from fastconv.kernels.slots import LANES, NR

    most, vectors = NR[itemsize] // LANES[itemsize], -(-(g.oc // g.g) // LANES[itemsize])
    full, rest = divmod(vectors, most)
    pairs = {most: full - 1, 2: 2} if most == 3 and rest == 1 and full else {most: full, rest: 1}
    return {vectors: panels for vectors, panels in pairs.items() if vectors and panels}


def _steps(g: ConvGeometry, itemsize: int) -> int:
    """Most steps of a block of the reduction: those of a panel of filters of 1.75 times L1.

    L2 delivers the rest of it in time, and sums are added up less often. Panels in L1 took 1.04 times as long for 1×1
    kernels, and for larger ones with filters in L2; all steps in one block, with a few positions at a time, 1.2 to 1.5
    times.
    """
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import VECTOR_BYTES

    return max(64, cache_bytes()[0] * 7 // 4 // (next(iter(_panels(g, itemsize))) * VECTOR_BYTES))


def _are_patches(g: ConvGeometry) -> bool:
    """Whether windows share no pixels."""
    return g.kh <= g.sh and g.kw <= g.sw


def _some(g: ConvGeometry, itemsize: int) -> int:
    """Channels of a strip: all of a group, or equal parts of them for blocks of the reduction that have all taps.

    Those of patches have a row of taps. What a tap sees is then a longer run of channels: with all of its 16 taps, a
    block of 4×4 patches had runs of 16 channels, and took 1.3 times as long where these come last.
    """
    channels, fitting = g.ic // g.g, _steps(g, itemsize) // (g.kw if _are_patches(g) else g.taps) // 8 * 8
    if channels <= _MANY_CHANNELS or not fitting:
        return channels
    return -(-channels // -(-channels // fitting) // 8) * 8


def _parts(g: ConvGeometry, itemsize: int) -> int:
    """Blocks of the reduction."""
    some = _some(g, itemsize)
    return ceil(g.ic // g.g / some) * ceil(some * g.taps / _steps(g, itemsize))


def _pixels_laid(g: ConvGeometry, region: _Region) -> int:
    """Pixels of the image that the blocks of a region lay out."""
    lines, pitch = region.strip(g)
    return 0 if region.in_place else region.blocks * min(lines, g.ih) * min(pitch, g.iw)


class _Region(NamedTuple):
    """Positions of a plane, and the extents of their blocks (`region` of kernels/simd/indirect.h)."""

    row: int
    past_row: int
    col: int
    past_col: int
    rows: int
    cols: int
    in_place: bool

    @property
    def high(self) -> int:
        return self.past_row - self.row

    @property
    def wide(self) -> int:
        return self.past_col - self.col

    @property
    def down(self) -> int:
        return -(-self.high // self.rows)

    @property
    def across(self) -> int:
        return -(-self.wide // self.cols)

    @property
    def blocks(self) -> int:
        return self.down * self.across

    def strip(self, g: ConvGeometry) -> tuple[int, int]:
        """Lines and columns of what a block sees."""
        return (self.rows - 1) * g.sh + (g.kh - 1) * g.dh + 1, (self.cols - 1) * g.sw + (g.kw - 1) * g.dw + 1


def _region(
    g: ConvGeometry, itemsize: int, rows: tuple[int, int], cols: tuple[int, int], in_place: bool = False
) -> _Region:
    """Blocks of about equal extents; a single one if there are few positions."""
    some, high, wide = _some(g, itemsize), rows[1] - rows[0], cols[1] - cols[0]
    if _are_patches(g):  # what counts is what a block of the reduction reads
        some = min(some, max(1, _steps(g, itemsize) // g.taps))
    pixel = some * itemsize
    kernel_rows, kernel_cols = (g.kh - 1) * g.dh + 1, (g.kw - 1) * g.dw + 1

    def even(extent: int, most: int) -> int:
        """The extent of about equal parts of an axis."""
        return max(1, -(-extent // -(-extent // max(1, most)))) if extent else 1

    fitting = (_STRIP_BYTES // (pixel * ((min(max(high, 1), 4) - 1) * g.sh + kernel_rows)) - kernel_cols) // g.sw + 1
    block_cols = even(wide, min(max(fitting, 8), _POSITIONS))
    pitch = (block_cols - 1) * g.sw + kernel_cols
    fitting = (_STRIP_BYTES // (pixel * pitch) - kernel_rows) // g.sh + 1
    block_rows = even(high, min(fitting, _POSITIONS // block_cols))
    return _Region(*rows, *cols, block_rows, block_cols, in_place)


@functools.lru_cache(maxsize=REMEMBERED)
def _regions(g: ConvGeometry, itemsize: int, in_place: bool) -> tuple[_Region, ...]:
    """The whole plane; or the positions that see no padding, which are read in place, and those along the edges."""
    if not in_place:
        return (_region(g, itemsize, (0, g.oh), (0, g.ow)),)
    (top, bottom), (left, right) = g.sighted_outputs(0), g.sighted_outputs(1)
    edges = (
        ((0, top), (0, g.ow)),
        ((bottom, g.oh), (0, g.ow)),
        ((top, bottom), (0, left)),
        ((top, bottom), (right, g.ow)),
    )
    around = (_region(g, itemsize, *edge) for edge in edges if all(first < past for first, past in edge))
    return _region(g, itemsize, (top, bottom), (left, right), in_place=True), *around


def _blocks_of_many(g: ConvGeometry, region: _Region) -> Iterator[tuple[int, tuple[int, int]]]:
    """Blocks at most as large as those of a region, with their number: fewer rows, or parts of a single one."""
    for some in equal_parts(region.high, region.rows):
        yield g.n * g.g * -(-region.high // some) * region.across, (some, region.cols)
    for some in equal_parts(region.wide, region.cols):
        yield g.n * g.g * region.high * -(-region.wide // some), (1, some)


def _tile_seconds(g: ConvGeometry, itemsize: int, in_place: bool) -> Callable[[tuple[int, int], int], float]:
    """A function that says what a tile takes: a block of positions, and so many panels of filters."""
    from fastconv.kernels.slots import LANES

    vectors, moved = next(iter(_panels(g, itemsize))), itemsize / 4 / ratios().l2
    height, columns = _HEIGHTS[vectors - 1], vectors * LANES[itemsize]
    parts = _parts(g, itemsize)
    product = 2 * height * columns * g.reduction / (_EFFICIENCY[vectors - 1] * rates().flops(itemsize))
    filters = columns * g.reduction * itemsize / rates().l3
    read = 0 if in_place else g.ic // g.g * _READ_SECONDS[g.channels_last] * moved
    written = columns * _WRITE_SECONDS[g.channels_last] * moved
    high, wide = (g.kh - 1) * g.dh + 1, (g.kw - 1) * g.dw + 1

    def seconds(block: tuple[int, int], panels: int) -> float:
        rows, cols = block
        strip = ((rows - 1) * g.sh + high) * ((cols - 1) * g.sw + wide)
        tiles = ceil(rows * cols / height)
        each = tiles * (product + parts * _TILE_SECONDS) + filters + rows * cols * written
        return _BLOCK_SECONDS + strip * read + panels * each

    return seconds


@remembered(REMEMBERED)
def _launch(
    g: ConvGeometry,
    dtype: np.dtype,
    threads: int,
    strides: Strides = (0, 0, 0, 0),
    out_strides: Strides = (0, 0, 0, 0),
    activation: int = 0,
) -> Launch:
    """The launch for images and outputs with these `element_strides`."""
    from fastconv.kernels.slots import NR, arguments

    main, *edges = _regions(g, dtype.itemsize, _in_place(g, dtype.itemsize, strides[1] == 1))
    panels = sum(_panels(g, dtype.itemsize).values())
    if threads > FEW_THREADS:
        of_many, each = _blocks_of_many(g, main), _tile_seconds(g, dtype.itemsize, main.in_place)
        (rows, cols), block_panels = share_among_many(of_many, panels, threads, each)
        main = main._replace(rows=rows, cols=cols)
    else:
        least, beside = -(-_BLOCK_FILTERS // NR[dtype.itemsize]), g.n * g.g * main.across
        if beside % threads:
            main = main._replace(rows=-(-main.high // share_blocks(main.down, main.high, panels, least, threads)))
        block_panels = share_panels(panels, least, beside * main.down, threads)
    regions = main, *edges
    image, plane, row, position = out_strides
    ints = arguments("indirect")(
        **window(g, strides),
        blocks=sum(region.blocks for region in regions),
        positions=max(region.rows * region.cols for region in regions),
        strip=max(0 if region.in_place else prod(region.strip(g)) for region in regions),
        some=_some(g, dtype.itemsize),
        kc=_steps(g, dtype.itemsize),
        block_panels=block_panels,
        channel_blocks=-(-panels // block_panels),
        activation=activation,
        out_image=image,
        out_plane=plane,
        out_row=row,
        out_position=position,
    )
    tiles = g.n * g.g * ints.blocks * ints.channel_blocks
    grain = max(1, _PRODUCTS_AT_A_TIME * tiles // max(1, g.n * g.oc * g.positions * g.reduction))
    return Launch.of("indirect", dtype, ints, tiles, grain, tables=(constant(np.array(regions, np.int64)),))


def _in_place(g: ConvGeometry, itemsize: int, channels_last: bool) -> bool:
    """Whether the image itself is read: it has channels last, or a tile's lines of all planes fit L1.

    With padding, positions along the edges make blocks of their own, each of which reads all filters. Images are then
    read in place where laying them out would take longer. (Groups share cache lines, and were faster from strips.)
    """
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import CACHE_LINE

    channels = g.ic // g.g
    if not any(map(any, g.padding)):
        fits = channels * g.kh * CACHE_LINE <= cache_bytes()[0] and g.ih * g.iw >= _PLANE
        return channels_last or (fits and _RUN <= channels <= _MOST_PLANES)
    if not channels_last or g.g > 1:
        return False
    main, *edges = _regions(g, itemsize, True)
    laid = g.ic * g.ih * g.iw * _READ_SECONDS[True] * itemsize / 4 / ratios().l2
    edge = _BLOCK_SECONDS + g.oc * g.reduction * itemsize / rates().l3
    return 2 * main.high * main.wide > g.positions and laid > _EDGE * len(edges) * edge


@functools.lru_cache(maxsize=REMEMBERED)
def _packing(g: ConvGeometry, dtype: np.dtype) -> Packing:
    """How filters are packed (`pack_panels` in kernels/simd/indirect.h)."""
    from fastconv.kernels.slots import arguments, packed

    panels = sum(_panels(g, dtype.itemsize).values())
    filters, channels = g.oc // g.g, g.ic // g.g
    ints = arguments("pack_panels")(M=filters, C=channels, taps=g.taps, some=_some(g, dtype.itemsize), panels=panels)
    return Packing(Launch.of("pack_panels", dtype, ints, g.g * panels), g.g * packed("pack_panels", dtype, ints))


def _pixel_seconds(g: ConvGeometry, itemsize: int) -> float:
    """What the products of a single pixel take, for which the filters of a group are read once, in order."""
    from fastconv.kernels.slots import LANES, MR

    # Up to MR panels of one width are summed at a time. Fewer than eight vectors wait for their multiply-adds.
    waits = sum(max(count * vectors, 8 * ceil(count / MR)) for vectors, count in _panels(g, itemsize).items())
    products = 2 * waits * LANES[itemsize] * g.reduction / rates().flops(itemsize)
    return max(products, g.oc // g.g * g.reduction * itemsize / (_STREAMED * rates().l3))


@functools.lru_cache(maxsize=REMEMBERED)
def _in_one_row(g: ConvGeometry) -> ConvGeometry:
    return replace(g, n=1, extent=(1, g.n * g.positions))


def _joined(g: ConvGeometry, strides: Strides, placed: Strides) -> tuple[ConvGeometry, Strides, Strides]:
    """A 1×1 kernel sees one row of positions if those of all rows and images follow each other at equal distances.

    `strides` and `placed` are those of the images and of the output. Batches of single pixels always are such a row.
    """
    if not is_pixelwise(g) or not g.n:
        return g, strides, placed
    if g.positions == 1:
        of_pixels, to_pixels = ((0, channel, 0, image) for image, channel, _, _ in (strides, placed))
        return _in_one_row(g), of_pixels, to_pixels
    for image, _, row, position in (strides, placed):
        if row != g.iw * position or (g.n > 1 and image != g.ih * row):
            return g, strides, placed
    return _in_one_row(g), strides, placed


class Indirect(SumsDirectly, PacksFilters, PreparesFirst):
    name = "indirect"
    packing = staticmethod(_packing)
    takes_channels_last = True

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.cpu import cache_bytes
        from fastconv.kernels.slots import CACHE_LINE, LANES

        g, itemsize, last = geometry, dtype.itemsize, geometry.channels_last
        panels, regions = _panels(g, itemsize), _regions(g, itemsize, _in_place(g, itemsize, last))
        blocks = g.n * g.g * sum(region.blocks for region in regions)
        # A step of a register tile takes as long as that of `effective` vectors at the peak.
        effective = sum(count * vectors / _EFFICIENCY[vectors - 1] for vectors, count in panels.items())
        products = 2 * g.n * g.g * g.positions * effective * LANES[itemsize] * g.reduction / rates().flops(itemsize)
        parts = _parts(g, itemsize)
        per_group = sum(count * ceil(g.positions / _HEIGHTS[vectors - 1]) for vectors, count in panels.items())
        tiles = parts * g.n * g.g * per_group
        read = g.n * g.ic * sum(map(partial(_pixels_laid, g), regions)) * _READ_SECONDS[last]
        written = g.n * g.oc * g.positions * _WRITE_SECONDS[last]
        if not last and g.positions * itemsize % _PAGE == 0:
            written *= _CROWDED
        if not last and g.taps == 1 and g.ic // g.g * itemsize % _CROWDED_PIXEL == 0:
            read *= _CROWDED_READING
        filters = g.oc // g.g * g.reduction * itemsize
        if g.positions == 1 and is_pixelwise(g):
            return _LAUNCH_SECONDS + g.g * (_PIXEL_SECONDS + _pixel_seconds(g, itemsize))
        moved = (read + written + g.oc * g.reduction * _FILTER_SECONDS) / ratios().l2 * itemsize / 4
        l2 = cache_bytes()[1]
        if filters > l2 // 2:  # every block reads them from beyond L2
            moved += blocks * filters / rates().l3
            products *= _MANY_FILTERS
        if last and g.g > 1 and g.ic * g.ih * g.iw * itemsize > l2 // 2:  # every group reads whole lines from there
            lines = g.n * g.g * g.ih * g.iw * ceil(g.ic // g.g * itemsize / CACHE_LINE)
            moved += lines * _LINE_SECONDS / ratios().l3
        return _LAUNCH_SECONDS + products + tiles * _TILE_SECONDS + blocks * _BLOCK_SECONDS + moved

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        values = geometry.oc * geometry.reduction
        return 3e-6 + values * max(_PACK_SECONDS / ratios().l2, dtype.itemsize / rates().memory)

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry, dtype, min(geometry.reduction, _steps(geometry, dtype.itemsize)))

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return _launch(geometry, dtype, threads).workspace(threads) + _packing(geometry, dtype).size

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
        g, strides, placed = _joined(geometry, element_strides(x), element_strides(out))
        launch = _launch(g, x.dtype, threads, strides, placed, epilogue.activation)
        launch.run((x, prepared, epilogue.bias, out), threads, (epilogue.parameter,))
