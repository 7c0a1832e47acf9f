"""Morphology of grey images, with flat structures and others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_contiguous, is_target
from fastconv.engine.conversion import converted, scratch_like
from fastconv.engine.correlation import fold_taps
from fastconv.engine.fills import as_fill, native
from fastconv.engine.patches import continued_patch
from fastconv.engine.replay import constant, repeatable, repeated, unrepeatable
from fastconv.engine.storing import store
from fastconv.ndimage.arguments import (
    as_axes,
    as_index,
    as_mode,
    as_number,
    as_ordered,
    as_origin,
    for_each,
    mirrored,
    spread,
    spread_window,
)
from fastconv.ndimage.outputs import as_output
from fastconv.ndimage.windows import maximum_filter, minimum_filter

# Values of a block to which a structure is added, so that it stays in the cache.
_BLOCK = 1 << 15

_Size = int | Sequence[int] | None
_Output = npt.DTypeLike | np.ndarray | None


@repeated()
def grey_erosion(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Minimum of neighbours minus a structure: a drop-in for `scipy.ndimage.grey_erosion`.

    Parameters
    ----------
    input, size, footprint, output, mode, cval, origin, axes
        As `minimum_filter`.
    structure : array_like, optional
        Values that are subtracted from the neighbours; by default none. It also says which neighbours count, unless
        there is a footprint.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `minimum_filter`; there is no size, footprint or structure, or they do not fit.

    Notes
    -----
    Flat structures are exact; values are subtracted in float64, as in SciPy.

    References
    ----------
    As `maximum_filter`. Footprints are covered by runs of their rows.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.grey_erosion([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2, 0, 0, 0, 1, 1, 0, 0])
    """
    return repeatable(_extreme("minimum", input, size, footprint, structure, output, mode, cval, origin, axes))


@repeated()
def grey_dilation(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Maximum of neighbours plus a mirrored structure: a drop-in for `scipy.ndimage.grey_dilation`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As `grey_erosion`; footprint, structure and origin are mirrored.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `grey_erosion`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.grey_dilation([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8, 8, 8, 4, 9, 9, 9, 9])
    """
    array = as_ordered(input)
    if size is None and footprint is None and structure is None:
        raise ValueError("size, footprint, or structure must be specified")
    if structure is not None:
        structure = mirrored(np.asarray(structure))
    if footprint is not None:
        footprint = mirrored(np.asarray(footprint))
    count = len(as_axes(axes, array.ndim))
    shape = footprint if footprint is not None else structure
    sizes = for_each(size, count) if shape is None else shape.shape
    if len(sizes) != count:
        raise RuntimeError(f"a window of shape {tuple(sizes)}: must match len(axes) ({count})")
    origins = [-as_index("origin", o) - (k % 2 == 0) for o, k in zip(for_each(origin, count), sizes, strict=True)]
    return repeatable(_extreme("maximum", array, size, footprint, structure, output, mode, cval, origins, axes))


@repeated()
def grey_opening(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Dilation of the erosion: a drop-in for `scipy.ndimage.grey_opening`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As `grey_erosion`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `grey_erosion`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.grey_opening([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([2, 2, 0, 1, 1, 1, 1, 0])
    """
    array = as_ordered(input)
    size = _without_size(size, footprint)
    eroded = scratch_like(array, np.dtype(array.dtype.char))
    grey_erosion(array, size, footprint, structure, eroded, mode, cval, origin, axes=axes)
    return repeatable(grey_dilation(eroded, size, footprint, structure, output, mode, cval, origin, axes=axes))


@repeated()
def grey_closing(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Erosion of the dilation: a drop-in for `scipy.ndimage.grey_closing`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As `grey_erosion`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `grey_erosion`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.grey_closing([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([8, 8, 4, 4, 4, 9, 9, 9])
    """
    array = as_ordered(input)
    size = _without_size(size, footprint)
    dilated = scratch_like(array, np.dtype(array.dtype.char))
    grey_dilation(array, size, footprint, structure, dilated, mode, cval, origin, axes=axes)
    return repeatable(grey_erosion(dilated, size, footprint, structure, output, mode, cval, origin, axes=axes))


def morphological_gradient(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Dilation minus erosion: a drop-in for `scipy.ndimage.morphological_gradient`.

    Parameters
    ----------
    input, size, footprint, structure, mode, cval, origin, axes
        As `grey_erosion`.
    output : ndarray, optional
        The array to store the result in. A type is ignored, as by SciPy.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `grey_erosion`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.morphological_gradient([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([6, 8, 8, 4, 8, 8, 9, 9])
    """
    window = (size, footprint, structure)
    dilated, eroded, out = _both(input, window, output, mode, cval, origin, axes)
    return _stored(np.subtract(dilated, eroded, out=eroded), out)


def morphological_laplace(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Dilation plus erosion minus twice the input: a drop-in for `scipy.ndimage.morphological_laplace`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As `morphological_gradient`.

    Returns
    -------
    ndarray
        The result, as large as the input. Integers wrap around.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `grey_erosion`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.morphological_laplace([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([ 6, -8,  8, -4,  8, -8, -9,  9])
    """
    array = as_ordered(input)
    dilated, eroded, out = _both(array, (size, footprint, structure), output, mode, cval, origin, axes)
    np.add(dilated, eroded, eroded)
    np.subtract(eroded, array, eroded)
    return _stored(np.subtract(eroded, array, eroded), out)


def white_tophat(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """The input minus its opening: a drop-in for `scipy.ndimage.white_tophat`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As `grey_erosion`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `grey_erosion`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.white_tophat([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([0, 6, 0, 3, 0, 8, 8, 0])
    """
    array = as_ordered(input)
    out = as_output(output, array) if isinstance(output, np.ndarray) else None
    dtype = output if out is None else out.dtype
    opened = grey_opening(array, size, footprint, structure, dtype, mode, cval, origin, axes=axes)
    return _stored(_difference(array, opened, opened), out)


def black_tophat(
    input: npt.ArrayLike,
    size: _Size = None,
    footprint: npt.ArrayLike | None = None,
    structure: npt.ArrayLike | None = None,
    output: _Output = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """The closing of the input minus the input: a drop-in for `scipy.ndimage.black_tophat`.

    Parameters
    ----------
    input, size, footprint, structure, output, mode, cval, origin, axes
        As `grey_erosion`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `grey_erosion`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.black_tophat([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([6, 0, 4, 0, 3, 0, 0, 9])
    """
    array = as_ordered(input)
    out = as_output(output, array) if isinstance(output, np.ndarray) else None
    dtype = output if out is None else out.dtype
    closed = grey_closing(array, size, footprint, structure, dtype, mode, cval, origin, axes=axes)
    return _stored(_difference(closed, array, closed), out)


def _without_size(size: _Size, footprint: Any) -> _Size:
    """No size beside a footprint, which is reported once."""
    if size is None or footprint is None:
        return size
    unrepeatable()
    warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=4)
    return None


def _stored(result: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return result
    out[...] = result
    return out


def _difference(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """a - b, and for bool what lies in only one of them."""
    of_bool = a.dtype.kind == b.dtype.kind == "b"
    return np.asarray(np.bitwise_xor(a, b, out=out) if of_bool else np.subtract(a, b, out=out))


def _both(
    input: npt.ArrayLike, window: tuple[Any, Any, Any], output: Any, mode: Any, cval: float, origin: Any, axes: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The dilation in the type of the input, the erosion in that of the output, and the output array, if any."""
    array = as_ordered(input)
    out = as_output(output, array) if isinstance(output, np.ndarray) else None
    dilated = grey_dilation(array, *window, None, mode, cval, origin, axes=axes)
    return dilated, grey_erosion(array, *window, None if out is None else out.dtype, mode, cval, origin, axes=axes), out


def _extreme(
    fold: str,
    input: npt.ArrayLike,
    size: Any,
    footprint: Any,
    structure: Any,
    output: Any,
    mode: Any,
    cval: float,
    origin: Any,
    axes: Any,
) -> np.ndarray:
    if size is None and footprint is None and structure is None:
        raise ValueError("size, footprint, or structure must be specified")
    if structure is None:
        filter_: Callable[..., np.ndarray] = minimum_filter if fold == "minimum" else maximum_filter
        return filter_(input, size, footprint, output, mode, cval, origin, axes=axes)
    if size is not None and footprint is not None:
        unrepeatable()
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=4)
    array = as_ordered(input)
    values = np.asarray(structure, np.float64)
    counts = np.ones(values.shape, bool) if footprint is None else np.asarray(footprint, bool)
    if counts.shape != values.shape:
        raise RuntimeError(f"structure of shape {values.shape}: expected that of the footprint, {counts.shape}")
    if not counts.any():
        raise ValueError(f"footprint of shape {counts.shape}: All-zero footprint is not supported.")
    if not values[counts].any():
        filter_ = minimum_filter if fold == "minimum" else maximum_filter
        return filter_(array, None, counts, output, mode, cval, origin, axes=axes)
    out = as_output(output, array)
    filtered = as_axes(axes, array.ndim)
    values, counts = (spread_window(window, filtered, array.ndim, "structure") for window in (values, counts))
    origins = spread(for_each(origin, len(filtered)), filtered, array.ndim, 0)
    begins = [k // 2 + as_origin(o, k, "invalid origin") for o, k in zip(origins, values.shape, strict=True)]
    continuation, cval = as_mode(mode), as_number("cval", cval)
    if array.size:
        sums = -values if fold == "minimum" else values
        _store_sums(fold, array, sums, counts, begins, continuation, cval, out)
    return repeatable(out)


def _store_sums(
    fold: str,
    array: np.ndarray,
    values: np.ndarray,
    counts: np.ndarray,
    begins: list[int],
    mode: str,
    cval: float,
    out: np.ndarray,
) -> None:
    """Store extremes of neighbours plus a structure, computed in float64 some rows of the first axis at a time."""
    work = np.dtype(np.float64)
    fill = as_fill(cval if mode == "constant" else 0, array.dtype, exactly=True)
    if fill is None:  # the constant is no value of that type
        array, fill = converted(array, work), as_fill(cval, work)
    if not array.ndim:
        array, values, counts, begins, out = (
            array[np.newaxis], values[np.newaxis], counts[np.newaxis], [0], out[np.newaxis]
        )  # fmt: skip
    source, taps = as_contiguous(native(array)), constant(values.astype(work, order="C"))
    target = out if is_target(out, array) else scratch_like(out, out.dtype)
    rows = min(len(array), max(1, _BLOCK * len(array) // array.size))
    for row in range(0, len(array), rows):
        part = target[row : row + rows]
        shape = [n + k - 1 for n, k in zip(part.shape, values.shape, strict=True)]
        seen = continued_patch(source, [row - begins[0], *(-b for b in begins[1:])], shape, mode, fill)
        result = part if part.dtype == work else scratch_like(part, work)
        fold_taps(fold, converted(seen, work), taps, counts, result)
        store(result, part)
    store(target, out)
