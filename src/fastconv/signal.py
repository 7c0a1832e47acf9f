"""Convolution and correlation of images with the names, argument order and meaning of ``scipy.signal``.

``convolve2d`` flips the kernel and ``correlate2d`` conjugates it; both become one cross-correlation of a
single-channel image. Results have SciPy's type, in which the products are also summed: integers wrap around.

Past its edges an image is zero (which the kernels know as padding), or it is continued into a copy that is
made a block of rows at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from math import isfinite, prod

import numpy as np
import numpy.typing as npt

from fastconv import planner, threads
from fastconv.arrays import as_array, as_operand
from fastconv.epilogue import PLAIN
from fastconv.errors import GeometryError
from fastconv.functional import execute
from fastconv.geometry import ConvGeometry, mode_padding, output_extent
from fastconv.plan import Plan

# SciPy's names, and what they are called here.
_MODES = {"full": "full", "same": "same", "valid": "valid"}
_BOUNDARIES = {
    "fill": "fill",
    "pad": "fill",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "symm",
    "symmetric": "symm",
}

# The types that SciPy accepts, by the character of their dtype. Loops over the long ones exist only there.
_TYPES = "bBhHiIlLqQfdFD"
_LONG_TYPES = "gG"

# Continued rows that are held at a time: they are still in a shared cache when they are read.
_BLOCK_BYTES = 16 << 20


def convolve2d(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: npt.ArrayLike = 0,
) -> np.ndarray:
    """Two-dimensional convolution: a drop-in for `scipy.signal.convolve2d`.

    ``full[r, q] = sum_{i, j} in1[r - i, q - j] * in2[i, j]``

    Parameters
    ----------
    in1 : array_like, shape (H, W)
        Image: integers, float32, float64, longdouble or their complex types. bool and float16 meet such a type.
    in2 : array_like, shape (KH, KW)
        Kernel.
    mode : {"full", "same", "valid"}
        Every output that sees in1, (H + KH - 1, W + KW - 1); as large as in1 and centred; or only those that see
        nothing else, (H - KH + 1, W - KW + 1), with the inputs swapped if in2 is the larger one.
    boundary : {"fill", "wrap", "symm"}
        What lies past the edges of in1: `fillvalue`, in1 again, or in1 mirrored at its edge. "pad", "circular" and
        "symmetric" mean the same.
    fillvalue : scalar
        Used by ``boundary="fill"`` alone; cast to the type of the result.

    Returns
    -------
    ndarray
        Of the type to which in1 and in2 promote.

    Raises
    ------
    ValueError
        The inputs do not have two axes each, or no such type; "valid", and neither input contains the other;
        `mode`, `boundary` or `fillvalue` has no such meaning; an empty in1 has nothing to continue it with.
    TypeError
        An input is a masked array, or `mode` or `boundary` is no string.

    Notes
    -----
    Where an output sees zeros past the edge and the kernel holds NaN or infinity, the result is NaN, as in SciPy.
    Large kernels of float32 may be computed by FFT, within an expected error of 1e-5 standard deviations of the
    output.

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
    return _correlate(as_array("in1", in1), as_array("in2", in2), mode, boundary, fillvalue, flip=True)


def correlate2d(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: npt.ArrayLike = 0,
) -> np.ndarray:
    """Two-dimensional cross-correlation: a drop-in for `scipy.signal.correlate2d`.

    ``full[r, q] = sum_{i, j} in1[r + i - KH + 1, q + j - KW + 1] * conj(in2[i, j])``

    Parameters
    ----------
    in1, in2, mode, boundary, fillvalue
        As `convolve2d`.

    Returns
    -------
    ndarray
        Of the type to which in1 and in2 promote.

    Raises
    ------
    ValueError, TypeError
        As `convolve2d`.

    Notes
    -----
    The output of "same" begins at index ``KH // 2`` of "full" (and not at ``(KH - 1) // 2``, as it does in
    `convolve2d` and `scipy.signal.correlate`): with an even kernel the functions differ by one index.

    "valid" of a smaller in1 is ``conj(correlate2d(in2, in1, "valid"))[::-1, ::-1]``, which is what
    `scipy.signal.correlate` returns. `scipy.signal.correlate2d` conjugates in1 instead of in2 there.

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
    return _correlate(as_array("in1", in1), kernel, mode, boundary, fillvalue, flip=False)


def _correlate(
    image: np.ndarray, kernel: np.ndarray, mode: str, boundary: str, fillvalue: npt.ArrayLike, flip: bool
) -> np.ndarray:
    """Cross-correlate `image` with `kernel`, flipped or as it is, by SciPy's rules."""
    if image.ndim != 2 or kernel.ndim != 2:
        raise ValueError(f"in1 of shape {image.shape}, in2 of shape {kernel.shape}: expected two axes each")
    mode, boundary = _named("mode", mode, _MODES), _named("boundary", boundary, _BOUNDARIES)
    dtype = _common_type(image, kernel)
    swap = mode == "valid" and _must_swap(image.shape, kernel.shape)
    if swap:
        image, kernel = kernel, image
    # Boundaries other than "fill" ignore the value, whatever it is; the default needs no array.
    ignored = boundary != "fill" or (type(fillvalue) is int and fillvalue == 0)
    fill = 0 if ignored else _as_fill(fillvalue, dtype)
    if not image.size or not kernel.size:
        out = _correlate_nothing(image, kernel, mode, boundary, fill, flip, dtype)
    elif dtype.char in _LONG_TYPES:
        out = _correlate_in_scipy(image, kernel, mode, boundary, fill, flip)
    else:
        out = _correlate_operands(as_operand(image, dtype), as_operand(kernel, dtype), mode, boundary, fill, flip)
    return out[::-1, ::-1] if swap and not flip else out


def _named(name: str, value: str, names: dict[str, str]) -> str:
    """What `value` is called here."""
    try:
        return names[value]
    except KeyError:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, names))}") from None
    except TypeError:
        raise TypeError(f"{name}={value!r}: expected a string, one of {', '.join(map(repr, names))}") from None


def _common_type(image: np.ndarray, kernel: np.ndarray) -> np.dtype:
    """The type in which the inputs meet, if SciPy accepts it."""
    try:
        dtype = np.result_type(image, kernel)
        if dtype.char in _TYPES or dtype.char in _LONG_TYPES:
            return dtype
    except TypeError:  # they meet nowhere
        pass
    raise ValueError(
        f"in1 of {image.dtype}, in2 of {kernel.dtype}: expected types that meet in an integer, float32, float64, "
        "longdouble or a complex type; convert with astype"
    )


def _must_swap(shape1: tuple[int, ...], shape2: tuple[int, ...]) -> bool:
    """Whether in2 is the input that contains the other, as "valid" needs one to."""
    if all(a >= b for a, b in zip(shape1, shape2, strict=True)):
        return False
    if all(a <= b for a, b in zip(shape1, shape2, strict=True)):
        return True
    raise ValueError(
        f"in1 of shape {shape1}, in2 of shape {shape2}: mode='valid' expects one of them to be at least as large as "
        "the other along every axis"
    )


def _as_fill(fillvalue: npt.ArrayLike, dtype: np.dtype) -> np.ndarray:
    """`fillvalue` in the type of the result; arrays are cast only if that is safe, as in SciPy."""

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


def _finite(kernel: np.ndarray) -> bool:
    """Whether all of `kernel` is finite, by the cheapest test; false as well if its squares overflow."""
    return isfinite(np.vdot(kernel, kernel).real)


@functools.lru_cache(maxsize=4096)
def _plan(image: tuple[int, int], kernel: tuple[int, int], dtype: str, mode: str, flip: bool, num_threads: int) -> Plan:
    """`planner.plan` for extents, found by a key that is quick to hash."""
    try:
        geometry = ConvGeometry(
            n=1,
            g=1,
            ic=1,
            oc=1,
            extent=image,
            kernel=kernel,
            stride=(1, 1),
            dilation=(1, 1),
            padding=mode_padding(mode, kernel, flip),
        )
    except GeometryError as error:
        raise GeometryError(f"in1 and in2 of shapes {image} and {kernel}, mode={mode!r}: {error}") from None
    return planner.plan(geometry, np.dtype(dtype).name, threads=num_threads)


def _correlate_operands(
    image: np.ndarray, kernel: np.ndarray, mode: str, boundary: str, fill: npt.ArrayLike, flip: bool
) -> np.ndarray:
    """Cross-correlate arrays of one type that kernels can read, by one of fastconv's strategies."""
    filter_ = kernel[::-1, ::-1] if flip else kernel
    if mode != "valid":
        padding_is_zero = boundary == "fill" and fill == 0
        # Padding's zero times infinity is NaN, but kernels skip the taps that fall on padding.
        if not (padding_is_zero and (kernel.dtype.kind in "iu" or _finite(kernel))):
            return _correlate_continued(image, filter_, mode_padding(mode, kernel.shape, flip), boundary, fill)
    plan = _plan(image.shape, kernel.shape, image.dtype.char, mode, flip, threads.get_num_threads())
    out = np.empty(plan.geometry.out_extent, image.dtype)
    execute(plan, image, filter_, PLAIN, out)
    return out


def _correlate_nothing(
    image: np.ndarray, kernel: np.ndarray, mode: str, boundary: str, fill: npt.ArrayLike, flip: bool, dtype: np.dtype
) -> np.ndarray:
    """The result if an input is empty: sums of the fill value, or of nothing."""
    padding = mode_padding(mode, kernel.shape, flip)
    extents = tuple(output_extent(i, p, k, 1, 1) for i, p, k in zip(image.shape, padding, kernel.shape, strict=True))
    if min(extents) < 0:
        raise ValueError(f"in1 of shape {image.shape}, in2 of shape {kernel.shape}: expected no more than one empty")
    if not kernel.size:
        return np.zeros(extents, dtype)
    if boundary != "fill" and prod(extents):
        raise ValueError(f"in1 of shape {image.shape}: boundary={boundary!r} has nothing to continue it with")
    with np.errstate(all="ignore"):
        return np.full(extents, (kernel.astype(dtype) * fill).sum(dtype=dtype), dtype)


def _correlate_in_scipy(
    image: np.ndarray, kernel: np.ndarray, mode: str, boundary: str, fill: npt.ArrayLike, flip: bool
) -> np.ndarray:
    # Where they are defined, because scipy.signal's own names may have been replaced by those of this module.
    from scipy.signal import _signaltools

    if flip:
        return _signaltools.convolve2d(image, kernel, mode, boundary, fill)
    return _signaltools.correlate2d(image, kernel.conj(), mode, boundary, fill)


def _correlate_continued(
    image: np.ndarray, kernel: np.ndarray, padding: tuple[tuple[int, int], ...], boundary: str, fill: npt.ArrayLike
) -> np.ndarray:
    """Cross-correlate `image`, continued by `padding` samples past its edges, a block of output rows at a time.

    Memory stays within a small multiple of the larger input and the output: the blocks' rows run along the axis that
    makes one output's worth of them smaller.
    """
    oh, ow = (output_extent(i, p, k, 1, 1) for i, p, k in zip(image.shape, padding, kernel.shape, strict=True))
    kh, kw = kernel.shape
    height, width = oh + kh - 1, ow + kw - 1
    if kh * width > max(kw * height, _BLOCK_BYTES // image.itemsize):
        return np.ascontiguousarray(_correlate_continued(image.T, kernel.T, padding[::-1], boundary, fill).T)
    rows = min(oh, max(kh, _BLOCK_BYTES // (width * image.itemsize) - kh + 1))
    out = np.empty((oh, ow), image.dtype)
    block = np.empty((rows + kh - 1, width), image.dtype)
    for row in range(0, oh, rows):
        part = out[row : row + rows]
        seen = block[: len(part) + kh - 1]
        _continue(image, row - padding[0][0], padding[1][0], boundary, fill, seen)
        plan = _plan(seen.shape, kernel.shape, image.dtype.char, "valid", False, threads.get_num_threads())
        execute(plan, seen, kernel, PLAIN, part)
    return out


def _continue(image: np.ndarray, row: int, left: int, boundary: str, fill: npt.ArrayLike, out: np.ndarray) -> None:
    """Fill `out` with the continued image, from its row `row` (negative above the image) and column ``-left`` on."""
    h, w = image.shape
    rows, columns = out.shape
    if boundary == "fill":
        out[...] = fill
    for position, count, source in _runs(row, row + rows, h, boundary):
        out[position - row : position - row + count, left : left + w] = image[source]
    for begin, end in ((-left, 0), (w, columns - left)):
        for position, count, source in _runs(begin, end, w, boundary):
            out[:, left + position : left + position + count] = out[:, left : left + w][:, source]


def _runs(begin: int, end: int, extent: int, boundary: str) -> Iterator[tuple[int, int, slice]]:
    """The positions from `begin` to `end` at which `extent` samples are repeated: where, how many, and which."""
    if boundary == "fill":  # seen once
        begin, end = max(begin, 0), min(end, extent)
    while begin < end:
        period, offset = divmod(begin, extent)
        count = min(end - begin, extent - offset)
        if boundary == "symm" and period % 2:
            last = extent - 1 - offset
            yield begin, count, slice(last, last - count if last >= count else None, -1)
        else:
            yield begin, count, slice(offset, offset + count)
        begin += count
