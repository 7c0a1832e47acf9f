"""Filters of given weights: correlate, convolve, and both along one axis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.arrays import as_array, as_operand
from fastconv.correlation import correlate as correlate_operands
from fastconv.ndimage.arguments import (
    as_axes,
    as_axis,
    as_input,
    as_mode,
    check_origin,
    for_each,
    spread,
    spread_window,
)
from fastconv.ndimage.outputs import as_output, store, working_type
from fastconv.ndimage.passes import as_pass, filter_axes
from fastconv.planner import checked_tolerance

# Planes of an image that are filtered one by one are at least so large.
_LARGE_PLANE = 4096


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
        One axis for each of `axes`. Complex weights are conjugated.
    output : dtype or ndarray, optional
        The type of the result, or where to put it; by default the type of the input.
    mode : str
        What lies past the edges: see the table of this module.
    cval : number
        The value of mode "constant".
    origin : int or sequence of int
        Moves the weights: positive to the left, for one axis or each.
    axes : int, sequence of int, or None
        The axes that are filtered; by default all.
    tolerance : float, optional
        Bound on the expected error of floating-point sums in standard deviations of the output, which allows FFT and
        sums of outer products. By default, and at 0, there are only sums of products.

    Returns
    -------
    ndarray
        Of the extents of the input.

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
    whatever lies outside its window, so zeros are zeros and whole numbers below 2^24 (float64: 2^53) exact. With a
    `tolerance` the error is bounded for the output as a whole, normwise.

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
        As `correlate`, and as accurate; complex weights stay as they are.

    Returns
    -------
    ndarray
        Of the extents of the input.

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
        Of the extents of the input.

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
    array, taps = as_input(input), as_array("weights", weights)
    if array.dtype.kind == "c" or taps.dtype.kind == "c":
        out = as_output(output, array, complex_output=True)
        taps = taps.conj()
        return _by_parts(array, taps, out, cval, lambda x, w, c: correlate1d(x, w, axis, np.float64, mode, c, origin))
    out = as_output(output, array)
    if taps.ndim != 1 or not taps.size:
        raise RuntimeError(f"weights of shape {taps.shape}: no filter weights given, expected one axis of at least one")
    return filter_axes(array, (as_pass(as_axis(axis, array.ndim), taps, mode, origin),), out, cval)


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
        As `correlate1d`; complex weights stay as they are.

    Returns
    -------
    ndarray
        Of the extents of the input.

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
    taps = as_array("weights", weights)
    taps = taps[::-1] if taps.ndim == 1 else taps  # correlate1d says what is wrong
    taps = taps.conj() if taps.dtype.kind == "c" else taps
    return correlate1d(input, taps, axis, output, mode, cval, -origin - (taps.size % 2 == 0))


def _by_parts(
    array: np.ndarray, weights: np.ndarray, out: np.ndarray, cval: complex, filter_: Callable[..., np.ndarray]
) -> np.ndarray:
    """A linear filter of complex numbers by real ones, ``filter_(x, weights, cval)``."""
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
    array, taps = as_input(input), as_array("weights", weights)
    tolerance = checked_tolerance(tolerance) or 0.0
    if array.dtype.kind == "c" or taps.dtype.kind == "c":
        out = as_output(output, array, complex_output=True)
        taps = taps if convolution else taps.conj()

        def part(x: np.ndarray, w: np.ndarray, c: float) -> np.ndarray:
            return _correlate(x, w, np.float64, mode, c, origin, axes, tolerance, convolution)

        return _by_parts(array, taps, out, cval, part)
    filtered = as_axes(axes, array.ndim)
    taps = spread_window(taps, filtered, array.ndim, "weights")
    origins = spread(for_each(origin, len(filtered)), filtered, array.ndim, 0)
    if not taps.size:
        raise RuntimeError(f"weights of shape {taps.shape}: weights.ndim (0) must match len(axes) ({len(filtered)})")
    if convolution:
        taps = taps[(slice(None, None, -1),) * taps.ndim]
        origins = [-o - (k % 2 == 0) for o, k in zip(origins, taps.shape, strict=True)]
    for o, k in zip(origins, taps.shape, strict=True):
        check_origin(o, k, "Invalid origin; origin must satisfy -(weights.shape[k] // 2) <= origin[k] <= "
                            "(weights.shape[k]-1) // 2")  # fmt: skip
    out = as_output(output, array)
    continuation = as_mode(mode)
    begins = [k // 2 + o for k, o in zip(taps.shape, origins, strict=True)]
    padding = tuple((b, k - 1 - b) for b, k in zip(begins, taps.shape, strict=True))
    if array.ndim == 0:
        store(np.asarray(array * taps.astype(np.float64)), out)
    elif array.size:
        values = _correlate_planes(array, taps, padding, working_type(array, out), continuation, cval, tolerance)
        if out is not output and values.dtype == out.dtype:
            return values
        store(values, out)
    return out


def _correlate_planes(
    array: np.ndarray,
    taps: np.ndarray,
    padding: Any,
    dtype: np.dtype,
    continuation: str,
    cval: float,
    tolerance: float,
) -> np.ndarray:
    """Correlate; plane by plane, if the taps extend along two axes of many."""
    array = array.view(np.uint8) if array.dtype.kind == "b" else array
    if array.dtype.kind in "iu":
        # Integers under integers stay integers: they are exact, and have no rounding to be cut off.
        with np.errstate(invalid="ignore"):
            whole = taps.astype(np.int64)
        if (
            np.array_equal(whole, taps)
            and np.abs(taps).max() < 2**31
            and array.itemsize < 8
            and float(cval).is_integer()
        ):
            taps, dtype, cval = whole, np.dtype(np.int64), int(cval)
    else:
        array = as_operand(array, dtype)
    taps = taps.astype(dtype)
    run = functools.partial(correlate_operands, dtype=dtype, continuation=continuation, fill=cval, tolerance=tolerance)
    long = [axis for axis, k in enumerate(taps.shape) if k > 1]
    planar = sorted({*long, *range(array.ndim - 2, array.ndim)} if len(long) < 2 else long)[-2:]
    if array.ndim <= 2 or not set(long) <= set(planar) or prod(array.shape[a] for a in planar) < _LARGE_PLANE:
        return run(array, taps, padding)
    out = np.empty(array.shape, dtype)
    last = tuple(range(-2, 0))
    planes, results = np.moveaxis(array, planar, last), np.moveaxis(out, planar, last)
    kernel = taps.reshape([taps.shape[a] for a in planar])
    for at in np.ndindex(planes.shape[:-2]):
        results[at] = run(planes[at], kernel, tuple(padding[a] for a in planar))
    return out
