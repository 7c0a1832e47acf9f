"""Filters with given weights: correlate, convolve, and both along one axis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import inf, isfinite, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, is_target
from fastconv.engine.boundary import folded, is_folded
from fastconv.engine.conversion import converted, scratch_like
from fastconv.engine.correlation import FEW_PRODUCTS, Padding, is_finite_everywhere
from fastconv.engine.correlation import correlate as correlate_operands
from fastconv.engine.ordered import correlate_in_order, has_order
from fastconv.engine.passes import filter_axes
from fastconv.engine.planner import checked_tolerance
from fastconv.engine.replay import constant, repeatable, repeated, unrepeatable
from fastconv.engine.storing import filter_parts, store, working_type
from fastconv.kernels import threads
from fastconv.ndimage.arguments import (
    as_axes,
    as_axis,
    as_index,
    as_input,
    as_mode,
    as_number,
    as_origin,
    as_pass,
    for_each,
    spread,
    spread_window,
)
from fastconv.ndimage.outputs import as_output

# Planes of an image are filtered one by one if they have at least this many values.
_LARGE_PLANE = 4096


@repeated()
def correlate(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
    tolerance: float | None = None,
) -> np.ndarray:
    """Correlate an array with weights: a drop-in for `scipy.ndimage.correlate`.

    ``out[r, ...] = sum_{i, ...} weights[i, ...] * input[r + i - K // 2 - origin, ...]``

    Parameters
    ----------
    input : array_like
        Integers, bool, float32, float64 or their complex types.
    weights : array_like
        Weights with one axis per entry of `axes`. Complex weights are conjugated.
    output : dtype or ndarray, optional
        The type of the result, or the array to store it in; by default the type of the input.
    mode : str
        How the input continues past its edges: see the table in `fastconv.ndimage`.
    cval : number
        The value of mode "constant".
    origin : int or sequence of int
        Shift of the weights, to the left if positive; one value, or one per axis.
    axes : int, sequence of int, or None
        The axes that are filtered; by default all.
    tolerance : float, optional
        Bound on the expected error of floating-point sums, in standard deviations of the output, which allows FFTs and
        sums of outer products. By default, and with 0, only sums of products are used.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError
        Axes, types, the mode or the output do not fit, as in SciPy.
    ValueError
        `origin` lies outside the weights, `axes` are repeated or out of range, or `tolerance` is negative.
    TypeError
        An input is a masked array.

    Notes
    -----
    Results are componentwise accurate: each output errs by a few roundings of the sum of its own products' magnitudes,
    whatever lies outside its window, so zeros are zeros and whole numbers below 2^24 (float64: 2^53) are exact. With a
    `tolerance` the error is bounded normwise, for the output as a whole.

    Zero weights are skipped: NaN or infinity under them does not count.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.correlate(np.arange(5), [1, 0, -1])
    array([-1, -2, -2, -2, -1])
    """
    return _correlate(input, weights, output, mode, cval, origin, axes, tolerance, convolution=False)


@repeated()
def convolve(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
    tolerance: float | None = None,
) -> np.ndarray:
    """Convolve an array with weights: a drop-in for `scipy.ndimage.convolve`.

    ``out[r, ...] = sum_{i, ...} weights[i, ...] * input[r - i + K // 2 - origin, ...]``

    Parameters
    ----------
    input, weights, output, mode, cval, origin, axes, tolerance
        As `correlate`, and as accurate; complex weights are not conjugated.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.convolve(np.arange(5), [1, 0, -1])
    array([1, 2, 2, 2, 1])
    """
    return _correlate(input, weights, output, mode, cval, origin, axes, tolerance, convolution=True)


@repeated()
def correlate1d(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Correlate along one axis: a drop-in for `scipy.ndimage.correlate1d`.

    Parameters
    ----------
    input, output, mode, cval, origin
        As `correlate`.
    weights : array_like, shape (K,)
    axis : int

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.correlate1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([ 8, 26,  8, 12,  7, 28, 36,  9])
    """
    return _correlate1d(input, _conjugated(_as_weights(weights)), axis, output, mode, cval, origin)


@repeated()
def convolve1d(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Convolve along one axis: a drop-in for `scipy.ndimage.convolve1d`.

    Parameters
    ----------
    input, weights, axis, output, mode, cval, origin
        As `correlate1d`; complex weights are not conjugated.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([14, 24,  4, 13, 12, 36, 27,  0])
    """
    taps = _as_weights(weights)
    taps = taps[::-1] if taps.ndim == 1 else taps  # anything else is an error
    return _correlate1d(input, taps, axis, output, mode, cval, -as_index("origin", origin) - (taps.size % 2 == 0))


def _correlate1d(
    input: npt.ArrayLike, taps: np.ndarray, axis: int, output: Any, mode: str, cval: complex, origin: int
) -> np.ndarray:
    """`correlate1d`, but that complex weights are not conjugated."""
    array = as_input(input)
    if array.dtype.kind == "c" or taps.dtype.kind == "c":
        out = as_output(output, array, complex_output=True)
        if taps.dtype.kind == "c" or taps.ndim != 1 or not taps.size:
            return _by_parts(
                array, taps, out, cval, lambda x, w, c: _correlate1d(x, w, axis, np.float64, mode, c, origin)
            )
        step = as_pass(as_axis(axis, array.ndim), taps, mode, origin)
        return filter_axes(array, (step,), out, as_number("cval", cval, complex_too=True))
    out = as_output(output, array)
    if taps.ndim != 1 or not taps.size:
        raise RuntimeError(f"weights of shape {taps.shape}: no filter weights given, expected one axis of at least one")
    step, fill = as_pass(as_axis(axis, array.ndim), taps, mode, origin), as_number("cval", cval)
    if array.dtype.kind in "iu" and array.size and _is_exact_in_integers(array, taps, out):
        others = [other for other in range(array.ndim) if other != step.axis]
        origins = spread([step.origin], (step.axis,), array.ndim, 0)
        return store_correlation(array, np.expand_dims(taps, others), origins, step.mode, fill, 0.0, out)
    return filter_axes(array, (step,), out, fill)


def _is_exact_in_integers(array: np.ndarray, taps: np.ndarray, out: np.ndarray) -> bool:
    """Whether weights are whole, and sums too large for float64, or possibly so and as exact in a type that wraps."""
    if np.iinfo(array.dtype).max * float(np.abs(taps.astype(np.float64)).sum()) <= _EXACT or _as_whole(taps) is None:
        return False
    return out.dtype.kind in "iu" or _bound_of_sums(array, taps) > _EXACT


def _as_weights(weights: npt.ArrayLike) -> np.ndarray:
    """Weights as an array of numbers, float64 where SciPy would convert them."""
    taps = as_array("weights", weights)
    return taps if taps.dtype.kind in "biufc" else taps.astype(np.float64)


def _conjugated(taps: np.ndarray) -> np.ndarray:
    return taps.conj() if taps.dtype.kind == "c" else taps


def _by_parts(
    array: np.ndarray, weights: np.ndarray, out: np.ndarray, cval: complex, filter_: Callable[..., np.ndarray]
) -> np.ndarray:
    """Apply a linear filter to complex operands by applying the real ``filter_(x, weights, cval)`` to their parts."""
    cval = as_number("cval", cval, complex_too=True)
    real_weights, real_array = weights.dtype.kind != "c", array.dtype.kind != "c"
    if real_array and np.iscomplexobj(cval):
        raise ValueError(f"cval={cval}: Cannot provide a complex-valued cval when the input is real.")
    if real_weights:
        real, imag = (filter_(x, weights, c) for x, c in ((array.real, np.real(cval)), (array.imag, np.imag(cval))))
    elif real_array:
        real, imag = (filter_(array, w, cval) for w in (weights.real, weights.imag))
    else:
        a, b = ((array.real, np.real(cval)), (array.imag, np.imag(cval)))
        real = filter_(a[0], weights.real, a[1]) - filter_(b[0], weights.imag, b[1])
        imag = filter_(b[0], weights.real, b[1]) + filter_(a[0], weights.imag, a[1])
    out.real, out.imag = real, imag
    return out


def _correlate(
    input: npt.ArrayLike, weights: npt.ArrayLike, output: Any, mode: str, cval: complex, origin: Any, axes: Any,
    tolerance: float | None, convolution: bool,
) -> np.ndarray:  # fmt: skip
    array, taps = as_input(input), _as_weights(weights)
    tolerance = checked_tolerance(tolerance) or 0.0
    if array.dtype.kind == "c" or taps.dtype.kind == "c":
        out = as_output(output, array, complex_output=True)
        taps = taps if convolution else taps.conj()
        if _is_small(array, taps, cval) and axes is None and not tolerance:
            placed, origins = _placed(taps, for_each(origin, array.ndim), convolution)
            if _store_complex(array, placed, origins, as_mode(mode), cval, out):
                return repeatable(out)
        if taps.dtype.kind == "c":

            def part(x: np.ndarray, w: np.ndarray, c: float) -> np.ndarray:
                return _correlate(x, w, np.float64, mode, c, origin, axes, tolerance, convolution)

            return _by_parts(array, taps, out, cval, part)
    filtered = as_axes(axes, array.ndim)
    taps = spread_window(taps, filtered, array.ndim, "weights")
    origins = spread(for_each(origin, len(filtered)), filtered, array.ndim, 0)
    if not taps.size:
        raise RuntimeError(f"weights of shape {taps.shape}: weights.ndim (0) must match len(axes) ({len(filtered)})")
    taps, origins = _placed(taps, origins, convolution)
    continuation = as_mode(mode)
    if array.dtype.kind == "c":
        return filter_parts(
            lambda x, part, c: store_correlation(x, taps, origins, continuation, c, tolerance, part),
            array,
            out,
            as_number("cval", cval, complex_too=True),
        )
    out = as_output(output, array)
    return store_correlation(array, taps, origins, continuation, as_number("cval", cval), tolerance, out)


def _placed(taps: np.ndarray, origins: Sequence[int], convolution: bool) -> tuple[np.ndarray, list[int]]:
    """Weights and origins of a correlation, which those of a convolution are turned into."""
    if convolution:
        taps = taps[(slice(None, None, -1),) * taps.ndim]
        origins = [-as_index("origin", o) - (k % 2 == 0) for o, k in zip(origins, taps.shape, strict=True)]
    fault = "Invalid origin; origin must satisfy -(weights.shape[k] // 2) <= origin[k] <= (weights.shape[k]-1) // 2"
    return taps, [as_origin(o, k, fault) for o, k in zip(origins, taps.shape, strict=True)]


def _is_small(array: np.ndarray, taps: np.ndarray, cval: complex) -> bool:
    """Whether a complex image is so small that its correlation takes less than that of all parts."""
    return (
        array.dtype.char in "FD"
        and array.ndim == taps.ndim
        and 1 <= array.ndim <= 2
        and 0 < array.size * taps.size <= FEW_PRODUCTS
        and all(k <= n for n, k in zip(array.shape, taps.shape, strict=True))
        and isinstance(cval, (int, float, complex))
    )


def _store_complex(
    array: np.ndarray, taps: np.ndarray, origins: Sequence[int], continuation: str, cval: complex, out: np.ndarray
) -> bool:
    """Whether all sums of complex products are finite: NaN and infinity must not spread from one part to the other."""
    dtype = np.dtype(np.complex128)
    begins = [k // 2 + o for k, o in zip(taps.shape, origins, strict=True)]
    padding = tuple((b, k - 1 - b) for b, k in zip(begins, taps.shape, strict=True))
    weights = constant(taps.astype(dtype, order="C"))
    values = out if out.dtype == dtype and is_target(out, array) else scratch_like(out, dtype)
    correlate_operands(
        converted(array, dtype), weights, padding, dtype, continuation=continuation, fill=complex(cval), out=values
    )
    if not is_finite_everywhere(values):
        unrepeatable()
        return False
    store(values, out)
    return True


def store_correlation(
    array: np.ndarray,
    taps: np.ndarray,
    origins: Sequence[int],
    continuation: str,
    cval: float,
    tolerance: float,
    out: np.ndarray,
) -> np.ndarray:
    """Store the correlation of real operands in `out`."""
    if array.ndim == 0:
        store(np.asarray(array * taps.astype(np.float64)), out)
        return out
    if not array.size:
        return out
    begins = [k // 2 + o for k, o in zip(taps.shape, origins, strict=True)]
    axes = zip(begins, taps.shape, array.shape, strict=True)
    if any(is_folded(begin, k, extent, continuation) for begin, k, extent in axes):
        unrepeatable()
        # Infinity times the sum of the weights is not the sum of the products.
        if np.isfinite(array).all() and isfinite(cval):
            taps = taps.astype(np.float64) if taps.dtype.kind == "f" else taps
            for axis, extent in enumerate(array.shape):
                taps, begins[axis] = folded(taps, begins[axis], extent, continuation, axis)
    padding = tuple((b, k - 1 - b) for b, k in zip(begins, taps.shape, strict=True))
    if array.dtype.kind in "biu":
        _store_integers(array, taps, padding, continuation, cval, tolerance, out)
        return repeatable(out)
    dtype = working_type(array, out)
    with np.errstate(over="ignore"):
        fill = np.array(cval, dtype)
    taps = constant(taps.astype(dtype, order="C"))
    values = out if out.dtype == dtype and is_target(out, array) else scratch_like(out, dtype)
    _correlate_planes(converted(array, dtype), taps, padding, continuation, fill, tolerance, values)
    store(values, out)
    return repeatable(out)


def _store_integers(
    array: np.ndarray,
    taps: np.ndarray,
    padding: Padding,
    continuation: str,
    cval: float,
    tolerance: float,
    out: np.ndarray,
) -> None:
    """Correlate integers. With whole weights they stay integers, otherwise they become float64.

    Sums may wrap around in the type of an integer output: the result wraps around, too, or fits after all.
    """
    array = array.view(np.uint8) if array.dtype.kind == "b" else array
    fill = cval if continuation == "constant" else 0
    whole = _as_whole(taps)
    wraps = out.dtype.kind in "iu"

    def sums(
        x: np.ndarray, weights: np.ndarray, fill: float, tolerance: float = 0.0, to: np.ndarray | None = None
    ) -> np.ndarray:
        values = scratch_like(x, weights.dtype) if to is None else to
        _correlate_planes(x, weights, padding, continuation, fill, tolerance, values)
        return values

    held = float(fill).is_integer() and abs(fill) < _INT64
    # A bound may take a look at the image, and sums that wrap around, or are rounded anyway, need none.
    bound = 0.0 if whole is None or (wraps and held) else _bound_of_sums(array, taps)
    exact = whole if wraps or bound < _INT64 else None
    bound_with_fill = max(bound, abs(fill) * float(np.abs(taps).sum(dtype="d"))) if held else inf
    if exact is not None and held and (wraps or bound_with_fill < _INT64):
        dtype = out.dtype.newbyteorder("=") if wraps else np.dtype(np.int32 if bound_with_fill < _INT32 else np.int64)
        weights = constant(exact.astype(dtype))
        target = out if wraps and is_target(out, array) else None
        values = sums(array, weights, int(np.int64(fill).astype(dtype)), to=target)
        store(values, out)
        return
    if whole is None and wraps and not tolerance and has_order(array.dtype, out.dtype):
        begins = [begin for begin, _ in padding]
        source = as_contiguous(converted(array, np.dtype(array.dtype.char)))
        result = out if is_target(out, source) else scratch_like(out, out.dtype)
        if correlate_in_order(source, taps, begins, continuation, float(fill), result, threads.get_num_threads()):
            store(result, out)
            return
    weights = constant(taps.astype(np.float64, order="C"))
    result = sums(converted(array, np.dtype(np.float64)), weights, fill, tolerance)
    if exact is not None and bound > _EXACT:
        # Only outputs that see a constant outside that type are rounded.
        unrepeatable()
        others = sums(array, exact, 0)
        seen = sums(np.zeros(array.shape, np.uint8), (taps != 0).astype(np.int64), 1) > 0
        store(result, rounded := np.empty_like(out))
        store(others, out)
        np.copyto(out, rounded, where=seen)
    else:
        store(result, out)


# float64 is exact for integers up to the first; int32 and int64 wrap around from the others on.
_EXACT, _INT32, _INT64 = 2.0**53, 2.0**31, 2.0**63


def _as_whole(taps: np.ndarray) -> np.ndarray | None:
    """Whole weights as int64, in which uint64 may wrap around."""
    with np.errstate(invalid="ignore"):
        whole = constant(taps.astype(np.int64, order="C"))
    return whole if np.array_equal(whole.astype(taps.dtype), taps) else None


def _bound_of_sums(array: np.ndarray, taps: np.ndarray) -> float:
    """A bound on sums of integers with these weights, from the type alone if sums are then exact in float64."""
    limits = np.iinfo(array.dtype)
    total = float(np.abs(taps.astype(np.float64)).sum())
    bound = max(limits.max, -limits.min) * total
    if bound <= _EXACT:
        return bound
    unrepeatable()
    return float(max(int(array.max()), -int(array.min()))) * total


def _correlate_planes(
    array: np.ndarray,
    taps: np.ndarray,
    padding: Padding,
    continuation: str,
    fill: object,
    tolerance: float,
    out: np.ndarray,
) -> None:
    """Correlate in the type of `taps` and `out`, plane by plane if the taps extend along two of many axes."""
    if taps.dtype.kind == "i" and array.itemsize == 8:
        array = array.astype(np.int64, copy=False)
    run = functools.partial(
        correlate_operands,
        dtype=taps.dtype,
        continuation=continuation,
        fill=fill,
        tolerance=tolerance,
        leaves_zeros_out=True,
    )
    long = [axis for axis, k in enumerate(taps.shape) if k > 1]
    planar = sorted({*long, *range(array.ndim - 2, array.ndim)} if len(long) < 2 else long)[-2:]
    if array.ndim <= 2 or not set(long) <= set(planar) or prod(array.shape[a] for a in planar) < _LARGE_PLANE:
        run(array, taps, padding, out=out)
        return
    last = tuple(range(-2, 0))
    planes, results = np.moveaxis(array, planar, last), np.moveaxis(out, planar, last)
    kernel = taps.reshape([taps.shape[a] for a in planar])
    for at in np.ndindex(planes.shape[:-2]):
        unrepeatable()
        results[at] = run(planes[at], kernel, tuple(padding[a] for a in planar))
