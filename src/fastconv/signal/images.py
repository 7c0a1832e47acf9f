"""Convolution and correlation of images: ``convolve2d``, ``correlate2d`` and ``sepfir2d``.

``convolve2d`` flips the kernel and ``correlate2d`` conjugates it; both become a cross-correlation of a single-channel
image. Results have SciPy's type, and products are summed in that type: integers wrap around.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.engine.conversion import converted
from fastconv.engine.correlation import correlate, output_extents
from fastconv.engine.launch import workers_for
from fastconv.engine.planner import checked_tolerance
from fastconv.engine.replay import constant, note, repeatable, repeated
from fastconv.kernels.shield import imported
from fastconv.signal.names import MODES, common_type, mode_padding, must_swap, named

# SciPy's names of boundaries, and those of boundary.py.
_BOUNDARIES = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "reflect",
    "symmetric": "reflect",
}

# SciPy filters so many complex numbers sooner than we take their parts apart.
_FEW_COMPLEX = 1 << 15


@repeated()
def convolve2d(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: npt.ArrayLike = 0,
    *,
    tolerance: float | None = None,
) -> np.ndarray:
    """Two-dimensional convolution: a drop-in for `scipy.signal.convolve2d`.

    ``full[r, q] = sum_{i, j} in1[r - i, q - j] * in2[i, j]``

    Parameters
    ----------
    in1 : array_like, shape (H, W)
        Image of integers, float32, float64, longdouble or a complex type. bool and float16 are promoted to one of them
        by the other input.
    in2 : array_like, shape (KH, KW)
        Kernel.
    mode : {"full", "same", "valid"}
        "full": every output that sees in1, (H + KH - 1, W + KW - 1); "same": as large as in1, centred; "valid": only
        the outputs that see nothing else, (H - KH + 1, W - KW + 1), with the inputs swapped if in2 is the larger one.
    boundary : {"fill", "wrap", "symm"}
        What lies past the edges of in1: `fillvalue`, in1 repeated, or in1 mirrored at its edges. "pad", "circular" and
        "symmetric" are other names for these.
    fillvalue : scalar
        Only used by ``boundary="fill"``; cast to the type of the result.
    tolerance : float, optional
        Bound on the expected error of floating-point results, in standard deviations of the output, which allows FFTs
        and sums of outer products. By default, and with 0, only sums of products are used.

    Returns
    -------
    ndarray
        The result, in the type to which in1 and in2 promote.

    Raises
    ------
    ValueError
        An input does not have two axes or one of these types; the mode is "valid" and neither input contains the
        other; `mode`, `boundary`, `fillvalue` or `tolerance` has no such value; in1 is empty and the boundary needs
        its values.
    TypeError
        An input is a masked array, or `mode` or `boundary` is not a string.

    Notes
    -----
    Results are componentwise accurate: each output errs by a few roundings of the sum of its own products' magnitudes,
    whatever lies outside its window, so zeros are zeros and whole numbers below 2^24 (float64: 2^53) are exact. With a
    `tolerance` the error is bounded normwise, for the output as a whole; large kernels then take a fraction of the
    time.

    Where an output sees zeros past the edge and the kernel contains NaN or infinity, the result is NaN, as in SciPy.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> image = np.array([[1, 2, 3], [3, 4, 5]])
    >>> fastconv.signal.convolve2d(image, [[1, 0, -1]], mode="same", boundary="symm")
    array([[1, 2, 1],
           [1, 2, 1]])
    """
    return _correlate(as_array("in1", in1), as_array("in2", in2), mode, boundary, fillvalue, tolerance, flip=True)


@repeated()
def correlate2d(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: npt.ArrayLike = 0,
    *,
    tolerance: float | None = None,
) -> np.ndarray:
    """Two-dimensional cross-correlation: a drop-in for `scipy.signal.correlate2d`.

    ``full[r, q] = sum_{i, j} in1[r + i - KH + 1, q + j - KW + 1] * conj(in2[i, j])``

    Parameters
    ----------
    in1, in2, mode, boundary, fillvalue, tolerance
        As `convolve2d`, and as accurate.

    Returns
    -------
    ndarray
        The result, in the type to which in1 and in2 promote.

    Raises
    ------
    ValueError, TypeError
        As `convolve2d`.

    Notes
    -----
    The output of "same" begins at index ``KH // 2`` of "full", while those of `convolve2d` and `scipy.signal.correlate`
    begin at ``(KH - 1) // 2``: with an even kernel the functions differ by one index.

    With "valid" and a smaller in1 the result is ``conj(correlate2d(in2, in1, "valid"))[::-1, ::-1]``, as in
    `scipy.signal.correlate`. There `scipy.signal.correlate2d` conjugates in1 instead of in2.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.correlate2d(np.array([[1, 2, 3], [3, 4, 5]]), [[1, 0, -1]])
    array([[-1, -2, -2,  2,  3],
           [-3, -4, -2,  4,  5]])
    """
    kernel = as_array("in2", in2)
    if kernel.dtype.kind == "c":
        kernel = kernel.conj()
    return _correlate(as_array("in1", in1), kernel, mode, boundary, fillvalue, tolerance, flip=False)


def _correlate(
    image: np.ndarray,
    kernel: np.ndarray,
    mode: str,
    boundary: str,
    fillvalue: npt.ArrayLike,
    tolerance: float | None,
    flip: bool,
) -> np.ndarray:
    """Cross-correlate `image` with `kernel`, flipped or not, by SciPy's rules."""
    if image.ndim != 2 or kernel.ndim != 2:
        raise ValueError(f"in1 of shape {image.shape}, in2 of shape {kernel.shape}: expected two axes each")
    mode, continuation = named("mode", mode, MODES), named("boundary", boundary, _BOUNDARIES)
    tolerance = checked_tolerance(tolerance)
    dtype = common_type(image, kernel)
    swap = mode == "valid" and must_swap(image.shape, kernel.shape)
    if swap:
        image, kernel = kernel, image
    # Boundaries other than "fill" ignore the value; the default needs no conversion.
    ignored = continuation != "constant" or (type(fillvalue) is int and fillvalue == 0)
    fill = 0 if ignored else _as_fill(fillvalue, dtype)
    padding = mode_padding(mode, kernel.shape, flip)
    if not image.size or not kernel.size:
        out = _correlate_nothing(image, kernel, padding, boundary, fill, dtype)
    elif dtype.char in "gG":
        out = _correlate_in_scipy(image, kernel, mode, boundary, fill, flip)
    else:
        kernel = constant(np.array(kernel[::-1, ::-1] if flip else kernel, dtype, order="C"))
        out = correlate(image, kernel, padding, dtype, continuation=continuation, fill=fill, tolerance=tolerance or 0.0)
        if not swap:
            return repeatable(out)
    return out[::-1, ::-1] if swap and not flip else out


def _as_fill(fillvalue: npt.ArrayLike, dtype: np.dtype) -> np.ndarray:
    """`fillvalue` in the type of the result; arrays are only cast if that is safe, as in SciPy."""

    def cast(dtype: npt.DTypeLike) -> np.ndarray:
        if isinstance(fillvalue, np.ndarray):
            return fillvalue.astype(dtype, casting="safe")
        return np.array(fillvalue, dtype)

    try:
        value = cast(dtype)
    except (TypeError, ValueError, OverflowError):
        try:
            cast(np.complex128)
        except (TypeError, OverflowError) as error:
            raise type(error)(f"fillvalue={fillvalue!r}: expected a number ({error})") from None
        except ValueError:
            raise ValueError(f"fillvalue={fillvalue!r}: expected a number") from None
        raise ValueError(
            f"fillvalue={fillvalue!r}: could not cast `fillvalue` directly to the output type {dtype}"
        ) from None
    if value.size != 1:
        raise ValueError(f"fillvalue={fillvalue!r}: `fillvalue` must be scalar or an array with one element")
    return value.reshape(())


def _correlate_nothing(
    image: np.ndarray,
    kernel: np.ndarray,
    padding: tuple[tuple[int, int], ...],
    boundary: str,
    fill: npt.ArrayLike,
    dtype: np.dtype,
) -> np.ndarray:
    """The result for an empty input: sums of the fill value, or of nothing."""
    extents = output_extents(image.shape, kernel.shape, padding)
    if min(extents) < 0:
        raise ValueError(f"in1 of shape {image.shape}, in2 of shape {kernel.shape}: expected at most one to be empty")
    if not kernel.size:
        return np.zeros(extents, dtype)
    if _BOUNDARIES[boundary] != "constant" and 0 not in extents:
        raise ValueError(f"in1 of shape {image.shape}: boundary={boundary!r} needs an image that is not empty")
    with np.errstate(all="ignore"):
        return np.full(extents, (kernel.astype(dtype) * fill).sum(dtype=dtype), dtype)


def _correlate_in_scipy(
    image: np.ndarray, kernel: np.ndarray, mode: str, boundary: str, fill: npt.ArrayLike, flip: bool
) -> np.ndarray:
    # From the module that defines them: scipy.signal's own names may have been replaced by those of this module.
    scipys = imported("scipy.signal._signaltools")
    if flip:
        result: np.ndarray = scipys.convolve2d(image, kernel, mode, boundary, fill)
    else:
        result = scipys.correlate2d(image, kernel.conj(), mode, boundary, fill)
    return result


@repeated()
def sepfir2d(input: npt.ArrayLike, hrow: npt.ArrayLike, hcol: npt.ArrayLike) -> np.ndarray:
    """Two-dimensional separable filter, mirrored at the edges: a drop-in for `scipy.signal.sepfir2d`.

    ``out[r, q] = sum_{i, j} input[r + KH // 2 - i, q + KW // 2 - j] * hcol[i] * hrow[j]``

    Parameters
    ----------
    input : array_like, shape (H, W)
        Image of float32, float64, their complex types, or a type that converts to one of them.
    hrow, hcol : array_like, shapes (KW,) and (KH,)
        Filters along the rows and down the columns, of odd lengths. Arrays must cast safely to the type of the result;
        lists of numbers are converted to it.

    Returns
    -------
    ndarray, shape (H, W)

    Raises
    ------
    ValueError
        The image does not have two axes; a filter does not have one axis, has an even length, or is longer than
        mirroring allows.
    TypeError
        A filter does not cast to the type of the result.

    References
    ----------
    Unser, Aldroubi and Eden, B-spline signal processing, 1993.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.sepfir2d(np.eye(3), [1.0, 2.0, 1.0], [1.0])
    array([[3., 1., 0.],
           [1., 2., 1.],
           [0., 1., 3.]])
    """
    image = as_array("input", input)
    dtype = np.result_type(image, np.float32)
    if dtype.char not in "fdFD":
        raise ValueError(f"input of {image.dtype}: expected float32, float64, or a type that converts to it or complex")
    row, column = _as_filter("hrow", hrow, dtype), _as_filter("hcol", hcol, dtype)
    if image.ndim != 2 or row.ndim != 1 or column.ndim != 1:
        raise ValueError(
            f"input of shape {image.shape}, hrow of shape {row.shape}, hcol of shape {column.shape}: expected two "
            "axes, one and one"
        )
    if row.size % 2 == 0 or column.size % 2 == 0:
        raise ValueError(f"hrow of {row.size} and hcol of {column.size} taps: hrow and hcol must be odd length")
    if not image.size:
        return np.zeros(image.shape, dtype)
    if dtype.kind == "c" and image.size <= _FEW_COMPLEX and max(row.size, column.size) <= min(image.shape):
        found: np.ndarray = imported("scipy.signal._spline").sepfir2d(image, row, column)
        return found
    return repeatable(_filter_planes(converted(image, dtype), row[::-1], column[::-1]))


def _as_filter(name: str, taps: npt.ArrayLike, dtype: np.dtype) -> np.ndarray:
    """A filter in the type of the result: arrays must cast safely, anything else is converted."""
    array = as_array(name, taps)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} of {array.dtype}: expected numbers")
    rule: Literal["safe", "same_kind"] = "safe" if isinstance(taps, np.ndarray) else "same_kind"
    if not np.can_cast(array.dtype, dtype, rule):
        raise TypeError(f"{name} of {array.dtype}: expected a type that casts safely to {dtype}, that of the result")
    return array.astype(dtype)


def _filter_planes(image: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Correlate the reflected image with ``outer(column, row)``, real and imaginary parts as two channels."""
    from fastconv.engine.convolution.separable import Factors, correlate_factors, outer_factors, passes_seconds

    h, w = image.shape
    real = image.real.dtype
    if image.dtype.kind == "c":
        # Real part r⊗r - i⊗i, imaginary part r⊗i + i⊗r: a complex image is two channels, and so is its result.
        parts = (column.real, column.imag), (row.real, row.imag)
        columns = np.stack([np.stack([parts[0][0], sign * parts[0][1]], -1) for sign in (-1, 1)])
        rows = np.stack([np.stack(parts[1]), np.stack(parts[1][::-1])])
        columns, rows = columns[[[0, 1], [1, 0]]], rows[[[0, 1], [1, 0]]]
        columns[0, 1] *= -1
        factors = Factors(np.ascontiguousarray(columns, real), np.ascontiguousarray(rows, real), None)
        planes = np.ascontiguousarray(image).view(real).reshape(h, w, 2).transpose(2, 0, 1)[np.newaxis]
    else:
        columns, rows, _ = outer_factors(column, row)
        factors, planes = Factors(constant(columns), constant(rows), None), image[np.newaxis, np.newaxis]
    out = np.empty((1, len(factors.columns), h, w), real)
    taps, pairs = (column.size, row.size), planes.shape[1] * out.shape[1]
    workers = workers_for(passes_seconds(pairs, (h, w), taps, factors.terms, out.itemsize))
    note("correlation with ", taps, " taps over ", image.shape, ", ", image.dtype, ", by separable", threads=workers)
    correlate_factors(
        planes,
        factors,
        out,
        tuple((taps.size // 2, taps.size // 2) for taps in (column, row)),
        workers,
        continuation=("reflect", "reflect"),
    )
    if image.dtype.kind != "c":
        plane: np.ndarray = out[0, 0]
        return plane
    result = np.empty((h, w), image.dtype)
    result.real, result.imag = out[0]
    return result
