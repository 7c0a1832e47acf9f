"""Pooling to a given output size: adaptive, global and fractional."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, as_operand, common_float, named_input, ordered_dtype
from fastconv.engine.geometry import adaptive_extents, fractional_extents
from fastconv.engine.launch import Launch
from fastconv.engine.pooling import AVG_POOL, MAX_POOL, MAX_POOL_INDICES, pool_uneven
from fastconv.engine.pooling.base import Pooled
from fastconv.engine.pooling.kinds import Pool
from fastconv.engine.replay import repeated
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "fractional_max_pool2d",
    "global_avg_pool2d",
    "global_max_pool2d",
]

_FLOAT32, _FLOAT64, _START = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)


@overload
def adaptive_max_pool1d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, return_indices: Literal[False] = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray: ...  # fmt: skip


@overload
def adaptive_max_pool1d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, *, return_indices: Literal[True],
    out: np.ndarray | None = ...,
) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@overload
def adaptive_max_pool1d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, return_indices: bool = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@repeated()
@named_input
def adaptive_max_pool1d(
    x: npt.ArrayLike,
    output_size: int | Sequence[int | None] | None,
    return_indices: bool = False,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Maximum pooling of a batch of multi-channel signals to a given output size.

    As `adaptive_max_pool2d`, for ``x (N, C, W)`` or ``(C, W)``.

    Returns
    -------
    out : ndarray, shape (N, C, OW) or (C, OW)
    indices : ndarray of int64, same shape
        With `return_indices`.

    Raises
    ------
    GeometryError, TypeError
        As `adaptive_max_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.adaptive_max_pool1d([[1, 5, 2, 0, 3]], 2)
    array([[5, 3]])
    """
    return _adaptive_max_pool(1, x, output_size, return_indices, out)


@overload
def adaptive_max_pool2d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, return_indices: Literal[False] = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray: ...  # fmt: skip


@overload
def adaptive_max_pool2d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, *, return_indices: Literal[True],
    out: np.ndarray | None = ...,
) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@overload
def adaptive_max_pool2d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, return_indices: bool = ..., *,
    out: np.ndarray | None = ...,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@repeated()
@named_input
def adaptive_max_pool2d(
    x: npt.ArrayLike,
    output_size: int | Sequence[int | None] | None,
    return_indices: bool = False,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Maximum pooling of a batch of multi-channel images to a given output size.

    Along an axis, window o covers ``floor(o * in / out) <= i < ceil((o + 1) * in / out)``: windows are as equal as
    possible, and neighbours may share a row or column.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32, float64 or an integer type. A NaN in a window makes its maximum NaN.
    output_size : int, None or (int or None, int or None)
        Height and width of the output; ``None`` keeps the image's.
    return_indices : bool
        Also return where each maximum was found, as `max_pool2d` does.

    Returns
    -------
    out : ndarray, shape (N, C, OH, OW) or (C, OH, OW)
    indices : ndarray of int64, same shape
        With `return_indices`.

    Raises
    ------
    GeometryError
        The shape and `output_size` do not fit together; a ``ValueError``.
    TypeError
        `x` is masked or of another type.

    References
    ----------
    He et al., Spatial pyramid pooling in deep convolutional networks, 2014.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool2d(np.arange(15).reshape(1, 3, 5), 2)
    array([[[ 7,  9],
            [12, 14]]])
    """
    return _adaptive_max_pool(2, x, output_size, return_indices, out)


@repeated()
@named_input
def adaptive_avg_pool1d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Average pooling of a batch of multi-channel signals to a given output size.

    As `adaptive_avg_pool2d`, for ``x (N, C, W)`` or ``(C, W)``.

    Returns
    -------
    ndarray, shape (N, C, OW) or (C, OW)

    Raises
    ------
    GeometryError, TypeError
        As `adaptive_avg_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool1d([[1.0, 5.0, 3.0, 0.0, 3.0]], 2)
    array([[3., 2.]])
    """
    return _adaptive_avg_pool(1, x, output_size, out)


@repeated()
@named_input
def adaptive_avg_pool2d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Average pooling of a batch of multi-channel images to a given output size.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64. In float32, too, the error of a mean does not grow with its window.
    output_size : int, None or (int or None, int or None)
        As `adaptive_max_pool2d`, with the same windows.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    GeometryError
        The shape and `output_size` do not fit together; a ``ValueError``.
    TypeError
        `x` is masked or of another type.

    References
    ----------
    He et al., Spatial pyramid pooling in deep convolutional networks, 2014.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool2d(np.arange(16.0).reshape(1, 4, 4), (2, None))
    array([[[ 2.,  3.,  4.,  5.],
            [10., 11., 12., 13.]]])
    """
    return _adaptive_avg_pool(2, x, output_size, out)


@repeated()
@named_input
def global_max_pool2d(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The maximum of every channel of a batch of multi-channel images: `adaptive_max_pool2d` to one position.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        As `adaptive_max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, 1, 1) or (C, 1, 1)

    Raises
    ------
    GeometryError, TypeError
        As `adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_max_pool2d(np.arange(8).reshape(2, 2, 2))
    array([[[3]],
    <BLANKLINE>
           [[7]]])
    """
    return cast(np.ndarray, _adaptive_max_pool(2, x, 1, False, out))


@repeated()
@named_input
def global_avg_pool2d(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The mean of every channel of a batch of multi-channel images: `adaptive_avg_pool2d` to one position.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        As `adaptive_avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, 1, 1) or (C, 1, 1)

    Raises
    ------
    GeometryError, TypeError
        As `adaptive_avg_pool2d`.

    References
    ----------
    Lin, Chen and Yan, Network in network, 2014.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_avg_pool2d(np.arange(8.0).reshape(2, 2, 2))
    array([[[1.5]],
    <BLANKLINE>
           [[5.5]]])
    """
    return _adaptive_avg_pool(2, x, 1, out)


@overload
def fractional_max_pool2d(
    x: npt.ArrayLike, kernel_size: int | Sequence[int], output_size: int | Sequence[int] | None = ...,
    output_ratio: float | Sequence[float] | None = ..., return_indices: Literal[False] = ...,
    _random_samples: npt.ArrayLike | None = ..., *, rng: np.random.Generator | int | None = ...,
) -> np.ndarray: ...  # fmt: skip


@overload
def fractional_max_pool2d(
    x: npt.ArrayLike, kernel_size: int | Sequence[int], output_size: int | Sequence[int] | None = ...,
    output_ratio: float | Sequence[float] | None = ..., *, return_indices: Literal[True],
    _random_samples: npt.ArrayLike | None = ..., rng: np.random.Generator | int | None = ...,
) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@overload
def fractional_max_pool2d(
    x: npt.ArrayLike, kernel_size: int | Sequence[int], output_size: int | Sequence[int] | None = ...,
    output_ratio: float | Sequence[float] | None = ..., return_indices: bool = ...,
    _random_samples: npt.ArrayLike | None = ..., *, rng: np.random.Generator | int | None = ...,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...  # fmt: skip


@repeated()
@named_input
def fractional_max_pool2d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: npt.ArrayLike | None = None,
    *,
    rng: np.random.Generator | int | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Maximum pooling over windows at random positions, to a given output size.

    Along each axis window o starts at ``floor((o + u) * a) - floor(u * a)`` with ``a = (in - kernel) / (out - 1)``, and
    the last window ends where the image does; u is drawn for every channel of every image.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32, float64 or an integer type. A NaN in a window makes its maximum NaN.
    kernel_size : int or (int, int)
        Height and width of the window.
    output_size : int or (int, int), optional
        Height and width of the output; either this or `output_ratio`.
    output_ratio : float or (float, float), optional
        Height and width of the output as fractions of the image's, between 0 and 1.
    return_indices : bool
        Also return where each maximum was found, as `max_pool2d` does.
    _random_samples : array_like, shape (N, C, 2) or (C, 2), optional
        The numbers u, at least 0 and less than 1: first across, then down.
    rng : numpy.random.Generator or int, optional
        Generator that draws u otherwise, or its seed.

    Returns
    -------
    out : ndarray, shape (N, C, OH, OW) or (C, OH, OW)
    indices : ndarray of int64, same shape
        With `return_indices`.

    Raises
    ------
    GeometryError
        The shapes, the window and the size of the output do not fit together; a ``ValueError``.
    TypeError
        `x` is masked or of another type.

    References
    ----------
    Graham, Fractional max-pooling, 2014.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.fractional_max_pool2d(np.arange(25).reshape(1, 5, 5), 2, 3, _random_samples=[[0.0, 0.5]])
    array([[[ 6,  7,  9],
            [16, 17, 19],
            [21, 22, 24]]])
    """
    x = as_array("x", x)
    dtype = ordered_dtype("x", x)
    kernel, out_extent = fractional_extents(x.shape, kernel_size, output_size, output_ratio)
    shape = (*x.shape[:-2], 2)
    if _random_samples is None:
        samples = np.random.default_rng(rng).random(shape)
    else:
        samples = as_array("_random_samples", _random_samples)
        if samples.shape != shape or samples.dtype.kind != "f":
            raise _wrong_samples(samples, shape)
        samples = as_contiguous(as_operand(samples, _FLOAT32 if samples.dtype == _FLOAT32 else _FLOAT64))
    if not prod(shape):
        starts = tuple(np.empty((0, outputs), np.int64) for outputs in out_extent)
    else:
        starts = _drawn_starts(samples, x.shape[-2:], kernel, out_extent)
    kind = MAX_POOL_INDICES if return_indices else MAX_POOL
    return pool_uneven(x, dtype, kind, "drawn", kernel, out_extent, starts)


def _wrong_samples(samples: np.ndarray, shape: tuple[int, ...]) -> GeometryError:
    return GeometryError(
        f"_random_samples of shape {samples.shape} and dtype {samples.dtype}: expected floats of shape {shape}"
        ", at least 0 and below 1"
    )


def _adaptive_max_pool(
    ndim: int, x: npt.ArrayLike, output_size: Any, return_indices: bool, out: np.ndarray | None
) -> Pooled:
    x, kind = as_array("x", x), MAX_POOL_INDICES if return_indices else MAX_POOL
    return _adaptive_pool(ndim, x, ordered_dtype("x", x), kind, output_size, out)


def _adaptive_avg_pool(ndim: int, x: npt.ArrayLike, output_size: Any, out: np.ndarray | None) -> np.ndarray:
    x = as_array("x", x)
    return cast(np.ndarray, _adaptive_pool(ndim, x, common_float(x=x), AVG_POOL, output_size, out))


def _adaptive_pool(
    ndim: int, x: np.ndarray, dtype: np.dtype, kind: Pool, output_size: Any, out: np.ndarray | None
) -> Pooled:
    _, out_extent = adaptive_extents(x.shape, output_size, ndim)
    return pool_uneven(x, dtype, kind, "adaptive", (), out_extent, out=out)


def _drawn_starts(
    samples: np.ndarray, extent: Sequence[int], kernel: Sequence[int], outputs: Sequence[int]
) -> tuple[np.ndarray, ...]:
    """The positions where windows of each plane start along each axis, with steps of two sizes in random order."""
    from fastconv.kernels.slots import arguments

    last = [in_ - k for in_, k in zip(extent, kernel, strict=True)]
    steps = tuple(end / max(1, count - 1) for end, count in zip(last, outputs, strict=True))
    planes, flag = samples.size // 2, team.flags(1)
    starts = tuple(team.aligned_empty(planes * count, _START).reshape(planes, count) for count in outputs)
    ints = arguments("draw")(rows=outputs[0], cols=outputs[1], bottom=last[0], right=last[1])
    Launch.of("draw", samples.dtype, ints, planes, grain=64).run((samples, *starts, flag), 1, steps)
    if flag[0]:
        raise _wrong_samples(samples, samples.shape)
    return starts
