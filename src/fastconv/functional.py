"""Convolution and pooling with the names, argument order and meaning of ``torch.nn.functional``.

``conv*`` compute a **cross-correlation** (the deep-learning habit): the kernel is not flipped. For the flipped kind
see `fastconv.signal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fastconv import planner, threads
from fastconv.arrays import as_array, as_operand, checked_out, common_float, is_target
from fastconv.epilogue import Activation, Epilogue, parse_activation
from fastconv.errors import GeometryError
from fastconv.geometry import ConvGeometry, Padding, checked_shape
from fastconv.plan import Plan
from fastconv.strategies import STRATEGIES
from fastconv.strategies.base import DEFAULT_MAX_WORKSPACE


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


@lru_cache(maxsize=4096, typed=True)
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


def _hashable(argument):
    """`argument` with its lists and arrays as tuples, so that a geometry can be looked up by it."""
    return tuple(map(_hashable, argument)) if isinstance(argument, list | tuple | np.ndarray) else argument


def conv_operands(
    ndim, x, weight, bias, stride, padding, dilation, groups, activation
) -> tuple[ConvGeometry, tuple[int, ...], np.ndarray, np.ndarray, Epilogue]:
    """The arguments of a convolution, checked: geometry, shape of the result, and arrays as kernels read them."""
    x, weight = as_array("x", x), as_array("weight", weight)
    bias = None if bias is None else as_array("bias", bias)
    dtype = common_float(x=x, weight=weight, bias=bias)
    geometry, shape = _geometry(
        ndim, x.shape, weight.shape, _hashable(stride), _hashable(padding), _hashable(dilation), groups
    )
    if bias is not None:
        if bias.shape != (geometry.oc,):
            raise GeometryError(f"bias of shape {bias.shape}: expected ({geometry.oc},), one value a filter")
        bias = np.ascontiguousarray(bias, dtype)
    epilogue = Epilogue(bias, *parse_activation(activation))
    return geometry, shape, as_operand(x, dtype), as_operand(weight, dtype), epilogue


def available_threads(num_threads: int | None) -> int:
    """The argument `num_threads`, checked; by default all that a call may use."""
    return threads.get_num_threads() if num_threads is None else threads.checked_threads(num_threads)


def _conv(ndim, x, weight, bias, stride, padding, dilation, groups, activation, strategy, tolerance, num_threads, out):
    """`conv1d` and `conv2d`: arrays to operands, look up the plan, run it."""
    geometry, shape, x, weight, epilogue = conv_operands(
        ndim, x, weight, bias, stride, padding, dilation, groups, activation
    )
    plan = planner.plan(
        geometry, x.dtype, strategy=strategy, tolerance=tolerance, threads=available_threads(num_threads)
    )
    result = np.empty(shape, x.dtype) if out is None else checked_out(out, shape, x.dtype)
    target = result if out is None or is_target(out, x, weight, epilogue.bias) else np.empty(shape, x.dtype)
    execute(plan, x, weight, epilogue, target)
    if target is not result:
        result[...] = target
    return result


def execute(plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
    """Run `plan`; arrays may lack the batch axis, and the height of a 1-D problem."""
    g = plan.geometry
    plan.strategy.run(
        g,
        x.reshape(g.x_shape),
        plan.strategy.prepare(g, weight.reshape(g.weight_shape), plan.threads),
        out.reshape(g.out_shape),
        epilogue,
        plan.threads,
        plan.max_workspace,
    )
