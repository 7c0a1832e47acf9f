"""The median, a percentile, or any other rank of neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.ranks import Ranked, store_ranked
from fastconv.engine.replay import repeated, unrepeatable
from fastconv.ndimage.arguments import (
    as_axes,
    as_index,
    as_mode,
    as_number,
    as_ordered,
    as_origin,
    for_each,
    spread,
    spread_window,
)
from fastconv.ndimage.outputs import as_output
from fastconv.ndimage.windows import maximum_filter, minimum_filter


@repeated()
def median_filter(
    input: npt.ArrayLike,
    size: int | Sequence[int] | None = None,
    footprint: npt.ArrayLike | None = None,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Median of neighbours: a drop-in for `scipy.ndimage.median_filter`.

    Parameters
    ----------
    input, size, footprint, output, cval, axes
        As `maximum_filter`.
    mode : str
        As `correlate`.
    origin : int or sequence of int
        As `correlate`, for a box, too.

    Returns
    -------
    ndarray
        The result, as large as the input. Of an even number of neighbours it is the higher one of the middle.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `maximum_filter`.

    Notes
    -----
    Exact: the result is one of the neighbours, or `cval`. NaN counts as higher than any number, where SciPy's result is
    undefined.

    References
    ----------
    Small windows: Batcher, Sorting networks and their applications, 1968. Large ones: Perreault and Hébert, Median
    filtering in constant time, 2007; Huang, Yang and Tang, A fast two-dimensional median filtering algorithm, 1979.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.median_filter([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2, 2, 4, 1, 4, 9, 9, 0])
    """
    return _rank_filter(input, lambda count: count // 2, size, footprint, output, mode, cval, origin, axes)


@repeated()
def percentile_filter(
    input: npt.ArrayLike,
    percentile: float,
    size: int | Sequence[int] | None = None,
    footprint: npt.ArrayLike | None = None,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Percentile of neighbours: a drop-in for `scipy.ndimage.percentile_filter`.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As `median_filter`.
    percentile : float
        From 0 to 100, or from -100 to 0, to which 100 is added.

    Returns
    -------
    ndarray
        The result, as large as the input: the neighbour above that percentage of all, without interpolation.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `median_filter`; `percentile` is out of range.

    References
    ----------
    As `median_filter`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.percentile_filter([2, 8, 0, 4, 1, 9, 9, 0], 20, size=5)
    array([2, 2, 1, 1, 1, 1, 0, 0])
    """

    def rank(count: int) -> int:
        share = float(as_number("percentile", percentile))
        share += 100.0 if share < 0 else 0.0
        if not 0 <= share <= 100:
            raise RuntimeError(f"percentile={percentile}: invalid percentile, expected -100 to 100")
        return count - 1 if share == 100 else int(count * share / 100.0)

    return _rank_filter(input, rank, size, footprint, output, mode, cval, origin, axes)


@repeated()
def rank_filter(
    input: npt.ArrayLike,
    rank: int,
    size: int | Sequence[int] | None = None,
    footprint: npt.ArrayLike | None = None,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Neighbour of a rank: a drop-in for `scipy.ndimage.rank_filter`.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As `median_filter`.
    rank : int
        How many neighbours are lower; negative ranks count from the highest, which is -1.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `median_filter`; there are not so many neighbours.

    References
    ----------
    As `median_filter`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.rank_filter([2, 8, 0, 4, 1, 9, 9, 0], -2, size=3)
    array([2, 2, 4, 1, 4, 9, 9, 0])
    """
    number = index(rank)
    return _rank_filter(
        input, lambda count: number + (count if number < 0 else 0), size, footprint, output, mode, cval, origin, axes
    )


def _rank_filter(
    input: npt.ArrayLike,
    rank_of: Any,
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
    array = as_ordered(input)
    filtered = as_axes(axes, array.ndim)
    taps: np.ndarray | None = None
    if footprint is not None:
        taps = spread_window(np.asarray(footprint, dtype=bool), filtered, array.ndim, "footprint")
        shape, count = taps.shape, int(taps.sum())
    elif size is None:
        raise RuntimeError("no footprint or filter size provided")
    else:
        sizes = [as_index("size", s) for s in for_each(size, len(filtered))]
        shape = tuple(spread(sizes, filtered, array.ndim, 1))
        count = prod(shape)
    if 0 in shape:
        raise RuntimeError(
            f"a window of shape {shape}: footprint.ndim must match len(axes) ({len(filtered)}), none empty"
        )
    if min(shape, default=1) < 0:
        raise ValueError(f"size={size}: negative dimensions are not allowed")
    origins = spread(for_each(origin, len(filtered)), filtered, array.ndim, 0)
    origins = [as_origin(o, k, "invalid origin") for o, k in zip(origins, shape, strict=True)]
    rank = rank_of(count)
    if not 0 <= rank < count:
        raise RuntimeError(f"rank={rank}: rank not within filter footprint size, {count}")
    if rank in (0, count - 1):
        extreme = maximum_filter if rank else minimum_filter
        modes = (
            mode if isinstance(mode, str) else spread(for_each(mode, len(filtered)), filtered, array.ndim, "constant")
        )
        return extreme(array, None if taps is not None else shape, taps, output, modes, cval, origins)
    out = as_output(output, array)
    continuation, cval = as_mode(mode), as_number("cval", cval)
    if not array.size:
        return out
    begins = tuple([k // 2 + o for k, o in zip(shape, origins, strict=True)])
    only_some = None if taps is None or taps.all() else taps.tobytes()
    return store_ranked(array, Ranked(rank, shape, begins, (continuation,) * array.ndim, only_some), cval, out)
