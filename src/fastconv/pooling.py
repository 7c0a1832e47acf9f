"""How a pooling call runs: its geometry and kernel, looked up once for every signature, and its scratch memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from fastconv import threads as team
from fastconv.arrays import as_operand
from fastconv.errors import GeometryError
from fastconv.geometry import PoolGeometry, exact

# About as many output values are handed out at a time: enough to hide the hand-out, few enough to share among threads.
_GRAIN_VALUES = 16384

# A worker keeps at most as many bytes of pooled rows: they should stay in its L2 cache.
_RING_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class PoolCall:
    """Everything about a call but its data."""

    kernel: Any
    out_shape: tuple[int, ...]
    ints: tuple[int, ...]
    slots: int
    tiles: int
    grain: int

    def run(self, x: np.ndarray, indices: bool, divisor: float) -> tuple[np.ndarray, np.ndarray | None]:
        """The pooled array, and with `indices` where in its plane each value stood."""
        threads = min(team.get_num_threads(), max(1, self.tiles // self.grain))
        shape = (threads, self.slots, self.out_shape[-1])
        out, ring, tags = np.empty(self.out_shape, x.dtype), np.empty(shape, x.dtype), np.empty(shape[:2], np.int64)
        out_at, ring_at = (np.empty(self.out_shape, np.int64), np.empty(shape, np.int64)) if indices else (None, None)
        arrays = (x, out, ring, tags, out_at, ring_at)
        team.run_tiles(self.kernel.address, arrays, self.ints, (divisor,), self.tiles, threads, self.grain)
        return out, out_at


def max_pool(
    x: np.ndarray, dtype: np.dtype, return_indices: bool, window: tuple[Any, ...]
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Maxima of `x`, computed in `dtype`; `window` is kernel size, stride, padding, dilation, ceil mode."""
    kind = "indices" if return_indices else "max"
    operand, call = _prepare(x, dtype, kind, False, window)
    out, indices = call.run(operand, bool(return_indices), 0.0)
    return out if indices is None else (out, indices)


def avg_pool(
    x: np.ndarray, dtype: np.dtype, count_include_pad: bool, divisor_override: int | None, window: tuple[Any, ...]
) -> np.ndarray:
    """Means of `x`, computed in `dtype`; `window` is as for `max_pool`."""
    divisor = 0 if divisor_override is None else _checked_divisor(divisor_override)
    operand, call = _prepare(x, dtype, "mean", bool(count_include_pad), window)
    return call.run(operand, False, divisor)[0]


def _checked_divisor(divisor: Any) -> int:
    try:
        value = index(divisor)
    except TypeError:
        value = 0
    if value == 0 or abs(value) >= 2**63:
        raise GeometryError(f"divisor_override={divisor!r}: expected None or a nonzero int of 64 bits")
    return value


def _prepare(
    x: np.ndarray, dtype: np.dtype, kind: str, count_include_pad: bool, window: tuple[Any, ...]
) -> tuple[np.ndarray, PoolCall]:
    """What kernels read for `x`, and the call. Geometry comes first: nothing is copied for a window that is wrong."""
    *extents, ceil_mode = window
    try:
        lookup, key = _call, (*map(exact, extents), bool(ceil_mode))
    except TypeError:  # the geometry says which is no int
        lookup, key = _call.__wrapped__, window
    call = lookup(x.shape, x.strides, dtype, kind, count_include_pad, *key)
    operand = as_operand(x, dtype)
    if operand.strides != x.strides:
        call = lookup(x.shape, operand.strides, dtype, kind, count_include_pad, *key)
    return operand, call


@functools.lru_cache(maxsize=1024)
def _call(
    x_shape: tuple[int, ...],
    x_strides: tuple[int, ...],
    dtype: np.dtype,
    kind: str,
    count_include_pad: bool,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> PoolCall:
    g = PoolGeometry.from_shapes(
        x_shape, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    from fastconv.kernels.pooling import max_kernel, mean_kernel, specialisation

    xn, xc, xh, xw = (s // dtype.itemsize for s in (0, *x_strides)[-4:])
    constants = specialisation(g.kh, g.kw, g.sw * xw, dense=g.dh == g.dw * xw == 1)
    kernel = mean_kernel(dtype, *constants) if kind == "mean" else max_kernel(dtype, *constants, kind == "indices")

    reach = (g.kh - 1) * g.dh + 1
    shared = reach if g.sh < reach else constants[0]
    slots = 1 << (max(1, min(shared, _RING_BYTES // (g.ow * dtype.itemsize), g.ih), constants[0]) - 1).bit_length()
    # A tile starts with an empty ring, so it should be tall beside the rows that it shares with the tile above.
    row_tile = min(g.oh, max(-(-_GRAIN_VALUES // g.ow), 4 * (reach // g.sh)))
    row_tiles = -(-g.oh // row_tile)

    first = min(g.ow, -(-g.pl // g.sw))
    last = max(first, min(g.ow, (g.iw + g.pl - (g.kw - 1) * g.dw - 1) // g.sw + 1))
    extents = (g.c, g.ih, g.iw, g.oh, g.ow, g.kh, g.kw, g.sh, g.sw, g.dh, g.dw, g.pt, g.pl)
    return PoolCall(
        kernel=kernel,
        out_shape=g.out_shape[4 - len(x_shape) :],
        ints=(*extents, xn, xc, xh, xw, row_tile, row_tiles, first, last, slots - 1, int(count_include_pad)),
        slots=slots,
        tiles=g.n * g.c * row_tiles,
        grain=max(1, _GRAIN_VALUES // (row_tile * g.ow)),
    )
