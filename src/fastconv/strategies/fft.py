"""The convolution theorem, tile by tile: transform, multiply by the filters' spectra, sum channels, transform back.

Overlap-save (Stockham, High-speed convolution and correlation, 1966; Oppenheim and Schafer, Discrete-Time Signal
Processing, section 8.7.3): a tile of transform extents ``th × tw`` gives the ``th - (kh - 1)·dh`` by
``tw - (kw - 1)·dw`` outputs into which nothing wraps around. The filters are transformed once a call, for all tiles and
images; the transforms are those of `scipy.fft` (pocketfft, Reinecke), real, in the type of the image. Rows of zeros are
not transformed, nor rows back that are no outputs. Strides keep every s-th output of the dense result; dilation spreads
the filter's taps. Filters are transformed in groups that fit the workspace.
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

# Tiles that are transformed together, in the second cache: short rows of one would not fill SciPy's vectors.
_TOGETHER_BYTES = 1 << 18

# Calls into NumPy and SciPy for tiles that are transformed together, and for each of them, whatever its size.
_TILE_SECONDS = 5e-5
_GATHER_SECONDS = 1e-5

# Floating-point operations a second of pocketfft, counting 2.5 n log2 n, while a plane stays in the second cache and
# past it.
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
    # One row alone does not fill SciPy's vectors; short ones come several at a time.
    fast = points * itemsize <= (_FAST_BYTES if extents[0] > 1 else _TOGETHER_BYTES // 8)
    return 2.5 * points * log2(max(2, points)) / (_FFT_FLOPS if fast else _SLOW_FFT_FLOPS) * itemsize**0.5 / 2


def _tile_seconds(tiling: _Tiling, channels: int, itemsize: int) -> float:
    """What a tile costs beside its transforms."""
    return _GATHER_SECONDS + _TILE_SECONDS / _tiles_at_once(tiling, channels, itemsize)


@functools.lru_cache(maxsize=4096)
def _tiling(g: ConvGeometry, itemsize: int) -> _Tiling:
    """The cheapest tiling of one channel's plane, of counts of tiles that leave them larger than half the kernel."""
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
        tile = _tile_seconds(tiling, g.ic // g.g, itemsize) + 2 * _transform_seconds(tiling.extents, itemsize)
        return prod(tiling.counts) * tile + _transform_seconds(tiling.extents, itemsize)

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


class _Tile(NamedTuple):
    """One tile: where it begins in the padded image; which of its places are outputs, every s-th; and which outputs."""

    begins: tuple[int, ...]
    kept: tuple[slice, ...]
    target: tuple[slice, ...]

    @classmethod
    def at(cls, g: ConvGeometry, tiling: _Tiling, row: int, col: int) -> _Tile | None:
        begins, kept, target = (row * tiling.steps[0], col * tiling.steps[1]), [], []
        for begin, size, stride, extent in zip(begins, tiling.steps, g.stride, g.out_extent, strict=True):
            index, end = -(-begin // stride), min(extent, -(-(begin + size) // stride))
            if index >= end:
                return None  # strides pass over it
            target.append(slice(index, end))
            kept.append(slice(index * stride - begin, (end - 1) * stride - begin + 1, stride))
        return cls(begins, tuple(kept), tuple(target))


def _tiles_at_once(tiling: _Tiling, channels: int, itemsize: int) -> int:
    """Neighbouring tiles that are transformed together, which SciPy does several rows of at a time."""
    return min(tiling.counts[1], max(1, _TOGETHER_BYTES // (channels * prod(tiling.extents) * itemsize)))


def _gather(g: ConvGeometry, channels: np.ndarray, begins: tuple[int, ...], block: np.ndarray) -> slice:
    """Fill a tile's channels (c, th, tw) with the padded image from its dense position `begins` on.

    Rows past the image are left as they were; those of it are returned.
    """
    source, target = [], []
    for begin, (pad, _), extent, size in zip(begins, g.padding, g.extent, block.shape[1:], strict=True):
        first, last = max(0, begin - pad), min(extent, begin - pad + size)
        source.append(slice(first, max(first, last)))
        target.append(slice(min(size, first - begin + pad), min(size, max(first, last) - begin + pad)))
    rows, columns = target
    block[:, : rows.start], block[:, rows.stop :] = 0, 0
    block[:, rows, : columns.start], block[:, rows, columns.stop :] = 0, 0
    block[:, rows, columns] = channels[:, *source]
    return rows


def _transform(planes: np.ndarray, rows: slice, threads: int) -> np.ndarray:
    """Spectra of real planes, of which all but some rows are zero."""
    from scipy.fft import fft, rfft

    lines = rfft(planes[..., rows, :], axis=-1, workers=threads)
    if planes.shape[-2] == 1 and lines.shape[-2] == 1:
        return lines
    if lines.shape[-2] < planes.shape[-2]:
        inside = lines
        lines = np.zeros((*planes.shape[:-1], inside.shape[-1]), inside.dtype)
        lines[..., rows, :] = inside
    return fft(lines, axis=-2, workers=threads, overwrite_x=True)


def _transform_back(spectra: np.ndarray, extents: tuple[int, int], rows: slice, threads: int) -> np.ndarray:
    """The real planes of spectra, as far as the rows from the first to the last of `rows`."""
    from scipy.fft import ifft, irfft

    if extents[0] > 1:
        spectra = ifft(spectra, axis=-2, workers=threads, overwrite_x=True)
    return irfft(spectra[..., rows.start : rows.stop, :], extents[1], axis=-1, workers=threads)


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
            + g.n * g.g * tiles * _tile_seconds(tiling, g.ic // g.g, dtype.itemsize)
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
        planes = max(1, _tiles_at_once(_tiling(geometry, dtype.itemsize), channels, dtype.itemsize))
        return (planes * (channels + filters) * 2 + filters * channels) * _spectrum_bytes(geometry, dtype)

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
        tiling = _tiling(g, x.itemsize)
        extents = tiling.extents
        channels = weight.shape[1]
        spread = np.zeros((*weight.shape[:2], *extents), x.dtype)
        taps = [slice(0, d * (k - 1) + 1, d) for d, k in zip(g.dilation, g.kernel, strict=True)]
        spread[:, :, *taps] = weight
        spectra = _transform(spread, slice(0, taps[0].stop), threads)
        np.conj(spectra, out=spectra)
        blocks = np.empty((_tiles_at_once(tiling, channels, x.itemsize), channels, *extents), x.dtype)
        for n, row, first in product(range(g.n), range(tiling.counts[0]), range(0, tiling.counts[1], len(blocks))):
            tiles = [
                tile
                for col in range(first, min(first + len(blocks), tiling.counts[1]))
                if (tile := _Tile.at(g, tiling, row, col)) is not None
            ]
            for tile, block in zip(tiles, blocks, strict=False):
                rows = _gather(g, x[n], tile.begins, block)
            if not tiles:
                continue
            image = _transform(blocks[: len(tiles)], rows, threads)
            with np.errstate(over="ignore", invalid="ignore"):
                products = image * spectra[:, 0] if channels == 1 else np.einsum("bchw,mchw->bmhw", image, spectra)
                planes = _transform_back(products, extents, tiles[0].kept[0], threads)
            for tile, block, plane in zip(tiles, blocks, planes, strict=False):
                values = plane[:, :: g.sh, tile.kept[1]]
                # A spectrum spreads a NaN over the whole tile, and overflows where no single output would.
                if not np.isfinite(values).all():
                    values = self._run_direct(g, block, weight, tile.kept, threads, max_workspace)
                out[n, :, *tile.target] = values

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
