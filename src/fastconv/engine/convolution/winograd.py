"""Winograd's minimal filtering: fewer multiplications, in exchange for transforms that cost additions and accuracy.

F(m, r) computes m outputs of r taps along an axis with m + r - 1 products per channel instead of m r. Axes nest, so a
3×3 kernel takes 4 products per output with m = 2, 2.25 with 4 and 1.78 with 6, instead of 9; a 2×2 kernel, as in the
adjoint of a stride of two, takes 1.56 with m = 4. A 3×3 kernel at a stride of two takes 6.25 with m = 2 and 5.06 with
4: each axis is the sum of F(m, 2), of the even inputs, and of the odd inputs with their one tap. (Larger kernels have
no strided tiles: those of networks see three channels, and for so few the transforms alone take as long as the products
of a plain sum.) An axis of extent one has F(1, 1), a
plain sum, so that 1×k and k×1 kernels and signals are only transformed along the other axis. The transforms are exact
rationals (kernels/cook_toom.py, with the points and their measured errors); the products are one matrix product per
point. Vectors of the transforms lie along neighbouring tiles (kernels/simd/winograd_inputs.h), or along channels
(winograd_pixels.h) for groups of few, images with channels last, and dilations. A kernel with dilation d is d × d
interleaved ones without, and one whose stride and dilation are equal is dense on the pixels that it sees.

A NaN or an infinity would spread over the output tiles whose inputs contain it. The transforms also amplify values on
the way (by up to 60 for 4 × 4 outputs of 3 × 3 taps, 510 for 6 × 6), so that inputs near the type's maximum overflow,
and they divide filters, so that tiny ones lose digits. The kernels notice this, and the affected output channels of an
image are recomputed without transforms, as in `implicit`. Only operands with extreme values pay for that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv.engine.convolution.base import (
    STRIDES,
    element_strides,
    refuse_unless_real_2d,
    window,
    write_blind,
)
from fastconv.engine.convolution.implicit import Implicit
from fastconv.engine.convolution.winograd_blocks import Work, by_blocks, divide
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.rates import rates, ratios
from fastconv.engine.replay import constant, unrepeatable
from fastconv.engine.rounding import unit_roundoff
from fastconv.kernels import threads as team

if TYPE_CHECKING:
    from fractions import Fraction

    from fastconv.kernels.cook_toom import CookToom

# By the outputs of a tile per axis: the most input channels of a running sum, and the least number of such sums, if
# that leaves 16 channels for each. Shorter sums err less but are added to memory more often. With 64 channels, 4 × 4
# outputs of 3 × 3 taps stay within 1e-5 σ if there are at least two sums; with 16, 3 × 3 outputs of 5 × 5 taps do up to
# 64 channels; with 64, 6 × 6 outputs stay within 1e-4 (128 in a single sum once exceeded it by a hundredth).
_SUMS = {2: (64, 2), 3: (16, 2), 4: (64, 2), 6: (64, 1)}

# Sums err least if they are as long as they are many: with 32 channels, 4 × 4 outputs stay within 1e-5 σ up to 1,300.
_MANY_CHANNELS = 640

# Groups of so many input channels, or so many positions, are computed with vectors along channels. (The tiles of small
# maps do not fill vectors: along them, 12 × 12 outputs took 1.4 times as long, and 24 × 24 as long.) So are strided
# layers: along tiles, whose inputs a stride parts, they took up to 1.15 times as long on AVX2, and 1.3 on AVX-512.
_FEW_OF_GROUP, _FEW_POSITIONS = 48, 256

# Seconds per value of a transformed filter; the first, where G has only halves and ones.
_SECONDS_OF_HALVES, _SECONDS_OF_FILTERS = 0.4e-9, 0.55e-9

# Seconds to begin and end a block of theirs.
_BLOCK_SECONDS = 1e-6

# The maximum error over its deviation: 7 to 9 as measured from 32 channels on; up to 13 with fewer, which err less.
_MAX_OVER_RMS, _MAX_OVER_RMS_OF_FEW, _FEW_CHANNELS = 8.5, 13, 16


@functools.cache
def _coefficients(m: int, r: int, stride: int = 1) -> np.ndarray:
    """The coefficients of an axis for kernels: struct Points of simd/simd.h, with its MAX_PAIRS, MAX_T and MAX_R."""
    exact = _transforms(m, r, stride)
    pairs = exact.points[len(exact.points) % 2 :: 2]
    q = len(pairs)

    def product(roots: Iterable[Fraction]) -> list[Fraction | int]:
        """Coefficients, lowest first, of the product of (x - p²)."""
        coefficients: list[Fraction | int] = [1]
        for p in roots:
            shifted = [0, *coefficients]
            coefficients = [a - p * p * b for a, b in zip(shifted, [*coefficients, 0], strict=True)]
        return coefficients

    sizes = [3, 3 * 3, 4, 3 * 9, 9 * 7]
    table = np.zeros(sum(sizes))
    p, Q, Z, power, G = np.split(table, np.cumsum(sizes)[:-1])
    p[:q] = [float(a) for a in pairs]
    for j in range(q):
        Q.reshape(3, 3)[j, :q] = [float(c) for c in product(pairs[:j] + pairs[j + 1 :])]
        power.reshape(3, 9)[j] = [float(pairs[j] ** i) for i in range(9)]
    Z[: q + 1] = [float(c) for c in product(pairs)]
    G.reshape(9, 7)[: exact.t, :r] = [[float(g) for g in row] for row in exact.G]
    return table


def _transforms(m: int, r: int, stride: int = 1) -> CookToom:
    from fastconv.kernels.cook_toom import POINTS, decimated, transforms

    if stride == 1 or r == 1:
        return transforms(m, r, POINTS[m, r])
    return decimated(transforms(m, 2, POINTS[m, 2]))


@functools.lru_cache(maxsize=REMEMBERED)
def _rms_error(axes: tuple[tuple[int, int, int], ...], channels: int, steps: int) -> float:
    from fastconv.kernels.cook_toom import rms_error

    return rms_error([_transforms(*axis) for axis in axes], channels, steps)


def _sum_steps(m: int, channels: int) -> int:
    """Channels per running sum, in about equal blocks; sums are short because the transforms amplify their rounding."""
    most, sums = _SUMS[m]
    if m == 4 and channels > _MANY_CHANNELS:
        most //= 2
    most = min(most, max(16, channels // sums))
    return -(-channels // -(-channels // most))


class _Tiling(NamedTuple):
    """The tiles of a kernel: outputs, taps and stride of each axis; F(1, 1) where the kernel's extent is one."""

    down: tuple[int, int, int]
    across: tuple[int, int, int]

    @classmethod
    def of(cls, m: int, g: ConvGeometry) -> _Tiling:
        return cls.with_stride(m, g.kernel, g.sh)

    @classmethod
    @functools.cache
    def with_stride(cls, m: int, kernel: tuple[int, int], stride: int) -> _Tiling:
        """The tiles of kernels with the same stride along both axes."""
        return cls(*((1, 1, stride) if r == 1 else (m, r, stride) for r in kernel))

    @property
    def points(self) -> tuple[int, int]:
        """The number of inputs, and of products, of a tile along each axis."""
        down, across = ((m - 1) * stride + r for m, r, stride in self)
        return down, across

    @property
    def number(self) -> tuple[int, int]:
        """The kernels' numbers for it: the transform, and whether it applies to both axes, only down or only across."""
        from fastconv.kernels.slots import AXES

        if self.down == self.across:
            return AXES[self.down], 0
        return (AXES[self.down], 1) if self.across[1] == 1 else (AXES[self.across], 2)

    @property
    def coefficients(self) -> np.ndarray:
        return _both_coefficients(self)


@functools.cache
def _both_coefficients(tiling: _Tiling) -> np.ndarray:
    return constant(np.concatenate([_coefficients(*axis) for axis in tiling]))


@functools.lru_cache(maxsize=REMEMBERED)
def _thinned(g: ConvGeometry) -> tuple[ConvGeometry, tuple[Any, ...]]:
    """The geometry on the pixels that any tap sees, and the index of these if they are not all."""
    if max(g.stride) == 1 or max(g.dilation) == 1:
        return g, ()
    thinned, seen = g.thinned
    return thinned, (..., *seen)


def _by_pixels(g: ConvGeometry) -> bool:
    """Whether vectors lie along channels, not along tiles."""
    if g.channels_last or max(g.dilation) > 1 or max(g.stride) > 1:
        return True
    return g.g > 1 and (g.ic // g.g <= _FEW_OF_GROUP or g.positions <= _FEW_POSITIONS)


@functools.lru_cache(maxsize=REMEMBERED)
def _work(g: ConvGeometry, m: int, itemsize: int) -> Work:
    """With a dilation, a tile stands for one of each phase."""
    tiling = _Tiling.of(m, g)
    return Work(
        images=g.n,
        groups=g.g,
        channels=g.ic // g.g,
        filters=g.oc // g.g,
        down=-(-g.oh // (tiling.down[0] * g.dh)),
        across=-(-g.ow // (tiling.across[0] * g.dw)),
        points=prod(tiling.points) * g.dh * g.dw,
        steps=_sum_steps(m, g.ic // g.g),
        itemsize=itemsize,
    )


class _Stages(NamedTuple):
    """The launches that share the transforms of an image, and the bytes of these."""

    rows_in: Launch
    sums: Launch
    tiles_out: Launch
    input_bytes: int
    sum_bytes: int

    def workspace(self, threads: int) -> int:
        scratch = max(launch.workspace(threads) for launch in self[:3])
        return self.input_bytes + self.sum_bytes + scratch

    def run(self, arrays: tuple[Any, ...], threads: int, scalars: tuple[float, ...]) -> None:
        """As `Launch.run` of the kernel `winograd`."""
        x, weight, bias, out, marks = arrays
        transformed = team.aligned_empty(self.input_bytes // x.itemsize, x.dtype)
        sums = team.aligned_empty(self.sum_bytes // x.itemsize, x.dtype)
        for image in range(len(x)):
            self.rows_in.run((x[image], transformed), threads)
            self.sums.run((transformed, weight, sums), threads)
            self.tiles_out.run((sums, bias, out[image], marks[image]), threads, scalars)


@functools.lru_cache(maxsize=REMEMBERED)
def _launch(
    g: ConvGeometry,
    m: int,
    dtype: np.dtype,
    threads: int,
    once: bool,
    max_workspace: int,
    strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    out_strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    activation: int = 0,
) -> Launch | _Stages:
    """The launch for an image and an output with these strides, in elements.

    Filters are used `once`, or prepared.
    """
    from fastconv.kernels.slots import LANES, arguments, packed

    tiling, work, by_pixels = _Tiling.of(m, g), _work(g, m, dtype.itemsize), _by_pixels(g)
    of = divide(work, threads, once, max_workspace - _transforming(g, m, dtype)[1], sharing=not by_pixels)
    blocks = of.down * of.across
    channel_blocks = -(-work.panels // of.block_panels)
    # Filters that only one block reads are transformed panel by panel just before use: writing all of them to fresh
    # memory first takes twice as long.
    transforms_weight = once and g.n * blocks == 1 and not of.shared
    axis, combined = tiling.number
    blocking = {
        "t_down": tiling.points[0],
        "t_across": tiling.points[1],
        "m_down": tiling.down[0],
        "m_across": tiling.across[0],
        "tiles_down": work.down,
        "tiles_across": work.across,
        "axis": axis,
        "combined": combined,
        "kc": work.steps,
        "block_rows": of.rows,
        "block_cols": of.cols,
        "down": of.down,
        "across": of.across,
        "block_panels": of.block_panels,
        "channel_blocks": channel_blocks,
        "transforms_weight": transforms_weight,
        "activation": activation,
    }
    tiles, tables = g.n * g.g * blocks * channel_blocks, (tiling.coefficients,)
    if by_pixels:
        image, plane, row, position = out_strides
        ints = arguments("winograd_pixels")(
            **window(g, strides),
            **blocking,
            out_image=image,
            out_plane=plane,
            out_row=row,
            out_position=position,
        )
        return Launch.of("winograd_pixels", dtype, ints, tiles, tables=tables)
    ints = arguments("winograd")(
        groups=g.g,
        icg=g.ic // g.g,
        ocg=g.oc // g.g,
        ih=g.ih,
        iw=g.iw,
        oh=g.oh,
        ow=g.ow,
        pt=g.pt,
        pl=g.pl,
        **dict(zip(STRIDES, strides, strict=True)),
        **blocking,
        stride=g.sh,
        strip_channels=of.strip_channels,
        block_points=of.block_points,
    )
    if not of.shared:
        return Launch.of("winograd", dtype, ints, tiles, tables=tables)
    parts = g.g * blocks
    fields = arguments("winograd_in"), arguments("winograd_sums"), arguments("winograd_out")
    of_in, of_sums, of_out = (field(*ints) for field in fields)
    strips = -(-work.channels // work.steps) * -(-work.steps // of.strip_channels)
    sets = -(-work.points // of.block_points)
    return _Stages(
        Launch.of("winograd_in", dtype, of_in, parts * strips, tables=tables),
        Launch.of("winograd_sums", dtype, of_sums, parts * work.panels * sets),
        Launch.of("winograd_out", dtype, of_out, parts * -(-work.filters // LANES[dtype.itemsize]), tables=tables),
        g.g * packed("winograd_in", dtype, of_in),
        g.g * packed("winograd_sums", dtype, of_sums),
    )


def _transforms_weight(launch: Launch | _Stages) -> bool:
    return isinstance(launch, Launch) and bool(launch.arguments.transforms_weight)


def _panels(channels: int, itemsize: int) -> int:
    """Panels of output channels per group."""
    from fastconv.kernels.slots import NR

    return -(-channels // NR[itemsize])


@functools.lru_cache(maxsize=REMEMBERED)
def _transforming(g: ConvGeometry, m: int, dtype: np.dtype) -> tuple[Launch, int]:
    """The launch that transforms filters, and the bytes of what they become."""
    from fastconv.kernels.slots import arguments, packed

    tiling, ocg = _Tiling.of(m, g), g.oc // g.g
    axis, combined = tiling.number
    ints = arguments("winograd_weight")(
        icg=g.ic // g.g, ocg=ocg, axis=axis, combined=combined, points=prod(tiling.points), taps=g.taps
    )
    tiles = g.g * _panels(ocg, dtype.itemsize)
    launch = Launch.of("winograd_weight", dtype, ints, tiles, tables=(tiling.coefficients,))
    return launch, g.g * packed("winograd_weight", dtype, ints)


class Filters(NamedTuple):
    """A weight as `Winograd` prepares it."""

    transformed: np.ndarray
    given: np.ndarray
    """The weight itself, for sums without transforms."""
    marks: np.ndarray | None
    """Per filter, whether it must never be used transformed; None if each may be."""

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self if array is not None)


@functools.lru_cache(maxsize=REMEMBERED)
def _refuse_kernel(m: int, kernel: tuple[int, int], stride: tuple[int, int]) -> str | None:
    """The refusal of kernels that have no transform with tiles of m outputs."""
    from fastconv.kernels.slots import AXES

    by_stride: dict[int, list[int]] = {}
    for outputs, r, s in AXES:
        if outputs == m:
            by_stride.setdefault(s, []).append(r)
    if stride[0] != stride[1] or stride[0] not in by_stride:
        return f"computes stride {' or '.join(map(str, by_stride))} along both axes"
    taps, most = by_stride[stride[0]], max(kernel)
    if most in taps and all(r in (1, most) for r in kernel):
        return None
    kernels = ", ".join([f"{r}×{r}" for r in taps] + [f"{r}×1 and 1×{r}" for r in taps])
    strided = "" if stride[0] == 1 else f" at stride {stride[0]}"
    return f"computes kernels of {kernels}{strided}, not {kernel[0]}×{kernel[1]}"


class Winograd:
    local = True
    takes_channels_last = True

    def __init__(self, m: int) -> None:
        self.m = m
        self.name: str = f"winograd{m}"

    def componentwise(self, geometry: ConvGeometry) -> bool:
        return False

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        reason = refuse_unless_real_2d(geometry, dtype)
        if reason is not None:
            return reason
        geometry, _ = _thinned(geometry)
        if max(geometry.stride) > 1 and max(geometry.dilation) > 1:
            return "computes kernels with a stride and a dilation if these are equal"
        return _refuse_kernel(self.m, geometry.kernel, geometry.stride)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        of = by_blocks(_work(_thinned(geometry)[0], self.m, dtype.itemsize), 1)
        return self._seconds(geometry, dtype, of.down * of.across)

    def least_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return self._seconds(geometry, dtype, 1)

    def _seconds(self, geometry: ConvGeometry, dtype: np.dtype, blocks: int) -> float:
        """The cost of an image in `blocks` blocks."""
        from fastconv.kernels.slots import LANES

        g, _ = _thinned(geometry)
        tiling = _Tiling.of(self.m, g)
        points = prod(tiling.points)
        lanes, itemsize = LANES[dtype.itemsize], dtype.itemsize
        tiles = g.n * g.dh * g.dw * -(-g.oh // (tiling.down[0] * g.dh)) * -(-g.ow // (tiling.across[0] * g.dw))
        icg, columns = g.ic // g.g, -(-(g.oc // g.g) // lanes) * lanes
        filters, channels, overhead, fixed = g.g * columns * icg, g.ic + g.oc, 4, 1e-5
        if _by_pixels(g):
            # Vectors of few channels are transformed whole, and the tiles of short sums take as long to begin and end.
            channels, overhead = g.g * (-(-icg // lanes) * lanes + columns), 8
            fixed += g.n * g.g * blocks * _BLOCK_SECONDS
        transformed = points * tiles * channels * itemsize
        images = g.n * (g.ic * g.ih * g.iw + g.oc * g.positions) * itemsize
        weights = blocks * points * filters * itemsize  # read once per block
        additions = overhead / _sum_steps(self.m, icg)  # each running sum is added to memory
        products = 2 * points * tiles * filters * (1 + additions)
        flops, relative = 0.98 * rates().flops(itemsize), ratios()
        transforms = transformed / 18e9 * relative.transform_seconds()
        read = weights / (21e9 * lanes * itemsize / 32)  # a vector of half a cache line waits for the other half, too
        seconds = products / flops + transforms + (images / 20e9 + read) / relative.l3
        return fixed * relative.transform_seconds() + seconds

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g, _ = _thinned(geometry)
        values = g.oc * g.ic / g.g * prod(_Tiling.of(self.m, g).points)
        seconds = _SECONDS_OF_HALVES if self.m == 2 and set(g.kernel) <= {1, 3} else _SECONDS_OF_FILTERS
        return 1e-5 + values * seconds * ratios().transform_seconds()

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        geometry, _ = _thinned(geometry)
        channels = geometry.ic // geometry.g
        ratio = _MAX_OVER_RMS if channels > _FEW_CHANNELS else _MAX_OVER_RMS_OF_FEW
        rms = _rms_error(_Tiling.of(self.m, geometry), channels, _sum_steps(self.m, channels))
        return ratio * unit_roundoff(dtype) * rms

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        geometry, _ = _thinned(geometry)
        launch = _launch(geometry, self.m, dtype, threads, True, max_workspace)
        weight = 0 if _transforms_weight(launch) else _transforming(geometry, self.m, dtype)[1]
        return launch.workspace(threads) + weight

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> Filters:
        geometry, _ = _thinned(geometry)
        weight = np.ascontiguousarray(weight)
        launch, size = _transforming(geometry, self.m, weight.dtype)
        transformed = team.aligned_empty(size // weight.itemsize, weight.dtype)
        (marks,) = _no_marks(1, geometry.oc)
        launch.run((weight, transformed, marks), threads)
        return Filters(transformed, weight, marks.copy() if _any(marks) else None)

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: Filters,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        geometry, seen = _thinned(geometry)
        if seen:
            x = x[seen]
        strides, placed = element_strides(x), element_strides(out)
        launch = _launch(geometry, self.m, x.dtype, threads, False, max_workspace, strides, placed, epilogue.activation)
        marks = _no_marks(geometry.n, geometry.oc)
        if prepared.marks is not None:
            unrepeatable()
            marks[...] = prepared.marks
        launch.run((x, prepared.transformed, epilogue.bias, out, marks), threads, (epilogue.parameter,))
        _sum_marked(geometry, marks, x, prepared.given, out, epilogue, threads, max_workspace)
        write_blind(geometry, prepared.given, out, epilogue)

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
        geometry, seen = _thinned(geometry)
        if seen:
            x = x[seen]
        strides, placed = element_strides(x), element_strides(out)
        launch = _launch(geometry, self.m, x.dtype, threads, True, max_workspace, strides, placed, epilogue.activation)
        if not _transforms_weight(launch):
            filters = self.prepare(geometry, weight, threads)
            self.run(geometry, x, filters, out, epilogue, threads, max_workspace)
            return
        weight, marks = np.ascontiguousarray(weight), _no_marks(geometry.n, geometry.oc)
        launch.run((x, weight, epilogue.bias, out, marks), threads, (epilogue.parameter,))
        _sum_marked(geometry, marks, x, weight, out, epilogue, threads, max_workspace)
        write_blind(geometry, weight, out, epilogue)


def _no_marks(images: int, channels: int) -> np.ndarray:
    """For each output channel of each image a byte, which kernels set where transforms do not serve."""
    size = images * channels
    return team.flags(-(-size // 8)).view(np.uint8)[:size].reshape(images, channels)


def _any(marks: np.ndarray) -> bool:
    if not np.count_nonzero(marks):
        return False
    unrepeatable()
    return True


def _sum_marked(
    g: ConvGeometry,
    marks: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    epilogue: Epilogue,
    threads: int,
    max_workspace: int,
) -> None:
    """Compute the marked output channels of images without transforms."""
    if not _any(marks):
        return
    icg, ocg = g.ic // g.g, g.oc // g.g
    for image, group in zip(*np.nonzero(marks.reshape(g.n, g.g, ocg).any(2)), strict=True):
        filters = group * ocg + np.flatnonzero(marks[image, group * ocg : (group + 1) * ocg])
        part = replace(g, n=1, g=1, ic=icg, oc=filters.size)
        result = np.empty(part.out_shape, out.dtype)
        bias = None if epilogue.bias is None else epilogue.bias[filters]
        Implicit().run_once(
            part,
            x[image : image + 1, group * icg : (group + 1) * icg],
            weight.reshape(g.weight_shape)[filters],
            result,
            Epilogue(bias, epilogue.activation, epilogue.parameter),
            threads,
            max_workspace,
        )
        out[image, filters] = result[0]
