"""Winograd's minimal filtering: fewer multiplications, by way of transforms that cost additions and accuracy.

F(m × m, r × r) computes m × m outputs with (m + r - 1)² products a channel instead of m² r². The transforms are exact
rationals (kernels/cook_toom.py), the products a matrix product for each of their points (kernels/simd/winograd.h).

A NaN or an infinity spreads over the output tiles whose inputs hold it, and no further. The transforms multiply values
by up to 510 on their way (6 × 6 outputs; 60 for 4 × 4), so inputs that close to the type's maximum overflow.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fastconv import threads as team
from fastconv.epilogue import Epilogue
from fastconv.geometry import ConvGeometry
from fastconv.strategies.base import FMA_FLOPS, element_strides, refuse_unless_real_2d, share_panels

# The tiles that the kernels are compiled for: (outputs, taps) of an axis.
_TILES = ((2, 3), (4, 3), (6, 3), (2, 5), (4, 5))

# A block's transformed input and sums take about this much, so that they stay in a shared cache, but a block has at
# least `_LEAST_TILES`: every block reads the transformed weight once.
_BLOCK_BYTES = 4 << 20
_LEAST_TILES = 96
_MOST_BYTES = 12 << 20

# Values between the weights of one point and the next, so that their distance is no multiple of 4 KiB.
_POINT_GAP = 16

# Most input channels transformed at a time; sums over more are continued.
_MAX_STEPS = 256

# Least output channels of a block, where tiles alone are too few to share among threads.
_BLOCK_CHANNELS = 64

# The maximum error over its deviation: measured 7 to 9 from 32 channels on; up to twice that for fewer, which err less.
_MAX_OVER_RMS = 8.5


@functools.cache
def _points(m: int, r: int) -> tuple[int, np.ndarray]:
    """The pairs of points of F(m, r), and the kernel's coefficients (struct Points of simd/simd.h)."""
    from fastconv.kernels.cook_toom import POINTS, transforms

    exact = transforms(m, r, POINTS[m, r])
    pairs = exact.points[1::2]
    q = len(pairs)

    def product(roots) -> list:
        """Coefficients, lowest first, of the product of (x - p²)."""
        coefficients = [1]
        for p in roots:
            shifted = [0, *coefficients]
            coefficients = [a - p * p * b for a, b in zip(shifted, [*coefficients, 0], strict=True)]
        return coefficients

    sizes = [3, 3 * 3, 4, 3 * 8, 8 * 7]  # by MAX_PAIRS 3, MAX_T 8 and MAX_R 7
    table = np.zeros(sum(sizes))
    p, Q, Z, power, G = np.split(table, np.cumsum(sizes)[:-1])
    p[:q] = [float(a) for a in pairs]
    for j in range(q):
        Q.reshape(3, 3)[j, :q] = [float(c) for c in product(pairs[:j] + pairs[j + 1 :])]
        power.reshape(3, 8)[j] = [float(pairs[j] ** i) for i in range(8)]
    Z[: q + 1] = [float(c) for c in product(pairs)]
    G.reshape(8, 7)[: m + r - 1, :r] = [[float(g) for g in row] for row in exact.G]
    return q, table


@functools.cache
def _rms_error(m: int, r: int, channels: int, steps: int) -> float:
    from fastconv.kernels.cook_toom import POINTS, rms_error, transforms

    axis = transforms(m, r, POINTS[m, r])
    return rms_error((axis, axis), channels, steps)


def _steps(channels: int) -> int:
    """kc: input channels transformed at a time, in about equal blocks."""
    return -(-channels // -(-channels // _MAX_STEPS))


def _sum_steps(channels: int) -> int:
    """Channels of one running sum. The transforms amplify its rounding, so it is short, and never the whole."""
    return max(16, min(64, channels // 2))


class _Launch(NamedTuple):
    """What the kernel of a geometry is called with (see kernels/simd/winograd.h)."""

    kernel: int
    points: np.ndarray
    window: tuple[int, ...]
    blocking: tuple[int, ...]
    tiles: int
    scratch: int


@functools.lru_cache(maxsize=4096)
def _launch(g: ConvGeometry, m: int, itemsize: int, threads: int) -> _Launch:
    from fastconv.kernels.gemm import LANES, MR, NR
    from fastconv.kernels.winograd import STRIP_CHANNELS, kernel

    lanes = LANES[itemsize]
    q, points = _points(m, g.kh)
    t = m + g.kh - 1
    down_tiles, across_tiles = -(-g.oh // m), -(-g.ow // m)
    icg, ocg = g.ic // g.g, g.oc // g.g
    kc = _steps(icg)
    panels = -(-ocg // MR)
    tile_bytes = t * t * (kc + panels * MR) * itemsize
    tiles = min(max(_BLOCK_BYTES // tile_bytes, _LEAST_TILES), max(lanes, _MOST_BYTES // tile_bytes))
    if across_tiles >= 2 * tiles:
        rows, cols = 1, tiles
    else:
        rows, cols = min(down_tiles, max(1, tiles // across_tiles)), across_tiles
    down, across = -(-down_tiles // rows), -(-across_tiles // cols)
    rows = -(-down_tiles // down)  # about equal heights
    blocks = g.n * g.g * down * across
    block_panels = share_panels(panels, _BLOCK_CHANNELS // MR, blocks, threads)
    channel_blocks = -(-panels // block_panels)
    most = -(-rows * cols // lanes) * lanes
    strip = min(kc, STRIP_CHANNELS) * (rows * m + g.kh + m) * (cols * m + g.kh + m) + NR[itemsize]
    scratch = t * t * ((kc + block_panels * MR) * most + 32) + m * m * lanes + 3 * kc * 8 // itemsize + strip
    scratch = -(-scratch // 16) * 16
    return _Launch(
        kernel=kernel(itemsize, q, m),
        points=points,
        window=(g.n, g.g, g.ic, g.oc, g.ih, g.iw, t, t, down_tiles, across_tiles, m, m, 1, 1, g.pt, g.pl),
        blocking=(
            kc,
            rows,
            cols,
            down,
            across,
            block_panels,
            channel_blocks,
            g.oh,
            g.ow,
            _point_stride(g),
            scratch,
            _sum_steps(icg),
        ),
        tiles=blocks * channel_blocks,
        scratch=scratch,
    )


def _point_stride(g: ConvGeometry) -> int:
    """Values of the transformed weight from point to point, off a multiple of 4 KiB."""
    from fastconv.kernels.gemm import MR

    return g.g * -(-(g.oc // g.g) // MR) * MR * (g.ic // g.g) + _POINT_GAP


class Winograd:
    exact_sum = False

    def __init__(self, m: int) -> None:
        self.m = m
        self.name = f"winograd{m}"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        reason = refuse_unless_real_2d(geometry, dtype)
        if reason is not None:
            return reason
        if max(geometry.stride) > 1 or max(geometry.dilation) > 1:
            return "computes stride 1 and dilation 1"
        if geometry.kh != geometry.kw or (self.m, geometry.kh) not in _TILES:
            kernels = " and ".join(f"{r}×{r}" for m, r in _TILES if m == self.m)
            return f"computes kernels of {kernels}, not {geometry.kh}×{geometry.kw}"
        return None

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.gemm import LANES

        g = geometry
        points = (self.m + g.kh - 1) ** 2
        tiles = -(-g.oh // self.m) * -(-g.ow // self.m)
        lanes = LANES[dtype.itemsize]
        products = 2 * points * -(-tiles // lanes) * lanes * g.n * g.oc * g.ic / g.g
        transformed = points * tiles * g.n * (g.ic + g.oc) * dtype.itemsize
        weight = points * g.oc * g.ic / g.g * dtype.itemsize  # read once a block, from memory if it is large
        return 1e-5 + products / (0.95 * FMA_FLOPS[dtype.itemsize]) + transformed / 7.5e9 + weight / 20e9

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g = geometry
        return 1e-5 + g.oc * g.ic / g.g * (self.m + g.kh - 1) ** 2 * 1e-9

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        channels = geometry.ic // geometry.g
        unit = float(np.finfo(dtype).eps) / 2
        return _MAX_OVER_RMS * unit * _rms_error(self.m, geometry.kh, channels, _sum_steps(channels))

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        points = (self.m + geometry.kh - 1) ** 2
        scratch = _launch(geometry, self.m, dtype.itemsize, threads).scratch
        return (threads * scratch + points * _point_stride(geometry)) * dtype.itemsize

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> np.ndarray:
        from fastconv.kernels.gemm import MR
        from fastconv.kernels.winograd import WEIGHT

        g = geometry
        icg, ocg = g.ic // g.g, g.oc // g.g
        t = self.m + g.kh - 1
        stride = _point_stride(g)
        transformed = np.empty(t * t * stride, weight.dtype)
        transformed.reshape(t * t, stride)[:, -_POINT_GAP:] = 0
        panels = -(-ocg // MR)
        team.run_tiles(
            WEIGHT[weight.itemsize],
            (np.ascontiguousarray(weight), transformed, _points(self.m, g.kh)[1]),
            (ocg, icg, _steps(icg), panels, t, g.kh, stride),
            (),
            g.g * panels,
            threads,
        )
        return transformed

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
        launch = _launch(geometry, self.m, x.itemsize, threads)
        team.run_tiles(
            launch.kernel,
            (x, prepared, epilogue.bias, out, team.aligned_empty(threads * launch.scratch, x.dtype), launch.points),
            (*launch.window, *element_strides(x), *launch.blocking, epilogue.activation),
            (epilogue.parameter,),
            launch.tiles,
            threads,
        )
