"""The convolution theorem, tile by tile: transform, multiply by the filters' spectra, sum channels, transform back.

Overlap-save (Stockham, High-speed convolution and correlation, 1966; Oppenheim and Schafer, Discrete-Time Signal
Processing, section 8.7.3): a tile of transform extents ``th × tw`` gives the ``th - (kh - 1)·dh`` by
``tw - (kw - 1)·dw`` outputs into which only zeros around the image wrap around. Tiles are transformed in pairs, as the
real and the imaginary part of one plane (simd/fft.h); for a kernel of one row, images are cut into lines. Strides keep
every s-th output of the dense result; dilation spreads the filter's taps. A spectrum spreads a NaN over its pair of
tiles, which is then recomputed by plain sums; it may overflow or underflow where no single output would, and is then
recomputed scaled by powers of two. All outputs of a tile err in proportion to its largest: accuracy is normwise, and
zeros are only exact in outputs that see nothing but padding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from math import frexp, isfinite, log2, prod, sqrt
from typing import NamedTuple

import numpy as np

from fastconv.engine.boundary import continued
from fastconv.engine.convolution.base import (
    DEFAULT_MAX_WORKSPACE,
    PreparesFirst,
    element_strides,
    refuse_unless_real_2d,
    sum_error,
    window,
    write_blind,
)
from fastconv.engine.convolution.direct import Direct
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.rates import ratios
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, unrepeatable
from fastconv.kernels import threads as team

# Along one axis: the extents of a tile, its outputs, and the number of tiles.
_Cuts = list[tuple[tuple[int, ...], int, int]]

# Of one problem, or of many.
_Numbers = np.ndarray | np.float64

# Extents are multiples of this, which every instruction set's vectors divide.
_UNIT = 16

# Size of the largest cached table, that of a tile of 2^21 float64 values; making one takes longer than using it.
_TABLE_BYTES = 64 << 20

# Number of tilings for which prepared filters keep spectra.
_MOST_KEPT = 4

# Floating-point operations per second of a pair's two transforms, counting 5 n log2 n, by the size of its plane and
# spectrum: in L2, in L3, or beyond.
_RATES = ((1 << 19, 34e9), (4 << 20, 23e9))
_SLOW_RATE = 12e9

# Filters whose largest tap has an exponent within this are not scaled, by the size of a tap in bytes.
_ORDINARY = {4: 30, 8: 250}

# Products per second of spectra, summed over channels.
_PRODUCT_RATE = 1e9

# Seconds to gather a tile, and of a call, whatever it computes.
_TILE_SECONDS = 1e-6
_CALL_SECONDS = 2e-5


class _Tiling(NamedTuple):
    """Transform extents of a plane, dense outputs of a tile, and the number of tiles that cover the outputs.

    With `lines`, the rows of a plane are consecutive parts of one row of the image.
    """

    extents: tuple[int, int]
    steps: tuple[int, int]
    counts: tuple[int, int]
    lines: bool

    @property
    def points(self) -> int:
        return prod(self.extents)

    @property
    def pairs(self) -> int:
        return -(-prod(self.counts) // 2)


def _next_fast(extent: int) -> int:
    """The smallest extent, not below this one, whose factors all have passes."""
    return _fast_units(-(-extent // _UNIT)) * _UNIT


@functools.lru_cache(maxsize=REMEMBERED)
def _fast_units(units: int) -> int:
    best = 1 << (units - 1).bit_length()
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            best = min(best, odd << (-(-units // odd) - 1).bit_length())
            odd *= 3
        fives *= 5
    return best


def _next_fast_line(points: int) -> tuple[int, int]:
    """The smallest plane of about equal extents that holds a line."""
    root = max(_UNIT, round(sqrt(points)))
    heights = {_next_fast(root * part // 8) for part in range(4, 9)}
    return min(((h, _next_fast(-(-points // h))) for h in sorted(heights)), key=prod)


@functools.lru_cache(maxsize=REMEMBERED)
def _tiling(g: ConvGeometry, itemsize: int) -> _Tiling:
    """The cheapest tiling for one image with tiles larger than half the kernel; it is the same in any batch."""
    lines = g.kh == 1
    reaches = [d * (k - 1) for d, k in zip(g.dilation, g.kernel, strict=True)]

    def cuts(axis: int, fast: Callable[[int], tuple[int, ...]]) -> _Cuts:
        """Extents of a tile, its outputs, and the number of tiles, for an increasing number of tiles."""
        reach, (begin, _), extent = reaches[axis], g.padding[axis], g.extent[axis]
        dense = (g.out_extent[axis] - 1) * g.stride[axis] + 1
        # A single tile may wrap around as far as there are zeros at either end.
        zeros = max(0, min(begin, dense + reach - begin - extent, reach))
        found, count = [(fast(max(reach + 1, dense + reach - zeros)), dense, 1)], 2
        while count <= 2 * dense // (reach + 1):
            extents = fast(-(-dense // count) + reach)
            step = min(dense, prod(extents) - reach)
            found.append((extents, step, -(-dense // step)))
            count = max(count + 1, count * 9 // 8)
        return found

    down: _Cuts
    if lines:
        across = cuts(1, _next_fast_line)
        down = [((1,), g.sh, g.oh)]
    else:
        down, across = (cuts(axis, lambda least: (_next_fast(least),)) for axis in (0, 1))
    # All pairs in one array expression: one by one, they would take longer than many a filter.
    heights, widths = (np.array([prod(extents) for extents, _, _ in axis], float) for axis in (down, across))
    counts = [np.array([count for _, _, count in axis], float) for axis in (down, across)]
    points, pairs = np.outer(heights, widths), np.ceil(np.outer(*counts) / 2)
    lasts = np.array([extents[-1] for extents, _, _ in across], float)
    seconds = _image_seconds(g, points, pairs, itemsize) + _weight_seconds(g, points, lasts, itemsize)
    best_down, best_across = divmod(int(seconds.argmin()), len(across))
    (a, rows, m), (b, cols, n) = down[best_down], across[best_across]
    height, width = b if lines else (*a, *b)
    return _Tiling((height, width), (rows, cols), (m, n), lines)


def _transform_seconds(points: _Numbers, itemsize: int) -> _Numbers:
    """Operations of transforming one plane in one direction."""
    held = 4 * points * itemsize
    limits, rates = zip(*_RATES, strict=True)
    rate = np.array([*rates, _SLOW_RATE])[np.searchsorted(limits, held)] * 4 / itemsize
    seconds: _Numbers = 5 * points * np.log2(points) / rate
    return seconds


def _image_seconds(g: ConvGeometry, points: _Numbers, pairs: _Numbers, itemsize: int) -> _Numbers:
    """Seconds of an image in `pairs` pairs of tiles."""
    channels = g.ic + g.oc
    products = (g.oc * g.ic // g.g - g.oc) * points * itemsize / 4 / _PRODUCT_RATE
    return pairs * (channels * (_transform_seconds(points, itemsize) + _TILE_SECONDS) + products)


def _weight_seconds(g: ConvGeometry, points: _Numbers, width: _Numbers, itemsize: int) -> _Numbers:
    """The filters', in planes so wide."""
    # Columns beyond the kernel are zeros and need no transform.
    share = 0.5 * (1 + np.minimum(1.0, ((g.kw - 1) * g.dw + 1) / width))
    seconds: _Numbers = g.oc * g.ic // g.g * share * _transform_seconds(points, itemsize)
    return seconds


def _filters_at_once(g: ConvGeometry, tiling: _Tiling, itemsize: int, max_workspace: int) -> int:
    """The number of filters whose spectra are held at a time."""
    spectra = g.ic // g.g * 2 * tiling.points * itemsize
    return min(g.oc, max(1, max_workspace // 2 // spectra))


def _workers(g: ConvGeometry, tiling: _Tiling, dtype: np.dtype, threads: int, max_workspace: int) -> int:
    """As many threads as there are pairs of tiles, and scratch memory within the limit."""
    if threads == 1:
        return 1
    launch = _launch("fft", g, tiling, dtype)
    return max(1, min(threads, launch.tiles, max_workspace // 2 // launch.scratch))


def _radices(points: int) -> tuple[int, ...]:
    """The passes of a transform. Radix 8, which spills registers, is no faster than 4: it only replaces a 4 and a 2."""
    radices = []
    for radix in (3, 5):
        while points % radix == 0:
            points //= radix
            radices.append(radix)
    while points > 1:
        radices.append(4 if points != 8 else 8)
        points //= radices[-1]
    return tuple(reversed(radices))


def digit_reversed(points: int) -> np.ndarray:
    """The frequencies in the order in which a transform leaves them."""
    return np.arange(points).reshape(_radices(points)[::-1]).T.ravel()


def _roots(numerators: np.ndarray, points: int) -> np.ndarray:
    """Real and imaginary parts of exp(-2πi numerator / points), along a new last axis."""
    # Angles rounded to double precision would show in float64 results.
    angles = numerators.astype(np.longdouble) * (-8 * np.arctan(np.longdouble(1)) / points)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _twiddles(points: int) -> np.ndarray:
    """The factors of each pass: powers of the root of unity, radix - 1 for each of its positions."""
    tables = []
    for radix in _radices(points):
        rest = points // radix
        tables.append(_roots(np.outer(np.arange(rest), np.arange(1, radix)), points).ravel())
        points = rest
    return np.concatenate(tables)


@remembered(32, _TABLE_BYTES)
def _tables(extents: tuple[int, int], lines: bool, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The twiddles down and across, the roots of unity between them where planes are lines, and the radices."""
    radices = np.array([radix for points in extents for radix in _radices(points)], np.int64)
    twiddles = np.concatenate([_twiddles(points) for points in extents]).astype(dtype)
    if not lines:
        return constant(twiddles), None, constant(radices)
    roots = _roots(np.outer(digit_reversed(extents[0]), np.arange(extents[1])), prod(extents))
    return constant(twiddles), constant(np.ascontiguousarray(np.moveaxis(roots, -1, 0), dtype)), constant(radices)


@functools.lru_cache(maxsize=REMEMBERED)
def _launch(
    kernel: str,
    g: ConvGeometry,
    tiling: _Tiling,
    dtype: np.dtype,
    strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    out_image: int = 0,
    activation: int = 0,
) -> Launch:
    """The launch of "fft" or "fft_weight" (kernels/simd/fft.h), but for the tables, whose cache is bounded by bytes."""
    from fastconv.kernels.slots import CACHE_LINE, arguments

    height, width = tiling.extents
    # Rows are an odd number of cache lines apart, or those of a column would compete for a few sets of L1.
    line = CACHE_LINE // dtype.itemsize
    pitch = (width // line | 1) * line
    gap = height * pitch + line
    ints = arguments(kernel)(
        **window(g, strides),
        out_image=out_image,
        down_points=height,
        down_passes=len(_radices(height)),
        across_points=width,
        across_passes=len(_radices(width)),
        lines=tiling.lines,
        rows=tiling.steps[0],
        cols=tiling.steps[1],
        tiles_down=tiling.counts[0],
        tiles_across=tiling.counts[1],
        pitch=pitch,
        gap=gap,
        plane=2 * gap,
        activation=activation,
    )
    tiles = g.n * g.g * tiling.pairs if kernel == "fft" else g.oc * g.ic // g.g
    return Launch.of(kernel, dtype, ints, tiles)


def _exponents(weight: np.ndarray) -> np.ndarray:
    """The exponents of the largest taps of filters (oc, …), by which filters far from 1 are scaled; otherwise 0."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1, initial=0).tolist()
    exponents = (frexp(size)[1] if isfinite(size) else 0 for size in largest)
    limit = _ORDINARY[weight.itemsize]
    return constant(np.array([exponent if abs(exponent) > limit else 0 for exponent in exponents], np.int64))


def _transform_weight(
    g: ConvGeometry, tiling: _Tiling, weight: np.ndarray, exponents: np.ndarray, threads: int
) -> np.ndarray:
    """The spectra of filters divided by 2 to the power of `exponents`, in the layout of simd/fft.h."""
    from fastconv.kernels.slots import packed

    if exponents.any():
        weight = np.ldexp(weight, -exponents.reshape(-1, 1, 1, 1))
    launch = _launch("fft_weight", g, tiling, weight.dtype)
    size = g.g * packed("fft_weight", weight.dtype, launch.arguments)
    spectra = team.aligned_empty(size // weight.itemsize, weight.dtype)
    tables = _tables(tiling.extents, tiling.lines, weight.dtype)
    launch.run((weight, spectra, *tables), min(threads, launch.tiles))
    return spectra


class Filters:
    """Filters, with their spectra for the tilings used last."""

    def __init__(self, weight: np.ndarray) -> None:
        self.weight: np.ndarray = np.ascontiguousarray(weight)
        self.exponents: np.ndarray = _exponents(self.weight)
        self._spectra: dict[_Tiling, np.ndarray] = {}

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + sum(spectra.nbytes for spectra in self._spectra.values())

    def spectra(self, g: ConvGeometry, tiling: _Tiling, threads: int) -> np.ndarray:
        """The spectra of all filters, which are kept, since images of the same extents are likely to follow."""
        known = self._spectra
        if tiling not in known:
            spectra = _transform_weight(g, tiling, self.weight, self.exponents, threads)
            known = dict([*known.items(), (tiling, spectra)][-_MOST_KEPT:])
            self._spectra = known  # replaced as a whole, since other threads may be reading it
        else:
            unrepeatable()  # they are scratch memory of an earlier call
        return known[tiling]


def _run_filters(
    g: ConvGeometry,
    tiling: _Tiling,
    x: np.ndarray,
    weight: np.ndarray,
    exponents: np.ndarray,
    spectra: np.ndarray,
    out: np.ndarray,
    epilogue: Epilogue,
    threads: int,
) -> None:
    if weight.flags.writeable:  # its exponents are known from its values
        unrepeatable()
    out_image = out.strides[0] // x.itemsize
    launch = _launch("fft", g, tiling, x.dtype, element_strides(x), out_image, epilogue.activation)
    not_finite = team.flags(launch.tiles)
    tables = _tables(tiling.extents, tiling.lines, x.dtype)
    launch.run((x, out, spectra, epilogue.bias, not_finite, exponents, *tables), threads, (epilogue.parameter,))
    for pair in np.flatnonzero(not_finite).tolist():
        unrepeatable()
        for tile in range(pair % tiling.pairs * 2, min(pair % tiling.pairs * 2 + 2, prod(tiling.counts))):
            n, group = divmod(pair // tiling.pairs, g.g)
            _run_direct(g, tiling, tile, group, x[n], weight, out[n], epilogue, threads)


def _run_direct(
    g: ConvGeometry,
    tiling: _Tiling,
    tile: int,
    group: int,
    x: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
    epilogue: Epilogue,
    threads: int,
) -> None:
    """Compute the outputs of one tile and group of an image by plain sums."""
    icg, ocg = g.ic // g.g, g.oc // g.g
    filters = slice(group * ocg, (group + 1) * ocg)
    target, begins, sizes = [], [], []
    for at, step, stride, dilation, k, outputs, (pad, _) in zip(
        divmod(tile, tiling.counts[1]),
        *(tiling.steps, g.stride, g.dilation, g.kernel, g.out_extent, g.padding),
        strict=True,
    ):
        first, last = -(-at * step // stride), min(outputs, -(-(at + 1) * step // stride))
        if first >= last:
            return  # strides skip the tile
        target.append(slice(first, last))
        begins.append(first * stride - pad)
        sizes.append((last - first - 1) * stride + dilation * (k - 1) + 1)
    block = continued(x[group * icg : (group + 1) * icg], (0, *begins), (icg, *sizes), "constant", 0)[np.newaxis]
    part = replace(g, n=1, g=1, ic=icg, oc=ocg, extent=tuple(sizes), padding=((0, 0), (0, 0)))
    bias = None if epilogue.bias is None else epilogue.bias[filters]
    result = np.empty(part.out_shape, x.dtype)
    Direct().run(part, block, weight[filters], result, replace(epilogue, bias=bias), threads, DEFAULT_MAX_WORKSPACE)
    out[filters, *target] = result[0]


class Fft(PreparesFirst):
    name = "fft"
    local = True

    def componentwise(self, geometry: ConvGeometry) -> bool:
        return False

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        tiling = _tiling(geometry, dtype.itemsize)
        points, pairs = np.float64(tiling.points), np.float64(tiling.pairs)
        # The tiling knows no rates, so that results are the same with any.
        image = float(_image_seconds(geometry, points, pairs, dtype.itemsize)) * ratios().transform_seconds()
        return _CALL_SECONDS + geometry.n * image

    def least_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        # For any tiling, planes cover the dense outputs, two by two, and no plane is smaller than the smallest.
        g, wide = geometry, dtype.itemsize / 4
        rows = g.oh if g.kh == 1 else (g.oh - 1) * g.sh + 1
        points = max(_UNIT * _UNIT, rows * ((g.ow - 1) * g.sw + 1) / 2)
        transforms = (g.ic + g.oc) * 5 * log2(_UNIT * _UNIT) / _RATES[0][1]
        products = (g.oc * g.ic // g.g - g.oc) / _PRODUCT_RATE
        return _CALL_SECONDS + g.n * points * (transforms + products) * wide * ratios().transform_seconds()

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        tiling = _tiling(geometry, dtype.itemsize)
        width = np.float64(tiling.extents[1])
        seconds = float(_weight_seconds(geometry, np.float64(tiling.points), width, dtype.itemsize))
        return seconds * ratios().transform_seconds()

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        # A transform of n points rounds by 0.6 u sqrt(log2 n) of its values (Schatzman, Accuracy of the discrete
        # Fourier transform and the fast Fourier transform, 1996). Three transforms add up, and the sum over channels.
        # No tile has more points than the padded image, so the tiling need not be known.
        one = sum_error(geometry, dtype) / max(1.0, sqrt(geometry.reduction / 6))
        points = prod(_next_fast(max(1, i + sum(p))) for i, p in zip(geometry.extent, geometry.padding, strict=True))
        return one * sqrt(3 * 0.36 * log2(points) + geometry.ic / geometry.g / 6)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g, size = geometry, dtype.itemsize
        tiling = _tiling(g, size)
        filters = _filters_at_once(g, tiling, size, max_workspace)
        tables = 2 * (sum(tiling.extents) + tiling.lines * tiling.points)
        workers = _workers(g, tiling, dtype, threads, max_workspace)
        values = filters * g.ic // g.g * 2 * tiling.points + tables
        return workers * _launch("fft", g, tiling, dtype).scratch + values * size

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> Filters:
        return Filters(weight)

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
        g = geometry
        ocg, icg = g.oc // g.g, g.ic // g.g
        tiling, weight, exponents = _tiling(g, x.itemsize), prepared.weight, prepared.exponents
        at_once = _filters_at_once(g, tiling, x.itemsize, max_workspace)
        threads = _workers(g, tiling, x.dtype, threads, max_workspace)
        parts: Iterable[tuple[int, int]] = ()
        if at_once == g.oc:
            spectra = prepared.spectra(g, tiling, threads)
            _run_filters(g, tiling, x, weight, exponents, spectra, out, epilogue, threads)
        else:
            parts = product(range(g.g), range(0, ocg, at_once))
        for group, begin in parts:
            filters = slice(group * ocg + begin, group * ocg + min(begin + at_once, ocg))
            channels = x[:, group * icg : (group + 1) * icg]
            part = replace(g, g=1, ic=icg, oc=filters.stop - filters.start)
            bias = None if epilogue.bias is None else epilogue.bias[filters]
            _run_filters(
                part,
                tiling,
                channels,
                weight[filters],
                exponents[filters],
                _transform_weight(part, tiling, weight[filters], exponents[filters], threads),  # freed after the call
                out[:, filters],
                replace(epilogue, bias=bias),
                threads,
            )
        write_blind(g, weight, out, epilogue)
