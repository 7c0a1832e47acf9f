"""The kinds of pooling: a fold, whether positions are found, and what sums are divided by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from fastconv.engine.geometry import PoolGeometry, UnevenGeometry, adaptive_counts, adaptive_geometry
from fastconv.engine.plan import Kind, Plan, Solver
from fastconv.engine.pooling.base import Geometry, Scaling


class Pool(Kind):
    """Pooling with one fold of kernels/jit/pools/folds.py, by a list of solver classes.

    The order of solvers chooses, not their price: the bits of a mean depend on the order in which a solver sums, and
    are not to depend on the rates of a machine.
    """

    by_price = False
    limits_workspace = False
    averages = False

    def __init__(
        self, name: str, fold: str, solvers: Iterable[Callable[[Pool], Any]], title: str, *, positions: bool = False
    ) -> None:
        self.name: str = name
        self.title: str = title
        self.fold: str = fold
        self.positions: bool = positions
        self.solvers: Sequence[Solver] = tuple(solver(self) for solver in solvers)

    def parse(self, descriptor: str) -> Geometry:
        """As planes without gaps in memory are pooled: if they are their own only window, as rows."""
        found: Geometry
        if {"adaptive", "drawn"}.isdisjoint(descriptor.split()):
            found = PoolGeometry.parse(descriptor)
        else:
            found = UnevenGeometry.parse(descriptor)
            if found.windows == "adaptive":
                found = adaptive_geometry(found.n, found.c, found.extent, found.out_extent)
        return found.as_row() if isinstance(found, PoolGeometry) else found

    def declined(self, solver: Solver, geometry: Geometry, dtype: np.dtype) -> str | None:
        return solver.declines(geometry)  # type: ignore[attr-defined, no-any-return]

    def divisors(self, g: Geometry, dtype: np.dtype, scaling: Scaling) -> tuple[np.ndarray, ...]:
        """Numbers per axis, by whose product the folds of the windows are divided; none of them for most folds."""
        return ()

    def shapes(self, geometry: Geometry) -> tuple[tuple[int, ...], ...]:
        """Of the input, of the random starts of windows if these are drawn, and of the output."""
        starts = geometry.starts_shapes if isinstance(geometry, UnevenGeometry) else ()
        return geometry.x_shape, *starts, geometry.out_shape

    def operands(self, geometry: Geometry, dtype: np.dtype, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        x, *starts = super().operands(geometry, dtype, rng)
        for axis, of_axis in enumerate(starts):
            last = geometry.extent[axis] - geometry.kernel[axis]
            starts[axis] = np.sort(rng.integers(0, last + 1, of_axis.shape), axis=1)
        return x, *starts

    def call(self, plan: Plan, operands: tuple[np.ndarray, ...]) -> Callable[[], np.ndarray]:
        x, *starts = operands
        bound = plan.strategy.bind(plan, x.strides, plan.geometry.out_shape)
        out = np.empty(plan.geometry.out_shape, x.dtype)
        positions = np.empty(out.shape, np.int64) if self.positions else None

        def call() -> np.ndarray:
            bound.into(out, positions, x, tuple(starts))
            return out

        return call


class AvgPool(Pool):
    averages = True

    def divisors(self, g: Geometry, dtype: np.dtype, scaling: Scaling) -> tuple[np.ndarray, ...]:
        if isinstance(g, UnevenGeometry):
            counts = [adaptive_counts(*axis) for axis in zip(g.extent, g.out_extent, strict=True)]
        elif scaling.divisor:
            counts = [[1] * outputs for outputs in g.out_extent]
            counts[-1] = [scaling.divisor] * g.ow
        else:
            counts = list(g.counts(scaling.count_include_pad))
        return tuple(np.array(of_axis, dtype) for of_axis in ([[1]] * (2 - g.ndim) + counts))
