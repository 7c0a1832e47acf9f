"""The inverse of max pooling: maxima are put back where pooling found them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, as_operand, named_input, ordered_dtype
from fastconv.engine.conversion import converted
from fastconv.engine.geometry import unpooled_extents
from fastconv.engine.launch import Launch
from fastconv.engine.replay import repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team

__all__ = ["max_unpool2d"]

_POSITION = np.dtype(np.int64)

# Positions handed out at a time, enough to outweigh waking a thread.
_GRAIN_VALUES = 16384


@repeated()
@named_input
def max_unpool2d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> np.ndarray:
    """Images of zeros with maxima where `max_pool2d` found them.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Maxima. float32, float64 or an integer type.
    indices : array_like of int, same shape
        The indices that `max_pool2d` returned with them: ``row * OW + column`` in the output's plane. Where an index is
        repeated, the last value stays.
    kernel_size, stride, padding
        The arguments of that `max_pool2d`.
    output_size : sequence of int, optional
        The image's height and width, or its whole shape. Each extent must be less than a stride from the default,
        ``(H - 1)*sh - 2*ph + kh`` and likewise in width.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    GeometryError
        The shapes do not fit together, or an index is outside its plane; a ``ValueError``.
    TypeError
        `x` is masked or of another type, or `indices` are not integers.

    References
    ----------
    Zeiler and Fergus, Visualizing and understanding convolutional networks, 2014.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> out, indices = fastconv.max_pool2d(np.array([[[1, 5], [4, 3]]]), 2, return_indices=True)
    >>> fastconv.max_unpool2d(out, indices, 2)
    array([[[0, 5],
            [0, 0]]])
    """
    from fastconv.kernels.slots import arguments

    x, indices = as_array("x", x), as_array("indices", indices)
    dtype = ordered_dtype("x", x)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices of dtype {indices.dtype}: expected integers")
    if indices.shape != x.shape:
        raise GeometryError(f"indices of shape {indices.shape}: expected that of x, {x.shape}")
    extent = unpooled_extents(x.shape, kernel_size, stride, padding, output_size)
    out = np.empty((*x.shape[:-2], *extent), dtype)
    if not out.size:
        return out
    positions, planes = prod(extent), prod(x.shape[:-2])
    flag, places = team.flags(1), as_contiguous(converted(indices, _POSITION))
    ints = arguments("put")(values=prod(x.shape[-2:]), positions=positions)
    launch = Launch.of("put", f"V{dtype.itemsize}", ints, planes, max(1, _GRAIN_VALUES // positions))
    launch.run((as_contiguous(as_operand(x, dtype)), places, out, flag), team.get_num_threads())
    if flag[0]:
        wrong = indices[(indices < 0) | (indices >= positions)]
        raise GeometryError(f"indices contain {wrong[0]}: expected values from 0 to {positions - 1}")
    return repeatable(out)
