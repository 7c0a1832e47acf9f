"""Windows of images with channels last, in one pass: vectors run along the channels (kernels/simd/pool_pixels.h).

Such an image is a volume of one channel, whose last axis is not pooled (`PoolGeometry.with_last_axis`). `passes` folds
its columns first, then its rows, and divides sums in a third pass: that takes up to 9 times as long.
"""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from fastconv.engine import planner
from fastconv.engine.geometry import PoolGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import Plan, SumsDirectly
from fastconv.engine.pooling.base import GRAIN_VALUES, PLAIN, Call, Geometry, PlanarCall, Scaling, Strides, refuse_fold
from fastconv.engine.rates import rates, ratios
from fastconv.engine.replay import constant
from fastconv.engine.rounding import running_error

if TYPE_CHECKING:
    from fastconv.engine.pooling.kinds import Pool

# The most rows and columns of a window: more are left to solvers whose work, and the errors of whose means, grow less.
_MOST = 32

# Seconds to fold a tap into a vector, and to begin and end a vector.
_TAP_SECONDS, _VECTOR_SECONDS = 3e-10, 1e-9


class Pixels(SumsDirectly):
    name = "pixels"

    def __init__(self, kind: Pool) -> None:
        self.kind = kind

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        from fastconv.kernels.slots import LANES

        if self.kind.positions:
            return "finds no positions"
        if dtype.char not in "fd":
            return f"computes float32 and float64, not {dtype}"
        if not _has_channels_last(g):
            return "pools images with channels last"
        if g.extent[2] < LANES[dtype.itemsize]:
            return f"needs at least {LANES[dtype.itemsize]} channels"
        return refuse_fold(self.kind, g, dtype)

    def declines(self, g: Geometry) -> str | None:
        return f"windows of more than {_MOST} rows or columns" if max(g.kernel) > _MOST else None

    def cost(self, g: PoolGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.slots import LANES

        vectors = g.n * ceil(prod(g.out_extent) / LANES[dtype.itemsize])
        computed = vectors * (prod(g.kernel) * _TAP_SECONDS + _VECTOR_SECONDS) / ratios().float32
        return 1e-6 + max(computed, prod(g.x_shape) * dtype.itemsize / rates().l3)

    def error(self, g: PoolGeometry, dtype: np.dtype) -> float:
        """Of a sum within a row, a sum of rows, and the division."""
        return running_error(g.kernel[0] + g.kernel[1] + 1, dtype) if self.kind.averages else 0.0

    def workspace_bytes(self, g: Geometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 0

    def bind(self, plan: Plan, strides: Strides, out_shape: tuple[int, ...], scaling: Scaling = PLAIN) -> Call:
        """The call of `plan` on images with these strides in bytes; they may lack the axes of the batch and of c = 1.

        Images whose channels are not neighbours are left to `passes`, which gathers them.
        """
        from fastconv.kernels.slots import arguments, kernel

        g, dtype = plan.geometry, np.dtype(plan.dtype)
        row, column, channel = (stride // dtype.itemsize for stride in strides[-3:])
        if channel != 1:
            passes = planner.plan(g, dtype, kind=self.kind, strategy="passes", threads=plan.threads)
            call: Call = passes.strategy.bind(passes, strides, out_shape, scaling)
            return call
        (ih, iw, channels), (oh, ow, _), (kh, kw, _) = g.extent, g.out_extent, g.kernel
        ints = arguments("pool_pixels")(
            c=channels,
            ih=ih,
            iw=iw,
            oh=oh,
            ow=ow,
            kh=kh,
            kw=kw,
            sh=g.stride[0],
            sw=g.stride[1],
            dh=g.dilation[0],
            dw=g.dilation[1],
            pt=g.padding[0][0],
            pl=g.padding[1][0],
            xn=strides[0] // dtype.itemsize if len(strides) > 3 else 0,
            xh=row,
            xw=column,
            averages=self.kind.averages,
        )
        counts = None
        if self.kind.averages:
            down, across, last = self.kind.divisors(g, dtype, scaling)
            counts = constant(np.multiply.outer(down, across) * last[0])
        launch = Launch(
            kernel=kernel("pool_pixels", dtype),
            arguments=ints,
            tiles=g.n * oh,
            grain=max(1, GRAIN_VALUES // (ow * channels)),
            tables=(counts,),
        )
        return PlanarCall(plan, out_shape, False, launch)


def _has_channels_last(g: Geometry) -> bool:
    """Whether volumes are images with channels last."""
    if not isinstance(g, PoolGeometry) or g.ndim != 3 or g.c != 1:
        return False
    return g.kernel[2] == g.stride[2] == 1 and not any(g.padding[2])
