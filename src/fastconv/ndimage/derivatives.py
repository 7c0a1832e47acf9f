"""Derivatives: differences, and those of Gaussians; each alone, as a Laplacian, or as the magnitude of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.passes import filter_axes
from fastconv.engine.replay import constant, repeated, unrepeatable
from fastconv.engine.storing import filter_parts, store
from fastconv.ndimage.arguments import as_axes, as_axis, as_input, as_mode, as_number, as_pass, for_each, spread
from fastconv.ndimage.gaussians import gaussian_filter
from fastconv.ndimage.linear import correlate1d, store_correlation
from fastconv.ndimage.outputs import as_output

_DIFFERENCE, _SECOND_DIFFERENCE = constant(np.array([-1.0, 0.0, 1.0])), constant(np.array([1.0, -2.0, 1.0]))
_SOBEL, _PREWITT = constant(np.array([1.0, 2.0, 1.0])), constant(np.ones(3))


@repeated()
def sobel(
    input: npt.ArrayLike,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
) -> np.ndarray:
    """Difference along an axis, smoothed by 1, 2, 1 along all others: a drop-in for `scipy.ndimage.sobel`.

    Parameters
    ----------
    input, axis, output, cval
        As `correlate1d`.
    mode : str or sequence of str
        How the input continues past its edges, for all axes or for each.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate1d`.

    Notes
    -----
    Componentwise accurate, as `correlate1d`. Integers wrap around, unsigned ones where a difference is negative, too.
    In uint64, SciPy rounds what has wrapped around to a float64 between two axes.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.sobel(np.arange(12).reshape(3, 4) ** 2)
    array([[ 12,  32,  48,  28],
           [ 36,  80,  96,  52],
           [ 60, 128, 144,  76]])
    """
    return _difference(input, axis, output, mode, cval, _SOBEL)


@repeated()
def prewitt(
    input: npt.ArrayLike,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
) -> np.ndarray:
    """Difference along an axis, summed over three neighbours along all others: a drop-in for `scipy.ndimage.prewitt`.

    Parameters
    ----------
    input, axis, output, mode, cval
        As `sobel`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate1d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.prewitt(np.arange(12).reshape(3, 4) ** 2)
    array([[ 11,  28,  40,  23],
           [ 27,  60,  72,  39],
           [ 43,  92, 104,  55]])
    """
    return _difference(input, axis, output, mode, cval, _PREWITT)


@repeated()
def laplace(
    input: npt.ArrayLike,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Sum of second differences along axes: a drop-in for `scipy.ndimage.laplace`.

    Parameters
    ----------
    input, output, cval, axes
        As `correlate`.
    mode : str or sequence of str
        How the input continues past its edges, for all `axes` or for each.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`.

    Notes
    -----
    Componentwise accurate, as `correlate`. Unsigned integers wrap around where the sum is negative, as SciPy's.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.laplace(np.arange(12).reshape(3, 4) ** 2)
    array([[ 17,  26,  34,  35],
           [ 41,  34,  34,  19],
           [-31, -54, -62, -93]])
    """
    array = as_input(input)
    out = as_output(output, array)
    filtered = as_axes(axes, array.ndim)
    modes = _modes(mode, filtered)
    kinds = array.dtype.kind + out.dtype.kind
    # What real numbers store in integers is rounded once per axis.
    is_one_sum = kinds in ("cc", "ff") or (kinds[0] in "iu" and kinds[1] in "iuf")
    if 0 < array.ndim <= 2 and filtered and len(set(modes)) == 1 and is_one_sum:
        cross = np.zeros([3 if axis in filtered else 1 for axis in range(array.ndim)])
        for axis in filtered:
            at: list[Any] = [n // 2 for n in cross.shape]
            at[axis] = slice(None)
            cross[tuple(at)] += _SECOND_DIFFERENCE
        origins = (0,) * array.ndim
        if kinds == "cc":
            return filter_parts(
                lambda x, part, c: store_correlation(x, cross, origins, modes[0], c, 0.0, part),
                array,
                out,
                as_number("cval", cval, complex_too=True),
            )
        return store_correlation(array, cross, origins, modes[0], as_number("cval", cval), 0.0, out)

    def derivative(axis: int, mode: str, output: npt.DTypeLike | np.ndarray) -> np.ndarray:
        return correlate1d(array, _SECOND_DIFFERENCE, axis, output, mode, cval)

    return _sum(array, out, filtered, modes, derivative)


def gaussian_laplace(
    input: npt.ArrayLike,
    sigma: float | Sequence[float],
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    *,
    axes: int | Sequence[int] | None = None,
    **kwargs: Any,
) -> np.ndarray:
    """Sum of second derivatives of a Gaussian: a drop-in for `scipy.ndimage.gaussian_laplace`.

    Parameters
    ----------
    input, output, cval, axes
        As `correlate`.
    sigma : float or sequence of float
        Standard deviations of the Gaussian, in samples, for all `axes` or for each.
    mode : str or sequence of str
        How the input continues past its edges; one per term of the sum, as in SciPy.
    **kwargs
        Other arguments of `gaussian_filter`, such as `truncate`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `gaussian_filter`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.gaussian_laplace(np.eye(3), sigma=1).round(3)
    array([[-0.385,  0.037,  0.348],
           [ 0.037, -0.073,  0.037],
           [ 0.348,  0.037, -0.385]])
    """
    array = as_input(input)
    filtered = as_axes(axes, array.ndim)
    sigmas = spread(for_each(sigma, len(filtered)), filtered, array.ndim, 0.0)
    derivative = _gaussian_derivative(array, 2, sigmas, cval, kwargs)
    return _sum(array, as_output(output, array), filtered, _modes(mode, filtered), derivative)


def gaussian_gradient_magnitude(
    input: npt.ArrayLike,
    sigma: float | Sequence[float],
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    *,
    axes: int | Sequence[int] | None = None,
    **kwargs: Any,
) -> np.ndarray:
    """Magnitude of the gradient of a Gaussian: a drop-in for `scipy.ndimage.gaussian_gradient_magnitude`.

    Parameters
    ----------
    input, output, mode, cval, **kwargs
        As `gaussian_laplace`.
    sigma : float or sequence of float
        Standard deviations of the Gaussian, in samples, for all axes of the input or for each.
    axes : int, sequence of int, or None
        The axes along which derivatives are taken; by default all. The input is smoothed along all axes, as by SciPy.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `gaussian_filter`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.gaussian_gradient_magnitude(np.eye(3), sigma=1).round(3)
    array([[0.153, 0.202, 0.132],
           [0.202, 0.   , 0.202],
           [0.132, 0.202, 0.153]])
    """
    array = as_input(input)
    filtered = as_axes(axes, array.ndim)
    derivative = _gaussian_derivative(array, 1, sigma, cval, kwargs)
    modes = _modes(mode, filtered)
    return _sum(array, as_output(output, array), filtered, modes, derivative, magnitude=True)


def generic_laplace(
    input: npt.ArrayLike,
    derivative2: Callable[..., Any],
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    extra_arguments: tuple[Any, ...] = (),
    extra_keywords: dict[str, Any] | None = None,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Sum of second derivatives along axes: a drop-in for `scipy.ndimage.generic_laplace`.

    Parameters
    ----------
    input, output, mode, cval, axes
        As `laplace`.
    derivative2 : callable
        Called as ``derivative2(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``.
    extra_arguments, extra_keywords
        Further arguments of `derivative2`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `laplace`, and whatever `derivative2` raises.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> def second(x, axis, output, mode, cval):
    ...     return fastconv.ndimage.correlate1d(x, [1, -2, 1], axis, output, mode, cval)
    >>> fastconv.ndimage.generic_laplace(np.arange(5) ** 2, second)
    array([ 1,  2,  2,  2, -7])
    """
    return _generic(input, derivative2, output, mode, cval, extra_arguments, extra_keywords, axes, magnitude=False)


def generic_gradient_magnitude(
    input: npt.ArrayLike,
    derivative: Callable[..., Any],
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    extra_arguments: tuple[Any, ...] = (),
    extra_keywords: dict[str, Any] | None = None,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Magnitude of the gradient: a drop-in for `scipy.ndimage.generic_gradient_magnitude`.

    Parameters
    ----------
    input, output, mode, cval, axes
        As `laplace`.
    derivative : callable
        Called as ``derivative(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``.
    extra_arguments, extra_keywords
        Further arguments of `derivative`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `laplace`, and whatever `derivative` raises.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.generic_gradient_magnitude(np.eye(3), fastconv.ndimage.sobel).round(2)
    array([[2.83, 3.16, 1.41],
           [3.16, 0.  , 3.16],
           [1.41, 3.16, 2.83]])
    """
    return _generic(input, derivative, output, mode, cval, extra_arguments, extra_keywords, axes, magnitude=True)


def _difference(
    input: npt.ArrayLike, axis: Any, output: Any, mode: Any, cval: complex, smoothing: np.ndarray
) -> np.ndarray:
    array = as_input(input)
    is_complex = array.dtype.kind == "c"
    out = as_output(as_output(output, array), array, complex_output=is_complex)
    along = as_axis(axis, array.ndim)
    modes = [as_mode(m) for m in for_each(mode, array.ndim)]
    cval = as_number("cval", cval, is_complex)
    weights = [_DIFFERENCE if other == along else smoothing for other in range(array.ndim)]
    commutes = not cval or "constant" not in modes
    if array.ndim == 2 and commutes and modes[0] == modes[1] and {array.dtype.kind, out.dtype.kind} <= set("iu"):
        # Integers wrap around after each axis, or after both.
        taps = reduce(np.multiply.outer, weights)
        return store_correlation(array, taps, (0, 0), modes[0], 0.0, 0.0, out)
    order = sorted(range(array.ndim), key=lambda other: other != along)
    if commutes and array.dtype.char == out.dtype.char == "f":
        order.sort()  # passes along the rows of planes are fused with those down their columns
    return filter_axes(array, tuple([as_pass(at, weights[at], modes[at], 0) for at in order]), out, cval)


def _generic(
    input: npt.ArrayLike,
    function: Callable[..., Any],
    output: Any,
    mode: Any,
    cval: float,
    extra_arguments: tuple[Any, ...],
    extra_keywords: dict[str, Any] | None,
    axes: Any,
    magnitude: bool,
) -> np.ndarray:
    array = as_input(input)
    filtered = as_axes(axes, array.ndim)
    keywords = extra_keywords or {}

    def derivative(axis: int, mode: str, output: npt.DTypeLike | np.ndarray) -> np.ndarray:
        term: np.ndarray = function(array, axis, output, mode, cval, *extra_arguments, **keywords)
        return term

    modes = for_each(mode, len(filtered)) if filtered else []
    return _sum(array, as_output(output, array), filtered, modes, derivative, magnitude)


def _modes(mode: Any, axes: tuple[int, ...]) -> list[str]:
    """The mode along each of the axes; without axes any mode will do."""
    return [as_mode(m) for m in for_each(mode, len(axes))] if axes else []


def _gaussian_derivative(
    array: np.ndarray, order: int, sigma: Any, cval: complex, options: dict[str, Any]
) -> Callable[[int, str, Any], np.ndarray]:
    """The derivative along an axis of that `order` of `array`, smoothed."""

    def derivative(axis: int, mode: str, output: npt.DTypeLike | np.ndarray) -> np.ndarray:
        orders = spread((order,), (axis,), array.ndim, 0)
        return gaussian_filter(array, sigma, orders, output, mode, cval, **options)

    return derivative


def _sum(
    array: np.ndarray,
    out: np.ndarray,
    axes: tuple[int, ...],
    modes: Sequence[str],
    derivative: Callable[[int, str, Any], np.ndarray],
    magnitude: bool = False,
) -> np.ndarray:
    """Add up derivatives along axes, or find their magnitude, in the type of `out`, as SciPy does."""
    unrepeatable()
    if not axes:
        store(array, out)
        return out
    total = np.empty_like(out, subok=False) if np.may_share_memory(array, out) else out
    terms = zip(axes, modes, strict=True)
    derivative(*next(terms), total)
    if magnitude:
        np.multiply(total, total, total)
    for axis, mode in terms:
        term = derivative(axis, mode, out.dtype)
        np.add(total, np.multiply(term, term, term) if magnitude else term, total)
    if magnitude:
        np.sqrt(total, total, casting="unsafe")
    if total is not out:
        out[...] = total
    return out
