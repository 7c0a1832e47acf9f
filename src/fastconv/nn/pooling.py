"""Maxima, means and norms over windows of a given size, along one, two and three axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from numbers import Real
from operator import index
from typing import Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, as_operand, common_float, named_input, ordered_dtype
from fastconv.engine.geometry import PoolGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.pooling import AVG_POOL, MAX_POOL, MAX_POOL_INDICES, pool
from fastconv.engine.pooling.base import Pooled, Scaling
from fastconv.engine.replay import repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team
from fastconv.nn.operands import checked_layout

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "max_pool1d", "max_pool2d", "max_pool3d"]

# One value per axis, or one for all of them.
_PerAxis = int | Sequence[int]

# Values whose powers are a tile.
_TILE_VALUES = 16384


@overload
def max_pool2d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., return_indices: Literal[False] = ..., *, layout: str = ...,
    out: np.ndarray | None = ...,
) -> np.ndarray: ...  # fmt: skip


@overload
def max_pool2d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., *, return_indices: Literal[True], layout: str = ...,
    out: np.ndarray | None = ...,
) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@overload
def max_pool2d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., return_indices: bool = ..., *, layout: str = ...,
    out: np.ndarray | None = ...,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@repeated()
@named_input
def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The largest value of every window of a batch of multi-channel images.

    ``out[n, c, r, q] = max_{i, j} x[n, c, r*sh - pt + i*dh, q*sw - pl + j*dw]`` over the taps inside the image.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W); (N, H, W, C) or (H, W, C) in layout "NHWC"
        Images; any strides. float32, float64 or an integer type. A NaN in a window makes its maximum NaN.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Steps of the window, down and right; default `kernel_size`.
    padding : int or (int, int)
        Rows and columns around the image that windows may cover, at most half of `kernel_size`; they never win.
    dilation : int or (int, int)
        Distance between taps; 1 is dense.
    ceil_mode : bool
        Round the output extent up, so that the last window may extend past the bottom and right; it must start inside
        the image or the padding above and to the left.
    return_indices : bool
        Also return where each maximum was found.
    layout : {"NCHW", "NHWC"}
        The order of the axes of `x` and of the results. A transposed view that has channels last in memory is pooled as
        it lies, and its results have the same memory layout.
    out : ndarray, optional
        Array for the maxima.

    Returns
    -------
    out : ndarray, shape (N, C, OH, OW) or (C, OH, OW); (N, OH, OW, C) or (OH, OW, C) in layout "NHWC"
        Maxima, in the type of `x`; the lowest value where dilation leaves a window without any tap inside the image.
    indices : ndarray of int64, same shape
        With `return_indices`: ``row * W + column`` in the plane, of the first of equal maxima in row-major order, or of
        the last NaN; -1 for a window without any tap inside the image.

    Raises
    ------
    GeometryError
        The shape and the window do not fit together; a ``ValueError``.
    ValueError
        `layout` is none of these.
    TypeError
        `x` is masked or of another type.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[1, 5, 2, 0], [4, 3, 2, 9]]])
    >>> fastconv.max_pool2d(x, 2)
    array([[[5, 9]]])
    >>> fastconv.max_pool2d(x, 2, return_indices=True)[1]
    array([[[1, 7]]])
    >>> fastconv.max_pool2d(x.reshape(2, 4, 1), 2, layout="NHWC").shape
    (1, 2, 1)
    """
    return _max_pool(2, x, return_indices, (kernel_size, stride, padding, dilation, ceil_mode), out, layout)


@repeated()
@named_input
def avg_pool2d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The mean of every window of a batch of multi-channel images.

    ``out[n, c, r, q] = sum_{i, j} x[n, c, r*sh - pt + i, q*sw - pl + j] / divisor`` over the taps inside the image.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W); (N, H, W, C) or (H, W, C) in layout "NHWC"
        Images; any strides. float32 or float64. In float32, too, the error of a mean does not grow with its window.
    kernel_size, stride, padding, ceil_mode
        As `max_pool2d`; the padding counts as zeros.
    count_include_pad : bool
        Divide by the size of the window clipped to the padded image; if false, clipped to the image.
    divisor_override : int, optional
        Divide by this instead.
    layout : {"NCHW", "NHWC"}
        As `max_pool2d`.
    out : ndarray, optional
        Array for the result.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW); (N, OH, OW, C) or (OH, OW, C) in layout "NHWC"

    Raises
    ------
    GeometryError
        The shape and the window do not fit together, or `divisor_override` is 0; a ``ValueError``.
    ValueError
        `layout` is none of these.
    TypeError
        `x` is masked or of another type.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[1.0, 5.0, 2.0, 0.0], [4.0, 2.0, 2.0, 8.0]]])
    >>> fastconv.avg_pool2d(x, 2)
    array([[[3., 3.]]])
    """
    return _avg_pool(
        2, x, count_include_pad, divisor_override, (kernel_size, stride, padding, 1, ceil_mode), out, layout
    )


@overload
def max_pool1d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., return_indices: Literal[False] = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray: ...  # fmt: skip


@overload
def max_pool1d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., *, return_indices: Literal[True],
    out: np.ndarray | None = ...,
) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@overload
def max_pool1d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., return_indices: bool = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@repeated()
@named_input
def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The largest value of every window of a batch of multi-channel signals.

    As `max_pool2d`, for ``x (N, C, W)`` or ``(C, W)``.

    Returns
    -------
    out : ndarray, shape (N, C, OW) or (C, OW)
    indices : ndarray of int64, same shape
        With `return_indices`: positions in the signal.

    Raises
    ------
    GeometryError, TypeError
        As `max_pool2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.max_pool1d([[1, 5, 2, 0]], 2)
    array([[5, 2]])
    """
    return _max_pool(1, x, return_indices, (kernel_size, stride, padding, dilation, ceil_mode), out)


@overload
def max_pool3d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., return_indices: Literal[False] = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray: ...  # fmt: skip


@overload
def max_pool3d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., *, return_indices: Literal[True],
    out: np.ndarray | None = ...,
) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@overload
def max_pool3d(
    x: npt.ArrayLike, kernel_size: _PerAxis, stride: _PerAxis | None = ..., padding: _PerAxis = ...,
    dilation: _PerAxis = ..., ceil_mode: bool = ..., return_indices: bool = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@repeated()
@named_input
def max_pool3d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The largest value of every window of a batch of multi-channel volumes.

    As `max_pool2d`, for ``x (N, C, D, H, W)`` or ``(C, D, H, W)``.

    Returns
    -------
    out : ndarray, shape (N, C, OD, OH, OW) or (C, OD, OH, OW)
    indices : ndarray of int64, same shape
        With `return_indices`: ``(level * H + row) * W + column`` in the volume.

    Raises
    ------
    GeometryError, TypeError
        As `max_pool2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool3d(np.arange(8).reshape(1, 2, 2, 2), 2)
    array([[[[7]]]])
    """
    return _max_pool(3, x, return_indices, (kernel_size, stride, padding, dilation, ceil_mode), out)


@repeated()
@named_input
def avg_pool1d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The mean of every window of a batch of multi-channel signals.

    As `avg_pool2d`, for ``x (N, C, W)`` or ``(C, W)``.

    Returns
    -------
    ndarray, shape (N, C, OW) or (C, OW)

    Raises
    ------
    GeometryError, TypeError
        As `avg_pool2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.avg_pool1d([[1.0, 5.0, 2.0, 0.0]], 2)
    array([[3., 1.]])
    """
    return _avg_pool(1, x, count_include_pad, None, (kernel_size, stride, padding, 1, ceil_mode), out)


@repeated()
@named_input
def avg_pool3d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The mean of every window of a batch of multi-channel volumes.

    As `avg_pool2d`, for ``x (N, C, D, H, W)`` or ``(C, D, H, W)``.

    Returns
    -------
    ndarray, shape (N, C, OD, OH, OW) or (C, OD, OH, OW)

    Raises
    ------
    GeometryError, TypeError
        As `avg_pool2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2)
    array([[[[3.5]]]])
    """
    return _avg_pool(3, x, count_include_pad, divisor_override, (kernel_size, stride, padding, 1, ceil_mode), out)


@repeated()
@named_input
def lp_pool1d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The p-norm of every window of a batch of multi-channel signals.

    As `lp_pool2d`, for ``x (N, C, W)`` or ``(C, W)``.

    Returns
    -------
    ndarray, shape (N, C, OW) or (C, OW)

    Raises
    ------
    GeometryError, TypeError
        As `lp_pool2d`.

    References
    ----------
    Sermanet, Chintala and LeCun, Convolutional neural networks applied to house numbers digit classification, 2012.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.lp_pool1d([[3.0, 4.0, 6.0, 8.0]], 2, 2)
    array([[ 5., 10.]])
    """
    return _lp_pool(1, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode))


@repeated()
@named_input
def lp_pool2d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The p-norm of every window of a batch of multi-channel images.

    ``out[n, c, r, q] = (sum_{i, j} x[n, c, r*sh + i, q*sw + j] ** p) ** (1 / p)``

    As in torch, x keeps its sign: powers of an odd p may add up to less than 0, whose root exists only for p = 1;
    otherwise it is NaN. Where `ceil_mode` lets a window extend past the image, taps outside count as the mean power of
    those inside.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64.
    norm_type : float
        The exponent p, not 0.
    kernel_size, stride, ceil_mode
        As `max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    GeometryError
        The shape and the window do not fit together, or `norm_type` is 0 or not finite; a ``ValueError``.
    TypeError
        `x` is masked or of another type.

    References
    ----------
    Sermanet, Chintala and LeCun, Convolutional neural networks applied to house numbers digit classification, 2012.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool2d(np.array([[[1.0, 1.0], [1.0, 1.0]]]), 2, 2)
    array([[[2.]]])
    """
    return _lp_pool(2, x, norm_type, (kernel_size, stride, 0, 1, ceil_mode))


def _max_pool(
    ndim: int,
    x: npt.ArrayLike,
    return_indices: bool,
    window: tuple[Any, ...],
    out: np.ndarray | None = None,
    layout: str = "NCHW",
) -> Pooled:
    x, kind = as_array("x", x), MAX_POOL_INDICES if return_indices else MAX_POOL
    channels_last = checked_layout(layout) == "NHWC"
    return pool(x, ordered_dtype("x", x), kind, ndim, window, channels_last=channels_last, out=out)


def _avg_pool(
    ndim: int,
    x: npt.ArrayLike,
    count_include_pad: bool,
    divisor_override: int | None,
    window: tuple[Any, ...],
    out: np.ndarray | None = None,
    layout: str = "NCHW",
) -> np.ndarray:
    x, channels_last = as_array("x", x), checked_layout(layout) == "NHWC"
    divisor = 0 if divisor_override is None else _checked_divisor(divisor_override)
    scaling = Scaling(bool(count_include_pad), divisor)
    return cast(np.ndarray, pool(x, common_float(x=x), AVG_POOL, ndim, window, scaling, channels_last, out))


def _checked_divisor(divisor: Any) -> int:
    try:
        value = index(divisor)
    except TypeError:
        value = 0
    if value == 0 or abs(value) >= 2**63:
        raise GeometryError(f"divisor_override={divisor!r}: expected None or a nonzero int of 64 bits")
    return value


def _lp_pool(ndim: int, x: npt.ArrayLike, norm_type: float, window: tuple[Any, ...]) -> np.ndarray:
    """The roots of the sums of powers, computed as means times the number of taps of a window."""
    x = as_array("x", x)
    dtype = common_float(x=x)
    if not isinstance(norm_type, Real) or not isfinite(norm_type) or norm_type == 0:
        raise GeometryError(f"norm_type={norm_type!r}: expected a finite number other than 0")
    taps = prod(PoolGeometry.from_shapes(x.shape, *window[:4], ndim=ndim, ceil_mode=window[4]).kernel)
    exponent, powers = float(norm_type), as_contiguous(as_operand(x, dtype))
    if exponent != 1:
        powers = _raised(powers, team.aligned_empty(x.size, dtype).reshape(x.shape), 1.0, exponent)
    sums = _avg_pool(ndim, powers, True, None, window)
    return repeatable(_raised(sums, sums, float(taps), 1 / exponent))


def _raised(values: np.ndarray, out: np.ndarray, scale: float, exponent: float) -> np.ndarray:
    """``(scale * values) ** exponent``; an undefined power is NaN or infinite, as everywhere in torch."""
    from fastconv.kernels.slots import arguments

    ints = arguments("power")(values=values.size, tile_values=_TILE_VALUES)
    launch = Launch.of("power", values.dtype, ints, -(-values.size // _TILE_VALUES))
    launch.run((values, out), team.get_num_threads(), (scale, exponent))
    return out
