"""Gradients of convolutions, with the names of ``torch.nn.grad``.

Each is the adjoint of its forward function, applied to the gradient of a scalar with respect to that function's output.
It runs on the strategies of `conv2d` and on the matrix micro-kernels (engine/gradients), without inserted zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import as_array, as_operand, common_float, named_input
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import ConvGeometry, Padding, checked_shape
from fastconv.engine.gradients import INPUT_GRADIENT, WEIGHT_GRADIENT
from fastconv.engine.launch import available_threads
from fastconv.engine.replay import repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.grad.arguments import check_grad_output

__all__ = [
    "conv1d_input",
    "conv1d_weight",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_input",
    "conv3d_weight",
    "conv_bias",
]

# Stride, padding, dilation and groups, in the order of the arguments.
_Window: TypeAlias = tuple[int | Sequence[int], Padding, int | Sequence[int], int]


@repeated()
def conv2d_input(
    input_size: Sequence[int],
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    tolerance: float | None = None,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `conv2d` with respect to its input.

    ``grad_input[n, c, y, x] = sum_{m, i, j} weight[m, c, i, j] * grad_output[n, m, r, q]`` over the taps with
    ``y = r*sh - pt + i*dh`` and ``x = q*sw - pl + j*dw``.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    weight : array_like, shape (OC, C / groups, KH, KW)
        Filters.
    grad_output : array_like, shape (N, OC, OH, OW) or (OC, OH, OW)
        Gradient with respect to the output; any strides. float32 or float64 after NumPy's promotion with `weight`.
    stride, padding, dilation, groups, tolerance, num_threads
        As `conv2d`.

    Returns
    -------
    ndarray, shape `input_size`

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
    >>> fastconv.grad.conv2d_input((1, 3, 3), np.ones((1, 1, 2, 2)), np.ones((1, 2, 2)))
    array([[[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]]])
    """
    return _input(2, input_size, weight, grad_output, (stride, padding, dilation, groups), tolerance, num_threads)


@repeated()
def conv1d_input(
    input_size: Sequence[int],
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    tolerance: float | None = None,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `conv1d` with respect to its input, of shape ``(N, C, W)`` or ``(C, W)``; as `conv2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv1d_input((1, 5), np.array([[[1.0, 10.0, 100.0]]]), np.array([[1.0, 2.0]]), stride=2)
    array([[  1.,  10., 102.,  20., 200.]])
    """
    return _input(1, input_size, weight, grad_output, (stride, padding, dilation, groups), tolerance, num_threads)


@repeated()
def conv3d_input(
    input_size: Sequence[int],
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    tolerance: float | None = None,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `conv3d` with respect to its input; as `conv2d_input`.

    The input has shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv3d_input((1, 1, 1, 3), np.ones((1, 1, 1, 1, 2)), np.ones((1, 1, 1, 2)))
    array([[[[1., 2., 1.]]]])
    """
    return _input(3, input_size, weight, grad_output, (stride, padding, dilation, groups), tolerance, num_threads)


@repeated()
@named_input
def conv2d_weight(
    x: npt.ArrayLike,
    weight_size: Sequence[int],
    grad_output: npt.ArrayLike,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `conv2d` with respect to its weight.

    ``grad_weight[m, c, i, j] = sum_{n, r, q} grad_output[n, m, r, q] * x[n, c, r*sh - pt + i*dh, q*sw - pl + j*dw]``

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64 after NumPy's promotion with `grad_output`.
    weight_size : sequence of int
        Shape of the weight, (OC, C / groups, KH, KW).
    grad_output : array_like, shape (N, OC, OH, OW) or (OC, OH, OW)
        Gradient with respect to the output.
    stride, padding, dilation, groups, num_threads
        As `conv2d`. Sums run over positions in blocks of fixed order, for any number of threads.

    Returns
    -------
    ndarray, shape `weight_size`

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.

    References
    ----------
    Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(9.0).reshape(1, 3, 3)
    >>> fastconv.grad.conv2d_weight(x, (1, 1, 2, 2), np.ones((1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    return _weight(2, x, weight_size, grad_output, (stride, padding, dilation, groups), num_threads)


@repeated()
@named_input
def conv1d_weight(
    x: npt.ArrayLike,
    weight_size: Sequence[int],
    grad_output: npt.ArrayLike,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `conv1d` with respect to its weight, for ``x (N, C, W)`` or ``(C, W)``; as `conv2d_weight`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv1d_weight(np.array([[1.0, 2.0, 4.0, 8.0]]), (1, 1, 2), np.array([[1.0, 1.0, 1.0]]))
    array([[[ 7., 14.]]])
    """
    return _weight(1, x, weight_size, grad_output, (stride, padding, dilation, groups), num_threads)


@repeated()
@named_input
def conv3d_weight(
    x: npt.ArrayLike,
    weight_size: Sequence[int],
    grad_output: npt.ArrayLike,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `conv3d` with respect to its weight; as `conv2d_weight`.

    The input has shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv3d_weight(np.ones((1, 2, 2, 3)), (1, 1, 1, 2, 2), np.ones((1, 2, 1, 2)))
    array([[[[[4., 4.],
            [4., 4.]]]]])
    """
    return _weight(3, x, weight_size, grad_output, (stride, padding, dilation, groups), num_threads)


def conv_bias(grad_output: npt.ArrayLike) -> np.ndarray:
    """The gradient of a convolution with respect to its bias: ``grad_bias[m] = sum grad_output[:, m]``.

    Parameters
    ----------
    grad_output : array_like, shape (N, OC, *extent), float32 or float64
        Gradient with respect to the output, of one to three spatial axes. The batch axis is required, since the shape
        alone could not tell.

    Returns
    -------
    ndarray, shape (OC,)

    Raises
    ------
    GeometryError
        `grad_output` has fewer than 3 or more than 5 axes; a ``ValueError``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv_bias(np.ones((2, 3, 4, 5)))
    array([40., 40., 40.])
    """
    grad_output = as_array("grad_output", grad_output)
    dtype = common_float(grad_output=grad_output)
    if not 3 <= grad_output.ndim <= 5:
        raise GeometryError(f"grad_output of shape {grad_output.shape}: expected (N, OC, *extent), 3 to 5 axes")
    axes = (0, *range(2, grad_output.ndim))
    sums: np.ndarray = as_operand(grad_output, dtype).sum(axis=axes, dtype=np.float64)
    return sums.astype(dtype)


def _geometry(
    ndim: int, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], grad_output: np.ndarray, window: _Window
) -> ConvGeometry:
    """The convolution to differentiate, 2-D or 3-D; checks the shape of `grad_output`."""
    if len(weight_shape) != ndim + 2:
        raise GeometryError(f"weight of shape {weight_shape}: expected {ndim + 2} axes (oc, ic / groups, *kernel)")
    stride, padding, dilation, groups = window
    geometry = ConvGeometry.from_shapes(
        x_shape, weight_shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    check_grad_output(grad_output, geometry.out_shape[ndim + 2 - len(x_shape) :])
    return geometry.as_2d()


def _input(
    ndim: int,
    input_size: Sequence[int],
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    window: _Window,
    tolerance: float | None,
    num_threads: int | None,
) -> np.ndarray:
    """`conv1d_input`, `conv2d_input` and `conv3d_input`."""
    shape = checked_shape("input_size", input_size)
    weight, grad_output = as_array("weight", weight), as_array("grad_output", grad_output)
    dtype = common_float(weight=weight, grad_output=grad_output)
    g = _geometry(ndim, shape, weight.shape, grad_output, window)
    threads = available_threads(num_threads)
    plan = planner.plan(g, dtype, kind=INPUT_GRADIENT, tolerance=tolerance, threads=threads)
    out = np.empty(shape, dtype)
    plan.run_once(as_operand(grad_output, dtype), as_operand(weight, dtype), PLAIN, out)
    return repeatable(out)


def _weight(
    ndim: int,
    x: npt.ArrayLike,
    weight_size: Sequence[int],
    grad_output: npt.ArrayLike,
    window: _Window,
    num_threads: int | None,
) -> np.ndarray:
    """`conv1d_weight`, `conv2d_weight` and `conv3d_weight`."""
    shape = checked_shape("weight_size", weight_size)
    x, grad_output = as_array("x", x), as_array("grad_output", grad_output)
    dtype = common_float(x=x, grad_output=grad_output)
    g = _geometry(ndim, x.shape, shape, grad_output, window)
    plan = planner.plan(g, dtype, kind=WEIGHT_GRADIENT, threads=available_threads(num_threads))
    out = np.empty(shape, dtype)
    plan.run_once(as_operand(x, dtype), as_operand(grad_output, dtype), PLAIN, out)
    return repeatable(out)
