"""Filters by the order or by the statistics of neighbours: ``medfilt``, ``medfilt2d``, ``order_filter``, ``wiener``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.engine.geometry import Window
from fastconv.engine.ranks import Ranked, store_ranked
from fastconv.engine.replay import repeated, unrepeatable
from fastconv.engine.windows import run_windows

_TYPES = "bBhHiIlLqQfd"

# What a part of an array takes that is filtered together.
_PART_BYTES = 1 << 17


@repeated()
def medfilt(volume: npt.ArrayLike, kernel_size: int | Sequence[int] | None = None) -> np.ndarray:
    """Median of neighbours, with zeros past the edges: a drop-in for `scipy.signal.medfilt`.

    Parameters
    ----------
    volume : array_like
        Integers, float32 or float64, with any number of axes.
    kernel_size : int or sequence of int, optional
        Odd extents of the window, one value or one per axis; by default 3.

    Returns
    -------
    ndarray
        The medians, in the shape and type of the input.

    Raises
    ------
    ValueError
        The type is another one, or an extent is even.

    References
    ----------
    As `fastconv.ndimage.median_filter`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.medfilt([2.0, 8.0, 0.0, 4.0, 1.0])
    array([2., 2., 4., 1., 1.])
    """
    array = np.atleast_1d(_checked("medfilt", "volume", volume))
    sizes = _odd_sizes(kernel_size, array.ndim)
    if any(k > n for k, n in zip(sizes, array.shape, strict=True)):
        unrepeatable()
        warnings.warn("kernel_size exceeds volume extent: the volume will be zero-padded.", stacklevel=3)
    return _ranked(array, prod(sizes) // 2, sizes)


@repeated()
def medfilt2d(input: npt.ArrayLike, kernel_size: int | Sequence[int] = 3) -> np.ndarray:
    """Median of an image's neighbours, with zeros past the edges: a drop-in for `scipy.signal.medfilt2d`.

    Parameters
    ----------
    input : array_like, shape (H, W)
        Integers, float32 or float64.
    kernel_size : int or sequence of int
        Odd extents of the window, one value or one per axis.

    Returns
    -------
    ndarray, shape (H, W)
        The medians, in the type of the input.

    Raises
    ------
    ValueError
        As `medfilt`; the input is not an image.

    References
    ----------
    As `fastconv.ndimage.median_filter`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.medfilt2d(np.arange(12.0).reshape(3, 4))
    array([[0., 1., 2., 0.],
           [1., 5., 6., 3.],
           [0., 5., 6., 0.]])
    """
    array = _checked("medfilt2d", "input", input)
    if array.ndim != 2:
        raise ValueError(f"input of shape {array.shape}: expected 2 axes")
    sizes = _odd_sizes(kernel_size, 2)
    return _ranked(array, prod(sizes) // 2, sizes)


def order_filter(a: npt.ArrayLike, domain: npt.ArrayLike, rank: int) -> np.ndarray:
    """Neighbour of a rank, with zeros past the edges: a drop-in for `scipy.signal.order_filter`.

    Parameters
    ----------
    a : array_like
        Integers, float32 or float64.
    domain : array_like
        The neighbours that count are those that are not zero; each extent is odd.
    rank : int
        How many neighbours are lower; negative ranks count from the highest, which is -1.

    Returns
    -------
    ndarray
        The neighbours, in the shape and type of the input.

    Raises
    ------
    ValueError
        The type is another one, or an extent of the domain is even.
    RuntimeError
        There are not so many neighbours, or the domain has another number of axes.

    References
    ----------
    As `fastconv.ndimage.median_filter`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.order_filter([2, 8, 0, 4, 1], [1, 0, 1], 1)
    array([8, 2, 8, 1, 4])
    """
    counts = as_array("domain", domain)
    _require_odd("domain", counts.shape)
    array, counts = _checked("order_filter", "a", a), counts.astype(bool)
    if counts.ndim != array.ndim:
        raise RuntimeError(f"domain of shape {counts.shape}: expected {array.ndim} axes")
    count, number = int(counts.sum()), index(rank)
    number += count if number < 0 else 0
    if not 0 <= number < count:
        raise RuntimeError(f"rank={rank}: rank not within filter footprint size, {count}")
    return _ranked(array, number, counts.shape, None if counts.all() else counts.tobytes())


def wiener(im: npt.ArrayLike, mysize: int | Sequence[int] | None = None, noise: float | None = None) -> np.ndarray:
    """Wiener filter: a drop-in for `scipy.signal.wiener`.

    Parameters
    ----------
    im : array_like
        Any number of axes.
    mysize : int or sequence of int, optional
        Extents of the window, one value or one per axis; by default 3.
    noise : float, optional
        The power of the noise; by default the mean of the local variances.

    Returns
    -------
    ndarray
        The filtered array, in float64.

    Raises
    ------
    ValueError
        There are other than one extent per axis, or one is below 1.

    Notes
    -----
    Local means and mean squares are componentwise accurate: each errs by a few roundings of the mean magnitude in its
    own window. The input is squared in its own type, as by SciPy.

    References
    ----------
    Lim, Two-dimensional signal and image processing, 1990.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.wiener([2.0, 8.0, 0.0, 4.0, 1.0]).round(2)
    array([2.91, 4.81, 2.97, 1.67, 1.67])
    """
    array = as_array("im", im)
    sizes = _sizes("mysize", mysize, array.ndim)
    if min(sizes, default=1) < 1:
        raise ValueError(f"mysize={mysize!r}: expected extents of at least 1")
    windows = tuple([Window(axis, k, "constant", k // 2) for axis, k in enumerate(sizes)])

    def local_mean(values: np.ndarray) -> np.ndarray:
        values = values.astype(np.promote_types(values.dtype, np.float64), copy=False)
        return run_windows("mean", values, windows, np.empty_like(values, order="C"), 0.0)

    mean, variance = local_mean(array), local_mean(array**2)
    # Parts fit a cache, from one step to the next. The parts of a contiguous array are some of its leading indices.
    parts = [(...,)] if array.nbytes <= _PART_BYTES else _parts(mean)
    for at in parts:
        variance[at] -= mean[at] ** 2
    power = variance.mean() if noise is None else noise
    filtered = np.empty_like(mean)
    for at in parts:
        center, spread = mean[at], variance[at]
        result = np.subtract(array[at], center, out=filtered[at])
        result *= 1 - power / spread
        result += center
        np.copyto(result, center, where=spread < power)
    return filtered


def _parts(array: np.ndarray) -> list[tuple[slice]]:
    """Indices of parts along the first axis."""
    step = max(1, _PART_BYTES * len(array) // array.nbytes)
    return [(slice(begin, begin + step),) for begin in range(0, len(array), step)]


def _checked(function: str, name: str, value: npt.ArrayLike) -> np.ndarray:
    array = as_array(name, value)
    if array.dtype.char not in _TYPES:
        raise ValueError(f"{name}: dtype={array.dtype} is not supported by {function}, expected integers or floats")
    return array


def _sizes(name: str, value: Any, ndim: int) -> tuple[int, ...]:
    """The extents of a window, 3 by default."""
    if value is None:
        return (3,) * ndim
    given = np.asarray(value)
    if given.dtype.kind not in "iu" or given.ndim > 1 or (given.ndim == 1 and len(given) != ndim):
        raise ValueError(f"{name}={value!r}: expected an integer, or one per axis, of which there are {ndim}")
    return (int(given),) * ndim if given.ndim == 0 else tuple(given.tolist())


def _odd_sizes(value: Any, ndim: int) -> tuple[int, ...]:
    sizes = _sizes("kernel_size", value, ndim)
    _require_odd("kernel_size", sizes)
    return sizes


def _require_odd(name: str, sizes: tuple[int, ...]) -> None:
    if any(k % 2 != 1 or k < 0 for k in sizes):
        raise ValueError(f"{name} of extents {sizes}: each should be odd")


def _ranked(array: np.ndarray, rank: int, sizes: tuple[int, ...], footprint: bytes | None = None) -> np.ndarray:
    out = np.empty(array.shape, array.dtype.char)
    if not array.ndim:
        out[...] = array
    elif array.size:
        begins = tuple([k // 2 for k in sizes])
        return store_ranked(array, Ranked(rank, sizes, begins, ("constant",) * array.ndim, footprint), 0.0, out)
    return out
