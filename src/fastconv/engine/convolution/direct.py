"""Direct loops on vectors: sums in registers share every line of the image.

Planes of depthwise layers with 3 × 3 filters that are not wide are swept by sums that roll down the columns
(kernels/simd/rolling.h); all others by blocks of sums (kernels/simd/filter.h).
"""

from __future__ import annotations

import functools
import sys
from math import ceil, gcd, prod
from typing import Any, NamedTuple

import numpy as np

from fastconv.engine.boundary import edge_indices
from fastconv.engine.convolution.base import STRIDES, KeepsWeights, sum_error
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import rates, ratios
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant

# Strips of this many bytes stay in L2, or in L1 if every filter of a group reads them anew.
_STRIP_BYTES, _SHARED_STRIP_BYTES = 1 << 18, 1 << 15

# Columns of a strip, likewise: memory is read the faster the longer the lines are.
_COLUMNS, _SHARED_COLUMNS = 2048, 512

# Tiles of fewer products are handed out several at a time: handing out takes as long as a small one.
_PRODUCTS_AT_A_TIME = 1 << 16

# Rows of a tile, if those can be computed from the image itself.
_ROWS = 64

# Share of the multiply-add peak that blocks reach, by their vectors across and, of one, their rows.
_WIDE_EFFICIENCY, _HIGH_EFFICIENCY = 0.95, {8: 0.86, 7: 0.8, 4: 0.58}

# Planes of fewer rows are swept along their rows.
_LEAST_ROWS = min(_HIGH_EFFICIENCY)

# So many vectors to a row make borders cheap.
_WIDE = 32

# Lines that lie about a multiple of a page apart share a few places in L1. Gathering them into a strip is then faster
# than reading them in place: large arrays usually start at the same offset within a page, so loads also wait for the
# stores of the row before. (Were the offsets different, up to twice as many lines as there are ways would take 10 to
# 20 % less in place; at the same offset they take a third more.)
_PAGE, _NEAR, _WAYS = 4096, 256, 8

# Fields of the geometry that the kernels take under the same names.
_WINDOW = ("ih", "iw", "oh", "ow", "kh", "kw", "sh", "sw", "dh", "pt", "pl")

# Bytes per second from L2, and to read an image and write the output: in place, or by way of a strip.
_L2_BYTES, _IN_PLACE_BYTES, _GATHERED_BYTES = 6e10, 8e10, 3.5e10

# Seconds on top of the multiply-adds: per tile, and more if it is narrower than a block; per block, per channel of a
# block, and per column of weights.
_TILE_SECONDS, _SMALL_SECONDS = 1e-7, 5e-8
_BLOCK_SECONDS, _CHANNEL_SECONDS, _COLUMN_SECONDS = 5e-9, 3e-9, 1e-9


class _Rolling(NamedTuple):
    """What rolling sums cost."""

    efficiency: float  # share of the multiply-add peak
    seconds: float  # on top of these, per vector
    bytes: float  # per second, to read an image by way of a strip and write the output


_ROLLING = {1: _Rolling(1.0, 0.5e-9, 7e10), 2: _Rolling(0.4, 1e-9, _GATHERED_BYTES)}


class _Blocks(NamedTuple):
    """Which kernel: the blocks, how lines are shared among their rows, how columns are loaded (kernels/simd/filter.h).

    Rolling sums are blocks of one row and one vector that share all lines.
    """

    rows: int
    across: int
    stride: int
    every_second: bool
    flat: bool
    spread: int
    rolls: bool = False

    def extent(self, g: ConvGeometry, lanes: int) -> tuple[int, int]:
        """Rows and columns of the output that are computed at least."""
        if self.rolls:
            return 1, min(lanes, g.ow)
        return (1, self.rows * lanes) if self.flat else (self.rows, self.across * lanes)

    def efficiency(self) -> float:
        """Share of the multiply-add peak."""
        if self.rolls:
            return _ROLLING[self.stride].efficiency
        share = _efficiency(self.rows, self.across)
        return share if self.stride == 1 else share / 2  # otherwise more loads than multiply-adds, or shuffles


def _efficiency(rows: int, across: int) -> float:
    return _WIDE_EFFICIENCY if across > 1 else _HIGH_EFFICIENCY[rows]


class _Columns(NamedTuple):
    """How the columns of a strip are split into planes (kernels/sweep.pyx)."""

    step: int
    planes: int
    reach: int  # values of a plane beyond those of its first tap
    by_tap: bool

    @property
    def is_dense(self) -> bool:
        """Whether the one plane is as the image itself."""
        return self.step == self.planes == 1


def _columns(g: ConvGeometry, dtype: np.dtype) -> _Columns:
    """Unsplit at stride 1, for reals also 2; otherwise split by phase, or one plane per tap if that copies far less."""
    step = 1 if g.sw == 1 or (g.sw == 2 and dtype.kind == "f") else g.sw
    split = _Columns(step, min(g.kw, step // gcd(step, g.dw)), (g.kw - 1) * g.dw // step, by_tap=False)
    columns = min(g.ow, _SHARED_COLUMNS)
    if split.planes * (columns * g.sw // step + split.reach) > 2 * g.kw * columns:
        return _Columns(g.sw, g.kw, 0, by_tap=True)
    return split


@remembered(REMEMBERED)
def _places(kw: int, dw: int, columns: _Columns, plane_pitch: int, unit: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each tap lies in a line of a strip, in items, and the column of the image at which each plane starts.

    The distance between planes does not matter if there is only one.
    """
    taps = np.arange(kw, dtype=np.int64) * dw
    if columns.by_tap:
        shift, starts = np.arange(kw, dtype=np.int64) * plane_pitch, taps
    elif columns.planes == 1:
        shift, starts = taps // columns.step * unit, taps[:1]
    else:
        starts, plane = np.unique(taps % columns.step, return_inverse=True)
        shift = plane * plane_pitch + taps // columns.step * unit
    return constant(shift), constant(starts)


def _rolls(g: ConvGeometry, dtype: np.dtype) -> bool:
    """Whether kernels/simd/rolling.h computes the problem."""
    return (
        (dtype.kind == "f" and g.ic == g.g and g.kh == g.kw == 3)
        and (g.sh == g.sw and g.dw == 1)
        and (g.sh == 1 or (g.sh == 2 and g.dh == 1))
        and g.ow < _WIDE * _lanes(dtype)
    )


@functools.lru_cache(maxsize=REMEMBERED)
def _blocks(g: ConvGeometry, dtype: np.dtype) -> _Blocks:
    from fastconv.kernels.sweep import WIDE_3_ROWS, WIDE_ROWS

    if _rolls(g, dtype):
        return _Blocks(1, 1, stride=g.sh, every_second=g.sw == 2, flat=False, spread=g.dh, rolls=True)
    apart = [(rows, 1) for rows in (8, 4) if dtype.kind != "c" or rows == _LEAST_ROWS]
    shared = [*apart, (7, 1)] if dtype.kind == "f" else apart  # blocks of one vector that share lines
    wide = [(WIDE_ROWS, 2)] if dtype.kind != "c" else []
    if dtype.kind == "f" and g.ic == g.g and g.kh == g.kw == 3:
        apart_bytes = g.iw * g.dh * dtype.itemsize, g.ow * g.dh * dtype.itemsize
        crowded = [_crowded(g, rows, 1, *apart_bytes) for rows in (WIDE_3_ROWS, 3)]
        wide = [(3, 4) if crowded == [True, False] else (WIDE_3_ROWS, 2)]
    every_second = g.sw == 2 and _columns(g, dtype).is_dense
    vectors = max(1.0, g.ow / _lanes(dtype))

    def best(blocks: list[tuple[int, int]], rows: int, across: float) -> tuple[int, int]:
        """The block that wastes least on `rows` by `across` vectors, preferring blocks that fit."""
        within = [block for block in blocks if block[0] <= rows and block[1] <= across] or [(_LEAST_ROWS, 1)]
        return min(within, key=lambda b: ceil(rows / b[0]) * ceil(across / b[1]) * prod(b) / _efficiency(*b))

    rows = -(-g.oh // g.dh)
    if g.sh == 1 and rows >= _LEAST_ROWS and not every_second:
        return _Blocks(*best(wide + shared, rows, vectors), stride=1, every_second=False, flat=False, spread=g.dh)
    if g.oh < _LEAST_ROWS:
        return _Blocks(*best(apart, ceil(vectors), 1), stride=0, every_second=every_second, flat=True, spread=1)
    stride = 2 if g.sh == 2 and g.dh == 1 and every_second else 0
    blocks = best(shared if stride else apart, g.oh, vectors)
    return _Blocks(*blocks, stride=stride, every_second=every_second, flat=False, spread=1)


class _Lines(NamedTuple):
    """The lines of a strip (kernels/sweep.pyx)."""

    strip_lines: int
    row_lines: int
    tap_lines: int
    segment: int
    line_step: int
    by_tap: bool

    def lines_read(self, rows: int, kh: int) -> int:
        """The number of lines that `rows` output rows read."""
        from fastconv.kernels.sweep import strip_lines

        return strip_lines(rows, kh, self.row_lines, self.tap_lines, self.by_tap)

    def rows(self, count: int, kh: int) -> int:
        """The number of output rows that read at most `count` lines."""
        if self.by_tap:
            return (count - 1 + self.row_lines) // (self.row_lines + kh - 1)
        return (count - 1 - (kh - 1) * self.tap_lines) // self.row_lines + 1


def _lines(g: ConvGeometry, blocks: _Blocks) -> _Lines:
    """The lines of one residue; or all lines; or those of each tap in turn, if a block has fewer of these."""
    if blocks.stride == 1:
        return _Lines(1, 1, 1, segment=1, line_step=0, by_tap=False)
    if blocks.stride == 2:
        return _Lines(1, 2, 1, segment=sys.maxsize, line_step=1, by_tap=False)
    dense = _Lines(g.sh, g.sh, g.dh, segment=sys.maxsize, line_step=1, by_tap=False)
    by_tap = _Lines(1, 1, 0, segment=0, line_step=g.sh, by_tap=True)
    return min(dense, by_tap, key=lambda lines: lines.lines_read(blocks.rows, g.kh))


def _crowded(g: ConvGeometry, rows: int, stride: int, line_bytes: int, row_bytes: int) -> bool:
    """Whether the lines that a block reads in place, and the rows it writes, evict each other from L1."""
    lines = (rows - 1) * max(1, stride) + (g.kh if stride else 1)
    if lines > _WAYS * (_PAGE // _NEAR):
        return True

    def most(count: int, apart: int) -> int:
        """How many of `count` lines share a place in L1."""
        on = [0] * (_PAGE // _NEAR)
        for at in range(count):
            on[at * apart % _PAGE // _NEAR] += 1
        return max(on)

    return most(lines, abs(line_bytes)) + most(rows, row_bytes) > _WAYS


def _unit(dtype: np.dtype) -> int:
    """Items of a value: complex numbers have two."""
    return 2 if dtype.kind == "c" else 1


@functools.cache
def _kind(dtype: np.dtype) -> str:
    """The type by the name that sweeps have it: integers wrap around alike, signed or not."""
    return f"{'i' if dtype.kind == 'u' else dtype.kind}{dtype.itemsize}"


@functools.cache
def _lanes(dtype: np.dtype) -> int:
    """Output values of a vector of sums."""
    from fastconv.kernels.sweep import LANES

    return LANES[dtype.itemsize]


class _Tiling(NamedTuple):
    """How output planes are cut into tiles."""

    arguments: Any
    """The arguments of the kernel (kernels/sweep.pyx); the strides of images and the activation are still zero."""
    tiles: int
    scratch: int
    """Bytes of each worker."""


@functools.lru_cache(maxsize=REMEMBERED)
def _tiling(g: ConvGeometry, dtype: np.dtype, xh: int, xw: int) -> _Tiling:
    """The tiling for images whose lines and columns are `xh` and `xw` values apart."""
    from fastconv.kernels.slots import arguments, scratch
    from fastconv.kernels.sweep import RUN, line_pitch

    unit, icg, lanes = _unit(dtype), g.ic // g.g, _lanes(dtype)
    size = dtype.itemsize // unit
    columns, blocks = _columns(g, dtype), _blocks(g, dtype)
    lines = _lines(g, blocks)
    every = 2 if blocks.every_second else 1
    block_rows, block_cols = blocks.extent(g, lanes)
    rows = -(-g.oh // blocks.spread)

    image_lines = {0: g.sh, 1: g.dh, 2: 1}[blocks.stride]
    first, last = -(-g.pl // g.sw), min(g.ow, (g.iw - 1 + g.pl - columns.reach) // g.sw + 1)
    apart = xh * image_lines * dtype.itemsize, blocks.spread * g.ow * dtype.itemsize
    # Several filters of a group share a strip, and narrow planes are mostly border: neither is read in place.
    in_place = (
        (columns.is_dense and xw == 1 and g.oc == g.g)
        and g.ow >= _WIDE * lanes
        and last - first >= block_cols
        and not _crowded(g, blocks.rows, blocks.stride, *apart)
    )

    def plane_pitch(cols: int) -> int:
        """Items from one plane of a line to the next."""
        return ((cols - 1) * every + 1 + columns.reach) * unit

    def line_values(cols: int) -> int:
        """Of one line of a strip, in all channels and planes."""
        pitch = line_pitch(cols, every, columns.reach, columns.planes, plane_pitch(cols), unit, size)
        return icg * pitch // unit

    shared = g.oc > g.g
    budget = (_SHARED_STRIP_BYTES if shared else _STRIP_BYTES) // dtype.itemsize

    def most_rows(cols: int) -> int:
        """The most, in whole blocks, that keep a strip small."""
        fitting = lines.rows(budget // line_values(cols), g.kh) // block_rows
        return max(1, min(fitting, -(-min(rows, _ROWS) // block_rows))) * block_rows

    shares = -(-g.ow // (_SHARED_COLUMNS if shared else _COLUMNS))
    strip_cols = max(block_cols, -(-g.ow // (shares * block_cols)) * block_cols)
    edge = min(strip_cols, max(block_cols, first, g.ow - last))
    strip_rows = most_rows(strip_cols)
    row_tile = max(strip_rows, most_rows(edge)) if in_place else strip_rows
    row_tiles = -(-rows // row_tile)
    runs = -(-g.kh // RUN[_kind(dtype)[0]])
    run = -(-g.kh // runs)
    tiles = arguments("sweep")(
        groups=g.g,
        icg=icg,
        ocg=g.oc // g.g,
        **{name: getattr(g, name) for name in _WINDOW},
        unit=unit,
        least_rows=block_rows,
        least_cols=block_cols,
        block_rows=blocks.rows,
        across=blocks.across,
        stride=blocks.stride,
        every=every,
        flat=blocks.flat,
        runs=runs,
        long_runs=runs - (runs * run - g.kh),
        run=run,
        spread=blocks.spread,
        row_tile=row_tile,
        row_tiles=row_tiles,
        strip_rows=strip_rows,
        strip_cols=strip_cols,
        in_place=in_place,
        first_inside=first,
        last_inside=last,
        image_lines=image_lines,
        **lines._asdict(),
        planes=columns.planes,
        step=columns.step,
        reach=columns.reach,
        plane_pitch=plane_pitch(strip_cols),
        **dict.fromkeys(STRIDES, 0),
        activation=0,
    )
    return _Tiling(tiles, g.n * g.g * blocks.spread * row_tiles, scratch("sweep", f"V{size}", tiles))


def _edges(g: ConvGeometry) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The maps of rows and columns past the edges of an image; ``None`` where there is a constant."""
    if g.boundary in ("zeros", "constant"):
        return None, None
    rows = edge_indices(g.pt, (g.oh - 1) * g.sh + (g.kh - 1) * g.dh + 1 - g.pt, g.ih, g.boundary)
    # Planes of a strip are as long as the longest of them, which may be almost a step too long for the others.
    cols = edge_indices(g.pl, g.ow * g.sw + (g.kw - 1) * g.dw - g.pl, g.iw, g.boundary)
    return rows, cols


@remembered(REMEMBERED)
def _launch(g: ConvGeometry, dtype: np.dtype, strides: tuple[int, ...], activation: int) -> Launch:
    from fastconv.kernels.slots import kernel

    unit = _unit(dtype)
    size = dtype.itemsize // unit
    tiling = _tiling(g, dtype, *(stride // dtype.itemsize for stride in strides[-2:]))
    by_item = (stride // size for stride in strides)
    arguments = tiling.arguments._replace(**dict(zip(STRIDES, by_item, strict=True)), activation=activation)
    sweep = kernel("rolling" if _rolls(g, dtype) else "filter", _kind(dtype))
    columns = _columns(g, dtype)
    places = _places(g.kw, g.dw, columns, arguments.plane_pitch if columns.planes > 1 else 0, unit)
    return Launch(
        kernel("sweep", f"V{size}"),
        arguments,
        tiling.tiles,
        grain=max(1, _PRODUCTS_AT_A_TIME * tiling.tiles // max(1, g.n * g.oc * g.positions * g.reduction)),
        scratch=tiling.scratch,
        tables=(sweep, kernel("epilogue", dtype) if dtype.char in "fd" else None, *places, *_edges(g)),
    )


class Direct(SumsDirectly, KeepsWeights):
    name = "direct"
    continues = True

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        if dtype.char not in "bBhHiIlLqQfdFD":
            return f"computes integers, float32, float64, complex64 and complex128, not {dtype}"
        if geometry.ndim != 2:
            return f"computes 1 or 2 spatial axes, not {geometry.ndim}"
        return None

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.sweep import RUN

        g, l2 = geometry, ratios().l2
        lanes, icg = _lanes(dtype), g.ic // g.g
        blocks, columns, tiling = _blocks(g, dtype), _columns(g, dtype), _tiling(g, dtype, g.iw, 1)
        rows, cols = blocks.extent(g, lanes)
        down, across = ceil(ceil(g.oh / blocks.spread) / rows) * blocks.spread, ceil(g.ow / cols)
        rate = rates().float32 * 4 / dtype.itemsize * blocks.efficiency()
        if dtype.kind == "c":
            rate /= 2
        runs = ceil(g.kh / RUN[_kind(dtype)[0]])
        block = _BLOCK_SECONDS + icg * (_CHANNEL_SECONDS + runs * g.kw * _COLUMN_SECONDS)
        if blocks.rolls:
            block = _ROLLING[blocks.stride].seconds
        sums = down * across * (block + 2 * rows * cols * g.reduction / rate)
        # Each filter reads the strip of a tile, which is in L2 if there are many channels.
        gathered = _GATHERED_BYTES
        if blocks.rolls:
            rows, down, gathered = ceil(g.oh / blocks.spread), blocks.spread, _ROLLING[blocks.stride].bytes
        lines = down * _lines(g, blocks).lines_read(rows, g.kh) * g.ow * columns.planes * icg * dtype.itemsize
        once = g.ic * lines // icg + g.oc * g.positions * dtype.itemsize
        tile = _TILE_SECONDS + (_SMALL_SECONDS if g.ow < cols else 0)
        whole = once / (_IN_PLACE_BYTES if tiling.arguments.in_place else gathered) / l2
        return 2e-6 + tiling.tiles * tile + g.n * (g.oc * max(sums, lines / _L2_BYTES / l2) + whole)

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry, dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return threads * _tiling(geometry, dtype, geometry.iw, 1).scratch

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
        fill: Any = 0,
    ) -> None:
        launch = _launch(geometry, x.dtype, x.strides, epilogue.activation)
        past = None if fill == 0 else constant(np.array(fill, x.dtype))
        launch.run((x, prepared, out, epilogue.bias, past), threads, (epilogue.parameter,))
