"""How a pooling call runs: its geometry and kernel, looked up once for every signature, and its scratch memory.

Kernels pool planes. One axis is a plane of one row. Three axes are pooled in two passes, since both folds are
separable: the planes, and then their depth, as the rows of planes whose columns are all positions of a map.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod
from numbers import Real
from operator import index
from typing import Any

import numpy as np

from fastconv import threads as team
from fastconv.arrays import as_operand, common_float
from fastconv.errors import GeometryError
from fastconv.geometry import PoolGeometry, adaptive_extents, exact

# About as many output values are handed out at a time: enough to hide the hand-out, few enough to share among threads.
_GRAIN_VALUES = 16384

# A worker's strips should stay in its L2 cache.
_STRIP_BYTES = 128 << 10

# Where a window of as many taps, and outputs that share most of them, is found by doubling.
_DOUBLING_TAPS, _DOUBLING_STRIDES = 30, 4

_FAR = 2**32

Pooled = np.ndarray | tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class PoolCall:
    """Everything about a call but its data: which kernel, and how much scratch memory a worker needs."""

    kernel: Any
    out_shape: tuple[int, ...]
    ints: tuple[int, ...]
    room: int
    tiles: int
    grain: int
    indices: bool

    def run(self, x: np.ndarray, divisor: float, starts: Sequence[np.ndarray | None] = ()) -> Pooled:
        """The pooled array, and with `indices` where in its plane each value stood."""
        threads = min(team.get_num_threads(), max(1, self.tiles // self.grain))
        out = np.empty(self.out_shape, x.dtype)
        if self.room:
            third = np.empty(threads * self.room, x.dtype)
        else:
            third = np.empty(self.out_shape, np.int64) if self.indices else None
        team.run_tiles(
            self.kernel.address, (x, out, third, *starts), self.ints, (divisor,), self.tiles, threads, self.grain
        )
        return (out, third) if self.indices else out


def max_pool(x: np.ndarray, dtype: np.dtype, return_indices: bool, ndim: int, window: tuple[Any, ...]) -> Pooled:
    """Maxima of `x` over `ndim` axes, in `dtype`; `window` is kernel size, stride, padding, dilation, ceil mode."""
    pool = _pool_volumes if ndim == 3 else _pool
    return pool(x, dtype, "indices" if return_indices else "max", False, 0, ndim, window)


def avg_pool(
    x: np.ndarray,
    dtype: np.dtype,
    count_include_pad: bool,
    divisor_override: int | None,
    ndim: int,
    window: tuple[Any, ...],
) -> np.ndarray:
    """Means of `x`, computed in `dtype`; `window` is as for `max_pool`."""
    divisor = 0 if divisor_override is None else _checked_divisor(divisor_override)
    pool = _pool_volumes if ndim == 3 else _pool
    return pool(x, dtype, "mean", bool(count_include_pad), divisor, ndim, window)


def adaptive_pool(x: np.ndarray, dtype: np.dtype, kind: str, ndim: int, output_size: Any) -> Pooled:
    """The "max", "indices" (maxima and where they are) or "mean" of windows that cut the image into equal parts."""
    extent, out_extent = adaptive_extents(x.shape, output_size, ndim)
    if not any(i % o for i, o in zip(extent, out_extent, strict=True)):
        kernel = tuple(i // o for i, o in zip(extent, out_extent, strict=True))
        return _pool(x, dtype, kind, False, 0, ndim, (kernel, None, 0, 1, False))
    operand = as_operand(x, dtype)
    call = _uneven_call(x.shape, operand.strides, dtype, kind, "adaptive", (1,) * ndim, out_extent)
    return call.run(operand, 0)


def fractional_max_pool(
    x: np.ndarray,
    dtype: np.dtype,
    return_indices: bool,
    kernel: tuple[int, ...],
    out_extent: tuple[int, ...],
    samples: np.ndarray,
) -> Pooled:
    """Maxima of windows that start where each plane's `samples`, across and down, tell."""
    starts = [
        _drawn_starts(samples[..., 1 - axis], x.shape[axis - 2], kernel[axis], out_extent[axis]) for axis in (0, 1)
    ]
    operand = as_operand(x, dtype)
    kind = "indices" if return_indices else "max"
    call = _uneven_call(x.shape, operand.strides, dtype, kind, "drawn", kernel, out_extent)
    return call.run(operand, 0, starts)


def _drawn_starts(samples: np.ndarray, extent: int, kernel: int, outputs: int) -> np.ndarray:
    """Where the windows of each plane start along one axis: steps of two neighbouring integers, in random order."""
    starts = np.full((samples.size, outputs), extent - kernel, np.int64)
    if outputs > 1:
        step = (extent - kernel) / (outputs - 1)
        at = samples.reshape(-1, 1)
        places = (np.arange(outputs - 1, dtype=at.dtype) + at) * step
        starts[:, :-1] = np.floor(places) - np.floor(at * step)
    return starts


def lp_pool(x: np.ndarray, norm_type: float, ndim: int, window: tuple[Any, ...]) -> np.ndarray:
    """The roots of the sums of powers, as means times the taps of a window."""
    dtype = common_float(x=x)
    if not isinstance(norm_type, Real) or not isfinite(norm_type) or norm_type == 0:
        raise GeometryError(f"norm_type={norm_type!r}: expected a finite number other than 0")
    taps = prod(PoolGeometry.from_shapes(x.shape, *window[:4], ndim=ndim, ceil_mode=window[4]).kernel)
    exponent = float(norm_type)
    with np.errstate(all="ignore"):  # a power or root that is not defined is NaN or infinite, as everywhere in torch
        sums = avg_pool(x**exponent, dtype, True, None, ndim, window)
        sums *= taps
        return sums ** (1 / exponent)


def unpool(x: np.ndarray, indices: np.ndarray, extent: tuple[int, ...]) -> np.ndarray:
    """Zeros of planes of `extent`, with the values of `x` where `indices` tell."""
    positions, planes = prod(extent), prod(x.shape[:-2])
    wrong = indices[(indices < 0) | (indices >= positions)]
    if wrong.size:
        raise GeometryError(f"indices hold {wrong[0]}: expected values from 0 to {positions - 1}")
    out = np.zeros((*x.shape[:-2], *extent), x.dtype.newbyteorder("="))
    places, values = (array.reshape(planes, prod(x.shape[-2:])) for array in (indices, x))
    np.put_along_axis(out.reshape(planes, positions), places.astype(np.int64), values, axis=1)
    return out


def _checked_divisor(divisor: Any) -> int:
    try:
        value = index(divisor)
    except TypeError:
        value = 0
    if value == 0 or abs(value) >= 2**63:
        raise GeometryError(f"divisor_override={divisor!r}: expected None or a nonzero int of 64 bits")
    return value


def _pool(
    x: np.ndarray,
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    divisor: int,
    ndim: int,
    window: tuple[Any, ...],
) -> Any:
    """Pool planes, or signals. Geometry comes first: nothing is copied for a window that is wrong."""
    *extents, ceil_mode = window
    try:
        lookup, key = _call, (*map(exact, extents), bool(ceil_mode))
    except TypeError:  # the geometry says which is no int
        lookup, key = _call.__wrapped__, window
    call = lookup(x.shape, x.strides, dtype, kind, count_include_pad, ndim, *key)
    operand = as_operand(x, dtype)
    if operand.strides != x.strides:
        call = lookup(x.shape, operand.strides, dtype, kind, count_include_pad, ndim, *key)
    return call.run(operand, divisor)


def _pool_volumes(
    x: np.ndarray,
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    divisor: int,
    ndim: int,
    window: tuple[Any, ...],
) -> Any:
    """Pool volumes: every map, and then down the depth. Sums are divided once, at the end."""
    *extents, ceil_mode = window
    g = PoolGeometry.from_shapes(x.shape, *extents, ndim=3, ceil_mode=ceil_mode)
    depth, height, width = g.extent

    def windows(axes: slice) -> list[tuple[int, ...]]:
        return [g.kernel[axes], g.stride[axes], tuple(begin for begin, _ in g.padding[axes]), g.dilation[axes]]

    maps = as_operand(x, dtype).reshape(g.n, g.c * depth, height, width)
    pooled = _pool(maps, dtype, kind, False, 1, 2, (*windows(slice(1, 3)), g.ceil_mode))
    maps, places = pooled if kind == "indices" else (pooled, None)
    across = (1, 1, 0, 1)
    down = [(*value, rest) for value, rest in zip(windows(slice(0, 1)), across, strict=True)]
    columns = maps.reshape(g.n, g.c, depth, -1)
    pooled = _pool(columns, dtype, kind, False, 1, 2, (*down, g.ceil_mode))
    shape = g.out_shape[5 - x.ndim :]
    if kind == "mean":
        sums = pooled.reshape(shape)
        sums /= np.array(divisor or functools.reduce(np.multiply.outer, g.counts(count_include_pad)), dtype)
        return sums
    if places is None:
        return pooled.reshape(shape)
    out, levels = pooled
    # `levels` are flat in (depth, positions of a map), as `places` are; a window without any tap has neither.
    flat = np.maximum(levels, 0).reshape(g.n, g.c, -1)
    taken = np.take_along_axis(places.reshape(g.n, g.c, -1), flat, axis=2)
    taken = taken.reshape(levels.shape)
    found = flat.reshape(levels.shape) // columns.shape[3] * (height * width) + taken
    return out.reshape(shape), np.where((levels < 0) | (taken < 0), -1, found).reshape(shape)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@functools.lru_cache(maxsize=1024)
def _call(
    x_shape: tuple[int, ...],
    x_strides: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    ndim: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> PoolCall:
    """A call whose windows are all alike."""
    g = PoolGeometry.from_shapes(x_shape, kernel_size, stride, padding, dilation, ndim=ndim, ceil_mode=ceil_mode)
    out_shape = g.out_shape[ndim + 2 - len(x_shape) :]
    g = g.as_2d()
    layout = _layout(x_strides, dtype, ndim)
    extents = (g.c, g.ih, g.iw, g.oh, g.ow, g.kh, g.kw, g.sh, g.sw, g.dh, g.dw, g.pt, g.pl)
    arguments = (g.n, out_shape, dtype, kind, count_include_pad, extents, layout)
    # Strips are to be no wider than a few images, and a vector of outputs is to span no more than addresses can; one
    # column of windows would leave most lanes of its vectors empty.
    if kind == "indices" or g.pl > g.iw or g.sw >= _FAR or (g.ow == 1 and g.iw > 2):
        return _general_call("regular", *arguments)
    if g.dh == g.dw == 1 and g.kh * g.kw > _DOUBLING_TAPS and g.sh * g.sw <= _DOUBLING_STRIDES and g.pt <= g.ih:
        return _doubling_call(g, *arguments)
    return _direct_call(g, *arguments)


@functools.lru_cache(maxsize=1024)
def _uneven_call(
    x_shape: tuple[int, ...],
    x_strides: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    windows: str,
    kernel: tuple[int, ...],
    out_extent: tuple[int, ...],
) -> PoolCall:
    """A call whose windows are not all alike."""
    ndim = len(out_extent)
    n, c = (1, *x_shape)[-ndim - 2 : -ndim]
    ones = (1,) * (2 - ndim)
    extents = (c, *ones, *x_shape[-ndim:], *ones, *out_extent, *ones, *kernel, 1, 1, 1, 1, 0, 0)
    layout = _layout(x_strides, dtype, ndim)
    return _general_call(windows, n, (*x_shape[:-ndim], *out_extent), dtype, kind, False, extents, layout)


def _layout(x_strides: tuple[int, ...], dtype: np.dtype, ndim: int) -> tuple[int, ...]:
    """The strides of planes in elements; a signal is a plane of one row."""
    strides = x_strides if ndim == 2 else (*x_strides[:-1], 0, x_strides[-1])
    return tuple(stride // dtype.itemsize for stride in (0, *strides)[-4:])


def _general_call(
    windows: str,
    n: int,
    out_shape: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    extents: tuple[int, ...],
    layout: tuple[int, ...],
) -> PoolCall:
    from fastconv.kernels.pooling import general_kernel

    kernel = general_kernel(dtype, kind == "mean", windows, kind == "indices")
    return _tiled(kernel, n, out_shape, extents, layout, count_include_pad, indices=kind == "indices")


def _doubling_call(
    g: PoolGeometry,
    n: int,
    out_shape: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    extents: tuple[int, ...],
    layout: tuple[int, ...],
) -> PoolCall:
    from fastconv.kernels.pooling import doubling_kernel, lanes

    width = lanes(dtype)
    # Each tile folds kh - 1 lines more than it has rows.
    row_tile = min(g.oh, max(1, _GRAIN_VALUES // g.ow, 4 * g.kh // g.sh))
    lines = (row_tile - 1) * g.sh + g.kh
    line = (g.ow - 1) * g.sw + g.kw + width
    room = g.oh + g.ow + 2 * line + 2 * lines * _round_up(g.ow, width) + width
    kernel = doubling_kernel(dtype, kind == "mean")
    return _tiled(kernel, n, out_shape, extents, layout, count_include_pad, row_tile, room)


def _direct_call(
    g: PoolGeometry,
    n: int,
    out_shape: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    extents: tuple[int, ...],
    layout: tuple[int, ...],
) -> PoolCall:
    from fastconv.kernels.pooling import direct_kernel, lanes, unrolled

    width = lanes(dtype)
    kept = g.sw <= 2
    row_tile = min(g.oh, max(1, _GRAIN_VALUES // g.ow))
    KH, KW = unrolled(g.kh, g.kw, g.dh == g.dw == 1)
    first = min(g.ow, -(-g.pl // g.sw))
    last = max(first, min(g.ow, (g.iw + g.pl - (g.kw - 1) * g.dw - 1) // g.sw + 1))
    left, right = _round_up(first, width), g.ow - _round_up(g.ow - last, width)
    # Two narrow strips cost more than they save.
    worth = width if (left, right) == (0, g.ow) else 4 * width
    if not kept or layout[-1] != 1 or right - left < worth:
        left = right = g.ow
    widest = max(left, g.ow - right, width)
    line = (widest - 1) * g.sw + (g.kw - 1) * g.dw + 1 if kept else g.kw * widest
    group = 1
    if g.dh == 1:
        group = max(1, min(row_tile, (_STRIP_BYTES // (line * dtype.itemsize) - g.kh) // g.sh + 1))
    lines = (group - 1) * g.sh + (g.kh if KH else min(g.kh, g.ih))
    room = g.oh + g.ow + 5 * width + lines * line
    kernel = direct_kernel(dtype, kind == "mean", KH, KW, g.sw if kept else 1, g.sh if g.sh < KH else 0)
    return _tiled(
        kernel, n, out_shape, extents, layout, count_include_pad, row_tile, room, (group, left, right, int(kept))
    )


def _tiled(
    kernel: Any,
    n: int,
    out_shape: tuple[int, ...],
    extents: tuple[int, ...],
    layout: tuple[int, ...],
    count_include_pad: bool,
    row_tile: int | None = None,
    room: int = 0,
    strips: tuple[int, ...] = (0, 0, 0, 0),
    indices: bool = False,
) -> PoolCall:
    """The call of `kernel` on tiles of `row_tile` rows."""
    c, _, _, oh, ow = extents[:5]
    row_tile = row_tile or min(oh, max(1, _GRAIN_VALUES // ow))
    row_tiles = -(-oh // row_tile)
    room = _round_up(room, 64)
    return PoolCall(
        kernel=kernel,
        out_shape=out_shape,
        ints=(*extents, *layout, row_tile, row_tiles, room, int(count_include_pad), *strips),
        room=room,
        tiles=n * c * row_tiles,
        grain=max(1, _GRAIN_VALUES // (row_tile * ow)),
        indices=indices,
    )
