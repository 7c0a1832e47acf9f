"""Correlation of arrays with any boundary mode: what `fastconv.signal` and `fastconv.ndimage` share.

An array of one or two axes goes to a strategy, which treats zeros past the edges as padding. For any other boundary,
the outputs that see past an edge are recomputed from continued patches along the edges; a continued copy of the whole
image is never made. More axes are correlated tap by tap, in a continued copy.

Large integer kernels are summed, a block of rows at a time, in a type that is faster than their own: floating point
where every sum is certain to be exact in it, or 16 bits for 8, which wrap around alike.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import isfinite, prod

import numpy as np

from fastconv.engine import planner
from fastconv.engine.arrays import pieces
from fastconv.engine.boundary import continued
from fastconv.engine.conversion import converted
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.separable import Separable, find_factors
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import REMEMBERED, ConvGeometry, output_extent
from fastconv.engine.patches import continued_patch, gather, places
from fastconv.engine.plan import Plan
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

# Number of outputs of a line that are summed together, tap by tap.
_SPAN = 1024


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
    if image.ndim > 2:
        result = _correlate_taps(image, kernel, padding, extents, dtype, continuation, fill, leaves_zeros_out)
        if out is None:
            return result
        out[...] = result
        return out
    if out is None:
        out = _empty(extents, dtype, image, kernel)
    # A zero of the padding times infinity is NaN, but kernels skip taps that fall on padding.
    zeros = continuation == "constant" and fill == 0
    if not any(map(any, padding)) or (zeros and (integers or is_finite(kernel))):
        _correlate_zeros(image, kernel, padding, out, tolerance, strategy)
    elif prod(o + k - 1 for o, k in zip(extents, kernel.shape, strict=True)) * dtype.itemsize <= _SMALL_BYTES:
        _correlate_patch(image, kernel, [-p[0] for p in padding], out, continuation, fill)
    else:
        _correlate_edges(image, kernel, padding, out, continuation, fill, tolerance, strategy)
    if leaves_zeros_out and not integers and not kernel.all():
        _leave_zeros_out(image, kernel, padding, out, continuation, fill)
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
    dtype: str,
    padding: Padding,
    tolerance: float | None,
    strategy: str,
    num_threads: int,
) -> tuple[Plan, int | None]:
    """`planner.plan` for one image, under a key that is quick to hash, and its `planner.separable_terms`."""
    ndim = len(image)
    try:
        geometry = ConvGeometry(1, 1, 1, 1, image, kernel, (1,) * ndim, (1,) * ndim, padding).as_2d()
    except GeometryError as error:
        raise GeometryError(f"in1 and in2 of shapes {image} and {kernel}: {error}") from None
    type_ = np.dtype(dtype)
    limit = DEFAULT_MAX_WORKSPACE
    if tolerance != 0:
        # The FFT of a large kernel may take as much memory as SciPy's, which holds the spectra of both inputs and of
        # their product, and its inverse. Without an FFT, such a kernel would take hours.
        limit = max(limit, 8 * type_.itemsize * prod(i + k - 1 for i, k in zip(image, kernel, strict=True)))
    chosen = planner.plan(
        geometry, type_, strategy=strategy, tolerance=tolerance, threads=num_threads, max_workspace=limit
    )
    return chosen, planner.separable_terms(chosen) if strategy == "auto" else None


def _correlate_zeros(
    image: np.ndarray, kernel: np.ndarray, padding: Padding, out: np.ndarray, tolerance: float | None, strategy: str
) -> None:
    """Correlate an image of one or two axes, surrounded by zeros."""
    if out.dtype.kind in "iu":
        work = _working_type(image, kernel, out.dtype) if out.size * kernel.size > _FEW_PRODUCTS else out.dtype
        if work != out.dtype:
            _correlate_blocks(image, kernel.astype(work), padding, out)
            return
        image = converted(image, out.dtype)
    elif out.dtype.kind == "c" and out.size * kernel.size > _FEW_PRODUCTS:
        _correlate_parts(image, kernel, padding, out, tolerance, strategy)
        return
    _run(image, kernel, padding, out, tolerance, strategy)


def _run(
    image: np.ndarray, kernel: np.ndarray, padding: Padding, out: np.ndarray, tolerance: float | None, strategy: str
) -> None:
    """Correlate by the cheapest strategy, or by `separable` if the kernel turns out to be a sum of outer products."""
    plan, terms = plan_for(
        image.shape, kernel.shape, image.dtype.char, padding, tolerance, strategy, threads.get_num_threads()
    )
    if terms is not None:
        if kernel.flags.writeable:
            unrepeatable()
        factors = find_factors(kernel.reshape(plan.geometry.kernel), terms)
        if factors is not None:
            g = plan.geometry
            x, target = image.reshape(g.x_shape), out.reshape(g.out_shape)
            Separable().run(g, x, factors, target, PLAIN, plan.threads, plan.max_workspace)
            return
    plan.run_once(image, kernel, PLAIN, out)


def _correlate_parts(
    image: np.ndarray, kernel: np.ndarray, padding: Padding, out: np.ndarray, tolerance: float | None, strategy: str
) -> None:
    """Correlate complex arrays by four real correlations, for which strategies are fastest."""
    unrepeatable()
    part = np.empty(out.shape, out.real.dtype)

    def correlated(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        _run(x, np.ascontiguousarray(weight), padding, part, tolerance, strategy)
        return part

    with np.errstate(invalid="ignore"):
        out.real = correlated(image.real, kernel.real)
        out.real -= correlated(image.imag, kernel.imag)
        out.imag = correlated(image.real, kernel.imag)
        out.imag += correlated(image.imag, kernel.real)


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
        _run(seen, kernel, ((0, 0), *padding[1:]), result[: len(part)], 0.0, "auto")
        _cast(result[: len(part)], part)


def _cast(values: np.ndarray, out: np.ndarray) -> None:
    """Store whole numbers in an integer type, in which they may wrap around."""
    if values.dtype.kind == "f":
        if out.itemsize < 4:
            values = values.astype(np.int32 if values.itemsize == 4 else np.int64)
        elif values.itemsize > out.itemsize or out.dtype.kind == "u":
            values = values.astype(np.int64)
    np.copyto(out, values, casting="unsafe")


def _correlate_edges(
    image: np.ndarray,
    kernel: np.ndarray,
    padding: Padding,
    out: np.ndarray,
    continuation: str,
    fill: object,
    tolerance: float | None,
    strategy: str,
) -> None:
    """Correlate as if zeros surrounded the image, then recompute the outputs that see past an edge.

    Rows that see past the top or bottom are computed once; ends of other rows twice, since strategies write whole rows.
    """
    inside = []
    for (begin, _), extent, k, outputs in zip(padding, image.shape, kernel.shape, out.shape, strict=True):
        first = min(begin, outputs)
        inside.append((first, min(outputs, max(first, extent - k + 1 + begin))))
    if all(first < last for first, last in inside):
        if image.ndim == 1:
            _correlate_zeros(image, kernel, padding, out, tolerance, strategy)
        else:
            first, last = inside[0]
            begin = padding[0][0]
            rows = image[first - begin : last - begin + kernel.shape[0] - 1]
            _correlate_zeros(rows, kernel, ((0, 0), padding[1]), out[first:last], tolerance, strategy)
    target = [slice(0, outputs) for outputs in out.shape]
    for axis, (first, last) in enumerate(inside):
        for edge in (slice(0, first), slice(last, out.shape[axis])):
            target[axis] = edge
            begins = [part.start - begin for part, (begin, _) in zip(target, padding, strict=True)]
            _correlate_patch(image, kernel, begins, out[tuple(target)], continuation, fill)
        target[axis] = slice(first, last)


def _correlate_patch(
    image: np.ndarray, kernel: np.ndarray, begins: Sequence[int], out: np.ndarray, continuation: str, fill: object
) -> None:
    """Correlate the continued image, starting at index `begins`, into `out`, in patches of bounded size."""
    if not out.size:
        return
    shape = [o + k - 1 for o, k in zip(out.shape, kernel.shape, strict=True)]
    axis = max(range(out.ndim), key=lambda a: out.shape[a] / kernel.shape[a])
    if prod(shape) * out.itemsize > _PATCH_BYTES and out.shape[axis] >= max(2, 2 * kernel.shape[axis]):
        half = out.shape[axis] // 2
        for part in (slice(0, half), slice(half, None)):
            at = [b + (part.start if a == axis else 0) for a, b in enumerate(begins)]
            _correlate_patch(image, kernel, at, out[(slice(None),) * axis + (part,)], continuation, fill)
        return
    patch = continued_patch(image, begins, shape, continuation, fill)
    result = out if out.flags.c_contiguous else threads.aligned_empty(out.size, out.dtype).reshape(out.shape)
    _correlate_zeros(patch, kernel, ((0, 0),) * out.ndim, result, 0.0, "auto")
    if result is not out:
        gather(result, out, *(places(0, extent, extent, "constant") for extent in out.shape))


def _leave_zeros_out(
    image: np.ndarray, kernel: np.ndarray, padding: Padding, out: np.ndarray, continuation: str, fill: object
) -> None:
    """Recompute the outputs that are not finite, from the nonzero taps only."""
    if _is_finite_everywhere(out):
        return
    unrepeatable()
    wrong = ~np.isfinite(out)
    places = [np.flatnonzero(wrong.any(axis=tuple({*range(out.ndim)} - {axis}))) for axis in range(out.ndim)]
    box = tuple(slice(at[0], at[-1] + 1) for at in places)
    begins = [part.start - begin for part, (begin, _) in zip(box, padding, strict=True)]
    extents = out[box].shape
    patch = continued(
        image, begins, [o + k - 1 for o, k in zip(extents, kernel.shape, strict=True)], continuation, fill
    )
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
    continuation: str,
    fill: object,
    leaves_zeros_out: bool,
) -> np.ndarray:
    """Correlate tap by tap, in a continued copy of the image."""
    unrepeatable()
    work = dtype
    if dtype.kind in "iu":
        work = _exact_float(image, kernel) if fill == 0 else None
        work = dtype if work is None else work
    padded = pad(image.astype(work, copy=False), padding, continuation, fill)
    counted = kernel != 0 if leaves_zeros_out else np.ones(kernel.shape, bool)
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
        threads.get_num_threads() if out.size * len(offsets) > 1 << 16 else 1,
    )
