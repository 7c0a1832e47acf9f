"""Gradients of pooling with respect to its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, prod
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import nn
from fastconv.engine import planner
from fastconv.engine.arrays import as_array, as_operand, common_float
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import PoolGeometry, adaptive_extents, adaptive_windows, checked_shape
from fastconv.engine.gradients import INPUT_GRADIENT
from fastconv.engine.launch import Launch, available_threads
from fastconv.grad.arguments import check_grad_output
from fastconv.kernels import threads as team

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "global_avg_pool2d",
    "global_max_pool2d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]

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
    return _of_maxima(2, nn.max_pool2d, grad_output, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The gradient of `fastconv.max_pool1d` with respect to its input, (N, C, W) or (C, W); as `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.max_pool1d([[7.0, 8.0]], np.array([[1.0, 5.0, 2.0, 0.0]]), 2)
    array([[0., 7., 8., 0.]])
    """
    return _of_maxima(1, nn.max_pool1d, grad_output, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The gradient of `fastconv.max_pool3d` with respect to its input, (N, C, D, H, W) or (C, D, H, W).

    As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.max_pool3d([[[[9.0]]]], np.arange(8.0).reshape(1, 2, 2, 2), 2)[0, 1]
    array([[0., 0.],
           [0., 9.]])
    """
    return _of_maxima(3, nn.max_pool3d, grad_output, x, kernel_size, stride, padding, dilation, ceil_mode)


def adaptive_max_pool1d(
    grad_output: npt.ArrayLike, x: npt.ArrayLike, output_size: int | Sequence[int | None] | None
) -> np.ndarray:
    """The gradient of `fastconv.adaptive_max_pool1d` with respect to its input; as `adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.adaptive_max_pool1d([[7.0, 8.0]], np.array([[1.0, 2.0, 5.0]]), 2)
    array([[0., 7., 8.]])
    """
    return _of_maxima(1, nn.adaptive_max_pool1d, grad_output, x, output_size)


def adaptive_max_pool2d(
    grad_output: npt.ArrayLike, x: npt.ArrayLike, output_size: int | Sequence[int | None] | None
) -> np.ndarray:
    """The gradient of `fastconv.adaptive_max_pool2d` with respect to its input.

    Parameters
    ----------
    grad_output : array_like, shape (N, C, OH, OW) or (C, OH, OW)
        Gradient with respect to the output. float32 or float64 after NumPy's promotion with `x`.
    x : array_like, shape (N, C, H, W) or (C, H, W)
        The input of the pooling; ties as in `max_pool2d`.
    output_size
        As `fastconv.adaptive_max_pool2d`.

    Returns
    -------
    ndarray, shape of `x`

    Raises
    ------
    GeometryError
        The shapes do not fit together; a ``ValueError``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.adaptive_max_pool2d([[[7.0, 8.0]]], np.array([[[1.0, 5.0, 2.0], [4.0, 3.0, 9.0]]]), (1, 2))
    array([[[0., 7., 0.],
            [0., 0., 8.]]])
    """
    return _of_maxima(2, nn.adaptive_max_pool2d, grad_output, x, output_size)


def global_max_pool2d(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """The gradient of `fastconv.global_max_pool2d` with respect to its input; as `adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.global_max_pool2d([[[7.0]]], np.array([[[1.0, 5.0, 2.0]]]))
    array([[[0., 7., 0.]]])
    """
    return adaptive_max_pool2d(grad_output, x, 1)


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
    window = (kernel_size, stride, padding, ceil_mode)
    return _of_means(2, grad_output, input_size, window, count_include_pad, divisor_override, num_threads)


def avg_pool1d(
    grad_output: npt.ArrayLike,
    input_size: Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    num_threads: int | None = None,
) -> np.ndarray:
    """The gradient of `fastconv.avg_pool1d` with respect to its input, (N, C, W) or (C, W); as `avg_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.grad.avg_pool1d([[4.0, 8.0]], (1, 4), 2)
    array([[2., 2., 4., 4.]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _of_means(1, grad_output, input_size, window, count_include_pad, None, num_threads)


def avg_pool3d(
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
    """The gradient of `fastconv.avg_pool3d` with respect to its input, (N, C, D, H, W) or (C, D, H, W).

    As `avg_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.grad.avg_pool3d([[[[8.0]]]], (1, 2, 1, 2), 2, ceil_mode=True, count_include_pad=False)
    array([[[[2., 2.]],
    <BLANKLINE>
            [[2., 2.]]]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _of_means(3, grad_output, input_size, window, count_include_pad, divisor_override, num_threads)


def adaptive_avg_pool1d(
    grad_output: npt.ArrayLike, input_size: Sequence[int], output_size: int | Sequence[int | None] | None
) -> np.ndarray:
    """The gradient of `fastconv.adaptive_avg_pool1d` with respect to its input; as `adaptive_avg_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.grad.adaptive_avg_pool1d([[4.0, 8.0]], (1, 3), 2)
    array([[2., 6., 4.]])
    """
    return _of_adaptive_means(1, grad_output, input_size, output_size)


def adaptive_avg_pool2d(
    grad_output: npt.ArrayLike, input_size: Sequence[int], output_size: int | Sequence[int | None] | None
) -> np.ndarray:
    """The gradient of `fastconv.adaptive_avg_pool2d` with respect to its input.

    Each value is spread evenly over its window, along one axis after the other.

    Parameters
    ----------
    grad_output : array_like, shape (N, C, OH, OW) or (C, OH, OW), float32 or float64
        Gradient with respect to the output.
    input_size : sequence of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    output_size
        As `fastconv.adaptive_avg_pool2d`.

    Returns
    -------
    ndarray, shape `input_size`

    Raises
    ------
    GeometryError
        The shapes do not fit together; a ``ValueError``.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.grad.adaptive_avg_pool2d([[[4.0, 8.0]]], (1, 2, 3), (1, 2))
    array([[[1., 3., 2.],
            [1., 3., 2.]]])
    """
    return _of_adaptive_means(2, grad_output, input_size, output_size)


def global_avg_pool2d(grad_output: npt.ArrayLike, input_size: Sequence[int]) -> np.ndarray:
    """The gradient of `fastconv.global_avg_pool2d` with respect to its input; as `adaptive_avg_pool2d`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.grad.global_avg_pool2d([[[4.0]]], (1, 1, 4))
    array([[[1., 1., 1., 1.]]])
    """
    return adaptive_avg_pool2d(grad_output, input_size, 1)


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


def _of_maxima(
    ndim: int, pool: Callable[..., Any], grad_output: npt.ArrayLike, x: npt.ArrayLike, *window: Any
) -> np.ndarray:
    """The gradient of a pool that can say where it found its maxima."""
    grad_output, x = as_array("grad_output", grad_output), as_array("x", x)
    dtype = common_float(grad_output=grad_output, x=x)
    _, indices = pool(x, *window, return_indices=True)
    return put_back(as_operand(grad_output, dtype), indices, x.shape, ndim)


def put_back(grad_output: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], ndim: int = 2) -> np.ndarray:
    """Zeros of `shape`, with each value added at its index in its plane, of so many axes."""
    from fastconv.kernels.slots import arguments

    check_grad_output(grad_output, indices.shape)
    out = np.empty(shape, grad_output.dtype)
    picked, positions = prod(indices.shape[-ndim:]), prod(shape[-ndim:])
    arrays, planes = (np.ascontiguousarray(grad_output), indices, out), prod(shape[:-ndim])
    grain = max(1, _GRAIN_VALUES // positions)
    ints = arguments("scatter")(values=picked, positions=positions)
    Launch.of("scatter", out.dtype, ints, planes, grain).run(arrays, team.get_num_threads())
    return out


def _of_means(
    ndim: int,
    grad_output: npt.ArrayLike,
    input_size: Sequence[int],
    window: tuple[Any, ...],
    count_include_pad: bool,
    divisor_override: int | None,
    num_threads: int | None,
) -> np.ndarray:
    """`avg_pool1d`, `avg_pool2d` and `avg_pool3d`."""
    grad_output, shape = as_array("grad_output", grad_output), checked_shape("input_size", input_size)
    dtype = common_float(grad_output=grad_output)
    kernel_size, stride, padding, ceil_mode = window
    g = PoolGeometry.from_shapes(shape, kernel_size, stride, padding, ndim=ndim, ceil_mode=ceil_mode)
    check_grad_output(grad_output, g.out_shape[ndim + 2 - len(shape) :])
    spread = (grad_output * _shares(g, count_include_pad, divisor_override)).astype(dtype)
    sums = g.as_sum().as_2d()
    out = np.empty(shape, dtype)
    weight = np.ones(sums.weight_shape, dtype)
    plan = planner.plan(sums, dtype, kind=INPUT_GRADIENT, tolerance=0, threads=available_threads(num_threads))
    plan.run_once(spread.reshape(sums.out_shape), weight, PLAIN, out.reshape(sums.x_shape))
    return out


def _shares(g: PoolGeometry, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """What a value of each window counts in its mean: a mean is a sum divided by the divisor of its window."""
    axes = [(1,) * (3 - len(g.extent)) + extents for extents in (g.extent, g.kernel, g.stride)]
    padding = (0,) * (3 - len(g.extent)) + tuple(begin for begin, _ in g.padding)
    ones, window = np.ones((1, *axes[0])), (axes[1], axes[2], padding, g.ceil_mode)
    means = nn.avg_pool3d(ones, *window, count_include_pad, divisor_override)
    shares: np.ndarray = means / nn.avg_pool3d(ones, *window, divisor_override=1)
    return shares.reshape(g.out_extent)


def _of_adaptive_means(
    ndim: int, grad_output: npt.ArrayLike, input_size: Sequence[int], output_size: int | Sequence[int | None] | None
) -> np.ndarray:
    """`adaptive_avg_pool1d` and `adaptive_avg_pool2d`."""
    grad_output, shape = as_array("grad_output", grad_output), checked_shape("input_size", input_size)
    spread = as_operand(grad_output, common_float(grad_output=grad_output))
    extent, out_extent = adaptive_extents(shape, output_size, ndim)
    check_grad_output(grad_output, (*shape[:-ndim], *out_extent))
    for axis, (inputs, outputs) in enumerate(zip(extent, out_extent, strict=True), len(shape) - ndim):
        along, means = (slice(None),) * axis, spread
        spread = np.zeros((*means.shape[:axis], inputs, *means.shape[axis + 1 :]), means.dtype)
        for at, (start, stop) in enumerate(adaptive_windows(inputs, outputs)):
            spread[*along, start:stop] += means[*along, at : at + 1] / (stop - start)
    return spread
