"""The doubly-blocked Toeplitz matrix: a convolution as one sparse matrix times the flattened image.

Row (m, r, q) of the matrix holds filter m at the pixels that output (r, q) sees. Its blocks are Toeplitz matrices, and
they are arranged as a Toeplitz matrix (Gray, Toeplitz and Circulant Matrices, 2006).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastconv.engine.convolution.base import KeepsWeights, finish_planes, refuse_unless_real_2d, sum_error, window
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import ratios
from fastconv.engine.replay import unrepeatable
from fastconv.kernels.shield import imported

if TYPE_CHECKING:
    from scipy.sparse import csr_array


# Entries of a matrix that are multiplied together: SciPy does not notice Ctrl-C meanwhile.
_ENTRIES = 1 << 25


def _taps_inside(extent: int, outputs: int, kernel: int, stride: int, dilation: int, pad: int) -> np.ndarray:
    """The number of taps inside the input, for every output position along an axis."""
    start = np.arange(outputs) * stride - pad
    first = np.clip(-(start // dilation), 0, kernel)
    last = np.clip(-((start - extent) // dilation), first, kernel)
    return last - first


def matrix(geometry: ConvGeometry, weight: np.ndarray, threads: int) -> csr_array:
    """The matrix for one image, with shape (oc * oh * ow, ic * ih * iw), zero weights included."""
    from fastconv.kernels.slots import arguments

    g = geometry
    rows = _taps_inside(g.ih, g.oh, g.kh, g.sh, g.dh, g.pt)
    columns = _taps_inside(g.iw, g.ow, g.kw, g.sw, g.dw, g.pl)
    counts = np.tile(np.multiply.outer(rows, columns * (g.ic // g.g)).ravel(), g.oc)
    indptr = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    indices = np.empty(indptr[-1], np.int32)
    values = np.empty(indptr[-1], weight.dtype)
    ints = arguments("toeplitz")(**window(g, (0, 0, 0, 0)))
    launch = Launch.of("toeplitz", weight.dtype, ints, g.oc * g.oh)
    launch.run((np.ascontiguousarray(weight), indptr, indices, values), threads)
    # SciPy would convert all indices to the widest type among them.
    csr_array = imported("scipy.sparse").csr_array
    return csr_array((values, indices, indptr.astype(np.int32)), shape=(g.oc * g.positions, g.ic * g.ih * g.iw))


def entries(geometry: ConvGeometry) -> int:
    """An upper bound of the matrix' stored entries: every output sees every tap."""
    return geometry.oc * geometry.positions * geometry.reduction


class Toeplitz(SumsDirectly, KeepsWeights):
    name = "toeplitz"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        reason = refuse_unless_real_2d(geometry, dtype)
        if reason is None and max(entries(geometry), geometry.ic * geometry.ih * geometry.iw) >= 2**31:
            return "its matrix has more columns or entries than 32-bit indices count"
        return reason

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        # Built once (2 ns per entry), then read once per image (1 ns per entry).
        return 3e-4 + entries(geometry) * (2e-9 + 1e-9 * geometry.n) / ratios().memory

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry, dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        rows, columns = geometry.oc * geometry.positions, geometry.ic * geometry.ih * geometry.iw
        return entries(geometry) * (dtype.itemsize + 4) + rows * (16 + dtype.itemsize) + columns * dtype.itemsize

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
        unrepeatable()
        toeplitz = matrix(geometry, prepared, threads)
        rows = max(1, _ENTRIES // geometry.reduction)
        for image, result in zip(x, out, strict=True):
            flat, target = image.reshape(-1), result.reshape(-1)
            for row in range(0, len(target), rows):
                part = toeplitz if rows >= len(target) else toeplitz[row : row + rows]
                target[row : row + rows] = part @ flat
        finish_planes(out, epilogue, threads)
