"""Filters of images with the names, argument order and meaning of ``scipy.ndimage``.

Every filter keeps the extents of its input, and continues it past its edges by a mode:

============================== ===================== ============================
mode                           continued             also called
============================== ===================== ============================
"reflect"                      c b a | a b c d | d c "grid-mirror"
"mirror"                       d c b | a b c d | c b
"nearest"                      a a a | a b c d | d d
"wrap"                         b c d | a b c d | a b "grid-wrap"
"constant"                     k k k | a b c d | k k "grid-constant"; k is `cval`
============================== ===================== ============================

Linear filters compute float32 in float32 (SciPy: in float64) and everything else in float64; integers under integer
weights are exact. Along several axes filters run one after another and store between them in the type of the output, as
SciPy's do; where that rounds nothing, pairs of axes are fused.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from math import prod
from numbers import Integral
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import threads
from fastconv.arrays import as_array, as_operand
from fastconv.continuation import source_indices
from fastconv.correlation import correlate as correlate_operands
from fastconv.correlation import pad, run_taps

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "uniform_filter",
    "uniform_filter1d",
]

# SciPy's modes, and what continuation.py calls them.
_MODES = {
    "reflect": "reflect",
    "grid-mirror": "reflect",
    "mirror": "mirror",
    "nearest": "nearest",
    "wrap": "wrap",
    "grid-wrap": "wrap",
    "constant": "constant",
    "grid-constant": "constant",
}

_TYPES = "?bBhHiIlLqQfdFD"

# Planes of an image that are filtered one by one are at least so large.
_LARGE_PLANE = 4096

# Bytes of the lines that running windows hold at a time.
_WINDOW_BYTES = 16 << 10

# Work below this many steps stays on the calling thread.
_STEPS_A_THREAD = 1 << 18

# One axis that is correlated: (axis, weights, mode, origin).
_Pass = tuple[int, np.ndarray, str, int]


def correlate(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
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

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError
        Axes, types, the mode or the output do not fit, as in SciPy.
    ValueError
        `origin` lies outside the weights, or `axes` are repeated or out of range.
    TypeError
        An input is a masked array.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.correlate(np.arange(5), [1, 0, -1])
    array([-1, -2, -2, -2, -1])
    """
    return _correlate(input, weights, output, mode, cval, origin, axes, convolution=False)


def convolve(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Convolve an array with weights: a drop-in for `scipy.ndimage.convolve`.

    ``out[r, ...] = sum_{i, ...} weights[i, ...] * input[r - i + K // 2 - origin, ...]``

    Parameters
    ----------
    input, weights, output, mode, cval, origin, axes
        As `correlate`; complex weights stay as they are.

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
    return _correlate(input, weights, output, mode, cval, origin, axes, convolution=True)


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
    array, taps = _as_input(input), as_array("weights", weights)
    if array.dtype.kind == "c" or taps.dtype.kind == "c":
        out = _as_output(output, array, complex_output=True)
        taps = taps.conj()
        return _by_parts(array, taps, out, cval, lambda x, w, c: correlate1d(x, w, axis, np.float64, mode, c, origin))
    out = _as_output(output, array)
    if taps.ndim != 1 or not taps.size:
        raise RuntimeError(f"weights of shape {taps.shape}: no filter weights given, expected one axis of at least one")
    return _filter_axes(array, [(_as_axis(axis, array.ndim), taps, mode, origin)], out, cval)


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


def gaussian_filter1d(
    input: npt.ArrayLike,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> np.ndarray:
    """Gaussian filter along one axis: a drop-in for `scipy.ndimage.gaussian_filter1d`.

    Parameters
    ----------
    input, axis, output, mode, cval
        As `correlate1d`.
    sigma : float
        Standard deviation of the Gaussian, in samples.
    order : int
        Of the derivative that is taken of the Gaussian.
    truncate : float
        The filter reaches so many standard deviations to both sides.
    radius : int, optional
        The filter reaches so many samples to both sides, whatever `truncate` says.

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`; `radius` is no integer of at least 0, or `order` is negative.

    References
    ----------
    Haddad and Akansu, A class of fast Gaussian binomial filters for speech and image processing, 1991.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(4)
    array([1.427 , 2.0678, 3.    , 3.9322, 4.573 ])
    """
    return correlate1d(input, _gaussian(float(sigma), order, truncate, radius), axis, output, mode, cval, 0)


def gaussian_filter(
    input: npt.ArrayLike,
    sigma: float | Sequence[float],
    order: int | Sequence[int] = 0,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Gaussian filter along several axes: a drop-in for `scipy.ndimage.gaussian_filter`.

    Parameters
    ----------
    input, output, cval, axes
        As `correlate`.
    sigma, order, mode, truncate, radius
        As `gaussian_filter1d`, all but `truncate` for one axis or each.

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `gaussian_filter1d`.

    References
    ----------
    Haddad and Akansu, A class of fast Gaussian binomial filters for speech and image processing, 1991.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.gaussian_filter(np.arange(12.0).reshape(3, 4), sigma=1).round(2)
    array([[2.12, 2.75, 3.63, 4.26],
           [4.43, 5.06, 5.94, 6.57],
           [6.74, 7.37, 8.25, 8.88]])
    """
    array = _as_input(input)
    out = _as_output(output, array, complex_output=array.dtype.kind == "c")
    filtered = _as_axes(axes, array.ndim)
    each = zip(
        filtered,
        *(_each(value, len(filtered)) for value in (sigma, order, mode, radius)),
        strict=True,
    )
    passes = [(axis, _gaussian(float(s), o, truncate, r), m, 0) for axis, s, o, m, r in each if s > 1e-15]
    return _filter_axes(array, passes, out, cval)


def uniform_filter1d(
    input: npt.ArrayLike,
    size: int,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Mean of neighbours along one axis: a drop-in for `scipy.ndimage.uniform_filter1d`.

    Parameters
    ----------
    input, axis, output, mode, cval, origin
        As `correlate1d`.
    size : int
        How many samples a mean is taken of.

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`; `size` is below 1.

    Notes
    -----
    Each sum is added up in pairs, so that errors do not grow along a line as in SciPy's running sum.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    array = _as_input(input)
    out = _as_output(output, array, complex_output=array.dtype.kind == "c")
    return _run_windows("mean", array, [(_as_axis(axis, array.ndim), size, mode, origin)], out, cval)


def uniform_filter(
    input: npt.ArrayLike,
    size: int | Sequence[int] = 3,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Mean of a box of neighbours: a drop-in for `scipy.ndimage.uniform_filter`.

    Parameters
    ----------
    input, output, cval, axes
        As `correlate`.
    size, mode, origin
        As `uniform_filter1d`, for one axis or each; along axes of size 1 or less nothing happens.

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.uniform_filter(np.arange(9.0).reshape(3, 3))
    array([[1.33333333, 2.        , 2.66666667],
           [3.33333333, 4.        , 4.66666667],
           [5.33333333, 6.        , 6.66666667]])
    """
    array = _as_input(input)
    out = _as_output(output, array, complex_output=array.dtype.kind == "c")
    return _run_windows("mean", array, _windows(size, mode, origin, _as_axes(axes, array.ndim)), out, cval)


def maximum_filter1d(
    input: npt.ArrayLike,
    size: int,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Maximum of neighbours along one axis: a drop-in for `scipy.ndimage.maximum_filter1d`.

    Parameters
    ----------
    input, size, axis, output, mode, cval, origin
        As `uniform_filter1d`; complex numbers have no order.

    Returns
    -------
    ndarray
        Of the extents of the input. A NaN is the maximum of every window that holds one.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `uniform_filter1d`; the input is complex.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.maximum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8, 8, 8, 4, 9, 9, 9, 9])
    """
    return _extreme1d("maximum", input, size, axis, output, mode, cval, origin)


def minimum_filter1d(
    input: npt.ArrayLike,
    size: int,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Minimum of neighbours along one axis: a drop-in for `scipy.ndimage.minimum_filter1d`.

    Parameters
    ----------
    input, size, axis, output, mode, cval, origin
        As `maximum_filter1d`.

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `maximum_filter1d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.minimum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2, 0, 0, 0, 1, 1, 0, 0])
    """
    return _extreme1d("minimum", input, size, axis, output, mode, cval, origin)


def maximum_filter(
    input: npt.ArrayLike,
    size: int | Sequence[int] | None = None,
    footprint: npt.ArrayLike | None = None,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Maximum of neighbours: a drop-in for `scipy.ndimage.maximum_filter`.

    Parameters
    ----------
    input, output, cval, axes
        As `correlate`; complex numbers have no order.
    size : int or sequence of int, optional
        The extents of a box, for one axis or each.
    footprint : array_like of bool, optional
        Which neighbours count, in the place of a box.
    mode, origin
        As `correlate`; for a box also one for each axis.

    Returns
    -------
    ndarray
        Of the extents of the input. A NaN is the maximum of every window that holds one.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`; neither `size` nor `footprint` is given, the footprint is empty, or the input is complex.

    References
    ----------
    van Herk, A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels, 1992: boxes
    are separable. What is done along an axis is described in kernels/windows.py.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.maximum_filter(np.eye(4, dtype=int), footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    return _extreme("maximum", input, size, footprint, output, mode, cval, origin, axes)


def minimum_filter(
    input: npt.ArrayLike,
    size: int | Sequence[int] | None = None,
    footprint: npt.ArrayLike | None = None,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Minimum of neighbours: a drop-in for `scipy.ndimage.minimum_filter`.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As `maximum_filter`.

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `maximum_filter`.

    References
    ----------
    As `maximum_filter`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.minimum_filter([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2, 0, 0, 0, 1, 1, 0, 0])
    """
    return _extreme("minimum", input, size, footprint, output, mode, cval, origin, axes)


# Arguments, as scipy.ndimage takes them.


def _as_input(input: npt.ArrayLike) -> np.ndarray:
    array = as_array("input", input)
    if array.dtype.char not in _TYPES:
        raise RuntimeError(f"input of {array.dtype}: array type not supported; convert with astype")
    return array


def _as_output(output: Any, input: np.ndarray, complex_output: bool = False) -> np.ndarray:
    """The array that a result is put into: that of the caller, or a new one of the type that he names."""
    if output is None:
        dtype = np.promote_types(input.dtype, np.complex64) if complex_output else np.dtype(input.dtype.char)
    elif isinstance(output, (type, np.dtype, str)):
        dtype = np.dtype(output)
        if isinstance(output, str) and dtype.kind not in "iufc":
            raise RuntimeError(f"output={output!r}: output must have numeric dtype")
        if complex_output and dtype.kind != "c":
            if isinstance(output, str):
                raise RuntimeError(f"output={output!r}: output must have complex dtype")
            warnings.warn("promoting specified output dtype to complex", stacklevel=3)
            dtype = np.promote_types(dtype, np.complex64)
    else:
        output = np.asarray(output)
        if output.shape != input.shape:
            raise RuntimeError(f"output of shape {output.shape}: output shape not correct, expected {input.shape}")
        if complex_output and output.dtype.kind != "c":
            raise RuntimeError(f"output of {output.dtype}: output must have complex dtype")
        dtype = output.dtype
    if dtype.char not in _TYPES:
        raise RuntimeError(f"output of {dtype}: array type not supported")
    return output if isinstance(output, np.ndarray) else np.empty(input.shape, dtype)


def _as_axis(axis: int, ndim: int, error: type[ValueError] = np.exceptions.AxisError) -> int:
    axis = index(axis)
    if not -ndim <= axis < ndim:
        raise error(f"axis={axis}: specified axis: {axis} is out of range for {ndim} axes")
    return axis % ndim


def _as_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    if not np.isscalar(axes) and not isinstance(axes, Iterable):
        raise ValueError(f"axes={axes!r}: axes must be an integer, iterable of integers, or None")
    chosen = tuple(_as_axis(axis, ndim, ValueError) for axis in ([axes] if np.isscalar(axes) else axes))
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"axes={axes!r}: axes must be unique")
    return chosen


def _each(value: Any, count: int) -> list[Any]:
    """One value for each of `count` axes."""
    if isinstance(value, str) or not np.iterable(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise RuntimeError(f"{value!r}: sequence argument must have length equal to input rank, {count}")
    return values


def _as_mode(mode: Any) -> str:
    if not isinstance(mode, str):
        raise RuntimeError(f"mode={mode!r}: A sequence of modes is not supported, expected a string")
    if mode not in _MODES:
        raise RuntimeError(f"mode={mode!r}: boundary mode not supported, expected one of {', '.join(_MODES)}")
    return _MODES[mode]


def _check_origin(origin: int, size: int, fault: str) -> None:
    if not 0 <= size // 2 + origin < size:
        raise ValueError(f"origin={origin}: {fault} for {size} samples")


def _spread(values: Sequence[Any], axes: tuple[int, ...], ndim: int, rest: Any) -> list[Any]:
    """Values of the filtered `axes` at their places among all axes, `rest` at the others."""
    spread = [rest] * ndim
    for axis, value in zip(axes, values, strict=True):
        spread[axis] = value
    return spread


def _spread_window(window: np.ndarray, axes: tuple[int, ...], ndim: int, name: str) -> np.ndarray:
    """A window over the filtered axes, as one over all."""
    if window.ndim != len(axes):
        raise RuntimeError(f"{name}.ndim ({window.ndim}) must match len(axes) ({len(axes)})")
    # SciPy does not sort the axes: the k-th of the window is the k-th that is filtered, in ascending order.
    return np.expand_dims(window, tuple(axis for axis in range(ndim) if axis not in axes))


@functools.lru_cache(maxsize=256)
def _gaussian(sigma: float, order: int, truncate: float, radius: int | None) -> np.ndarray:
    """Samples of a Gaussian of unit sum, or of its derivative (a Hermite polynomial times the Gaussian), flipped."""
    radius = int(truncate * sigma + 0.5) if radius is None else radius
    if not isinstance(radius, Integral) or radius < 0:
        raise ValueError(f"radius={radius!r}: Radius must be a nonnegative integer.")
    if order < 0:
        raise ValueError(f"order={order}: order must be non-negative")
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * x**2)
    weights /= weights.sum()
    polynomial = np.polynomial.Polynomial([1.0])
    for _ in range(order):  # (p g)' = (p' - x p / sigma²) g
        polynomial = polynomial.deriv() - polynomial * np.polynomial.Polynomial([0.0, 1 / (sigma * sigma)])
    weights = (polynomial(x) * weights)[::-1]
    weights.flags.writeable = False  # it is remembered
    return weights


# How filters run.


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


def _working_type(array: np.ndarray, out: np.ndarray) -> np.dtype:
    """float32 for filters that begin and end there."""
    return np.dtype(np.float32 if array.dtype.char == out.dtype.char == "f" else np.float64)


def _store(values: np.ndarray, out: np.ndarray) -> None:
    """Cast as C does: towards zero, and unsigned types and bool through int64."""
    if values is out:
        return
    with np.errstate(invalid="ignore", over="ignore"):
        if out.dtype.kind in "bu" and values.dtype.kind == "f" and out.itemsize < 8:
            values = values.astype(np.int64).astype(f"u{out.itemsize}")
        np.copyto(out, values, casting="unsafe")


def _correlate(
    input: npt.ArrayLike, weights: npt.ArrayLike, output: Any, mode: str, cval: complex, origin: Any, axes: Any,
    convolution: bool,
) -> np.ndarray:  # fmt: skip
    array, taps = _as_input(input), as_array("weights", weights)
    if array.dtype.kind == "c" or taps.dtype.kind == "c":
        out = _as_output(output, array, complex_output=True)
        taps = taps if convolution else taps.conj()

        def part(x: np.ndarray, w: np.ndarray, c: float) -> np.ndarray:
            return _correlate(x, w, np.float64, mode, c, origin, axes, convolution)

        return _by_parts(array, taps, out, cval, part)
    filtered = _as_axes(axes, array.ndim)
    taps = _spread_window(taps, filtered, array.ndim, "weights")
    origins = _spread(_each(origin, len(filtered)), filtered, array.ndim, 0)
    if not taps.size:
        raise RuntimeError(f"weights of shape {taps.shape}: weights.ndim (0) must match len(axes) ({len(filtered)})")
    if convolution:
        taps = taps[(slice(None, None, -1),) * taps.ndim]
        origins = [-o - (k % 2 == 0) for o, k in zip(origins, taps.shape, strict=True)]
    for o, k in zip(origins, taps.shape, strict=True):
        _check_origin(o, k, "Invalid origin; origin must satisfy -(weights.shape[k] // 2) <= origin[k] <= "
                            "(weights.shape[k]-1) // 2")  # fmt: skip
    out = _as_output(output, array)
    continuation = _as_mode(mode)
    begins = [k // 2 + o for k, o in zip(taps.shape, origins, strict=True)]
    padding = tuple((b, k - 1 - b) for b, k in zip(begins, taps.shape, strict=True))
    if array.ndim == 0:
        _store(np.asarray(array * taps.astype(np.float64)), out)
    elif array.size:
        _store(_correlate_planes(array, taps, padding, _working_type(array, out), continuation, cval), out)
    return out


def _correlate_planes(
    array: np.ndarray, taps: np.ndarray, padding: Any, dtype: np.dtype, continuation: str, cval: float
) -> np.ndarray:
    """Correlate; plane by plane, if the taps extend along two axes of many."""
    array = array.view(np.uint8) if array.dtype.kind == "b" else array
    tolerance = None if array.dtype.kind == "f" else 0.0
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


def _filter_axes(array: np.ndarray, passes: list[_Pass], out: np.ndarray, cval: complex) -> np.ndarray:
    """Correlate along one axis after another, storing between them in the type of `out`."""
    for _, weights, _, origin in passes:
        _check_origin(origin, len(weights), "Invalid origin; origin must satisfy -(len(weights) // 2) <= origin <= "
                                            "(len(weights)-1) // 2")  # fmt: skip
    passes = [(axis, weights, _as_mode(mode), origin) for axis, weights, mode, origin in passes]
    if out.dtype.kind == "c":
        for part in ("real", "imag"):
            # A part of a complex array is a view of every other number.
            getattr(out, part)[...] = _filter_axes(
                getattr(array, part),
                passes,
                np.empty(out.shape, out.real.dtype),
                getattr(np.asarray(cval), part).item(),
            )
        return out
    if not array.size or not passes:
        _store(array, out)
        return out
    dtype = _working_type(array, out)
    rounds = out.dtype != dtype
    # Fused passes run along the rows first. float64 keeps the order, and with it the bits, of the filters of one axis;
    # and where every sum counts the constant past the edges, the order decides what that is.
    fusing = dtype == np.float32 and (cval == 0 or all(mode != "constant" for _, _, mode, _ in passes))
    source = array
    while passes:
        group, passes = passes[:1], passes[1:]
        if fusing and passes and [group[0][0], passes[0][0]] == [array.ndim - 2, array.ndim - 1]:
            group, passes = [*group, passes[0]], passes[1:]
        straight = not passes and not rounds and out.flags.c_contiguous and not np.may_share_memory(out, source)
        target = out if straight else np.empty(out.shape, dtype)
        _correlate_axes(as_operand(source, dtype), group, target, cval)
        source = target
        if rounds:
            _store(target, out)
            source = out
    _store(source, out)
    return out


def _correlate_axes(x: np.ndarray, group: list[_Pass], out: np.ndarray, cval: float) -> None:
    """Correlate along one axis, or the last two, as planes of separable filters."""
    from fastconv.strategies.separable import correlate_factors, outer_factors

    ones = np.ones(1)
    axis, weights, mode, origin = group[0]
    before, n, after = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    if len(group) == 2:
        shape, (columns, rows), origins, modes = (
            (before, 1, n, after),
            (weights, group[1][1]),
            (origin, group[1][3]),
            (mode, group[1][2]),
        )
    elif after == 1:
        shape, (columns, rows), origins, modes = (1, 1, before, n), (ones, weights), (0, origin), (mode, mode)
    else:
        shape, (columns, rows), origins, modes = (before, 1, n, after), (weights, ones), (origin, 0), (mode, mode)
    columns, rows = (_rounded(taps, x.dtype) for taps in (columns, rows))
    correlate_factors(
        x.reshape(shape),
        outer_factors(columns, rows),
        out.reshape(shape),
        tuple((len(taps) // 2 + o, 0) for taps, o in zip((columns, rows), origins, strict=True)),
        _threads(out.size * (len(columns) + len(rows))),
        continuation=modes,
        fill=float(cval),
    )


def _rounded(weights: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`weights` in `dtype`, with the sum that they had: what rounding takes from one size of weights the next get.

    Otherwise a filter in float32 would make images brighter or darker by some 1e-8. Equal sizes stay equal.
    """
    if dtype == np.float64:
        return np.ascontiguousarray(weights, dtype)
    return _rounded_taps(weights.astype(np.float64).tobytes())


@functools.lru_cache(maxsize=256)
def _rounded_taps(taps: bytes) -> np.ndarray:
    weights = np.frombuffer(taps)
    if not np.isfinite(weights).all():
        return weights.astype(np.float32)
    sizes, of = np.unique(np.abs(weights), return_inverse=True)
    signs = np.sign(weights)
    net = np.bincount(of, signs)
    rounded, carry = np.empty(len(sizes), np.float32), 0.0
    for at in reversed(range(len(sizes))):
        rounded[at] = sizes[at] + (carry / net[at] if net[at] else 0.0)
        carry += net[at] * (sizes[at] - float(rounded[at]))
    return (rounded[of] * signs).astype(np.float32)


def _threads(steps: int) -> int:
    return max(1, min(threads.get_num_threads(), steps // _STEPS_A_THREAD))


def _windows(size: Any, mode: Any, origin: Any, axes: tuple[int, ...]) -> list[tuple[int, int, str, int]]:
    """The axes along which a box is more than one sample long."""
    each = zip(axes, *(_each(value, len(axes)) for value in (size, mode, origin)), strict=True)
    return [(axis, int(s), m, o) for axis, s, m, o in each if s > 1]


def _extreme1d(
    fold: str, input: npt.ArrayLike, size: int, axis: int, output: Any, mode: str, cval: float, origin: int
) -> np.ndarray:
    array = _as_ordered(input)
    return _run_windows(
        fold, array, [(_as_axis(axis, array.ndim), size, mode, origin)], _as_output(output, array), cval
    )


def _as_ordered(input: npt.ArrayLike) -> np.ndarray:
    array = _as_input(input)
    if array.dtype.kind == "c":
        raise TypeError(f"input of {array.dtype}: Complex type not supported, complex numbers have no order")
    return array


def _extreme(
    fold: str,
    input: npt.ArrayLike,
    size: Any,
    footprint: Any,
    output: Any,
    mode: Any,
    cval: float,
    origin: Any,
    axes: Any,
) -> np.ndarray:
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=3)
    if footprint is not None:
        footprint = np.asarray(footprint, dtype=bool)
        if not footprint.any():
            raise ValueError(f"footprint of shape {footprint.shape}: All-zero footprint is not supported.")
        if footprint.all():
            size, footprint = footprint.shape, None
    elif size is None:
        raise RuntimeError("no footprint provided: expected size or footprint")
    array = _as_ordered(input)
    out = _as_output(output, array)
    filtered = _as_axes(axes, array.ndim)
    if footprint is None:
        return _run_windows(fold, array, _windows(size, mode, origin, filtered), out, cval)
    footprint = _spread_window(footprint, filtered, array.ndim, "footprint")
    origins = _spread(_each(origin, len(filtered)), filtered, array.ndim, 0)
    for o, k in zip(origins, footprint.shape, strict=True):
        _check_origin(o, k, "invalid origin")
    continuation = _as_mode(mode)
    if array.size:
        _store(_extreme_of_footprint(fold, array, footprint, origins, continuation, cval), out)
    return out


def _extreme_of_footprint(
    fold: str, array: np.ndarray, footprint: np.ndarray, origins: list[int], continuation: str, cval: float
) -> np.ndarray:
    from fastconv.kernels.taps import extreme_kernel

    array, fill = _native(array, cval, fold)
    begins = [k // 2 + o for k, o in zip(footprint.shape, origins, strict=True)]
    padding = tuple((b, k - 1 - b) for b, k in zip(begins, footprint.shape, strict=True))
    padded = pad(array, padding, continuation, fill)
    result = np.empty(array.shape, array.dtype)
    run_taps(extreme_kernel(array.dtype, fold == "maximum"), padded, np.argwhere(footprint), result, result)
    return result


def _native(array: np.ndarray, cval: float, fold: str) -> tuple[np.ndarray, Any]:
    """Values that kernels order (bool as bytes), and `cval` in their type.

    A constant that never wins stays one; others are cast as C does.
    """
    array = array.view(np.uint8) if array.dtype.kind == "b" else as_operand(array, np.dtype(array.dtype.char))
    value = np.float64(cval)
    with np.errstate(invalid="ignore", over="ignore"):
        if array.dtype.kind == "f":
            return array, value.astype(array.dtype)
        limits = np.iinfo(array.dtype)
        if fold == "maximum" and value < limits.min:
            return array, limits.min
        if fold == "minimum" and value > limits.max:
            return array, limits.max
        return array, value.astype(np.int64 if abs(value) < 2.0**63 else array.dtype).astype(array.dtype)


def _run_windows(
    fold: str, array: np.ndarray, windows: list[tuple[int, int, str, int]], out: np.ndarray, cval: complex
) -> np.ndarray:
    """Running windows along one axis after another, storing between them in the type of `out`."""
    for _, size, _, origin in windows:
        if size < 1:
            raise RuntimeError(f"size={size}: incorrect filter size, expected at least 1")
        _check_origin(origin, size, "invalid origin")
    windows = [(axis, size, _as_mode(mode), origin) for axis, size, mode, origin in windows]
    if out.dtype.kind == "c":
        for part in ("real", "imag"):
            getattr(out, part)[...] = _run_windows(
                fold,
                getattr(array, part),
                windows,
                np.empty(out.shape, out.real.dtype),
                getattr(np.asarray(cval), part).item(),
            )
        return out
    if not array.size or not windows:
        _store(array, out)
        return out
    source = array
    for axis, size, mode, origin in windows:
        if fold == "mean":
            operand, fill = as_operand(source, _working_type(source, out)), cval
        else:
            operand, fill = _native(source, cval, fold)
        result = np.empty(out.shape, operand.dtype)
        _run_window(fold, operand, axis, size, mode, origin, fill, result)
        _store(result if operand.dtype.kind != "u" or source.dtype.kind != "b" else result.view(bool), out)
        source = out
    return out


def _run_window(
    fold: str, x: np.ndarray, axis: int, size: int, mode: str, origin: int, fill: Any, out: np.ndarray
) -> None:
    from fastconv.kernels.windows import window_kernel

    outer, n, inner = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    x = x.reshape(outer, n, inner)
    begin = size // 2 + origin
    columns = min(inner, 64)
    segment = min(n, max(2 * size, _WINDOW_BYTES // (columns * x.itemsize)))
    segments, across = -(-n // segment), -(-inner // columns)
    workers = _threads(x.size * size.bit_length())
    scratch = (2 * segment + size) * columns
    threads.run_tiles(
        window_kernel(x.dtype, fold).address,
        (
            x,
            out,
            threads.aligned_empty(workers * scratch, x.dtype),
            source_indices(-begin, n + size - 1 - begin, n, mode),
            np.array([fill], x.dtype),
        ),
        (
            *(n, inner, size),
            *(stride // x.itemsize for stride in x.strides),
            *(segment, segments, columns, across, begin, begin + n, scratch),
        ),
        (),
        outer * segments * across,
        workers,
    )
