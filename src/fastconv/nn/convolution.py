"""Convolutions along one, two and three axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import named_input
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution3d import CONVOLUTION_3D
from fastconv.engine.epilogue import Activation
from fastconv.engine.geometry import Padding
from fastconv.engine.launch import available_threads
from fastconv.engine.replay import repeatable, repeated
from fastconv.nn.operands import checked_layout, conv_operands, delivered, image_result, may_follow

__all__ = ["conv1d", "conv2d", "conv3d"]


@repeated()
@named_input
def conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: Activation = None,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    out: np.ndarray | None = None,
    layout: str = "NCHW",
) -> np.ndarray:
    """Two-dimensional convolution (cross-correlation) of a batch of multi-channel images.

    ``out[n, m, r, q] = bias[m] + sum_{c, i, j} weight[m, c, i, j] * x[n, c, r*sh - pt + i*dh, q*sw - pl + j*dw]``

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64 after NumPy's promotion with `weight` and `bias`.
    weight : array_like, shape (OC, C / groups, KH, KW)
        Filters.
    bias : array_like, shape (OC,), optional
        Added to every output of a channel.
    stride : int or (int, int)
        Steps of the kernel, down and right.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Border around the image, of zeros unless there is a `padding_mode`. "same" keeps the extent (stride 1 only); if
        the total is odd, the larger half goes to the bottom and right.
    dilation : int or (int, int)
        Distance between taps; 1 is dense.
    groups : int
        Number of groups of input and output channels, which are convolved separately.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the border holds, as in ``torch.nn.Conv2d``: zeros, the image mirrored about its outermost pixels (padding
        must be less than the extent), these pixels repeated, or the image repeated (padding of at most the extent).
    activation : str or (str, float), optional
        Applied to the result: "relu", "leaky_relu" (slope 0.01), "elu" (1.0), "sigmoid", "tanh", "silu", "gelu",
        "gelu_tanh", "hardswish", "relu6"; ``(name, parameter)`` sets the parameter.
    strategy : str
        One of `fastconv.engine.convolution`, or "auto": the cheapest within `tolerance`.
    tolerance : float, optional
        Bound on the expected maximum error, in standard deviations of the output, for "auto". Default 1e-5 in float32
        and that of a plain sum in float64; 0 allows only strategies that are componentwise accurate, see the notes.
    num_threads : int, optional
        Maximum number of threads; default `fastconv.get_num_threads`. Results do not depend on it.
    out : ndarray, optional
        Array for the result.
    layout : {"NCHW", "NHWC"}
        Order of the axes of `x`, `out` and the result. "NHWC" has channels last: ``x (N, H, W, C)`` or ``(H, W, C)``.
        The weight keeps its order.

    Returns
    -------
    ndarray, shape (N, OC, OH, OW) or (OC, OH, OW), or with channels last
        C-contiguous. If `x` is a batch in "NCHW" that lies in memory with channels last, a transposed view of an image
        with channels last, then so is the result, unless `out` is given.

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.
    UnsupportedError
        `strategy` cannot compute this; a ``NotImplementedError``.

    Notes
    -----
    By default accuracy is normwise: the error is bounded for the output as a whole, in its standard deviations σ. The
    bound holds for the error expected of independent data with mean 0 and equal variance. Where the products of an
    output are larger than σ, as for images with a mean under filters without one, errors are larger in proportion;
    `compare_conv2d` takes given data into account. With ``tolerance=0`` accuracy is componentwise: each output errs by
    a few roundings of the sum of its own products' magnitudes, so zeros are zeros and whole numbers below 2^24
    (float64: 2^53) are exact.

    Under every strategy, a NaN or an infinity in `x` reaches only the outputs whose windows contain it, and one in
    `weight` reaches every output of its filter: padding counts as zeros that are multiplied.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> fastconv.conv2d(x, np.ones((1, 1, 3, 3), np.float32))
    array([[[[45., 54.],
             [81., 90.]]]], dtype=float32)
    >>> fastconv.conv2d(x.reshape(1, 4, 4, 1), np.ones((1, 1, 3, 3), np.float32), layout="NHWC").shape
    (1, 2, 2, 1)
    """
    return _conv(
        2,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        activation,
        strategy,
        tolerance,
        num_threads,
        out,
        layout,
    )


@repeated()
@named_input
def conv1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: Activation = None,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """One-dimensional convolution (cross-correlation) of a batch of multi-channel signals.

    As `conv2d`, for ``x (N, C, W)`` or ``(C, W)`` and ``weight (OC, C / groups, KW)``; per-side padding is
    ``((left, right),)``.

    Returns
    -------
    ndarray, shape (N, OC, OW) or (OC, OW)

    Raises
    ------
    GeometryError, UnsupportedError
        As `conv2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv1d(np.array([[1.0, 2.0, 4.0, 8.0]]), np.array([[[-1.0, 1.0]]]))
    array([[1., 2., 4.]])
    """
    return _conv(
        1,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        activation,
        strategy,
        tolerance,
        num_threads,
        out,
    )


@repeated()
@named_input
def conv3d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: Activation = None,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Three-dimensional convolution (cross-correlation) of a batch of multi-channel volumes.

    As `conv2d`, for ``x (N, C, D, H, W)`` or ``(C, D, H, W)`` and ``weight (OC, C / groups, KD, KH, KW)``; per-side
    padding is ``((front, back), (top, bottom), (left, right))``. It is computed as a 2-D convolution of
    ``C * KD`` channels for every output depth, by `strategy`.

    Returns
    -------
    ndarray, shape (N, OC, OD, OH, OW) or (OC, OD, OH, OW)

    Raises
    ------
    GeometryError, UnsupportedError
        As `conv2d`.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv3d(np.ones((1, 4, 4, 4)), np.ones((1, 1, 3, 3, 3)), stride=2, padding=1).ravel()
    array([ 8., 12., 12., 18., 12., 18., 18., 27.])
    """
    return _conv(
        3,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        activation,
        strategy,
        tolerance,
        num_threads,
        out,
    )


def _conv(
    ndim: int,
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None,
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
    padding_mode: str,
    activation: Activation,
    strategy: str,
    tolerance: float | None,
    num_threads: int | None,
    out: np.ndarray | None,
    layout: str = "NCHW",
) -> np.ndarray:
    """`conv1d`, `conv2d` and `conv3d`: make operands of the arrays, look up the plan, run it."""
    follows_x = ndim == 2 and may_follow(checked_layout(layout), out)
    of_images = None if follows_x else layout
    geometry, shape, x, weight, epilogue = conv_operands(
        ndim, x, weight, bias, stride, padding, dilation, groups, activation, of_images, padding_mode
    )
    plan = planner.plan(
        geometry,
        x.dtype,
        kind=CONVOLUTION_3D if ndim == 3 else CONVOLUTION,
        strategy=strategy,
        tolerance=tolerance,
        threads=available_threads(num_threads),
    )
    result, target, images = image_result(out, shape, layout, geometry.channels_last, x, weight, epilogue.bias)
    plan.run_once(x, weight, epilogue, images)
    return repeatable(delivered(result, target))
