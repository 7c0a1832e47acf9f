"""Morphology of binary images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, is_target
from fastconv.engine.conversion import find_nonzero, scratch_of
from fastconv.engine.geometry import Window
from fastconv.engine.ranks import Ranked, run_ranked
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, repeatable, repeated, unrepeatable
from fastconv.engine.storing import store
from fastconv.engine.windows import run_windows
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

# Pixels of a band of an image of another type that becomes one of bool.
_BAND = 1 << 18


@repeated()
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
    return _binary(("minimum",), input, structure, iterations, mask, output, border_value, origin, axes)


@repeated()
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
    return _binary(("maximum",), input, structure, iterations, mask, output, border_value, origin, axes)


@repeated()
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
    return _binary(("minimum", "maximum"), input, structure, iterations, mask, output, border_value, origin, axes)


@repeated()
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
    return _binary(("maximum", "minimum"), input, structure, iterations, mask, output, border_value, origin, axes)


class _Structure(NamedTuple):
    """The neighbours that count, and how many of them lie before a pixel along each axis."""

    counts: np.ndarray
    begins: tuple[int, ...]


def _binary(
    folds: Sequence[str],
    input: npt.ArrayLike,
    structure: Any,
    iterations: Any,
    mask: Any,
    output: Any,
    border_value: Any,
    origin: Any,
    axes: Any,
) -> np.ndarray:
    """Erode or dilate, or both in turn."""
    try:
        most = index(iterations)
    except TypeError:
        raise TypeError(f"iterations={iterations!r}: iterations parameter should be an integer") from None
    array = as_ordered(input)
    filtered = as_axes(axes, array.ndim)
    given = _cross(len(filtered)) if structure is None else np.asarray(structure, bool)
    counts = spread_window(given, filtered, array.ndim, "structure")
    if not counts.size:
        raise RuntimeError(f"structure of shape {counts.shape}: structure must not be empty")
    allowed = None if mask is None else as_array("mask", mask).astype(bool, copy=False)
    if allowed is not None and allowed.shape != array.shape:
        raise RuntimeError(f"mask of shape {allowed.shape}: mask and input must have equal sizes, {array.shape}")
    origins = [as_index("origin", o) for o in for_each(origin, len(filtered))]
    structures = {fold: _placed(fold, counts, spread(origins, filtered, array.ndim, 0)) for fold in folds}
    if isinstance(output, np.ndarray) and output.dtype.kind == "c":
        raise TypeError(f"output of {output.dtype}: Complex output type not supported")
    out = as_output(output if isinstance(output, np.ndarray) else bool, array)
    if not array.size:
        return out
    image = array if array.ndim else array[np.newaxis]
    for fold in folds:
        is_last = fold == folds[-1] and out.dtype.kind == "b" and is_target(out, array)
        result = out.reshape(image.shape) if is_last else _new(image.shape)
        image = _repeated(fold, image, structures[fold], most, allowed, bool(border_value), result)
    if not np.may_share_memory(image, out):
        store(image.reshape(out.shape), out)
    return repeatable(out)


@remembered(32)
def _cross(axes: int) -> np.ndarray:
    """A pixel and the neighbours that share a face with it."""
    return constant(np.asarray(np.sum(np.abs(np.indices((3,) * axes) - 1), axis=0) <= 1))


def _placed(fold: str, counts: np.ndarray, origins: Sequence[int]) -> _Structure:
    """The structure of an erosion, which that of a dilation is turned into."""
    if fold == "maximum":
        counts = mirrored(counts)
        origins = [-o - (k % 2 == 0) for o, k in zip(origins, counts.shape, strict=True)]
    if not counts.ndim:
        return _Structure(counts[np.newaxis], (0,))
    begins = [k // 2 + as_origin(o, k, "invalid origin") for o, k in zip(origins, counts.shape, strict=True)]
    return _Structure(counts, tuple(begins))


def _new(shape: tuple[int, ...]) -> np.ndarray:
    """Scratch memory for an image of bool."""
    return scratch_of(shape, np.dtype(np.uint8)).view(bool)


def _repeated(
    fold: str,
    given: np.ndarray,
    structure: _Structure,
    iterations: int,
    mask: np.ndarray | None,
    border: bool,
    result: np.ndarray,
) -> np.ndarray:
    """Erode or dilate an image a given number of times, which stores in `result`, or until nothing changes."""
    counts, begins = structure
    count = int(counts.sum())
    if not count:  # of no neighbours, all belong to the image, and none does
        unrepeatable()
        nothing = np.full(given.shape, fold == "minimum")
        return nothing if mask is None else np.where(mask, nothing, given != 0)
    axes = enumerate(zip(counts.shape, begins, strict=True))
    box = tuple([Window(axis, size, "constant", begin) for axis, (size, begin) in axes])
    rank, footprint = count - 1 if fold == "maximum" else 0, None if count == counts.size else counts.tobytes()
    window = Ranked(rank, counts.shape, begins, ("constant",) * given.ndim, footprint)
    fill = constant(np.array(border, np.uint8))

    def compute(image: np.ndarray, target: np.ndarray) -> None:
        if footprint is None:
            run_windows(fold, image, box, target, int(border))
        else:
            run_ranked(window, image.view(np.uint8), fill, target.view(np.uint8))

    is_bool = given.dtype.kind == "b" and given.flags.c_contiguous
    if not is_bool and mask is None and iterations == 1 and given.size > _BAND:
        _by_bands(given, compute, begins[0], counts.shape[0] - 1 - begins[0], result)
        return result
    if mask is not None or iterations < 1:
        unrepeatable()
    # Two arrays take turns, the last of which is `result`; the first image may lie where the second will.
    targets = [result] if iterations == 1 else [result, _new(given.shape)]
    if iterations % 2 == 0:
        targets.reverse()
    image = given if is_bool else _as_bool(given, targets[1] if len(targets) > 1 else _new(given.shape))
    done = 0
    while True:
        target = targets[done % len(targets)]
        compute(image, target)
        if mask is not None:
            changed = np.bitwise_xor(target, image)
            changed &= mask
            np.bitwise_xor(image, changed, out=target)
        done += 1
        if done == iterations or (iterations < 1 and np.array_equal(target, image)):
            return target
        image = target


def _by_bands(
    given: np.ndarray, compute: Callable[[np.ndarray, np.ndarray], None], before: int, after: int, result: np.ndarray
) -> None:
    """Compute band by band, each with the rows before and after it that it sees: the whole as bools might be large."""
    unrepeatable()
    rows = max(1, _BAND * len(given) // given.size)
    for row in range(0, len(given), rows):
        end = min(len(given), row + rows)
        first = max(0, row - before)
        seen = given[first : min(len(given), end + after)]
        band, computed = _as_bool(seen, _new(seen.shape)), _new(seen.shape)
        compute(band, computed)
        result[row:end] = computed[row - first : end - first]


def _as_bool(image: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Which pixels are not zero."""
    find_nonzero(image, result)
    return result
