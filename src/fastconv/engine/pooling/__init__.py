"""Pooling: the solvers, in one ordered list, the kinds, and calls of them.

The order is policy: the first solver that does not decline a window pools it. A new solver is one file and one line
here; a new kind is a fold in kernels/jit/pools/folds.py and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.engine import planner
from fastconv.engine.arrays import as_operand, is_channels_last
from fastconv.engine.geometry import PoolGeometry, UnevenGeometry, adaptive_geometry, channels_first, exact
from fastconv.engine.pooling.adaptive import Adaptive
from fastconv.engine.pooling.base import PLAIN, Call, Geometry, Pooled, Scaling, Strides, joined
from fastconv.engine.pooling.direct import Direct
from fastconv.engine.pooling.doubling import Doubling
from fastconv.engine.pooling.folding import Folding
from fastconv.engine.pooling.kinds import AvgPool, Pool
from fastconv.engine.pooling.passes import Passes
from fastconv.engine.pooling.pixels import Pixels
from fastconv.engine.pooling.places import Places
from fastconv.engine.pooling.walking import Walking
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import repeatable
from fastconv.kernels import threads as team

SOLVERS = (Adaptive, Folding, Doubling, Direct, Places, Walking, Pixels, Passes)

MAX_POOL = Pool("max_pool", "max", SOLVERS, "the maxima of")
MAX_POOL_INDICES = Pool("max_pool_indices", "max", SOLVERS, "the maxima, and their positions, of", positions=True)
AVG_POOL = AvgPool("avg_pool", "mean", SOLVERS, "the means of")

KINDS = (MAX_POOL, MAX_POOL_INDICES, AVG_POOL)


def pool(
    x: np.ndarray,
    dtype: np.dtype,
    kind: Pool,
    ndim: int,
    window: tuple[Any, ...],
    scaling: Scaling = PLAIN,
    channels_last: bool = False,
    out: np.ndarray | None = None,
) -> Pooled:
    """Pool signals, planes or volumes in `dtype`.

    `window` is kernel size, stride, padding, dilation, ceil mode. Geometry comes first, so that nothing is copied for
    an invalid window. With `channels_last`, planes and what is returned are arrays (N, H, W, C) or (H, W, C). A view of
    such an array has a result like it. The result is stored in `out` if there is one.
    """
    if ndim == 2 and x.ndim == 4 and not channels_last and is_channels_last(x):
        last = np.moveaxis(out, 1, -1) if isinstance(out, np.ndarray) and out.ndim == 4 else out
        found = pool(np.moveaxis(x, 1, -1), dtype, kind, ndim, window, scaling, channels_last=True, out=last)
        if isinstance(found, tuple):
            return np.moveaxis(found[0], -1, 1), np.moveaxis(found[1], -1, 1)
        return repeatable(np.moveaxis(found, -1, 1) if out is None else out)
    *extents, ceil_mode = window
    lookup: Callable[..., Call]
    key: Sequence[object]
    try:
        lookup, key = _regular, [value if type(value) is int else exact(value) for value in (*extents, bool(ceil_mode))]
    except TypeError:  # the geometry says which is no int
        lookup, key = _regular.__wrapped__, window
    threads = team.get_num_threads()
    call = lookup(x.shape, x.strides, dtype, kind, scaling, threads, ndim, channels_last, *key)
    operand = as_operand(x, dtype)
    if operand is not x and operand.strides != x.strides:
        call = lookup(x.shape, operand.strides, dtype, kind, scaling, threads, ndim, channels_last, *key)
    found = call(operand, out=out)
    if channels_last and isinstance(found, tuple):
        positions = found[1]
        positions //= x.shape[-1]  # those in the plane of a channel
    return found


def pool_uneven(
    x: np.ndarray,
    dtype: np.dtype,
    kind: Pool,
    windows: str,
    kernel: tuple[int, ...],
    out_extent: tuple[int, ...],
    starts: tuple[np.ndarray, ...] = (),
    out: np.ndarray | None = None,
) -> Pooled:
    """As `pool`, for windows that differ: "adaptive" ones, or "drawn" ones that begin at the random `starts`."""
    operand = as_operand(x, dtype)
    threads = team.get_num_threads()
    return _uneven(x.shape, operand.strides, dtype, kind, windows, kernel, out_extent, threads)(operand, starts, out)


@remembered(256)
def _regular(
    x_shape: tuple[int, ...],
    x_strides: Strides,
    dtype: np.dtype,
    kind: Pool,
    scaling: Scaling,
    threads: int,
    ndim: int,
    channels_last: bool,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Call:
    shape = channels_first(x_shape) if channels_last else x_shape
    g = PoolGeometry.from_shapes(shape, kernel_size, stride, padding, dilation, ndim=ndim, ceil_mode=ceil_mode)
    out_shape = g.out_shape[ndim + 2 - len(x_shape) :]
    if channels_last:
        *batch, channels, height, width = out_shape
        g, out_shape = g.with_last_axis(), (*batch, height, width, channels)
    return _call(g, dtype, kind, x_strides, out_shape, scaling, threads)


@remembered(256)
def _uneven(
    x_shape: tuple[int, ...],
    x_strides: Strides,
    dtype: np.dtype,
    kind: Pool,
    windows: str,
    kernel: tuple[int, ...],
    out_extent: tuple[int, ...],
    threads: int,
) -> Call:
    ndim = len(out_extent)
    n, c = (1, *x_shape)[-ndim - 2 : -ndim]
    if windows == "adaptive":
        g = adaptive_geometry(n, c, x_shape[-ndim:], out_extent)
    else:
        g = UnevenGeometry(n, c, x_shape[-ndim:], out_extent, windows, kernel)
    return _call(g, dtype, kind, x_strides, (*x_shape[:-ndim], *out_extent), PLAIN, threads)


def _call(
    g: Geometry,
    dtype: np.dtype,
    kind: Pool,
    strides: Strides,
    out_shape: tuple[int, ...],
    scaling: Scaling,
    threads: int,
) -> Call:
    g, strides = joined(g, strides)
    plan = planner.plan(g, dtype, kind=kind, threads=threads)
    call: Call = plan.strategy.bind(plan, strides, out_shape, scaling)
    return call
