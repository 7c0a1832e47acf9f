"""Convolution and pooling with the names, argument order and meaning of ``torch.nn.functional``.

``conv*`` compute a **cross-correlation** (the deep-learning habit): the kernel is not flipped. For the flipped kind
see `fastconv.signal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fastconv import planner, pooling, threads, volume
from fastconv.adjoint import input_adjoint
from fastconv.arrays import as_array, as_operand, checked_out, common_float, is_target, ordered_dtype
from fastconv.epilogue import PLAIN, Activation, Epilogue, parse_activation
from fastconv.errors import GeometryError
from fastconv.geometry import ConvGeometry, Padding, checked_shape, exact, fractional_extents, unpooled_extents
from fastconv.plan import Plan
from fastconv.strategies import STRATEGIES
from fastconv.strategies.base import DEFAULT_MAX_WORKSPACE, Compiles


def strategies() -> tuple[str, ...]:
    """The names of the lowering strategies, in the planner's order.

    Examples
    --------
    >>> import fastconv
    >>> "im2col" in fastconv.strategies()
    True
    """
    return tuple(strategy.name for strategy in STRATEGIES)


def conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    activation: Activation = None,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    out: np.ndarray | None = None,
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
        Zeros around the image. "same" keeps the extent (stride 1 only); an odd rest goes to the bottom and right.
    dilation : int or (int, int)
        Distance between taps; 1 is dense.
    groups : int
        Input and output channels fall into as many groups that are convolved apart.
    activation : str or (str, float), optional
        Applied to the result: "relu", "leaky_relu" (slope 0.01), "elu" (1.0), "sigmoid", "tanh", "silu", "gelu",
        "hardswish"; ``(name, parameter)`` sets the parameter.
    strategy : str
        One of `fastconv.strategies`, or "auto": the cheapest within `tolerance`.
    tolerance : float, optional
        Bound on the expected maximum error, in standard deviations of the output, for "auto". Default 1e-5 in float32
        and that of a plain sum in float64; 0 allows only strategies that round as a plain sum does.
    num_threads : int, optional
        At most as many threads; default `fastconv.get_num_threads`. Results do not depend on it.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray, shape (N, OC, OH, OW) or (OC, OH, OW)

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.
    UnsupportedError
        `strategy` cannot compute this; a ``NotImplementedError``.

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
        activation,
        strategy,
        tolerance,
        num_threads,
        out,
    )


def conv1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
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
        activation,
        strategy,
        tolerance,
        num_threads,
        out,
    )


def conv3d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
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
        activation,
        strategy,
        tolerance,
        num_threads,
        out,
    )


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
    and so the gradient of that by its input.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64 after NumPy's promotion with `weight` and `bias`.
    weight : array_like, shape (C, OC / groups, KH, KW)
        Filters, by input channel first.
    bias : array_like, shape (OC,), optional
        Added to every output of a channel.
    stride : int or (int, int)
        Distance of the kernels that neighbouring inputs add, down and right.
    padding : int or (int, int)
        Rows and columns that are cut off on both sides.
    output_padding : int or (int, int)
        Rows and columns more at the bottom and right, less than stride or dilation: which of the extents that a
        convolution of that stride maps to the extent of `x` is meant.
    groups : int
        Input and output channels fall into as many groups that are convolved apart.
    dilation : int or (int, int)
        Distance between taps; 1 is dense.
    activation, tolerance, num_threads, out
        As `conv2d`.

    Returns
    -------
    ndarray, shape (N, OC, OH, OW) or (OC, OH, OW)
        Of extent ``(H - 1)*sh - 2*ph + dh*(KH - 1) + output_padding + 1``, and likewise in width.

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


def plan_conv2d(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    dtype: npt.DTypeLike = np.float32,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    max_workspace: int = DEFAULT_MAX_WORKSPACE,
    mode: str = "estimate",
) -> Plan:
    """How `conv2d` would compute a problem, and why; its repr is the report.

    Parameters
    ----------
    x_shape, weight_shape : sequence of int
        As `conv2d`'s arrays.
    dtype : dtype_like
        float32 or float64.
    stride, padding, dilation, groups, strategy, tolerance, num_threads
        As `conv2d`.
    max_workspace : int
        Bound on scratch memory, in bytes.
    mode : {"estimate", "measure"}
        Choose by estimated costs, or time the candidates once on random data.

    Returns
    -------
    Plan

    Raises
    ------
    GeometryError, UnsupportedError
        As `conv2d`.

    Examples
    --------
    >>> import fastconv
    >>> plan = fastconv.plan_conv2d((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> plan.geometry.out_shape
    (1, 64, 56, 56)
    """
    if len(weight_shape) != 4:
        raise GeometryError(f"weight of shape {tuple(weight_shape)}: expected 4 axes (oc, ic / groups, kh, kw)")
    geometry = ConvGeometry.from_shapes(
        checked_shape("x_shape", x_shape),
        checked_shape("weight_shape", weight_shape),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return planner.plan(
        geometry,
        common_float(dtype=np.empty(0, dtype)),
        strategy=strategy,
        tolerance=tolerance,
        threads=available_threads(num_threads),
        max_workspace=max_workspace,
        mode=mode,
    )


def warmup(*descriptors: str, dtype: npt.DTypeLike = np.float32, num_threads: int | None = None) -> tuple[str, ...]:
    """Compile now what the first convolutions of such problems would otherwise wait for.

    Kernels are compiled at their first use, for about half a second each, and kept on disk where a directory can be
    written (`fastconv info` names it). A few kernels serve all problems: they depend on the type, on the stride and
    on how many rows and columns the output has at least, but not on channels, and only up to 5 on the kernel's height.

    Parameters
    ----------
    *descriptors : str
        Problems, as in ``"n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1"``; by default image filters and depthwise layers of
        the usual kernels.
    dtype : dtype_like
        float32 or float64.
    num_threads : int, optional
        As `conv2d`.

    Returns
    -------
    tuple of str
        The strategy that "auto" chooses for each problem, ready to run.

    Raises
    ------
    GeometryError
        A descriptor is not one, or describes nothing that can be computed.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.warmup("ic1 oc1 i1024 k5 p2", "ic512 oc512 i14 k1")
    ('direct', 'implicit')
    """
    type_ = common_float(dtype=np.empty(0, dtype))
    chosen = []
    for descriptor in descriptors or _USUAL:
        geometry = ConvGeometry.parse(descriptor).as_2d()
        plan = planner.plan(geometry, type_, threads=available_threads(num_threads))
        if isinstance(plan.strategy, Compiles):
            plan.strategy.compile(geometry, type_)
        chosen.append(plan.strategy.name)
    return tuple(chosen)


# What `warmup` compiles by default.
_USUAL = (
    *(f"ic1 oc1 i{extent} k{kernel} p{kernel // 2}" for extent in (128, 1024) for kernel in (3, 5, 7)),
    *(f"g32 ic32 oc32 i{extent} k3 s{stride} p1" for extent in (7, 14, 28, 56, 112) for stride in (1, 2)),
)


def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The largest value of every window of a batch of multi-channel images.

    ``out[n, c, r, q] = max_{i, j} x[n, c, r*sh - pt + i*dh, q*sw - pl + j*dw]`` over the taps inside the image.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32, float64 or an integer type. A NaN in a window makes its maximum NaN.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Steps of the window, down and right; default `kernel_size`.
    padding : int or (int, int)
        Rows and columns around the image, at most half of `kernel_size`, that windows may cover; they never win.
    dilation : int or (int, int)
        Distance between taps; 1 is dense.
    ceil_mode : bool
        Round the output extent up, so that a last window may stick out at the bottom and right; it must start inside
        the image or the padding above and to the left.
    return_indices : bool
        Also return where each maximum was found.

    Returns
    -------
    out : ndarray, shape (N, C, OH, OW) or (C, OH, OW)
        Maxima, in the type of `x`. Where dilation leaves a window without any tap inside the image: the lowest value.
    indices : ndarray of int64, same shape
        With `return_indices`: ``row * W + column`` in the plane, of the first of equal maxima in row-major order, or of
        the last NaN; -1 for a window without any tap inside the image.

    Raises
    ------
    GeometryError
        The shape and the window do not fit together; a ``ValueError``.
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
    """
    x = as_array("x", x)
    return pooling.max_pool(
        x, ordered_dtype("x", x), return_indices, 2, (kernel_size, stride, padding, dilation, ceil_mode)
    )


def avg_pool2d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The mean of every window of a batch of multi-channel images.

    ``out[n, c, r, q] = sum_{i, j} x[n, c, r*sh - pt + i, q*sw - pl + j] / divisor`` over the taps inside the image.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64; sums are taken in that type.
    kernel_size, stride, padding, ceil_mode
        As `max_pool2d`; the padding counts as zeros.
    count_include_pad : bool
        Divide by the size of the window clipped to the padded image, or else to the image.
    divisor_override : int, optional
        Divide by this instead.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    GeometryError
        The shape and the window do not fit together, or `divisor_override` is 0; a ``ValueError``.
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
    x = as_array("x", x)
    return pooling.avg_pool(
        x, common_float(x=x), count_include_pad, divisor_override, 2, (kernel_size, stride, padding, 1, ceil_mode)
    )


def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
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
    x = as_array("x", x)
    return pooling.max_pool(
        x, ordered_dtype("x", x), return_indices, 1, (kernel_size, stride, padding, dilation, ceil_mode)
    )


def max_pool3d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
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
    x = as_array("x", x)
    return pooling.max_pool(
        x, ordered_dtype("x", x), return_indices, 3, (kernel_size, stride, padding, dilation, ceil_mode)
    )


def avg_pool1d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
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
    x = as_array("x", x)
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return pooling.avg_pool(x, common_float(x=x), count_include_pad, None, 1, window)


def avg_pool3d(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
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
    x = as_array("x", x)
    window = (kernel_size, stride, padding, 1, ceil_mode)
    return pooling.avg_pool(x, common_float(x=x), count_include_pad, divisor_override, 3, window)


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
    return pooling.lp_pool(as_array("x", x), norm_type, 1, (kernel_size, stride, 0, 1, ceil_mode))


def lp_pool2d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The p-norm of every window of a batch of multi-channel images.

    ``out[n, c, r, q] = (sum_{i, j} x[n, c, r*sh + i, q*sw + j] ** p) ** (1 / p)``

    As torch has it, x is taken with its sign: powers of an odd p may add up to less than 0, of which only p = 1 has a
    root; others give NaN. A window that `ceil_mode` lets stick out counts the taps outside as if they held the mean
    power of those inside.

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
    return pooling.lp_pool(as_array("x", x), norm_type, 2, (kernel_size, stride, 0, 1, ceil_mode))


def adaptive_max_pool1d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The maxima of as many windows as are asked for, of a batch of multi-channel signals.

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
    x = as_array("x", x)
    kind = "indices" if return_indices else "max"
    return pooling.adaptive_pool(x, ordered_dtype("x", x), kind, 1, output_size)


def adaptive_max_pool2d(
    x: npt.ArrayLike, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The maxima of as many windows as are asked for, of a batch of multi-channel images.

    Window o of an axis covers ``floor(o * in / out) <= i < ceil((o + 1) * in / out)``: windows are as equal as can
    be, and neighbours may share a row or column.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32, float64 or an integer type. A NaN in a window makes its maximum NaN.
    output_size : int, None or (int or None, int or None)
        Height and width of the output; ``None`` keeps that of the image.
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
    x = as_array("x", x)
    kind = "indices" if return_indices else "max"
    return pooling.adaptive_pool(x, ordered_dtype("x", x), kind, 2, output_size)


def adaptive_avg_pool1d(x: npt.ArrayLike, output_size: int | Sequence[int | None] | None) -> np.ndarray:
    """The means of as many windows as are asked for, of a batch of multi-channel signals.

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
    x = as_array("x", x)
    return pooling.adaptive_pool(x, common_float(x=x), "mean", 1, output_size)


def adaptive_avg_pool2d(x: npt.ArrayLike, output_size: int | Sequence[int | None] | None) -> np.ndarray:
    """The means of as many windows as are asked for, of a batch of multi-channel images.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32 or float64; sums are taken in that type.
    output_size : int, None or (int or None, int or None)
        As `adaptive_max_pool2d`, whose windows these are.

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
    x = as_array("x", x)
    return pooling.adaptive_pool(x, common_float(x=x), "mean", 2, output_size)


def global_max_pool2d(x: npt.ArrayLike) -> np.ndarray:
    """The largest value of every channel of a batch of multi-channel images: `adaptive_max_pool2d` to one position.

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
    return adaptive_max_pool2d(x, 1)


def global_avg_pool2d(x: npt.ArrayLike) -> np.ndarray:
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
    return adaptive_avg_pool2d(x, 1)


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
    """The maxima of windows that start at random places, as many as are asked for.

    Along each axis window o starts at ``floor((o + u) * a) - floor(u * a)``, ``a = (in - kernel) / (out - 1)``, and the
    last one ends where the image does; u is drawn for every channel of every image.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Images; any strides. float32, float64 or an integer type. A NaN in a window makes its maximum NaN.
    kernel_size : int or (int, int)
        Height and width of the window.
    output_size : int or (int, int), optional
        Height and width of the output; either this or `output_ratio`.
    output_ratio : float or (float, float), optional
        The same as parts of the image, between 0 and 1.
    return_indices : bool
        Also return where each maximum was found, as `max_pool2d` does.
    _random_samples : array_like, shape (N, C, 2) or (C, 2), optional
        The numbers u, at least 0 and below 1, across and down.
    rng : numpy.random.Generator or int, optional
        What draws u otherwise, or its seed.

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
        if samples.shape != shape or samples.dtype.kind != "f" or not np.all((samples >= 0) & (samples < 1)):
            raise GeometryError(
                f"_random_samples of shape {samples.shape} and dtype {samples.dtype}: expected floats of shape {shape}"
                ", at least 0 and below 1"
            )
    return pooling.fractional_max_pool(x, dtype, return_indices, kernel, out_extent, samples)


def max_unpool2d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> np.ndarray:
    """Images of zeros with maxima where they came from: what `max_pool2d` leaves, put back.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        Maxima. float32, float64 or an integer type.
    indices : array_like of int, same shape
        What `max_pool2d` returned beside them: ``row * OW + column`` in the output's plane. Where one is repeated, the
        last value stays.
    kernel_size, stride, padding
        As `max_pool2d` was given.
    output_size : sequence of int, optional
        The image's height and width, or its whole shape: less than a stride from ``(H - 1)*sh - 2*ph + kh`` and so on,
        the default.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    GeometryError
        The shapes do not fit together, or an index is outside its plane; a ``ValueError``.
    TypeError
        `x` is masked or of another type, or `indices` are no integers.

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
    x, indices = as_array("x", x), as_array("indices", indices)
    ordered_dtype("x", x)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices of dtype {indices.dtype}: expected integers")
    if indices.shape != x.shape:
        raise GeometryError(f"indices of shape {indices.shape}: expected that of x, {x.shape}")
    extent = unpooled_extents(x.shape, kernel_size, stride, padding, output_size)
    return pooling.unpool(x, indices, extent)


@lru_cache(maxsize=4096)
def _geometry(
    ndim: int,
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
) -> tuple[ConvGeometry, tuple[int, ...]]:
    """The planar geometry of a call, and the shape of its result: what a repeated call looks up."""
    if len(weight_shape) != ndim + 2:
        raise GeometryError(f"weight of shape {weight_shape}: expected {ndim + 2} axes (oc, ic / groups, *kernel)")
    geometry = ConvGeometry.from_shapes(
        x_shape, weight_shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return geometry.as_2d(), geometry.out_shape[ndim + 2 - len(x_shape) :]


def conv_operands(
    ndim, x, weight, bias, stride, padding, dilation, groups, activation
) -> tuple[ConvGeometry, tuple[int, ...], np.ndarray, np.ndarray, Epilogue]:
    """The arguments of a convolution, checked: geometry, shape of the result, and arrays as kernels read them."""
    x, weight = as_array("x", x), as_array("weight", weight)
    bias = None if bias is None else as_array("bias", bias)
    dtype = common_float(x=x, weight=weight, bias=bias)
    window = (stride, padding, dilation, groups)
    try:
        lookup, key = _geometry, [value if type(value) is int else exact(value) for value in window]
    except TypeError:  # the geometry says which argument is wrong
        lookup, key = _geometry.__wrapped__, window
    geometry, shape = lookup(ndim, x.shape, weight.shape, *key)
    epilogue = _epilogue(bias, geometry.oc, dtype, activation)
    return geometry, shape, as_operand(x, dtype), as_operand(weight, dtype), epilogue


def _epilogue(bias: np.ndarray | None, channels: int, dtype: np.dtype, activation: Activation) -> Epilogue:
    """Bias and activation, checked."""
    if bias is not None:
        if bias.shape != (channels,):
            raise GeometryError(f"bias of shape {bias.shape}: expected ({channels},), one value a filter")
        bias = np.ascontiguousarray(bias, dtype)
    return PLAIN if bias is None and activation is None else Epilogue(bias, *parse_activation(activation))


def available_threads(num_threads: int | None) -> int:
    """The argument `num_threads`, checked; by default all that a call may use."""
    return threads.get_num_threads() if num_threads is None else threads.limited(threads.checked_threads(num_threads))


def _conv(ndim, x, weight, bias, stride, padding, dilation, groups, activation, strategy, tolerance, num_threads, out):
    """`conv1d`, `conv2d` and `conv3d`: arrays to operands, look up the plan, run it."""
    geometry, shape, x, weight, epilogue = conv_operands(
        ndim, x, weight, bias, stride, padding, dilation, groups, activation
    )
    if ndim == 3:
        result, target = _result(out, shape, x, weight, epilogue)
        volume.convolve(
            geometry,
            x.reshape(geometry.x_shape),
            weight,
            epilogue,
            target.reshape(geometry.out_shape),
            strategy=strategy,
            tolerance=tolerance,
            threads=available_threads(num_threads),
        )
        return _delivered(result, target)
    plan = planner.plan(
        geometry, x.dtype, strategy=strategy, tolerance=tolerance, threads=available_threads(num_threads)
    )
    result, target = _result(out, shape, x, weight, epilogue)
    execute(plan, x, weight, epilogue, target)
    return _delivered(result, target)


def _conv_transpose(ndim, x, weight, bias, window, activation, tolerance, num_threads, out):
    """`conv_transpose1d`, `2d` and `3d`: the adjoint of a convolution from x, of its output's shape."""
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
    epilogue = _epilogue(bias, geometry.ic, dtype, activation)
    x, weight = as_operand(x, dtype), as_operand(weight, dtype)
    threads_ = available_threads(num_threads)
    result, target = _result(out, geometry.x_shape[ndim + 2 - x.ndim :], x, weight, epilogue)
    g = geometry.as_2d()
    input_adjoint(g, x.reshape(g.out_shape), weight, epilogue, target.reshape(g.x_shape), tolerance, threads_)
    return _delivered(result, target)


def _result(
    out: np.ndarray | None, shape: tuple[int, ...], x: np.ndarray, weight: np.ndarray, epilogue: Epilogue
) -> tuple[np.ndarray, np.ndarray]:
    """What the caller gets, and what kernels write: the same array, if they can write into `out`."""
    if out is None:
        result = np.empty(shape, x.dtype)
        return result, result
    result = checked_out(out, shape, x.dtype)
    return result, result if is_target(out, x, weight, epilogue.bias) else np.empty(shape, x.dtype)


def _delivered(result: np.ndarray, target: np.ndarray) -> np.ndarray:
    if target is not result:
        result[...] = target
    return result


def execute(plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
    """Run `plan`; arrays may lack the batch axis, and the height of a 1-D problem."""
    g = plan.geometry
    if weight.ndim != g.ndim + 2:
        weight = weight.reshape(g.weight_shape)
    if x.ndim != g.ndim + 2:
        x, out = x.reshape(g.x_shape), out.reshape(g.out_shape)
    plan.strategy.run_once(g, x, weight, out, epilogue, plan.threads, plan.max_workspace)
