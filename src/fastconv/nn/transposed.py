"""Transposed convolutions along one, two and three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import as_array, as_operand, common_float, named_input
from fastconv.engine.epilogue import Activation
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.gradients import INPUT_GRADIENT
from fastconv.engine.launch import available_threads
from fastconv.engine.replay import repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.nn.operands import checked_epilogue, delivered, result_and_target

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

_PerAxis: TypeAlias = int | Sequence[int]
# Stride, padding, output padding, groups and dilation, in the order of the arguments.
_Window: TypeAlias = tuple[_PerAxis, _PerAxis, _PerAxis, int, _PerAxis]


@repeated()
@named_input
def conv_transpose2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    activation: Activation = None,
    tolerance: float | None = None,
    num_threads: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Two-dimensional transposed convolution: every input adds a kernel to the output, `stride` apart.

    ``out[n, c, y, x] = bias[c] + sum_{m, i, j} weight[m, c, i, j] * x[n, m, r, q]`` over the taps with
    ``y = r*sh - ph + i*dh`` and ``x = q*sw - pw + j*dw``: the adjoint of `conv2d` with the same weight and window,
    hence the gradient of that convolution with respect to its input.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64 after NumPy's promotion with `weight` and `bias`.
    weight : array_like, shape (C, OC / groups, KH, KW)
        Filters; the first axis is the input channel.
    bias : array_like, shape (OC,), optional
        Added to every output of a channel.
    stride : int or (int, int)
        Distance between the kernels that neighbouring inputs add, down and right.
    padding : int or (int, int)
        Rows and columns to cut off on either side.
    output_padding : int or (int, int)
        Additional rows at the bottom and columns at the right, fewer than stride or dilation: a convolution with this
        stride maps several extents to that of `x`, and this selects one of them.
    groups : int
        Number of groups of input and output channels, which are convolved separately.
    dilation : int or (int, int)
        Distance between taps; 1 is dense.
    activation, tolerance, num_threads, out
        As `conv2d`.

    Returns
    -------
    ndarray, shape (N, OC, OH, OW) or (OC, OH, OW)
        The height is ``(H - 1)*sh - 2*ph + dh*(KH - 1) + output_padding + 1``, the width likewise.

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv_transpose2d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2, 3)), stride=2)
    array([[[1., 1., 3., 2., 2.],
            [1., 1., 3., 2., 2.]]])
    """
    window = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(2, x, weight, bias, window, activation, tolerance, num_threads, out)


@repeated()
@named_input
def conv_transpose1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    activation: Activation = None,
    tolerance: float | None = None,
    num_threads: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """One-dimensional transposed convolution: every input adds a kernel to the output, `stride` apart.

    As `conv_transpose2d`, for ``x (N, C, W)`` or ``(C, W)`` and ``weight (C, OC / groups, KW)``.

    Returns
    -------
    ndarray, shape (N, OC, OW) or (OC, OW)

    Raises
    ------
    GeometryError
        As `conv_transpose2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv_transpose1d(np.array([[1.0, 2.0]]), np.array([[[1.0, 10.0, 100.0]]]), stride=2)
    array([[  1.,  10., 102.,  20., 200.]])
    """
    window = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(1, x, weight, bias, window, activation, tolerance, num_threads, out)


@repeated()
@named_input
def conv_transpose3d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
    *,
    activation: Activation = None,
    tolerance: float | None = None,
    num_threads: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Three-dimensional transposed convolution: every input adds a kernel to the output, `stride` apart.

    As `conv_transpose2d`, for ``x (N, C, D, H, W)`` or ``(C, D, H, W)`` and ``weight (C, OC / groups, KD, KH, KW)``.

    Returns
    -------
    ndarray, shape (N, OC, OD, OH, OW) or (OC, OD, OH, OW)

    Raises
    ------
    GeometryError
        As `conv_transpose2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv_transpose3d(np.ones((1, 2, 2, 2)), np.ones((1, 1, 2, 2, 2)), padding=1)
    array([[[[8.]]]])
    """
    window = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose(3, x, weight, bias, window, activation, tolerance, num_threads, out)


def _conv_transpose(
    ndim: int,
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None,
    window: _Window,
    activation: Activation,
    tolerance: float | None,
    num_threads: int | None,
    out: np.ndarray | None,
) -> np.ndarray:
    """`conv_transpose1d`, `2d` and `3d`: the adjoint of the convolution whose output has the shape of `x`."""
    x, weight = as_array("x", x), as_array("weight", weight)
    bias = None if bias is None else as_array("bias", bias)
    dtype = common_float(x=x, weight=weight, bias=bias)
    if weight.ndim != ndim + 2:
        raise GeometryError(f"weight of shape {weight.shape}: expected {ndim + 2} axes (ic, oc / groups, *kernel)")
    stride, padding, output_padding, groups, dilation = window
    geometry = ConvGeometry.of_transposed(
        x.shape,
        weight.shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        dilation=dilation,
    )
    epilogue = checked_epilogue(bias, geometry.ic, dtype, activation)
    x, weight = as_operand(x, dtype), as_operand(weight, dtype)
    plan = planner.plan(
        geometry.as_2d(), dtype, kind=INPUT_GRADIENT, tolerance=tolerance, threads=available_threads(num_threads)
    )
    result, target = result_and_target(out, geometry.x_shape[ndim + 2 - x.ndim :], x, weight, epilogue.bias)
    plan.run_once(x, weight, epilogue, target)
    return repeatable(delivered(result, target))
