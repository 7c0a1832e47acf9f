"""Correlation of arrays with any boundary mode: what `fastconv.signal` and `fastconv.ndimage` share.

An array of one or two axes goes to a strategy of convolution, which continues it past its edges. Arrays of
more axes are correlated tap by tap.

``by_convolution``, ``separable``, ``complex_parts``  lines and planes
``taps``       arrays of more axes
``integers``   the type in which integers are summed
``nonfinite``  NaN and infinity

Whether a kernel is a sum of outer products, for which `separable` costs less, is found when its values are seen. Plans
leave that open, and their reports list it, unless the geometry says what is known of the kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.engine import planner
from fastconv.engine.arrays import as_operand
from fastconv.engine.conversion import converted
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.correlation.base import FEW_PRODUCTS, Padding, Past
from fastconv.engine.correlation.by_convolution import ByConvolution
from fastconv.engine.correlation.complex_channels import ComplexChannels
from fastconv.engine.correlation.complex_parts import ComplexParts
from fastconv.engine.correlation.nonfinite import is_finite, is_finite_everywhere, leave_zeros_out
from fastconv.engine.correlation.separable import OuterProducts
from fastconv.engine.correlation.taps import Taps, fold_taps
from fastconv.engine.geometry import REMEMBERED, FilterGeometry, output_extent
from fastconv.engine.plan import Kind, Part, Plan, Solver
from fastconv.errors import GeometryError
from fastconv.kernels import threads

__all__ = [
    "CORRELATION",
    "FEW_PRODUCTS",
    "Padding",
    "Past",
    "correlate",
    "fold_taps",
    "is_finite",
    "is_finite_everywhere",
    "output_extents",
    "plan_for",
]


class Correlation(Kind):
    """Its operands are the image and the kernel."""

    name = "correlation"
    title = "the correlation"
    solvers: Sequence[Solver] = (ByConvolution(), OuterProducts(), ComplexChannels(), ComplexParts(), Taps())

    def parse(self, descriptor: str) -> FilterGeometry:
        return FilterGeometry.parse(descriptor)

    def default_tolerance(self, geometry: FilterGeometry, dtype: np.dtype) -> float | None:
        return CONVOLUTION.default_tolerance(geometry.as_convolution(), dtype)

    def one_image(self, geometry: FilterGeometry) -> FilterGeometry:
        return geometry

    def operations(self, geometry: FilterGeometry) -> int:
        return 2 * prod(geometry.out_extent) * geometry.taps

    def shapes(self, geometry: FilterGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.extent, geometry.kernel, geometry.out_extent

    def alternatives(self, plan: Plan) -> tuple[Part, ...]:
        depends = isinstance(plan.strategy, (ByConvolution, Taps))
        return plan.strategy.alternatives(plan) if depends else ()

    def operands(self, geometry: FilterGeometry, dtype: np.dtype, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        image, kernel = super().operands(geometry, dtype, rng)
        if geometry.terms:
            shapes = [(geometry.terms, k) for k in geometry.kernel]
            whole = dtype.kind in "iu"
            down, across = (rng.integers(0, 3, s) if whole else rng.standard_normal(s) for s in shapes)
            kernel = np.matmul(down.T, across).astype(dtype)
        return image, kernel

    def call(self, plan: Plan, operands: tuple[np.ndarray, ...]) -> Callable[[], np.ndarray]:
        image, kernel = operands
        out = np.empty(plan.geometry.out_extent, image.dtype)
        boundary = plan.geometry.boundary
        past = Past("constant", 0) if boundary == "zeros" else Past(boundary, 1)

        def call() -> np.ndarray:
            plan.strategy.run(plan, image, kernel, out, past)
            return out

        return call


CORRELATION = Correlation()


@functools.lru_cache(maxsize=REMEMBERED)
def output_extents(extent: tuple[int, ...], kernel: tuple[int, ...], padding: Padding) -> tuple[int, ...]:
    """The number of outputs along each axis; negative where the kernel does not fit."""
    return tuple(output_extent(i, p, k, 1, 1) for i, p, k in zip(extent, padding, kernel, strict=True))


@functools.lru_cache(maxsize=REMEMBERED)
def plan_for(
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    char: str,
    padding: Padding,
    boundary: str,
    tolerance: float | None,
    strategy: str,
    num_threads: int,
) -> Plan:
    """The plan for inputs of these shapes, under a key that is quick to hash."""
    try:
        geometry = FilterGeometry(image, kernel, padding, boundary)
    except GeometryError as error:
        raise GeometryError(f"in1 and in2 of shapes {image} and {kernel}: {error}") from None
    dtype, limit = np.dtype(char), DEFAULT_MAX_WORKSPACE
    if tolerance != 0:
        # The FFT of a large kernel may take as much memory as SciPy's, which holds the spectra of both inputs and of
        # their product, and its inverse. Without an FFT, such a kernel would take hours.
        points = prod(i + k - 1 for i, k in zip(image, kernel, strict=True))
        limit = max(limit, 8 * dtype.itemsize * points)
    return planner.plan(
        geometry,
        dtype,
        kind=CORRELATION,
        strategy=strategy,
        tolerance=tolerance,
        threads=num_threads,
        max_workspace=limit,
    )


def correlate(
    image: np.ndarray,
    kernel: np.ndarray,
    padding: Padding,
    dtype: np.dtype,
    *,
    continuation: str = "constant",
    fill: Any = 0,
    tolerance: float | None = 0.0,
    strategy: str = "auto",
    leaves_zeros_out: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Correlate `image`, continued by `padding` samples past its edges, with `kernel`, in `dtype`.

    Both have the same number of axes, at least one, and are not empty. `kernel` has type `dtype`; an image of integers
    may have a smaller type. Every output is componentwise accurate, unless `tolerance`, a bound on the expected error
    in σ of the output, is greater than 0, or the `strategy` named is not. If `out` is given, it is C-contiguous, of
    type `dtype`, and overlaps no operand.

    Zero times infinity is NaN, unless the kernel `leaves_zeros_out`.
    """
    integers = dtype.kind in "iu"
    fits = integers and image.dtype.kind in "iu" and image.dtype.isnative
    if not fits or (continuation == "constant" and image.dtype != dtype and not _holds(image.dtype, fill)):
        image = converted(image, dtype)
    else:
        image = as_operand(image, image.dtype)
    # A zero of the padding times infinity is NaN, but strategies skip taps that fall on padding.
    zeros = continuation == "constant" and fill == 0
    sees_zeros = not any(map(any, padding)) or (zeros and (integers or is_finite(kernel)))
    boundary = "zeros" if sees_zeros else continuation
    past = Past(continuation, fill, leaves_zeros_out)
    number = threads.get_num_threads()
    plan = plan_for(image.shape, kernel.shape, dtype.char, padding, boundary, tolerance, strategy, number)
    if out is None:
        out = _empty(plan.geometry.out_extent, dtype, image, kernel)
    plan.strategy.run(plan, image, kernel, out, past)
    if leaves_zeros_out and not integers and image.ndim <= 2 and not kernel.all():
        leave_zeros_out(image, kernel, padding, out, past)
    return out


def _holds(dtype: np.dtype, fill: Any) -> bool:
    """Whether an integer type can hold a whole number."""
    limits = np.iinfo(dtype)
    return int(limits.min) <= int(fill) <= int(limits.max)


def _empty(extents: tuple[int, ...], dtype: np.dtype, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    try:
        return np.empty(extents, dtype)
    except ValueError as error:  # more elements than memory has addresses
        raise GeometryError(f"inputs of shapes {image.shape} and {kernel.shape}: {error}") from None
