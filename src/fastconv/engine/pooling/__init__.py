"""Plans for pooling planes: kernel, tiles and scratch memory, chosen once per signature.

A signal is a plane of one row; volumes.py reduces three axes to planes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from fastconv.engine.arrays import as_operand
from fastconv.engine.geometry import PoolGeometry, adaptive_counts, exact
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, note, repeatable
from fastconv.kernels import threads as team
from fastconv.kernels.jit.lookup import tile_kernel
from fastconv.kernels.jit.pools.planes import PIECE, STRETCH, Planes, Tiles, unrolled
from fastconv.kernels.jit.target import lanes

# Output values handed out at a time, about: enough to hide the hand-out, few enough to share among threads.
_GRAIN_VALUES = 16384

# A worker's strips should stay in its L2 cache.
_STRIP_BYTES = 128 << 10

# Windows with at least this many taps, most of which neighbouring outputs share, are computed by doubling.
_DOUBLING_TAPS, _DOUBLING_STRIDES = 30, 4

# Windows of so many rows are worth summing down before across.
_SUMMED_ROWS = 4

# A row of a window that holds some vectors.
_FOLDED_TAPS = 32

_FAR, _MANY_TAPS = 2**32, 2**20

Pooled = np.ndarray | tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Everything about a call except its data: which kernel, and how much scratch memory a worker needs."""

    way: str
    address: int
    out_shape: tuple[int, ...]
    ints: tuple[int, ...]
    scratch: int
    tiles: int
    grain: int
    indices: bool
    divisors: tuple[np.ndarray, ...]

    @property
    def nbytes(self) -> int:
        return sum(of_axis.nbytes for of_axis in self.divisors)

    def run(self, x: np.ndarray, starts: tuple[np.ndarray, ...] = (), in_scratch: bool = False) -> Pooled:
        """The pooled array, and with `indices` the position of each value in its plane.

        It is a new array, or in scratch memory.
        """
        threads = min(team.get_num_threads(), max(1, self.tiles // self.grain))
        note(x.shape, " to ", self.out_shape, ", ", x.dtype, ", by pools.", self.way, threads=threads)
        values = prod(self.out_shape)
        out = team.aligned_empty(values, x.dtype) if in_scratch else np.empty(values, x.dtype)
        out = out.reshape(self.out_shape)
        if self.scratch:
            extra = team.aligned_empty(threads * self.scratch, x.dtype)
        else:
            extra = np.empty(self.out_shape, np.int64) if self.indices else None
        arrays = (x, out, extra, *(starts or self.divisors))
        team.run_tiles(self.address, arrays, self.ints, (), self.tiles, threads, self.grain)
        return repeatable((out, extra) if self.indices else out)


def pool(
    x: np.ndarray,
    dtype: np.dtype,
    kind: str,
    ndim: int,
    window: tuple[Any, ...],
    *,
    count_include_pad: bool = False,
    divisor: int = 0,
    in_scratch: bool = False,
) -> Pooled:
    """Pool planes or signals in `dtype`: the "max", "indices" (maxima with positions) or "mean" of windows.

    `window` is kernel size, stride, padding, dilation, ceil mode. Geometry comes first, so that nothing is copied for
    an invalid window.
    """
    *extents, ceil_mode = window
    try:
        lookup, key = _plan, [value if type(value) is int else exact(value) for value in (*extents, bool(ceil_mode))]
    except TypeError:  # the geometry says which is no int
        lookup, key = _plan.__wrapped__, window
    plan = lookup(x.shape, x.strides, dtype, kind, count_include_pad, divisor, ndim, *key)
    operand = as_operand(x, dtype)
    if operand is not x and operand.strides != x.strides:
        plan = lookup(x.shape, operand.strides, dtype, kind, count_include_pad, divisor, ndim, *key)
    return plan.run(operand, in_scratch=in_scratch)


def pool_uneven(
    x: np.ndarray,
    dtype: np.dtype,
    kind: str,
    windows: str,
    kernel: tuple[int, ...],
    out_extent: tuple[int, ...],
    starts: tuple[np.ndarray, ...] = (),
) -> Pooled:
    """As `pool`, for windows that differ: "adaptive" ones, or "drawn" ones that begin at the random `starts`."""
    operand = as_operand(x, dtype)
    return _uneven_plan(x.shape, operand.strides, dtype, kind, windows, kernel, out_extent).run(operand, starts)


@remembered(256)
def _plan(
    x_shape: tuple[int, ...],
    x_strides: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    divisor: int,
    ndim: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> PoolPlan:
    g = PoolGeometry.from_shapes(x_shape, kernel_size, stride, padding, dilation, ndim=ndim, ceil_mode=ceil_mode)
    out_shape = g.out_shape[ndim + 2 - len(x_shape) :]
    g = g.as_2d()
    extents = (g.c, g.ih, g.iw, g.oh, g.ow, g.kh, g.kw, g.sh, g.sw, g.dh, g.dw, g.pt, g.pl)
    p = _joined(Planes(*extents, *_element_strides(x_strides, dtype, ndim)))
    divisors = ()
    if kind == "mean":
        counts = ([1] * g.oh, [divisor] * g.ow) if divisor else g.counts(count_include_pad)
        divisors = tuple(np.array(of_axis, dtype) for of_axis in counts)
    task = _Task(dtype, kind, g.n, out_shape, p, divisors)
    if kind == "indices":
        return _placing(task)
    if task.mean and _is_partition(p) and p.kh >= _SUMMED_ROWS and p.oh * p.ow > 1:
        return _adaptive_means(task)
    doubles = p.dh == p.dw == 1 and p.kh * p.kw > _DOUBLING_TAPS and p.sh * p.sw <= _DOUBLING_STRIDES and p.pt <= p.ih
    # In a single column of windows, most lanes of a vector of outputs would be empty; long rows are summed in blocks.
    if p.dw == 1 and p.kw >= _FOLDED_TAPS and (p.ow == 1 or (task.mean and not doubles)):
        return _folding(task)
    # Keep strips within a few image widths, and a vector's span within the address range.
    if p.pl > p.iw or p.sw >= _FAR or (p.ow == 1 and p.iw > 2):
        return _walking("regular", task)
    if doubles:
        return _doubling(task)
    # A block of windows is folded without a check whether to stop.
    return _walking("regular", task) if p.kh * p.kw > _MANY_TAPS else _direct(task)


def _is_partition(p: Planes) -> bool:
    """Whether the windows are parts of the image, without gaps or overlaps: so are adaptive ones of equal extent."""
    return (p.kh, p.kw, p.dh, p.dw, p.pt, p.pl) == (p.sh, p.sw, 1, 1, 0, 0) and (p.ih, p.iw) == (
        p.oh * p.kh,
        p.ow * p.kw,
    )


@remembered(256)
def _uneven_plan(
    x_shape: tuple[int, ...],
    x_strides: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    windows: str,
    kernel: tuple[int, ...],
    out_extent: tuple[int, ...],
) -> PoolPlan:
    ndim = len(out_extent)
    n, c = (1, *x_shape)[-ndim - 2 : -ndim]
    ones = (1,) * (2 - ndim)
    extents = (c, *ones, *x_shape[-ndim:], *ones, *out_extent, *ones, *kernel, 1, 1, 1, 1, 0, 0)
    p = Planes(*extents, *_element_strides(x_strides, dtype, ndim))
    divisors = ()
    if kind == "mean":
        divisors = tuple(np.array(adaptive_counts(*axis), dtype) for axis in ((p.ih, p.oh), (p.iw, p.ow)))
    task = _Task(dtype, kind, n, (*x_shape[:-ndim], *out_extent), p, divisors)
    return _adaptive_means(task) if task.mean else _walking(windows, task)


def _element_strides(x_strides: tuple[int, ...], dtype: np.dtype, ndim: int) -> tuple[int, ...]:
    """The strides of planes in elements, where a signal is a plane of one row."""
    strides = x_strides if ndim == 2 else (*x_strides[:-1], 0, x_strides[-1])
    return tuple(stride // dtype.itemsize for stride in (0, *strides)[-4:])


def _joined(p: Planes) -> Planes:
    """The plane as one row, if the only window is the whole plane and it is contiguous; results are the same."""
    if (
        (p.oh, p.ow, p.dh, p.dw, p.pt, p.pl) == (1, 1, 1, 1, 0, 0)
        and (p.kh, p.kw) == (p.ih, p.iw)
        and p.xh == p.iw * p.xw
    ):
        return p._replace(ih=1, iw=p.ih * p.iw, kh=1, kw=p.ih * p.iw)
    return p


@dataclass(frozen=True, slots=True)
class _Task:
    """A pooling problem, independent of the kernel that computes it."""

    dtype: np.dtype
    kind: str
    n: int
    out_shape: tuple[int, ...]
    planes: Planes
    divisors: tuple[np.ndarray, ...]
    """For means, one number per row and one per column, by whose product sums are divided."""

    @property
    def mean(self) -> bool:
        return self.kind == "mean"

    @property
    def rows(self) -> int:
        """The number of output rows per tile."""
        return min(self.planes.oh, max(1, _GRAIN_VALUES // self.planes.ow))

    def plan(self, way: str, constants: tuple, rows: int, scratch: int = 0, beside: tuple[int, ...] = ()) -> PoolPlan:
        """The plan of the kernel of kernels/jit/pools/`way`.py, on tiles of `rows` rows.

        `scratch` counts the values of scratch memory that a worker needs.
        """
        tiles = Tiles(rows, -(-self.planes.oh // rows), _round_up(scratch, 64))
        return PoolPlan(
            way=way,
            address=tile_kernel(f"pools.{way}:{way}_kernel", self.dtype, *constants),
            out_shape=self.out_shape,
            ints=(*self.planes, *tiles, *beside),
            scratch=tiles.scratch,
            tiles=self.n * self.planes.channels * tiles.per_plane,
            grain=max(1, _GRAIN_VALUES // (rows * self.planes.ow)),
            indices=self.kind == "indices",
            divisors=tuple(map(constant, self.divisors)),
        )


def _walking(windows: str, task: _Task) -> PoolPlan:
    constants = task.mean, windows, task.kind == "indices", task.planes.iw > STRETCH
    return task.plan("walking", constants, task.rows)


def _adaptive_means(task: _Task) -> PoolPlan:
    scratch = PIECE * np.dtype("f8").itemsize // task.dtype.itemsize
    return task.plan("adaptive", (), task.rows, scratch)


def _folding(task: _Task) -> PoolPlan:
    scratch = lanes(task.dtype) + (min(task.planes.iw, STRETCH) if task.planes.xw != 1 else 0)
    return task.plan("folding", (task.mean,), task.rows, scratch)


def _placing(task: _Task) -> PoolPlan:
    return task.plan("places", (), task.rows)


def _doubling(task: _Task) -> PoolPlan:
    p, width = task.planes, lanes(task.dtype)
    # Each tile folds kh - 1 more lines than it has rows.
    rows = min(p.oh, max(task.rows, 4 * p.kh // p.sh))
    lines = (rows - 1) * p.sh + p.kh
    line = (p.ow - 1) * p.sw + p.kw + width
    scratch = 2 * line + 2 * lines * _round_up(p.ow, width) + width
    return task.plan("doubling", (task.mean,), rows, scratch)


def _direct(task: _Task) -> PoolPlan:
    p, width = task.planes, lanes(task.dtype)
    kept = p.sw <= 2
    KH, KW = unrolled(p)
    first = min(p.ow, -(-p.pl // p.sw))
    last = max(first, min(p.ow, (p.iw + p.pl - (p.kw - 1) * p.dw - 1) // p.sw + 1))
    left, right = _round_up(first, width), p.ow - _round_up(p.ow - last, width)
    # Two narrow strips cost more than they save.
    worth = width if (left, right) == (0, p.ow) else 4 * width
    if not kept or p.xw != 1 or right - left < worth:
        left = right = p.ow
    widest = max(left, p.ow - right, width)
    line = (widest - 1) * p.sw + (p.kw - 1) * p.dw + 1 if kept else p.kw * widest
    group = 1
    if p.dh == 1:
        group = max(1, min(task.rows, (_STRIP_BYTES // (line * task.dtype.itemsize) - p.kh) // p.sh + 1))
    lines = (group - 1) * p.sh + (p.kh if KH else min(p.kh, p.ih))
    scratch = 0 if right - left == p.ow >= width else 4 * width + lines * line  # nothing is gathered in between
    divisors, times = task.divisors, False
    if task.mean:
        down, across = divisors
        divisors = down, np.append(across, np.ones(width, task.dtype))
        # Multiplying by the reciprocal of a power of 2 is exact, and takes a fifth of the time of a division.
        times = all((abs(np.frexp(of_axis)[0]) == 0.5).all() for of_axis in divisors)
        if times:
            divisors = tuple(1 / of_axis for of_axis in divisors)
    SH = p.sh if KH > 1 else 0
    constants = task.mean, bool(times), KH, KW, p.sw if kept else 1, SH
    return replace(task, divisors=divisors).plan(
        "direct", constants, task.rows, scratch, (group, left, right, int(kept))
    )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
