"""Operands and results of convolutions: argument checks, and arrays for kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_operand, checked_out, common_float, is_target
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
) -> tuple[ConvGeometry, tuple[int, ...]]:
    """The planar geometry of a call and the shape of its result, cached for repeated calls."""
    if len(weight_shape) != ndim + 2:
        raise GeometryError(f"weight of shape {weight_shape}: expected {ndim + 2} axes (oc, ic / groups, *kernel)")
    geometry = ConvGeometry.from_shapes(
        x_shape, weight_shape, stride=stride, padding=padding, dilation=dilation, groups=groups
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
) -> tuple[ConvGeometry, tuple[int, ...], np.ndarray, np.ndarray, Epilogue]:
    """Check the arguments of a convolution; returns its geometry, the shape of the result, and arrays for kernels."""
    x, weight = as_array("x", x), as_array("weight", weight)
    bias = None if bias is None else as_array("bias", bias)
    dtype = common_float(x=x, weight=weight, bias=bias)
    window = (stride, padding, dilation, groups)
    lookup: Callable[..., tuple[ConvGeometry, tuple[int, ...]]]
    key: Sequence[object]
    try:
        lookup, key = _geometry, [value if type(value) is int else exact(value) for value in window]
    except TypeError:  # not hashable: building the geometry names the argument that is wrong
        lookup, key = _geometry.__wrapped__, window
    geometry, shape = lookup(ndim, x.shape, weight.shape, *key)
    epilogue = checked_epilogue(bias, geometry.oc, dtype, activation)
    return geometry, shape, as_operand(x, dtype), as_operand(weight, dtype), epilogue


def checked_epilogue(bias: np.ndarray | None, channels: int, dtype: np.dtype, activation: Activation) -> Epilogue:
    """Check bias and activation."""
    if bias is not None:
        if bias.shape != (channels,):
            raise GeometryError(f"bias of shape {bias.shape}: expected ({channels},), one value per filter")
        bias = np.ascontiguousarray(bias, dtype)
    return PLAIN if bias is None and activation is None else Epilogue(bias, *parse_activation(activation))


def result_and_target(
    out: np.ndarray | None, shape: tuple[int, ...], x: np.ndarray, weight: np.ndarray, epilogue: Epilogue
) -> tuple[np.ndarray, np.ndarray]:
    """The array to return and the array that kernels write; the same one if kernels can write into `out`."""
    if out is None:
        result = np.empty(shape, x.dtype)
        return result, result
    result = checked_out(out, shape, x.dtype)
    return result, result if is_target(out, x, weight, epilogue.bias) else np.empty(shape, x.dtype)


def delivered(result: np.ndarray, target: np.ndarray) -> np.ndarray:
    if target is not result:
        result[...] = target
    return result
