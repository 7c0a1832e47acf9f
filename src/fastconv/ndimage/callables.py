"""Filters by functions of the caller. SciPy runs them: calls of Python for each window leave nothing to gain."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.kernels.shield import imported
from fastconv.ndimage.arguments import as_input
from fastconv.ndimage.outputs import as_output


def generic_filter(
    input: npt.ArrayLike,
    function: Callable[..., Any],
    size: int | Sequence[int] | None = None,
    footprint: npt.ArrayLike | None = None,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    extra_arguments: tuple[Any, ...] = (),
    extra_keywords: dict[str, Any] | None = None,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Apply a function to each pixel's neighbours: a drop-in for `scipy.ndimage.generic_filter`, which it calls.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As `maximum_filter`; one mode for all axes.
    function : callable or scipy.LowLevelCallable
        Returns a number for the values of the neighbours, a float64 array of one axis.
    extra_arguments, extra_keywords
        Further arguments of `function`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `maximum_filter`, and whatever `function` raises.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.generic_filter(np.arange(5), np.ptp, size=3)
    array([1, 2, 2, 2, 1])
    """
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=2)
        size = None
    options = (mode, cval, origin, extra_arguments, extra_keywords)
    return by_scipy("generic_filter", input, (function, size, footprint), output, options, axes=axes)


def generic_filter1d(
    input: npt.ArrayLike,
    function: Callable[..., Any],
    filter_size: int,
    axis: int = -1,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
    extra_arguments: tuple[Any, ...] = (),
    extra_keywords: dict[str, Any] | None = None,
) -> np.ndarray:
    """Apply a function to each line along an axis: a drop-in for `scipy.ndimage.generic_filter1d`, which it calls.

    Parameters
    ----------
    input, axis, output, mode, cval, origin
        As `maximum_filter1d`.
    function : callable or scipy.LowLevelCallable
        Takes a line, continued by ``filter_size - 1`` samples, and the array that it stores the filtered line in.
    filter_size : int
        Samples of the window.
    extra_arguments, extra_keywords
        Further arguments of `function`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `maximum_filter1d`, and whatever `function` raises.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> def means(line, out):
    ...     out[...] = (line[:-2] + line[1:-1] + line[2:]) / 3
    >>> fastconv.ndimage.generic_filter1d(np.arange(5.0) ** 2, means, 3).round(2)
    array([ 0.33,  1.67,  4.67,  9.67, 13.67])
    """
    options = (mode, cval, origin, extra_arguments, extra_keywords)
    return by_scipy("generic_filter1d", input, (function, filter_size, axis), output, options)


def vectorized_filter(
    input: npt.ArrayLike,
    function: Callable[..., Any],
    *,
    size: int | Sequence[int] | None = None,
    footprint: npt.ArrayLike | None = None,
    output: np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex | None = None,
    origin: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
    batch_memory: int = 2**30,
) -> np.ndarray:
    """Apply a vectorised function to windows: a drop-in for `scipy.ndimage.vectorized_filter`, which it calls.

    Parameters
    ----------
    input : array_like
    function : callable
        Called as ``function(windows, axis=axes)`` and reduces those axes.
    size, footprint, origin, axes
        As `maximum_filter`.
    output : ndarray, optional
        The array to store the result in; by default it has the type of what `function` returns.
    mode : str
        How the input continues past its edges, or "valid": only windows that lie inside.
    cval : number, optional
        The value of mode "constant".
    batch_memory : int
        Bytes of windows that one call of `function` may get.

    Returns
    -------
    ndarray
        The result, as large as the input unless `mode` is "valid".

    Raises
    ------
    ValueError
        As SciPy's function, and whatever `function` raises.
    ImportError
        SciPy is older than 1.16, which introduced the function.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.vectorized_filter(np.arange(5.0), np.mean, size=3).round(2)
    array([0.33, 1.  , 2.  , 3.  , 3.67])
    """
    result: np.ndarray = _function("vectorized_filter")(
        input,
        function,
        size=size,
        footprint=footprint,
        output=output,
        mode=mode,
        cval=cval,
        origin=origin,
        axes=axes,
        batch_memory=batch_memory,
    )
    return result


@functools.cache
def _function(name: str) -> Callable[..., Any]:
    """SciPy's function: an import statement would take a microsecond of every call."""
    try:
        function: Callable[..., Any] = getattr(imported("scipy.ndimage"), name)
    except AttributeError:
        raise ImportError(f"cannot import name {name!r}: the installed version of SciPy has no such function") from None
    return function


def by_scipy(
    name: str, input: npt.ArrayLike, before: tuple[Any, ...], output: Any, after: tuple[Any, ...], **options: Any
) -> np.ndarray:
    """Call SciPy's function, whose output is apart from the input; other arguments stand before and after it."""
    function, array = _function(name), as_array("input", input)
    if array.dtype.isnative and output is None:
        result: np.ndarray = function(array, *before, None, *after, **options)
        return result
    array = as_input(array)
    out = as_output(output, array)
    real = np.dtype(np.float64) if out.dtype.kind == "c" else out.dtype
    fits = out.dtype == real and not np.may_share_memory(array, out)
    apart = out if fits else np.empty(out.shape, real)
    function(array, *before, apart, *after, **options)
    if apart is not out:
        out[...] = apart
    return out
