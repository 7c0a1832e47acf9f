"""The convolution theorem: transform image and filters, multiply, sum over the channels, transform back.

``out = irfft2(sum_c rfft2(x_c) * conj(rfft2(w_c)))``, over extents at least as large as the padded image, so that
nothing wraps around. Strides keep every s-th output of the dense result; dilation spreads the filter's taps.
Filters are transformed in groups that fit the workspace.
"""

from __future__ import annotations

from math import log2

import numpy as np

from fastconv.epilogue import Epilogue
from fastconv.geometry import ConvGeometry
from fastconv.strategies.base import KeepsWeights, finish_planes, refuse_unless_real_2d, sum_error
from fastconv.strategies.direct import Direct

# Filters whose spectra are held at a time: past this, fresh pages cost more than longer batches gain.
_BATCH_BYTES = 64 << 20


def _extents(geometry: ConvGeometry) -> tuple[int, int]:
    """Transform extents: the padded image, rounded up to a size that the FFT likes."""
    from scipy.fft import next_fast_len

    height, width = (i + sum(p) for i, p in zip(geometry.extent, geometry.padding, strict=True))
    return next_fast_len(height, real=True), next_fast_len(width, real=True)


def _spectrum_bytes(geometry: ConvGeometry, dtype: np.dtype) -> int:
    """One plane's half spectrum, beside the real plane that it comes from."""
    height, width = _extents(geometry)
    return 2 * height * (width // 2 + 1) * 2 * dtype.itemsize


def _filters_at_once(geometry: ConvGeometry, dtype: np.dtype, max_workspace: int) -> int:
    """How many filters of a group fit, each with the spectra of its channels and of its output."""
    plane = _spectrum_bytes(geometry, dtype)
    channels = geometry.ic // geometry.g
    room = min(_BATCH_BYTES, max_workspace) // plane - channels
    return min(geometry.oc // geometry.g, max(1, room // (channels + 1)))


def _correlate(image: np.ndarray, filters: np.ndarray, threads: int) -> np.ndarray:
    """Planes of all filters (m, c, height, width) from the spectra of an image's channels (c, height, ...)."""
    from scipy.fft import irfft2, rfft2

    spectra = rfft2(filters, workers=threads)
    np.conj(spectra, out=spectra)
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.einsum("mchw,chw->mhw", spectra, image)
    return irfft2(products, filters.shape[-2:], workers=threads)


class Fft(KeepsWeights):
    name = "fft"
    exact_sum = False

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g = geometry
        height, width = _extents(g)
        points = height * width
        transforms = g.n * (g.ic + g.oc) + g.oc * g.ic // g.g * g.n
        products = 4 * points * g.n * g.oc * g.ic // g.g
        return 1e-4 + (transforms * 2.5 * points * log2(max(2, points)) + 2 * products) * dtype.itemsize / 4 / 4e9

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        # Rounding of a transform grows as the square root of log2 n (Schatzman 1996); three of them, seen
        # through a filter that fills only `taps` of the points.
        height, width = _extents(geometry)
        one = sum_error(geometry, dtype) / max(1.0, (geometry.reduction / 6) ** 0.5)
        return 0.5 * one * log2(max(2, height * width))

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
        from scipy.fft import rfft2

        g = geometry
        extents = _extents(g)
        icg, ocg = g.ic // g.g, g.oc // g.g
        kept = tuple(slice(0, (o - 1) * s + 1, s) for o, s in zip(g.out_extent, g.stride, strict=True))
        taps = tuple(slice(0, d * (k - 1) + 1, d) for k, d in zip(g.kernel, g.dilation, strict=True))
        step = _filters_at_once(g, x.dtype, max_workspace)
        padded = np.zeros((icg, *extents), x.dtype)
        spread = np.zeros((step, icg, *extents), x.dtype)
        for n in range(g.n):
            for group in range(g.g):
                padded[:, g.pt : g.pt + g.ih, g.pl : g.pl + g.iw] = x[n, group * icg : (group + 1) * icg]
                image = rfft2(padded, workers=threads)
                for start in range(group * ocg, (group + 1) * ocg, step):
                    filters = slice(start, min(start + step, (group + 1) * ocg))
                    batch = spread[: filters.stop - start]
                    batch[:, :, *taps] = prepared[filters]
                    out[n, filters] = _correlate(image, batch, threads)[:, *kept]
        # A spectrum spreads a NaN over the whole plane, and overflows where no single output would.
        if np.isfinite(out).all():
            finish_planes(g, out, epilogue, threads)
        else:
            Direct().run(geometry, x, prepared, out, epilogue, threads, max_workspace)
