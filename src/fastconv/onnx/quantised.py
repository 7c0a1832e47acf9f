"""Operators of integers that stand for reals, ``(integer - zero point) * scale``, and types that are only stored.

A scale and a zero point belong to a whole array, to each index of an axis, or to blocks along one. Convolutions and
products of such integers are sums of integers. They are computed as floats, by the same kernels as others, in the
smallest type that holds every sum exactly.

Narrow types, such as float16, are how values are stored: reading a model widens them to a type that we compute in.
What is cast to one is rounded to its values, and what a model returns has the type that it declares.

References: ONNX's operator specification; Jacob et al., Quantization and training of neural networks for efficient
integer-arithmetic-only inference, 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from fastconv.errors import UnsupportedError

# The types that values of stored ones are computed in.
_WIDE: dict[str, np.dtype] = {
    **dict.fromkeys(("FLOAT16", "BFLOAT16"), np.dtype(np.float32)),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), np.dtype(np.float32)),
    "FLOAT4E2M1": np.dtype(np.float32),
    **dict.fromkeys(("INT4", "INT2"), np.dtype(np.int8)),
    **dict.fromkeys(("UINT4", "UINT2"), np.dtype(np.uint8)),
}
STORED: dict[int, np.dtype] = {
    getattr(TensorProto, name): wide for name, wide in _WIDE.items() if hasattr(TensorProto, name)
}
"""By ONNX's number."""


def stored_dtype(number: int) -> np.dtype:
    dtype: np.dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
    return dtype


def narrowed(x: np.ndarray, number: int, saturate: bool = True) -> np.ndarray:
    """`x` in the stored type of that number. Small floats that saturate have no value beyond their largest."""
    dtype = stored_dtype(number)
    if STORED[number].kind == "f" and saturate and dtype.itemsize == 1:
        import ml_dtypes

        most = float(ml_dtypes.finfo(dtype).max)
        x = np.clip(x, -most, most)
    return np.asarray(x).astype(dtype)


def widened(x: np.ndarray, number: int) -> np.ndarray:
    """`x`, of the stored type of that number, in the type that it is computed in."""
    return x.astype(STORED[number])


def rounded(x: np.ndarray, number: int, saturate: bool) -> np.ndarray:
    """`x` with the values of a stored type."""
    return widened(narrowed(x, number, saturate), number)


def quantised(
    x: np.ndarray, scale: Any, zero: Any = None, *, number: int, axis: int, block: int, saturate: bool
) -> np.ndarray:
    """The integers, or the small floats, that stand for `x`."""
    shares = np.asarray(x / _spread(scale, x, axis, block))
    if number in STORED and STORED[number].kind == "f":
        return rounded(shares + (0 if zero is None else _spread(zero, x, axis, block)), number, saturate)
    integers = np.rint(shares)
    if zero is not None:
        integers = integers + _spread(zero, x, axis, block).astype(integers.dtype)
    return _saturated(integers, number)


def dequantised(x: np.ndarray, scale: Any, zero: Any = None, *, axis: int, block: int) -> np.ndarray:
    scale = np.asarray(scale)
    centred = x if zero is None else _centred(x, _spread(zero, x, axis, block))
    return np.asarray(centred.astype(scale.dtype) * _spread(scale, x, axis, block), scale.dtype)


def range_scale(x: np.ndarray) -> np.ndarray:
    """The scale by which 255 steps of integers reach from the least to the largest value, and to 0."""
    low, high = min(0.0, x.min(initial=0)), max(0.0, x.max(initial=0))
    return np.asarray((high - low) / 255, np.float32)


def range_zero(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The zero point that goes with `range_scale`."""
    low = np.float32(min(0.0, x.min(initial=0)))
    return np.asarray(np.clip(np.rint(-low / scale), 0, 255) if scale else 0, np.uint8)


def convolved(
    x: np.ndarray,
    weight: np.ndarray,
    zero: Any,
    weight_zero: Any,
    *,
    layer: Callable[..., np.ndarray],
    **window: Any,
) -> np.ndarray:
    """The convolution of both less their zero points; padding stands for zeros."""
    x, weight = _centred(x, zero), _centred(weight, _along(weight_zero, weight.ndim, 0))
    dtype = _exact(prod(weight.shape[1:]))
    # A tolerance of 0 leaves plain sums of products, which are exact.
    return _as_integers(layer(x.astype(dtype), weight.astype(dtype), None, **window, tolerance=0))


def multiplied(a: np.ndarray, b: np.ndarray, zero: Any, other_zero: Any) -> np.ndarray:
    """The matrix product of both less their zero points, of which `a` may have one per row and `b` one per column."""
    a, b = _centred(a, of_rows(zero)), _centred(b, other_zero)
    dtype = _exact(a.shape[-1])
    return _as_integers(a.astype(dtype) @ b.astype(dtype))


def of_rows(values: Any) -> Any:
    """One value per row, as they broadcast to a matrix."""
    return None if values is None else np.asarray(values)[..., None] if np.ndim(values) == 1 else np.asarray(values)


def requantised(
    sums: np.ndarray,
    bias: np.ndarray | None,
    first: Any,
    second: Any,
    scale: Any,
    zero: Any,
    *,
    number: int,
    axis: int,
) -> np.ndarray:
    """Sums of products of integers with the scales `first` and `second`, as integers of another scale."""
    wide = sums.astype(np.float64)
    if bias is not None:
        wide += _along(bias, sums.ndim, axis)
    factor = np.float64(first) * _along(np.asarray(second, np.float64), sums.ndim, axis)
    return _saturated(np.rint(wide * factor / np.float64(scale)) + np.float64(zero), number)


def _exact(terms: int) -> type[np.floating]:
    """The type that holds sums of so many products of integers of 8 bits, less their zero points."""
    return np.float32 if terms * 255 * 255 < 2**24 else np.float64


def _as_integers(sums: np.ndarray) -> np.ndarray:
    """Sums beyond 32 bits wrap around, as those of integers do."""
    return sums.astype(np.int64).astype(np.int32)


def _centred(x: np.ndarray, zero: Any) -> np.ndarray:
    """Integers less their zero point, in a type that holds the differences; small floats as they are."""
    if zero is None:
        return x
    if x.dtype.kind == "f" or x.dtype.itemsize > 2:
        return np.asarray(x - zero, x.dtype)
    return x.astype(np.int32) - np.asarray(zero, np.int32)


def _saturated(integers: np.ndarray, number: int) -> np.ndarray:
    dtype = stored_dtype(number)
    if number in STORED:
        import ml_dtypes

        limits: Any = ml_dtypes.iinfo(dtype)
        dtype = STORED[number]
    elif dtype.kind in "iu":
        limits = np.iinfo(dtype)
    else:
        raise UnsupportedError(f"values quantised to type number {number}: expected integers or small floats")
    return np.asarray(np.clip(integers, int(limits.min), int(limits.max)), dtype)


def _spread(values: Any, x: np.ndarray, axis: int, block: int) -> np.ndarray:
    """`values` of an array, of an axis, or of blocks along it, as they broadcast to `x`."""
    values = np.asarray(values)
    if values.size == 1:
        return np.asarray(values.reshape(()))
    axis %= x.ndim
    if block:
        return np.asarray(np.repeat(values, block, axis).take(range(x.shape[axis]), axis))
    return np.asarray(_along(values, x.ndim, axis))


def _along(values: Any, ndim: int, axis: int) -> Any:
    """One value per index of an axis, as they broadcast to an array of so many axes."""
    if values is None:
        return None
    values = np.asarray(values)
    return values.reshape(-1, *(1,) * (ndim - 1 - axis % ndim)) if values.ndim == 1 and values.size > 1 else values
