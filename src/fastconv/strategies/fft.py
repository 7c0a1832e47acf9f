"""The convolution theorem, tile by tile: transform, multiply by the filters' spectra, sum over channels, transform back.

Overlap-save (Stockham, High-speed convolution and correlation, 1966; Oppenheim and Schafer, Discrete-Time Signal
Processing, section 8.7.3): a tile of transform extents ``th × tw`` gives the ``th - (kh - 1)·dh`` by ``tw - (kw - 1)·dw``
outputs into which nothing wraps around. The filters are transformed once a call, for all tiles and images; the
transforms are those of `scipy.fft` (pocketfft, Reinecke), real, in the type of the image. Strides keep every s-th output
of the dense result; dilation spreads the filter's taps. Filters are transformed in groups that fit the workspace.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import log2, prod
from typing import NamedTuple

import numpy as np

from fastconv.epilogue import PLAIN, Epilogue
from fastconv.geometry import ConvGeometry, output_extent
from fastconv.strategies.base import KeepsWeights, finish_planes, refuse_unless_real_2d, sum_error
from fastconv.strategies.direct import Direct

# Bytes of the spectra that are held at a time, beyond one tile's: past this, fresh pages cost more than longer
# batches gain.
_BATCH_BYTES = 64 << 20

# Calls into NumPy and SciPy that a tile makes, whatever its size.
_TILE_SECONDS = 5e-5

# Floating-point operations a second of pocketfft, counting 2.5 n log2 n, while a plane stays in the second cache and past it.
_FFT_FLOPS = 9e9
_SLOW_FFT_FLOPS = 6.5e9
_FAST_BYTES = 1 << 20


class _Tiling(NamedTuple):
    """Transform extents, the dense outputs of a tile, and how many tiles cover the outputs, along each axis."""

    extents: tuple[int, int]
    steps: tuple[int, int]
    counts: tuple[int, int]


def _transform_seconds(extents: tuple[int, int], itemsize: int) -> float:
    points = prod(extents)
    fast = points * itemsize <= _FAST_BYTES
    return 2.5 * points * log2(max(2, points)) / (_FFT_FLOPS if fast else _SLOW_FFT_FLOPS) * itemsize**0.5 / 2


@functools.lru_cache(maxsize=4096)
def _tiling(g: ConvGeometry, itemsize: int) -> _Tiling:
    """The cheapest tiling of one channel's plane; every count of tiles that leaves them some multiples of the kernel."""
    from scipy.fft import next_fast_len

    def cuts(out: int, stride: int, reach: int, axis: int) -> Iterator[tuple[int, int, int]]:
        dense = (out - 1) * stride + 1
        count, most = 1, max(1, 2 * dense // (reach + 1))
        while count <= most:
            step = -(-dense // count)
            extent = next_fast_len(step + reach, real=axis == 1)
            if extent - reach > step:  # as it is free
                step = extent - reach
            yield extent, step, -(-dense // step)
            count = max(count + 1, count * 9 // 8)

    def seconds(tiling: _Tiling) -> float:
        return prod(tiling.counts) * (_TILE_SECONDS + 2 * _transform_seconds(tiling.extents, itemsize)) + (
            _transform_seconds(tiling.extents, itemsize)
        )

    reach = [d * (k - 1) for d, k in zip(g.dilation, g.kernel, strict=True)]
    ways = (
        sorted(set(cuts(o, s, r, axis)))
        for axis, (o, s, r) in enumerate(zip(g.out_extent, g.stride, reach, strict=True))
    )
    return min((_Tiling(*zip(*pair, strict=True)) for pair in product(*ways)), key=seconds)


def _spectrum_bytes(geometry: ConvGeometry, dtype: np.dtype) -> int:
    """One plane's half spectrum, beside the real plane that it comes from."""
    height, width = _tiling(geometry, dtype.itemsize).extents
    return 2 * height * (width // 2 + 1) * 2 * dtype.itemsize


def _filters_at_once(geometry: ConvGeometry, dtype: np.dtype, max_workspace: int) -> int:
    """How many filters of a group fit, each with the spectra of its channels and of its output."""
    plane = _spectrum_bytes(geometry, dtype)
    channels = geometry.ic // geometry.g
    room = min(_BATCH_BYTES, max_workspace) // plane - channels
    return min(geometry.oc // geometry.g, max(1, room // (channels + 1)))


def _gather(g: ConvGeometry, channels: np.ndarray, begins: tuple[int, ...], block: np.ndarray) -> None:
    """Fill a tile's channels (c, th, tw) with the padded image from its dense position `begins` on."""
    source, target = [], []
    for begin, (pad, _), extent, size in zip(begins, g.padding, g.extent, block.shape[1:], strict=True):
        first, last = max(0, begin - pad), min(extent, begin - pad + size)
        source.append(slice(first, max(first, last)))
        target.append(slice(min(size, first - begin + pad), min(size, max(first, last) - begin + pad)))
    if any(t.stop - t.start < size for t, size in zip(target, block.shape[1:], strict=True)):
        block[...] = 0
    block[:, *target] = channels[:, *source]


class Fft(KeepsWeights):
    name = "fft"
    exact_sum = False

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g = geometry
        tiling = _tiling(g, dtype.itemsize)
        points, tiles = prod(tiling.extents), prod(tiling.counts)
        transforms = g.n * tiles * (g.ic + g.oc) + g.oc * g.ic // g.g
        products = 4 * points * g.n * tiles * g.oc * g.ic // g.g
        return (
            5e-5
            + g.n * g.g * tiles * _TILE_SECONDS
            + transforms * _transform_seconds(tiling.extents, dtype.itemsize)
            + products * dtype.itemsize / 4 / 4e9
        )

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        # Rounding of a transform grows as the square root of log2 n (Schatzman 1996); three of them, seen
        # through a filter that fills only `taps` of the points.
        points = prod(_tiling(geometry, dtype.itemsize).extents)
        one = sum_error(geometry, dtype) / max(1.0, (geometry.reduction / 6) ** 0.5)
        return 0.5 * one * log2(max(2, points))

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        channels = geometry.ic // geometry.g
        filters = _filters_at_once(geometry, dtype, max_workspace)
        return (channels + filters * (channels + 1)) * _spectrum_bytes(geometry, dtype)

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
        g = geometry
        icg, ocg = g.ic // g.g, g.oc // g.g
        step = _filters_at_once(g, x.dtype, max_workspace)
        for group in range(g.g):
            channels = x[:, group * icg : (group + 1) * icg]
            for first in range(group * ocg, (group + 1) * ocg, step):
                filters = slice(first, min(first + step, (group + 1) * ocg))
                self._run_filters(g, channels, prepared[filters], out[:, filters], threads, max_workspace)
        finish_planes(g, out, epilogue, threads)

    def _run_filters(
        self, g: ConvGeometry, x: np.ndarray, weight: np.ndarray, out: np.ndarray, threads: int, max_workspace: int
    ) -> None:
        """Correlate the images' channels of one group with some of its filters, tile by tile."""
        from scipy.fft import irfft2, rfft2

        tiling = _tiling(g, x.itemsize)
        extents = tiling.extents
        spread = np.zeros((*weight.shape[:2], *extents), x.dtype)
        spread[:, :, *(slice(0, d * (k - 1) + 1, d) for d, k in zip(g.dilation, g.kernel, strict=True))] = weight
        spectra = rfft2(spread, workers=threads)
        np.conj(spectra, out=spectra)
        block = spread[0]
        for n, row, col in product(range(g.n), *map(range, tiling.counts)):
            begins = row * tiling.steps[0], col * tiling.steps[1]
            # Outputs are every s-th of the dense ones: those of this tile, in the output and in the tile.
            kept, target = [], []
            for begin, size, stride, extent in zip(begins, tiling.steps, g.stride, g.out_extent, strict=True):
                index, end = -(-begin // stride), min(extent, -(-(begin + size) // stride))
                target.append(slice(index, end))
                kept.append(slice(index * stride - begin, (end - 1) * stride - begin + 1, stride))
            _gather(g, x[n], begins, block)
            image = rfft2(block, workers=threads)
            with np.errstate(over="ignore", invalid="ignore"):
                if len(image) == 1:
                    products = np.multiply(spectra[:, 0], image)
                else:
                    products = np.einsum("mchw,chw->mhw", spectra, image)
                planes = irfft2(products, extents, workers=threads, overwrite_x=True)[:, *kept]
            # A spectrum spreads a NaN over the whole tile, and overflows where no single output would.
            if not np.isfinite(planes).all():
                planes = self._run_direct(g, block, weight, kept, threads, max_workspace)
            out[n, :, *target] = planes

    def _run_direct(
        self,
        g: ConvGeometry,
        block: np.ndarray,
        weight: np.ndarray,
        kept: list[slice],
        threads: int,
        max_workspace: int,
    ) -> np.ndarray:
        """The same outputs of one tile by plain sums."""
        begins = [k.start for k in kept]
        tile = replace(
            g,
            n=1,
            g=1,
            ic=weight.shape[1],
            oc=weight.shape[0],
            extent=tuple(size - begin for size, begin in zip(block.shape[1:], begins, strict=True)),
            padding=((0, 0), (0, 0)),
        )
        out = np.empty(tile.out_shape, block.dtype)
        x = block[np.newaxis, :, begins[0] :, begins[1] :]
        Direct().run(tile, x, np.ascontiguousarray(weight), out, PLAIN, threads, max_workspace)
        counts = (output_extent(k.stop - k.start, (0, 0), 1, k.step, 1) for k in kept)
        return out[0, :, *(slice(0, count) for count in counts)]
