"""Morphology of binary images."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.engine.ranks import Ranked, run_ranked
from fastconv.engine.replay import unrepeatable
from fastconv.engine.storing import store
from fastconv.ndimage.arguments import (
    as_axes,
    as_index,
    as_ordered,
    as_origin,
    for_each,
    mirrored,
    spread,
    spread_window,
)
from fastconv.ndimage.outputs import as_output

_Output = npt.DTypeLike | np.ndarray | None


def binary_erosion(
    input: npt.ArrayLike,
    structure: npt.ArrayLike | None = None,
    iterations: int = 1,
    mask: npt.ArrayLike | None = None,
    output: _Output = None,
    border_value: int = 0,
    origin: int | Sequence[int] = 0,
    brute_force: bool = False,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Where a structure fits: a drop-in for `scipy.ndimage.binary_erosion`.

    Parameters
    ----------
    input : array_like
        Whatever is not zero belongs to the image.
    structure : array_like, optional
        The neighbours that must belong to it; by default those that share a face, and the pixel itself.
    iterations : int
        How often to erode; below 1, until nothing changes.
    mask : array_like, optional
        Only pixels where this is not zero may change.
    output : dtype or ndarray, optional
        An array to store the result in, of any real type. A type is ignored, as by SciPy: the result is of bool.
    border_value : int
        Whether pixels past the edges belong to the image.
    origin : int or sequence of int
        Shift of the structure, one value or one per axis.
    brute_force : bool
        Accepted for SciPy, and ignored.
    axes : int, sequence of int, or None
        The axes of the structure; by default all.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `minimum_filter`; `iterations` is no integer, or structure or mask do not fit.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.binary_erosion(np.ones((4, 5))).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]])
    """
    return _binary("minimum", input, structure, iterations, mask, output, border_value, origin, axes)


def binary_dilation(
    input: npt.ArrayLike,
    structure: npt.ArrayLike | None = None,
    iterations: int = 1,
    mask: npt.ArrayLike | None = None,
    output: _Output = None,
    border_value: int = 0,
    origin: int | Sequence[int] = 0,
    brute_force: bool = False,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """What a mirrored structure hits: a drop-in for `scipy.ndimage.binary_dilation`.

    Parameters
    ----------
    input, structure, iterations, mask, output, border_value, origin, brute_force, axes
        As `binary_erosion`; the structure and the origin are mirrored.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `binary_erosion`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.binary_dilation(np.eye(4)).astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    return _binary("maximum", input, structure, iterations, mask, output, border_value, origin, axes)


def binary_opening(
    input: npt.ArrayLike,
    structure: npt.ArrayLike | None = None,
    iterations: int = 1,
    output: _Output = None,
    origin: int | Sequence[int] = 0,
    mask: npt.ArrayLike | None = None,
    border_value: int = 0,
    brute_force: bool = False,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Dilation of the erosion: a drop-in for `scipy.ndimage.binary_opening`.

    Parameters
    ----------
    input, structure, iterations, output, origin, mask, border_value, brute_force, axes
        As `binary_erosion`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `binary_erosion`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.binary_opening([0, 1, 0, 1, 1, 1, 0]).astype(int)
    array([0, 0, 0, 1, 1, 1, 0])
    """
    eroded = _binary("minimum", input, structure, iterations, mask, None, border_value, origin, axes)
    return _binary("maximum", eroded, structure, iterations, mask, output, border_value, origin, axes)


def binary_closing(
    input: npt.ArrayLike,
    structure: npt.ArrayLike | None = None,
    iterations: int = 1,
    output: _Output = None,
    origin: int | Sequence[int] = 0,
    mask: npt.ArrayLike | None = None,
    border_value: int = 0,
    brute_force: bool = False,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Erosion of the dilation: a drop-in for `scipy.ndimage.binary_closing`.

    Parameters
    ----------
    input, structure, iterations, output, origin, mask, border_value, brute_force, axes
        As `binary_erosion`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `binary_erosion`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.binary_closing([0, 1, 0, 1, 0, 0, 0]).astype(int)
    array([0, 1, 1, 1, 0, 0, 0])
    """
    dilated = _binary("maximum", input, structure, iterations, mask, None, border_value, origin, axes)
    return _binary("minimum", dilated, structure, iterations, mask, output, border_value, origin, axes)


def _binary(
    fold: str,
    input: npt.ArrayLike,
    structure: Any,
    iterations: Any,
    mask: Any,
    output: Any,
    border_value: Any,
    origin: Any,
    axes: Any,
) -> np.ndarray:
    try:
        most = index(iterations)
    except TypeError:
        raise TypeError(f"iterations={iterations!r}: iterations parameter should be an integer") from None
    array = as_ordered(input)
    filtered = as_axes(axes, array.ndim)
    if structure is None:
        structure = np.sum(np.abs(np.indices((3,) * len(filtered)) - 1), axis=0) <= 1
    counts = spread_window(np.asarray(structure, bool), filtered, array.ndim, "structure")
    if not counts.size:
        raise RuntimeError(f"structure of shape {counts.shape}: structure must not be empty")
    allowed = None if mask is None else as_array("mask", mask).astype(bool)
    if allowed is not None and allowed.shape != array.shape:
        raise RuntimeError(f"mask of shape {allowed.shape}: mask and input must have equal sizes, {array.shape}")
    origins = [as_index("origin", o) for o in for_each(origin, len(filtered))]
    origins = spread(origins, filtered, array.ndim, 0)
    if fold == "maximum":
        counts = mirrored(counts)
        origins = [-o - (k % 2 == 0) for o, k in zip(origins, counts.shape, strict=True)]
    begins = tuple([k // 2 + as_origin(o, k, "invalid origin") for o, k in zip(origins, counts.shape, strict=True)])
    if isinstance(output, np.ndarray) and output.dtype.kind == "c":
        raise TypeError(f"output of {output.dtype}: Complex output type not supported")
    out = as_output(output if isinstance(output, np.ndarray) else bool, array)
    if not array.size:
        return out
    result = _repeated(fold, array != 0, counts, begins, most, allowed, bool(border_value))
    store(result.reshape(out.shape), out)
    return out


def _repeated(
    fold: str,
    image: np.ndarray,
    counts: np.ndarray,
    begins: tuple[int, ...],
    iterations: int,
    mask: np.ndarray | None,
    border: bool,
) -> np.ndarray:
    """Erode or dilate an image of bool, a given number of times or until nothing changes."""
    unrepeatable()
    if not image.ndim:
        image, counts, begins = image[np.newaxis], counts[np.newaxis], (0,)
    image = np.ascontiguousarray(image)
    count = int(counts.sum())
    if not count:  # of no neighbours, all belong to the image, and none does
        result = np.full(image.shape, fold == "minimum")
        return result if mask is None else np.where(mask, result, image)
    only_some = None if count == counts.size else counts.tobytes()
    rank = count - 1 if fold == "maximum" else 0
    window = Ranked(rank, counts.shape, begins, ("constant",) * image.ndim, only_some)
    fill = np.array(border, np.uint8)
    done = 0
    while True:
        result = np.empty(image.shape, bool)
        run_ranked(window, image.view(np.uint8), fill, result.view(np.uint8))
        if mask is not None:
            np.copyto(result, image, where=~mask)
        done += 1
        if done == iterations or (iterations < 1 and np.array_equal(result, image)):
            return result
        image = result
