"""Operands and results of convolutions: argument checks, and arrays for kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_operand, checked_out, common_float, is_channels_last, is_target
from fastconv.engine.epilogue import PLAIN, Activation, Epilogue, parse_activation
from fastconv.engine.geometry import REMEMBERED, ConvGeometry, Padding, exact
from fastconv.errors import GeometryError


@lru_cache(maxsize=REMEMBERED)
def _geometry(
    ndim: int,
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
    padding_mode: str,
    channels_last: bool = False,
) -> tuple[ConvGeometry, tuple[int, ...]]:
    """The planar geometry of a call and the shape of its result, cached for repeated calls."""
    if len(weight_shape) != ndim + 2:
        raise GeometryError(f"weight of shape {weight_shape}: expected {ndim + 2} axes (oc, ic / groups, *kernel)")
    geometry = ConvGeometry.from_shapes(
        x_shape,
        weight_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        channels_last=channels_last,
        padding_mode=padding_mode,
    )
    return geometry.as_2d(), geometry.out_shape[ndim + 2 - len(x_shape) :]


def conv_operands(
    ndim: int,
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None,
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
    activation: Activation,
    layout: str | None = None,
    padding_mode: str = "zeros",
) -> tuple[ConvGeometry, tuple[int, ...], np.ndarray, np.ndarray, Epilogue]:
    """Check the arguments of a convolution; returns its geometry, the shape of the result, and arrays for kernels.

    Arrays and shapes are in the order (N, C, H, W), also those of `layout` "NHWC". Without a layout, it is that of `x`.
    """
    x, weight = as_array("x", x), as_array("weight", weight)
    bias = None if bias is None else as_array("bias", bias)
    dtype = common_float(x=x, weight=weight, bias=bias)
    x, channels_last = in_channel_order(x, layout)
    window = (stride, padding, dilation, groups, padding_mode)
    lookup: Callable[..., tuple[ConvGeometry, tuple[int, ...]]]
    key: Sequence[object]
    try:
        lookup, key = _geometry, [value if type(value) is int else exact(value) for value in window]
    except TypeError:  # not hashable: building the geometry names the argument that is wrong
        lookup, key = _geometry.__wrapped__, window
    geometry, shape = lookup(ndim, x.shape, weight.shape, *key, channels_last)
    epilogue = checked_epilogue(bias, geometry.oc, dtype, activation)
    return geometry, shape, as_operand(x, dtype), as_operand(weight, dtype), epilogue


def checked_layout(layout: str) -> str:
    if layout not in ("NCHW", "NHWC"):
        raise ValueError(f"layout={layout!r}: expected 'NCHW' or 'NHWC'")
    return layout


def in_channel_order(x: np.ndarray, layout: str | None) -> tuple[np.ndarray, bool]:
    """`x` in the order (N, C, H, W) or (C, H, W), and whether it is computed with channels last."""
    if layout is None:
        return x, x.ndim == 4 and is_channels_last(x)
    if layout == "NHWC" and x.ndim in (3, 4):  # any other shape is an error, which is raised with the others
        return np.moveaxis(x, -1, -3), True
    return x, False


def may_follow(layout: str, out: np.ndarray | None) -> bool:
    """Whether a call is computed in the layout of its images: no other is asked for, and `out` is not in another."""
    return layout == "NCHW" and (
        out is None or (isinstance(out, np.ndarray) and out.ndim == 4 and is_channels_last(out))
    )


def checked_epilogue(bias: np.ndarray | None, channels: int, dtype: np.dtype, activation: Activation) -> Epilogue:
    """Check bias and activation."""
    if bias is not None:
        if bias.shape != (channels,):
            raise GeometryError(f"bias of shape {bias.shape}: expected ({channels},), one value per filter")
        bias = np.ascontiguousarray(bias, dtype)
    return PLAIN if bias is None and activation is None else Epilogue(bias, *parse_activation(activation))


def result_and_target(
    out: np.ndarray | None, shape: tuple[int, ...], x: np.ndarray, *others: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The array to return and the array that kernels write; the same one if kernels can write into `out`."""
    if out is None:
        result = np.empty(shape, x.dtype)
        return result, result
    result = checked_out(out, shape, x.dtype)
    return result, result if is_target(out, x, *others) else np.empty(shape, x.dtype)


def image_result(
    out: np.ndarray | None, shape: tuple[int, ...], layout: str, channels_last: bool, *operands: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `result_and_target`, for images in either layout; and third, what kernels write in the order (N, C, H, W)."""
    if not channels_last:
        result, target = result_and_target(out, shape, *operands)
        return result, target, target
    *batch, channels, height, width = shape
    images = out
    if layout == "NCHW" and out is not None:
        images = np.moveaxis(checked_out(out, shape, operands[0].dtype), -3, -1)
    result, target = result_and_target(images, (*batch, height, width, channels), *operands)
    planes = np.moveaxis(target, -1, -3)
    if layout == "NHWC":
        return result, target, planes
    if out is None:  # a view with channels last has a result like it
        return planes, planes, planes
    return out, (out if target is result else planes), planes


def delivered(result: np.ndarray, target: np.ndarray) -> np.ndarray:
    if target is not result:
        result[...] = target
    return result
