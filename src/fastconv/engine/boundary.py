"""Boundary modes: how an array continues past its edges, under which names, and at which indices it is read.

============ ===================== ===============================
name         continued             scipy.signal, scipy.ndimage
============ ===================== ===============================
constant     k k k | a b c d | k k fill, constant
wrap         b c d | a b c d | a b wrap, wrap
reflect      c b a | a b c d | d c symm, reflect
mirror       d c b | a b c d | c b –, mirror
nearest      a a a | a b c d | d d –, nearest
============ ===================== ===============================
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.engine.remembering import remembered

NAMES = ("constant", "wrap", "reflect", "mirror", "nearest")


def source_indices(begin: int, end: int, extent: int, name: str) -> np.ndarray:
    """The indices at which positions begin to end of an axis of `extent` samples are read; -1 for the fill value.

    Positions before the array are negative.

    Examples
    --------
    >>> source_indices(-3, 6, 4, "mirror").tolist(), source_indices(-3, 6, 4, "constant").tolist()
    ([3, 2, 1, 0, 1, 2, 3, 2, 1], [-1, -1, -1, 0, 1, 2, 3, -1, -1])
    """
    return sources(np.arange(begin, end, dtype=np.int64), extent, name)


def sources(at: np.ndarray, extent: int, name: str) -> np.ndarray:
    """`source_indices` of the positions `at`, which are overwritten."""
    if name == "constant":
        at[(at < 0) | (at >= extent)] = -1
        return at
    if name == "nearest":
        np.maximum(at, 0, out=at)
        np.minimum(at, extent - 1, out=at)
        return at
    if name == "wrap":
        at %= extent
        return at
    turns = 2 * extent if name == "reflect" else max(1, 2 * extent - 2)
    last = 2 * extent - 1 if name == "reflect" else turns
    at %= turns
    np.minimum(at, last - at, out=at)
    return at


def period(extent: int, name: str) -> int | None:
    """The period of the continued axis in samples, or None if it does not repeat itself."""
    return {"wrap": extent, "reflect": 2 * extent, "mirror": max(1, 2 * extent - 2)}.get(name)


@remembered(256)
def edge_indices(pad: int, end: int, extent: int, name: str) -> np.ndarray:
    """`source_indices` of the positions past the edges only: `pad` of them before the array, those up to `end` after.

    Examples
    --------
    >>> edge_indices(3, 6, 4, "mirror").tolist()
    [3, 2, 1, 2, 1]
    """
    at = np.arange(-pad, max(0, end - extent), dtype=np.int64)
    at[pad:] += extent
    indices = sources(at, extent, name)
    indices.flags.writeable = False  # the cache returns it again
    return indices


@remembered(256)
def edge_columns(pad: int, after: int, columns: int, inner: int, name: str) -> np.ndarray:
    """`edge_indices` of a row whose samples are `inner` columns wide: `pad` samples before it, `after` after it.

    Examples
    --------
    >>> edge_columns(2, 1, 12, 3, "reflect").ravel().tolist()
    [3, 4, 5, 0, 1, 2, 9, 10, 11]
    """
    samples = columns // inner
    at = edge_indices(pad, samples + after, samples, name)
    if inner > 1:
        at = at[:, np.newaxis]
        at = np.where(at < 0, -1, at * inner + np.arange(inner))
        at.flags.writeable = False
    return at


def is_folded(begin: int, size: int, extent: int, name: str) -> bool:
    """Whether `folded` merges taps of a kernel of that size."""
    return max(begin, size - 1 - begin) > (period(extent, name) or extent)


def folded(
    taps: np.ndarray, begin: int, extent: int, name: str, axis: int = 0, fold: np.ufunc = np.add
) -> tuple[np.ndarray, int]:
    """An equivalent kernel with fewer taps along an axis of `extent` samples, and how many of them precede the centre.

    Far past an edge, a window sees values that it has seen before: taps that are whole periods apart, or that lie past
    the edge for every output, are merged into one by `fold`. Symmetric kernels stay symmetric.

    Examples
    --------
    >>> folded(np.ones(11), 5, 3, "wrap"), folded(np.ones(11), 5, 3, "nearest")
    ((array([1., 2., 2., 1., 2., 2., 1.]), 3), (array([3., 1., 1., 1., 1., 1., 3.]), 3))
    """
    taps = np.moveaxis(taps, axis, 0)
    repeats = period(extent, name)
    most = repeats or extent
    if is_folded(begin, len(taps), extent, name):
        sides = taps[:begin][::-1], taps[begin + 1 :]
        before, after = (_folded_side(side, most, repeats is not None, fold) for side in sides)
        taps, begin = np.concatenate([before[::-1], taps[begin : begin + 1], after]), len(before)
    return np.moveaxis(taps, 0, axis), begin


def _folded_side(taps: np.ndarray, most: int, repeats: bool, fold: np.ufunc) -> np.ndarray:
    """The taps on one side of the centre, nearest first, merged into at most `most`."""
    if len(taps) <= most:
        return taps
    if not repeats:
        return np.concatenate([taps[: most - 1], fold.reduce(taps[most - 1 :], axis=0, keepdims=True)])
    whole = np.zeros((-(-len(taps) // most) * most, *taps.shape[1:]), taps.dtype)
    whole[: len(taps)] = taps
    merged: np.ndarray = fold.reduce(whole.reshape(-1, most, *taps.shape[1:]), axis=0)
    return merged


def continued(array: np.ndarray, begins: Sequence[int], shape: Sequence[int], name: str, fill: object) -> np.ndarray:
    """The block of the continued `array` with that `shape`, starting at index `begins`, as a new array."""
    at = [source_indices(b, b + s, n, name) for b, s, n in zip(begins, shape, array.shape, strict=True)]
    # Begin with the axis along which the block is smallest relative to the array.
    for axis in sorted(range(array.ndim), key=lambda a: shape[a] / array.shape[a]):
        outside = np.flatnonzero(at[axis] < 0)
        array = array.take(at[axis], axis)  # outside the array -1 reads the last sample, overwritten below
        if len(outside):
            array[(slice(None),) * axis + (outside,)] = fill
    return array
