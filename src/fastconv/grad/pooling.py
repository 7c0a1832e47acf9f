"""Gradients of pooling with respect to its input."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from numbers import Real

import numpy as np
import numpy.typing as npt

from fastconv import nn
from fastconv.engine import planner
from fastconv.engine.arrays import as_array, as_operand, common_float
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import PoolGeometry, checked_shape
from fastconv.engine.gradients import INPUT_GRADIENT
from fastconv.engine.launch import Launch, available_threads
from fastconv.grad.arguments import check_grad_output
from fastconv.kernels import threads as team

__all__ = ["avg_pool2d", "lp_pool2d", "max_pool2d"]

# Values per chunk of work, enough to outweigh waking a thread.
_GRAIN_VALUES = 16384


def max_pool2d(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The gradient of `fastconv.max_pool2d` with respect to its input.

    Each value goes to where its window's maximum was.

    Parameters
    ----------
    grad_output : array_like, shape (N, C, OH, OW) or (C, OH, OW)
        Gradient with respect to the output. float32 or float64 after NumPy's promotion with `x`.
    x : array_like, shape (N, C, H, W) or (C, H, W)
        The input of the pooling. Among equal maxima, the first in row-major order receives the gradient.
    kernel_size, stride, padding, dilation, ceil_mode
        As `fastconv.max_pool2d`.

    Returns
    -------
    ndarray, shape of `x`

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.max_pool2d([[[7.0, 8.0]]], np.array([[[1.0, 5.0, 2.0, 0.0], [4.0, 3.0, 2.0, 9.0]]]), 2)
    array([[[0., 7., 0., 0.],
            [0., 0., 0., 8.]]])
    """
    grad_output, x = as_array("grad_output", grad_output), as_array("x", x)
    dtype = common_float(grad_output=grad_output, x=x)
    _, indices = nn.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)
    check_grad_output(grad_output, indices.shape)
    return _put_back(as_operand(grad_output, dtype), indices, x.shape)


def avg_pool2d(
    grad_output: npt.ArrayLike,
    input_size: Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `fastconv.avg_pool2d` with respect to its input.

    Each value is spread evenly over its window.

    Parameters
    ----------
    grad_output : array_like, shape (N, C, OH, OW) or (C, OH, OW), float32 or float64
        Gradient with respect to the output.
    input_size : sequence of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As `fastconv.avg_pool2d`.
    num_threads : int, optional
        As `fastconv.conv2d`.

    Returns
    -------
    ndarray, shape `input_size`

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.avg_pool2d([[[4.0, 8.0]]], (1, 2, 4), 2)
    array([[[1., 1., 2., 2.],
            [1., 1., 2., 2.]]])
    """
    grad_output, shape = as_array("grad_output", grad_output), checked_shape("input_size", input_size)
    dtype = common_float(grad_output=grad_output)
    window = PoolGeometry.from_shapes(shape, kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    check_grad_output(grad_output, window.out_shape[4 - len(shape) :])
    # A mean is a sum divided by the divisor of its window.
    ones = np.ones((1, *window.extent))
    means = nn.avg_pool2d(ones, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    share = means / nn.avg_pool2d(ones, kernel_size, stride, padding, ceil_mode, divisor_override=1)
    g = window.as_sum()
    spread = (grad_output * share).astype(dtype).reshape(g.out_shape)
    out = np.empty(shape, dtype)
    weight = np.ones(g.weight_shape, dtype)
    plan = planner.plan(g, dtype, kind=INPUT_GRADIENT, tolerance=0, threads=available_threads(num_threads))
    plan.run_once(spread, weight, PLAIN, out)
    return out


def lp_pool2d(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `fastconv.lp_pool2d`, ``(sum x**p) ** (1/p)`` of every window, with respect to its input.

    ``grad_input = x**(p - 1) * sum grad_output * y**(1 - p)`` over the windows, of norm y, that contain x; zero where a
    window's sum is zero and the norm has no derivative.

    Parameters
    ----------
    grad_output : array_like, shape (N, C, OH, OW) or (C, OH, OW)
        Gradient with respect to the output. float32 or float64 after NumPy's promotion with `x`.
    x : array_like, shape (N, C, H, W) or (C, H, W)
        The input of the pooling.
    norm_type : float
        The exponent p, not 0. As in torch, no absolute value is taken: windows with a negative sum give NaN.
    kernel_size, stride, ceil_mode
        As `fastconv.max_pool2d`. A window that extends past the image counts as a whole kernel with the same mean, as
        in torch.
    num_threads : int, optional
        As `fastconv.conv2d`.

    Returns
    -------
    ndarray, shape of `x`

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.
    ValueError
        `norm_type` is 0 or not a finite number.

    References
    ----------
    Gulcehre et al., Learned-norm pooling for deep feedforward and recurrent neural networks, 2014.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.lp_pool2d([[[10.0]]], np.array([[[3.0, 4.0]]]), 2, (1, 2))
    array([[[6., 8.]]])
    """
    grad_output, x = as_array("grad_output", grad_output), as_array("x", x)
    dtype = common_float(grad_output=grad_output, x=x)
    if not (isinstance(norm_type, Real) and norm_type != 0 and isfinite(norm_type)):
        raise ValueError(f"norm_type={norm_type!r}: expected a finite number other than 0")
    p, window = float(norm_type), (kernel_size, stride, 0, ceil_mode)
    taps = prod(PoolGeometry.from_shapes(x.shape, kernel_size, stride=stride, ceil_mode=ceil_mode).kernel)
    wide = x.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sums = nn.avg_pool2d(wide**p, *window) * taps
        check_grad_output(grad_output, sums.shape)
        slopes = np.where(sums == 0, 0, taps * grad_output * sums ** (1 / p - 1))
        spread = avg_pool2d(slopes, x.shape, *window, num_threads=num_threads)
        return np.where(spread == 0, 0, spread * wide ** (p - 1)).astype(dtype)


def _put_back(values: np.ndarray, indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of `shape`, with each of `values` added at its index in its plane."""
    from fastconv.kernels.slots import arguments

    out = np.empty(shape, values.dtype)
    picked, positions = prod(values.shape[-2:]), prod(shape[-2:])
    arrays, planes = (np.ascontiguousarray(values), indices, out), prod(shape[:-2])
    grain = max(1, _GRAIN_VALUES // positions)
    ints = arguments("scatter")(values=picked, positions=positions)
    Launch.of("scatter", out.dtype, ints, planes, grain).run(arrays, team.get_num_threads())
    return out
