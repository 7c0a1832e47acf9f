"""The textbook: lower a chunk of output rows to a matrix, multiply it by the filters with BLAS."""

from __future__ import annotations

import numpy as np

from fastconv import threads as team
from fastconv.epilogue import Epilogue
from fastconv.geometry import ConvGeometry
from fastconv.strategies.base import (
    COPY_BYTES,
    FMA_FLOPS,
    KeepsWeights,
    SumsProducts,
    element_strides,
    refuse_unless_real_2d,
    sum_error,
)

# A chunk's columns: many enough that BLAS packs the filters seldom, few enough to stay in a shared cache.
_CHUNK_BYTES = 4 << 20


def _row_bytes(geometry: ConvGeometry, dtype: np.dtype) -> int:
    return geometry.reduction * geometry.ow * dtype.itemsize


def _chunk_rows(geometry: ConvGeometry, dtype: np.dtype, max_workspace: int) -> int:
    """Output rows lowered at a time; independent of the threads, so that results are too."""
    return min(geometry.oh, max(1, min(_CHUNK_BYTES, max_workspace) // _row_bytes(geometry, dtype)))


class Im2col(SumsProducts, KeepsWeights):
    name = "im2col"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        reason = refuse_unless_real_2d(geometry, dtype)
        if (
            reason is None
            and max(geometry.reduction, geometry.positions, geometry.ih * geometry.iw, geometry.oc) >= 2**31
        ):
            return "BLAS counts matrix rows and columns in 32 bits"
        return reason

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g = geometry
        m = g.oc // g.g
        # BLAS works on tiles of 16 rows, and reads and writes every chunk once more.
        useful = m / (-(-m // 8) * 8) * g.reduction / (g.reduction + 16)
        lowered = 0 if g.taps == 1 else g.n * g.g * g.positions * g.reduction * dtype.itemsize
        calls = max(g.n * g.g, lowered // _CHUNK_BYTES)
        return 5e-6 + calls * 2e-6 + lowered / COPY_BYTES + g.flops / (0.8 * FMA_FLOPS[dtype.itemsize] * useful)

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry, dtype)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        chunk = _chunk_rows(geometry, dtype, max_workspace) * _row_bytes(geometry, dtype)
        return chunk * max(1, min(threads, max_workspace // chunk))

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
        from fastconv.kernels.blas import gemm_address, single_threaded
        from fastconv.kernels.lowering import CONVOLVE, WINDOW

        strides = element_strides(x)
        chunk_rows = _chunk_rows(geometry, x.dtype, max_workspace)
        chunks = -(-geometry.oh // chunk_rows)
        # A 1×1 kernel at stride 1 reads the image itself, if its planes are plain runs of memory.
        pointwise = (
            geometry.taps == 1
            and max(geometry.stride) == 1
            and not any(map(any, geometry.padding))
            and strides[3] == 1
            and strides[2] == geometry.iw
            and geometry.positions <= strides[1] < 2**31
        )
        workspace = np.empty(self.workspace_bytes(geometry, x.dtype, threads, max_workspace), np.uint8)
        row = chunk_rows * _row_bytes(geometry, x.dtype)
        with single_threaded():
            team.run_tiles(
                CONVOLVE[x.dtype.name],
                (x, prepared, epilogue.bias, out, workspace, gemm_address(x.dtype.name)),
                (
                    *(getattr(geometry, name) for name in WINDOW),
                    *strides,
                    chunk_rows,
                    chunks,
                    pointwise,
                    epilogue.activation,
                ),
                (epilogue.parameter,),
                geometry.n * geometry.g * chunks,
                min(threads, workspace.nbytes // row),
            )
