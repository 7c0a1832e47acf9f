"""Convolution: the strategies, in one ordered list.

The order is policy: among equal estimates the earlier one wins, and reports list them in this order. A new strategy is
one file and one line here; those of other packages are added by `fastconv.register`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.engine.convolution.base import Strategy, sum_error
from fastconv.engine.convolution.continued import continued, continuing
from fastconv.engine.convolution.direct import Direct
from fastconv.engine.convolution.fft import Fft
from fastconv.engine.convolution.im2col import Im2col
from fastconv.engine.convolution.im2row import Im2row
from fastconv.engine.convolution.implicit import Implicit
from fastconv.engine.convolution.indirect import Indirect
from fastconv.engine.convolution.inner import Inner
from fastconv.engine.convolution.interleaved import Interleaved
from fastconv.engine.convolution.kn2row import Kn2row
from fastconv.engine.convolution.layouts import empty, laid_out, turning
from fastconv.engine.convolution.mec import Mec
from fastconv.engine.convolution.reference import Reference
from fastconv.engine.convolution.separable import Separable
from fastconv.engine.convolution.toeplitz import Toeplitz
from fastconv.engine.convolution.winograd import Winograd
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import Kind, Plan, Solver
from fastconv.errors import GeometryError

DEFAULT_FLOAT32_TOLERANCE = 1e-5

SEPARABLE = Separable()

STRATEGIES: list[Strategy] = [
    Implicit(),
    Im2row(),
    Indirect(),
    Inner(),
    Winograd(2),
    Winograd(3),
    Winograd(4),
    Winograd(6),
    Direct(),
    Interleaved(),
    SEPARABLE,
    Im2col(),
    Kn2row(),
    Mec(),
    Toeplitz(),
    Fft(),
    Reference(),
]

BY_NAME: dict[str, Strategy] = {strategy.name: strategy for strategy in STRATEGIES}


def runner(strategy: Strategy, geometry: ConvGeometry, once: bool = False) -> Callable[..., None]:
    """What runs a strategy on the images of a problem, with a prepared weight or `once`: see `Strategy.run`."""
    return laid_out(strategy, continued(strategy, once, geometry), geometry)


class Convolution(Kind):
    name = "convolution"
    title = "the convolution"
    solvers: Sequence[Solver] = STRATEGIES

    def describe(self, geometry: ConvGeometry) -> str:
        return str(geometry)  # which says that it is one

    def parse(self, descriptor: str) -> ConvGeometry:
        geometry = ConvGeometry.parse(descriptor).as_2d()
        if geometry.ndim != 2:
            raise GeometryError(f"descriptor {descriptor!r}: expected one or two spatial axes, got {geometry.ndim}")
        return geometry

    def default_tolerance(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """1e-5 σ in float32, otherwise the expected error of a plain sum of products."""
        return DEFAULT_FLOAT32_TOLERANCE if dtype == np.float32 else sum_error(geometry, dtype)

    def operations(self, geometry: ConvGeometry) -> int:
        return geometry.flops

    def shapes(self, geometry: ConvGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.x_shape, geometry.weight_shape, geometry.out_shape

    def overhead(self, solver: Strategy, geometry: ConvGeometry, dtype: np.dtype) -> tuple[float, int]:
        around = turning(solver, geometry, dtype), continuing(solver, geometry, dtype)
        return sum(seconds for seconds, _ in around), sum(size for _, size in around)

    def operands(self, geometry: ConvGeometry, dtype: np.dtype, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        x, weight = super().operands(geometry, dtype, rng)
        images = empty(geometry, x.shape, x.dtype)
        images[...] = x
        return images, weight

    def run(
        self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray, **past: Any
    ) -> None:
        """Compute a problem; `past` may hold the constant of a constant boundary, `fill`."""
        run = runner(plan.strategy, plan.geometry, once=True)
        run(plan.geometry, x, weight, out, epilogue, plan.threads, plan.max_workspace, **past)

    def call(self, plan: Plan, operands: tuple[np.ndarray, ...]) -> Callable[[], np.ndarray]:
        g, (x, weight) = plan.geometry, operands
        out = empty(g, g.out_shape, x.dtype)
        prepared = plan.strategy.prepare(g, weight, plan.threads) if plan.prepared else None
        run = runner(plan.strategy, g)

        def call() -> np.ndarray:
            if plan.prepared:
                run(g, x, prepared, out, PLAIN, plan.threads, plan.max_workspace)
            else:
                plan.run_once(x, weight, PLAIN, out)
            return out

        return call


CONVOLUTION = Convolution()
