"""Correlation of arrays with any boundary mode: what `fastconv.signal` and `fastconv.ndimage` share.

An array of one or two axes goes to a strategy, which treats zeros past the edges as padding. For any other boundary,
the outputs that see past an edge are recomputed from continued patches along the edges; only small images are continued
as a whole. More axes are correlated tap by tap, in a continued copy.

Whether a kernel is a sum of outer products, for which `separable` costs less, is found when its values are seen. Until
then plans leave that open; `plan_with` plans for a kernel whose values are known.

Large integer kernels are summed, a block of rows at a time, in a type that is faster than their own: floating point
where every sum is certain to be exact in it, or 16 bits for 8, which wrap around alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import isfinite, prod
from typing import NamedTuple

import numpy as np

from fastconv.engine import planner
from fastconv.engine.arrays import pieces
from fastconv.engine.boundary import continued
from fastconv.engine.conversion import converted
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE, sum_error
from fastconv.engine.convolution.separable import FIND_SECONDS, Factors, Separable, find_factors
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import REMEMBERED, FilterGeometry, output_extent
from fastconv.engine.launch import workers_for
from fastconv.engine.patches import continued_patch, gather, places
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned, SumsDirectly
from fastconv.engine.rates import rates
from fastconv.engine.replay import constant, unrepeatable
from fastconv.errors import GeometryError
from fastconv.kernels import threads
from fastconv.kernels.jit.lookup import tile_kernel

Padding = tuple[tuple[int, int], ...]

# Approximate limit on the size of a continued patch, unless the kernel itself is larger.
_PATCH_BYTES = 4 << 20

# An image up to this size is continued in one piece, which is less work than one patch per edge.
_SMALL_BYTES = 1 << 20

# Values in a block of rows that is converted at a time, few enough to stay in a cache.
_BLOCK_VALUES = 1 << 18

# Below this many products, integers are summed directly, which is less work than converting them.
_FEW_PRODUCTS = 1 << 15

# Number of values checked for NaN and infinity at a time.
_FINITE_SPAN = 1 << 14

# Integers of so many bytes are summed in their own type by kernels of up to so many taps: converting takes longer.
_TAPS_IN_OWN_TYPE = {1: 49, 2: 49, 4: 25}

_SEPARABLE = Separable()

# Number of outputs of a line that are summed together, tap by tap.
_SPAN = 1024


class Past(NamedTuple):
    """What lies past the edges of an image, and whether a zero in the kernel counts as a product."""

    continuation: str
    fill: object
    leaves_zeros_out: bool = False


@functools.lru_cache(maxsize=REMEMBERED)
def output_extents(extent: tuple[int, ...], kernel: tuple[int, ...], padding: Padding) -> tuple[int, ...]:
    """The number of outputs along each axis; negative where the kernel does not fit."""
    return tuple(output_extent(i, p, k, 1, 1) for i, p, k in zip(extent, padding, kernel, strict=True))


def correlate(
    image: np.ndarray,
    kernel: np.ndarray,
    padding: Padding,
    dtype: np.dtype,
    *,
    continuation: str = "constant",
    fill: object = 0,
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
    extents = output_extents(image.shape, kernel.shape, padding)
    fits = integers and image.dtype.kind in "iu" and image.dtype.isnative
    if not fits or (continuation == "constant" and image.dtype != dtype and not _holds(image.dtype, fill)):
        image = converted(image, dtype)
    # A zero of the padding times infinity is NaN, but strategies skip taps that fall on padding.
    zeros = continuation == "constant" and fill == 0
    sees_zeros = not any(map(any, padding)) or (zeros and (integers or is_finite(kernel)))
    boundary = "zeros" if sees_zeros else continuation
    past = Past(continuation, fill, leaves_zeros_out)
    number = threads.get_num_threads()
    plan = plan_for(image.shape, kernel.shape, dtype.char, padding, boundary, tolerance, strategy, number)
    if image.ndim > 2:
        result = _correlate_taps(image, kernel, padding, extents, dtype, past)
        if out is None:
            return result
        out[...] = result
        return out
    if out is None:
        out = _empty(extents, dtype, image, kernel)
    plan.strategy.run(plan, image, kernel, out, past)
    if leaves_zeros_out and not integers and not kernel.all():
        _leave_zeros_out(image, kernel, padding, out, past)
    return out


def _holds(dtype: np.dtype, fill: object) -> bool:
    """Whether an integer type can hold a whole number."""
    limits = np.iinfo(dtype)
    return limits.min <= int(fill) <= limits.max


def _empty(extents: tuple[int, ...], dtype: np.dtype, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    try:
        return np.empty(extents, dtype)
    except ValueError as error:  # more elements than memory has addresses
        raise GeometryError(f"inputs of shapes {image.shape} and {kernel.shape}: {error}") from None


def is_finite(kernel: np.ndarray) -> bool:
    """Whether all of `kernel` is finite; the sum of its squares is the cheapest test, unless it overflows."""
    for piece in pieces(kernel):
        part = kernel[piece]
        if not isfinite(np.vdot(part, part).real) and not np.isfinite(part).all():
            return False
    return True


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
    return _planned(geometry, np.dtype(char), tolerance, strategy, num_threads)


def _planned(g: FilterGeometry, dtype: np.dtype, tolerance: float | None, strategy: str, num_threads: int) -> Plan:
    limit = DEFAULT_MAX_WORKSPACE
    if tolerance != 0:
        # The FFT of a large kernel may take as much memory as SciPy's, which holds the spectra of both inputs and of
        # their product, and its inverse. Without an FFT, such a kernel would take hours.
        points = prod(i + k - 1 for i, k in zip(g.extent, g.kernel, strict=True))
        limit = max(limit, 8 * dtype.itemsize * points)
    return planner.plan(
        g, dtype, kind=CORRELATION, strategy=strategy, tolerance=tolerance, threads=num_threads, max_workspace=limit
    )


def plan_with(g: FilterGeometry, kernel: np.ndarray, tolerance: float | None = 0.0, num_threads: int = 1) -> Plan:
    """The plan for a kernel of known values, which may be a sum of outer products."""
    plan = _planned(g, kernel.dtype, tolerance, "auto", num_threads)
    if len(g.extent) == 2 and kernel.dtype.kind == "f":
        factors = find_factors(kernel, min(kernel.shape) - 1 if tolerance != 0 else 0)
        if factors is not None:
            exact = find_factors(kernel, 0) is not None
            plan = _planned(replace(g, terms=factors.terms, exact=exact), kernel.dtype, tolerance, "auto", num_threads)
    return plan


def _without_continuing(g: FilterGeometry) -> str | None:
    """The refusal of solvers that know only zeros past the edges."""
    if len(g.extent) > 2:
        return f"computes 1 or 2 axes, not {len(g.extent)}"
    return None if g.is_inside else f"takes zeros past the edges, not boundary={g.boundary!r}"


def _has_many_products(g: FilterGeometry) -> bool:
    return prod(g.out_extent) * g.taps > _FEW_PRODUCTS


class ByStrategy(Composite):
    """A convolution of one channel, by the cheapest strategy."""

    name = "convolution"
    part_kind = CONVOLUTION

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        if dtype.kind == "c" and _has_many_products(geometry):
            return f"sums up to {_FEW_PRODUCTS} complex products as they are"
        return _without_continuing(geometry)

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 0.0

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 0

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        return (Part("", planned(geometry.as_convolution())),)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        if out.dtype.kind in "iu":
            work = _working_type(image, kernel, out.dtype) if out.size * kernel.size > _FEW_PRODUCTS else out.dtype
            if work != out.dtype:
                _correlate_blocks(image, kernel.astype(work), plan.geometry.padding, out)
                return
            image = converted(image, out.dtype)
        elif plan.geometry.terms == 0 and (factors := _worthwhile_factors(plan, kernel)) is not None:
            plan.note(by=_SEPARABLE.name)
            _run_factors(plan, image, factors, out)
            return
        ((_, part, *_),) = plan.parts
        part.run_once(image, kernel, PLAIN, out)


class OuterProducts(SumsDirectly):
    """A sum of outer products that is known beforehand, each as two short passes."""

    name = "separable"

    def componentwise(self, geometry: FilterGeometry) -> bool:
        return geometry.exact

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        refusal = _without_continuing(geometry)
        if refusal is None:
            refusal = _SEPARABLE.refuse(geometry.as_convolution(), dtype)
        if refusal is None and geometry.terms == 0:
            refusal = "computes sums of outer products, and the kernel's values are not known yet"
        return refusal

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        g = geometry.as_convolution()
        found = FIND_SECONDS if geometry.exact else _SEPARABLE.prepare_cost(g, dtype)
        return found + _SEPARABLE.cost_of_terms(g, dtype, geometry.terms)

    def error(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return _SEPARABLE.error_of_terms(geometry.as_convolution(), dtype, geometry.terms)

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return _SEPARABLE.workspace_bytes(geometry.as_convolution(), dtype, threads, max_workspace)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        plan.note()
        g: FilterGeometry = plan.geometry
        factors = find_factors(kernel, 0 if g.exact else g.terms)
        if factors is None:
            raise ValueError(f"kernel of shape {kernel.shape}: expected a sum of {g.terms} outer products")
        _run_factors(plan, image, factors, out)


class ComplexParts(Composite):
    """Four correlations of real and imaginary parts, for which strategies are fastest."""

    name = "parts"
    part_kind = CONVOLUTION

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        if dtype.kind != "c":
            return f"computes complex numbers, not {dtype}"
        if not _has_many_products(geometry):
            return f"computes more than {_FEW_PRODUCTS} products"
        return _without_continuing(geometry)

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 2 * prod(geometry.out_extent) * dtype.itemsize / rates().memory

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return prod(geometry.out_extent) * dtype.itemsize // 2

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        part = planned(geometry, CORRELATION, np.dtype(dtype.char.lower()))
        return (Part("each of 4", part, times=4, preparations=4),)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        unrepeatable()
        part = plan.parts[0].plan
        result = np.empty(out.shape, out.real.dtype)

        def correlated(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
            part.strategy.run(part, x, np.ascontiguousarray(weight), result, past)
            return result

        with np.errstate(invalid="ignore"):
            out.real = correlated(image.real, kernel.real)
            out.real -= correlated(image.imag, kernel.imag)
            out.imag = correlated(image.real, kernel.imag)
            out.imag += correlated(image.imag, kernel.real)


class _Piece(NamedTuple):
    """A part of the output, computed from a patch that begins at the index `begins` of the continued image."""

    label: str
    target: tuple[slice, ...]
    begins: tuple[int, ...]
    geometry: FilterGeometry


def _patches(label: str, g: FilterGeometry, target: tuple[slice, ...], itemsize: int) -> Iterator[_Piece]:
    """The outputs `target`, in patches of bounded size."""
    outputs = [part.stop - part.start for part in target]
    if not all(outputs):
        return
    shape = tuple(o + k - 1 for o, k in zip(outputs, g.kernel, strict=True))
    axis = max(range(len(outputs)), key=lambda a: outputs[a] / g.kernel[a])
    if prod(shape) * itemsize > _PATCH_BYTES and outputs[axis] >= max(2, 2 * g.kernel[axis]):
        middle = target[axis].start + outputs[axis] // 2
        for half in (slice(target[axis].start, middle), slice(middle, target[axis].stop)):
            yield from _patches(label, g, (*target[:axis], half, *target[axis + 1 :]), itemsize)
        return
    begins = tuple(part.start - begin for part, (begin, _) in zip(target, g.padding, strict=True))
    yield _Piece(label, target, begins, g.of_part(shape, ((0, 0),) * len(shape)))


@functools.lru_cache(maxsize=REMEMBERED)
def _pieces(g: FilterGeometry, itemsize: int) -> tuple[_Piece, ...]:
    """The outputs that see past no edge but those left and right, if there are any, and patches for all others.

    Rows that see past the top or bottom are computed once; ends of other rows twice, since strategies write whole rows.
    """
    inside = []
    for (begin, _), extent, k, outputs in zip(g.padding, g.extent, g.kernel, g.out_extent, strict=True):
        first = min(begin, outputs)
        inside.append((first, min(outputs, max(first, extent - k + 1 + begin))))
    target = [slice(0, outputs) for outputs in g.out_extent]
    pieces = []
    if all(first < last for first, last in inside):
        extent, padding = g.extent, g.padding
        if len(extent) == 2:
            first, last = inside[0]
            extent, padding = (last - first + g.kernel[0] - 1, extent[1]), ((0, 0), padding[1])
            target[0] = slice(first, last)
        begins = (target[0].start - g.padding[0][0], 0)[: len(extent)]
        pieces.append(_Piece("inside", tuple(target), begins, g.of_part(extent, padding)))
        target[0] = slice(0, g.out_extent[0])
    sides = (("top", "bottom"), ("left", "right"))[-len(inside) :]
    for axis, (first, last) in enumerate(inside):
        for label, edge in zip(sides[axis], (slice(0, first), slice(last, g.out_extent[axis])), strict=True):
            target[axis] = edge
            pieces += _patches(label, g, tuple(target), itemsize)
        target[axis] = slice(first, last)
    return tuple(pieces)


def _continuing(g: FilterGeometry) -> str | None:
    """The refusal of solvers that continue images."""
    if len(g.extent) > 2:
        return f"computes 1 or 2 axes, not {len(g.extent)}"
    return "continues images past their edges, here outputs see only zeros there, or nothing" if g.is_inside else None


def _continued_bytes(g: FilterGeometry, dtype: np.dtype) -> int:
    return prod(o + k - 1 for o, k in zip(g.out_extent, g.kernel, strict=True)) * dtype.itemsize


class Whole(Composite):
    """A continued copy of a small image, which is less work than one patch per edge."""

    name = "whole"
    part_kind = CONVOLUTION

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        refusal = _continuing(geometry)
        if refusal is None and _continued_bytes(geometry, dtype) > _SMALL_BYTES:
            return f"continues images of up to {_SMALL_BYTES >> 20} MiB as a whole"
        return refusal

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 2e-6 + _continued_bytes(geometry, dtype) / rates().memory

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return _continued_bytes(geometry, dtype)

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        shape = tuple(o + k - 1 for o, k in zip(geometry.out_extent, geometry.kernel, strict=True))
        return (Part("continued", planned(geometry.of_part(shape, ((0, 0),) * len(shape)), CORRELATION)),)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        ((_, part, *_),) = plan.parts
        begins = tuple(-begin for begin, _ in plan.geometry.padding)
        _run_patch(part, image, kernel, begins, out, past)


class Edges(Composite):
    """The image as if zeros surrounded it, and patches for the outputs that see past an edge."""

    name = "edges"
    part_kind = CONVOLUTION

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        refusal = _continuing(geometry)
        if refusal is None and _continued_bytes(geometry, dtype) <= _SMALL_BYTES:
            return f"recomputes the edges of images of more than {_SMALL_BYTES >> 20} MiB"
        return refusal

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        patches = (piece for piece in _pieces(geometry, dtype.itemsize) if piece.label != "inside")
        return sum(3e-6 + 2 * prod(piece.geometry.extent) * dtype.itemsize / rates().memory for piece in patches)

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return (
            2
            * max(
                (prod(piece.geometry.extent) for piece in _pieces(geometry, dtype.itemsize) if piece.label != "inside"),
                default=0,
            )
            * dtype.itemsize
        )

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        pieces = _pieces(geometry, dtype.itemsize)
        return tuple(Part(piece.label, planned(piece.geometry, CORRELATION)) for piece in pieces)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        for piece, (_, part, *_) in zip(_pieces(plan.geometry, out.itemsize), plan.parts, strict=True):
            if piece.label == "inside":
                seen = image[piece.begins[0] : piece.begins[0] + piece.geometry.extent[0]] if image.ndim == 2 else image
                part.strategy.run(part, seen, kernel, out[piece.target], past)
            else:
                _run_patch(part, image, kernel, piece.begins, out[piece.target], past)


class Taps(SumsDirectly):
    """Arrays of more axes, tap by tap in a continued copy."""

    name = "taps"

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        return None if len(geometry.extent) > 2 else f"computes more than 2 axes, not {len(geometry.extent)}"

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 1e-5 + prod(geometry.out_extent) * geometry.taps * dtype.itemsize / (2 * rates().l2)

    def error(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry.as_convolution(), dtype)

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return prod(i + sum(pads) for i, pads in zip(geometry.extent, geometry.padding, strict=True)) * dtype.itemsize

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        out[...] = _correlate_taps(image, kernel, plan.geometry.padding, out.shape, out.dtype, past)


class Correlation(Kind):
    name = "correlation"
    title = "the correlation"
    solvers = (ByStrategy(), OuterProducts(), ComplexParts(), Whole(), Edges(), Taps())

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

    def operands(self, geometry: FilterGeometry, dtype: np.dtype, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        image, kernel = super().operands(geometry, dtype, rng)
        if geometry.terms:
            down, across = (rng.standard_normal((geometry.terms, k)) for k in geometry.kernel)
            kernel = (down.T @ across).astype(dtype)
        return image, kernel

    def call(self, plan: Plan, operands: tuple[np.ndarray, ...]) -> Callable[[], np.ndarray]:
        image, kernel = operands
        out = np.empty(plan.geometry.out_extent, image.dtype)
        boundary = plan.geometry.boundary
        past = Past("constant" if boundary == "zeros" else boundary, float(boundary == "constant"))

        def call() -> np.ndarray:
            plan.strategy.run(plan, image, kernel, out, past)
            return out

        return call


CORRELATION = Correlation()


def _worthwhile_factors(plan: Plan, kernel: np.ndarray) -> Factors | None:
    """The factors of a kernel for which outer products cost less than what was planned without knowing its values."""
    ((_, part, *_),) = plan.parts
    terms = _worthwhile_terms(part) if plan.request == "auto" else None
    if terms is None:
        return None
    if kernel.flags.writeable:
        unrepeatable()
    return find_factors(kernel.reshape(part.geometry.kernel), terms)


@functools.lru_cache(maxsize=REMEMBERED)
def _worthwhile_terms(part: Plan) -> int | None:
    return planner.separable_terms(part)


def _run_factors(plan: Plan, image: np.ndarray, factors: Factors, out: np.ndarray) -> None:
    g = plan.geometry.as_convolution()
    x, target = image.reshape(g.x_shape), out.reshape(g.out_shape)
    _SEPARABLE.run(g, x, factors, target, PLAIN, plan.threads, plan.max_workspace)


def _run_patch(
    plan: Plan, image: np.ndarray, kernel: np.ndarray, begins: Sequence[int], out: np.ndarray, past: Past
) -> None:
    """Correlate the continued image, starting at index `begins`, into `out`."""
    patch = continued_patch(image, begins, plan.geometry.extent, past.continuation, past.fill)
    result = out if out.flags.c_contiguous else threads.aligned_empty(out.size, out.dtype).reshape(out.shape)
    plan.strategy.run(plan, patch, kernel, result, past)
    if result is not out:
        gather(result, out, *(places(0, extent, extent, "constant") for extent in out.shape))


def _working_type(image: np.ndarray, kernel: np.ndarray, dtype: np.dtype) -> np.dtype:
    """The fastest type for sums of integers whose results, wrapped to `dtype`, are the exact ones."""
    if kernel.size <= _TAPS_IN_OWN_TYPE.get(dtype.itemsize, 0):
        return dtype
    if dtype.itemsize <= 2 and not _is_outer_product(kernel):
        # A vector multiplies twice as many values of 16 bits as floats, or as integers of 8 bits.
        return dtype if dtype.itemsize == 2 else np.dtype(np.int16)
    return _exact_float(image, kernel) or dtype


def _is_outer_product(kernel: np.ndarray) -> bool:
    """Whether floating point computes it as two short passes (engine/convolution/separable.py)."""
    if kernel.ndim < 2 or min(kernel.shape) == 1:
        return False
    if kernel.flags.writeable:
        unrepeatable()
    return find_factors(kernel.astype(np.float64), 0) is not None


def _exact_float(image: np.ndarray, kernel: np.ndarray) -> np.dtype | None:
    """The floating-point type in which every sum of products of these integers is exact, or None."""
    if image.itemsize <= 2:
        limits = np.iinfo(image.dtype)
        largest = max(limits.max, -limits.min)
    else:
        unrepeatable()
        largest = max(int(image.max()), -int(image.min()))
    bound = largest * sum(abs(tap) for tap in kernel.ravel().tolist())
    for name in ("float32", "float64"):
        if bound <= 2 ** (np.finfo(name).nmant + 1):
            return np.dtype(name)
    return None


def _correlate_blocks(image: np.ndarray, kernel: np.ndarray, padding: Padding, out: np.ndarray) -> None:
    """Correlate integers in the type of `kernel`, a block of rows at a time, zero rows included."""
    unrepeatable()
    k, (begin, _) = kernel.shape[0], padding[0]
    line = prod(image.shape[1:])
    rows = max(k, _BLOCK_VALUES // line)
    block = np.empty((min(rows, len(out)) + k - 1, *image.shape[1:]), kernel.dtype)
    result = np.empty((min(rows, len(out)), *out.shape[1:]), kernel.dtype)
    for row in range(0, len(out), rows):
        part = out[row : row + rows]
        seen = block[: len(part) + k - 1]
        top = row - begin
        first, last = max(0, -top), max(0, min(len(seen), len(image) - top))
        seen[:first], seen[last:] = 0, 0
        if first < last:
            seen[first:last] = image[top + first : top + last]
        pads, number = ((0, 0), *padding[1:]), threads.get_num_threads()
        inner = plan_for(seen.shape, kernel.shape, kernel.dtype.char, pads, "zeros", 0.0, "auto", number)
        inner.strategy.run(inner, seen, kernel, result[: len(part)], Past("constant", 0))
        _cast(result[: len(part)], part)


def _cast(values: np.ndarray, out: np.ndarray) -> None:
    """Store whole numbers in an integer type, in which they may wrap around."""
    if values.dtype.kind == "f":
        if out.itemsize < 4:
            values = values.astype(np.int32 if values.itemsize == 4 else np.int64)
        elif values.itemsize > out.itemsize or out.dtype.kind == "u":
            values = values.astype(np.int64)
    np.copyto(out, values, casting="unsafe")


def _leave_zeros_out(image: np.ndarray, kernel: np.ndarray, padding: Padding, out: np.ndarray, past: Past) -> None:
    """Recompute the outputs that are not finite, from the nonzero taps only."""
    if _is_finite_everywhere(out):
        return
    unrepeatable()
    wrong = ~np.isfinite(out)
    places = [np.flatnonzero(wrong.any(axis=tuple({*range(out.ndim)} - {axis}))) for axis in range(out.ndim)]
    box = tuple(slice(at[0], at[-1] + 1) for at in places)
    begins = [part.start - begin for part, (begin, _) in zip(box, padding, strict=True)]
    extents = out[box].shape
    shape = [o + k - 1 for o, k in zip(extents, kernel.shape, strict=True)]
    patch = continued(image, begins, shape, past.continuation, past.fill)
    np.copyto(out[box], _sums_of_taps(np.ascontiguousarray(patch), kernel, kernel != 0, extents), where=wrong[box])


def _is_finite_everywhere(values: np.ndarray) -> bool:
    """Whether no value of a C-contiguous array is NaN or infinite."""
    from fastconv.kernels.patches import FIND_NOT_FINITE, find_arguments

    parts = values.view(values.real.dtype)
    flag, ints = threads.flags(1), find_arguments(values=parts.size, span=_FINITE_SPAN)
    tiles = -(-parts.size // _FINITE_SPAN)
    threads.run_tiles(FIND_NOT_FINITE[parts.dtype.char], (parts, flag), ints, (), tiles, threads.get_num_threads(), 4)
    return not flag[0]


def _correlate_taps(
    image: np.ndarray,
    kernel: np.ndarray,
    padding: Padding,
    extents: tuple[int, ...],
    dtype: np.dtype,
    past: Past,
) -> np.ndarray:
    """Correlate tap by tap, in a continued copy of the image."""
    unrepeatable()
    work = dtype
    if dtype.kind in "iu":
        work = _exact_float(image, kernel) if past.fill == 0 else None
        work = dtype if work is None else work
    padded = pad(image.astype(work, copy=False), padding, past.continuation, past.fill)
    counted = kernel != 0 if past.leaves_zeros_out else np.ones(kernel.shape, bool)
    result = _sums_of_taps(padded, kernel.astype(work), counted, extents)
    if work is dtype:
        return result
    out = np.empty(extents, dtype)
    _cast(result, out)
    return out


def _sums_of_taps(padded: np.ndarray, kernel: np.ndarray, counted: np.ndarray, extents: tuple[int, ...]) -> np.ndarray:
    """Sums of products over the taps that are `counted`, with no boundary: `padded` holds everything they see."""
    result = _empty(extents, padded.dtype, padded, kernel)
    run_taps(tile_kernel("taps:sum_kernel", padded.dtype), padded, np.argwhere(counted), kernel[counted], result)
    return result


def pad(image: np.ndarray, padding: Padding, continuation: str, fill: object) -> np.ndarray:
    """`image` continued by `padding` samples past its edges, C-contiguous; without padding possibly `image` itself."""
    if not any(map(any, padding)):
        return np.ascontiguousarray(image)
    shape = [n + begin + end for n, (begin, end) in zip(image.shape, padding, strict=True)]
    begins = [-begin for begin, _ in padding]
    if image.ndim <= 2:
        return continued_patch(image, begins, shape, continuation, fill)
    return np.ascontiguousarray(continued(image, begins, shape, continuation, fill))


def run_taps(kernel: int, padded: np.ndarray, offsets: np.ndarray, taps: np.ndarray, out: np.ndarray) -> None:
    """Run a kernel of kernels/jit/taps.py: each output reads `padded` at the `offsets` (taps, axes) from its own."""
    strides = np.array([stride // padded.itemsize for stride in padded.strides], np.int64)
    spans = -(-out.shape[-1] // _SPAN)
    threads.run_tiles(
        kernel,
        (
            padded,
            taps,
            out,
            constant(np.ascontiguousarray(offsets @ strides)),
            constant(np.array(out.shape, np.int64)),
            constant(strides),
        ),
        (out.ndim, len(offsets), spans, _SPAN),
        (),
        prod(out.shape[:-1]) * spans,
        workers_for(out.size * len(offsets) / 3e9),
    )
