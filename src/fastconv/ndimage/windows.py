"""The mean, maximum or minimum of a window."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_contiguous, is_target
from fastconv.engine.boundary import folded
from fastconv.engine.conversion import scratch_like
from fastconv.engine.fills import as_fill, extremes_with_constant, native
from fastconv.engine.geometry import Window
from fastconv.engine.ranks import Ranked, run_ranked
from fastconv.engine.replay import repeatable, repeated, unrepeatable
from fastconv.engine.storing import store
from fastconv.engine.windows import run_windows
from fastconv.ndimage.arguments import (
    as_axes,
    as_axis,
    as_input,
    as_mode,
    as_number,
    as_ordered,
    as_origin,
    as_window,
    for_each,
    spread,
    spread_window,
)
from fastconv.ndimage.outputs import as_output


@repeated()
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
        Number of samples in the window.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`; `size` is below 1.

    Notes
    -----
    Each sum is added up on its own, pairwise and always in the same order: errors do not grow along a line as in
    SciPy's running sum, and the mean of a flat image is flat, up to the largest numbers. A window that reaches far past
    the image takes only the time and memory that the image takes.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    array = as_input(input)
    out = as_output(output, array, complex_output=array.dtype.kind == "c")
    window = as_window(as_axis(axis, array.ndim), size, mode, origin)
    return run_windows("mean", array, (window,), out, as_number("cval", cval, array.dtype.kind == "c"))


@repeated()
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
        As `uniform_filter1d`, one value or one per axis; a size of 1 or less leaves an axis unfiltered.

    Returns
    -------
    ndarray
        The result, as large as the input.

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
    array = as_input(input)
    out = as_output(output, array, complex_output=array.dtype.kind == "c")
    windows = _windows(size, mode, origin, as_axes(axes, array.ndim))
    return run_windows("mean", array, windows, out, as_number("cval", cval, array.dtype.kind == "c"))


@repeated()
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
        As `uniform_filter1d`; the input must not be complex.

    Returns
    -------
    ndarray
        The result, as large as the input. A NaN is the maximum of every window that contains one.

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


@repeated()
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
        The result, as large as the input.

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


@repeated()
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
        As `correlate`; the input must not be complex.
    size : int or sequence of int, optional
        Extent of a box, one value or one per axis.
    footprint : array_like of bool, optional
        The neighbours that count, instead of a box.
    mode, origin
        As `correlate`; for a box also one per axis.

    Returns
    -------
    ndarray
        The result, as large as the input. A NaN is the maximum of every window that contains one.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`; neither `size` nor `footprint` is given, the footprint is empty, or the input is complex.

    References
    ----------
    van Herk, A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels, 1992: boxes
    are separable. kernels/simd/windows.h describes the algorithm along one axis.

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


@repeated()
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
        The result, as large as the input.

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


def _windows(size: Any, mode: Any, origin: Any, axes: tuple[int, ...]) -> tuple[Window, ...]:
    """The axes along which a box is more than one sample long."""
    each = zip(axes, *(for_each(value, len(axes)) for value in (size, mode, origin)), strict=True)
    return tuple([as_window(axis, int(s), m, o) for axis, s, m, o in each if s > 1])


def _extreme1d(
    fold: str, input: npt.ArrayLike, size: int, axis: int, output: Any, mode: str, cval: float, origin: int
) -> np.ndarray:
    array = as_ordered(input)
    window = as_window(as_axis(axis, array.ndim), size, mode, origin)
    return run_windows(fold, array, (window,), as_output(output, array), as_number("cval", cval))


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
        unrepeatable()
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=4)
    if footprint is not None:
        footprint = np.asarray(footprint, dtype=bool)
        if not footprint.any():
            raise ValueError(f"footprint of shape {footprint.shape}: All-zero footprint is not supported.")
        if footprint.all():
            size, footprint = footprint.shape, None
    elif size is None:
        raise RuntimeError("no footprint provided: expected size or footprint")
    array = as_ordered(input)
    out = as_output(output, array)
    cval = as_number("cval", cval)
    filtered = as_axes(axes, array.ndim)
    if footprint is None:
        return run_windows(fold, array, _windows(size, mode, origin, filtered), out, cval)
    footprint = spread_window(footprint, filtered, array.ndim, "footprint")
    origins = spread(for_each(origin, len(filtered)), filtered, array.ndim, 0)
    origins = [as_origin(o, k, "invalid origin") for o, k in zip(origins, footprint.shape, strict=True)]
    continuation = as_mode(mode)
    if array.size:
        _store_extremes(fold, array, footprint, origins, continuation, cval, out)
    return repeatable(out)


def _store_extremes(
    fold: str,
    array: np.ndarray,
    footprint: np.ndarray,
    origins: list[int],
    continuation: str,
    cval: float,
    out: np.ndarray,
) -> None:
    """Store the extremes of a footprint."""
    begins = [k // 2 + o for k, o in zip(footprint.shape, origins, strict=True)]
    for axis, extent in enumerate(array.shape):
        footprint, begins[axis] = folded(footprint, begins[axis], extent, continuation, axis, np.logical_or)
    window = Ranked(0, footprint.shape, tuple(begins), (continuation,) * array.ndim, footprint.tobytes())
    highest = int(footprint.sum()) - 1

    def extremes(fold: str, array: np.ndarray, fill: np.ndarray) -> np.ndarray:
        operand = native(array)
        fits = out.dtype.char == array.dtype.char and is_target(out, array)
        result = out.view(operand.dtype) if fits else scratch_like(array, operand.dtype)
        run_ranked(window._replace(rank=highest if fold == "maximum" else 0), as_contiguous(operand), fill, result)
        return result

    ignored = continuation != "constant"
    fill = as_fill(0 if ignored else cval, array.dtype, exactly=array.dtype.char != out.dtype.char)
    if fill is None:
        extremes_with_constant(fold, extremes, array, cval, out)
    else:
        values = extremes(fold, array, fill)
        if not np.may_share_memory(values, out):
            store(values, out)
