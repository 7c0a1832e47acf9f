"""Layers with ONNX's rules, made of those of `fastconv.nn` where these differ, and of NumPy where there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.engine.geometry import strided_same_padding
from fastconv.engine.replay import unrepeatable
from fastconv.errors import UnsupportedError
from fastconv.onnx.arrays import norm

_CONVOLUTIONS = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}
_TRANSPOSED = {1: nn.conv_transpose1d, 2: nn.conv_transpose2d, 3: nn.conv_transpose3d}
_MAX_POOLS = {1: nn.max_pool1d, 2: nn.max_pool2d, 3: nn.max_pool3d}

_Pairs = Sequence[tuple[int, int]]


def same(x: np.ndarray) -> np.ndarray:
    return x


def relu(x: np.ndarray) -> Any:
    """Of integers."""
    unrepeatable()
    return np.maximum(x, 0)


def add(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of numbers of any type."""
    unrepeatable()
    return np.asarray(np.add(x, other))


def cat(tensors: Sequence[np.ndarray], dim: int) -> np.ndarray:
    """Of arrays of any type."""
    unrepeatable()
    return np.concatenate(tensors, dim)


def conv_same(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *, upper: bool, **window: Any
) -> np.ndarray:
    """A convolution whose padding depends on the image."""
    kernel = weight.shape[2:]
    padding = strided_same_padding(x.shape[2:], kernel, window["stride"], window["dilation"], upper)
    return _CONVOLUTIONS[len(kernel)](x, weight, bias, **window | {"padding": tuple(padding)})


def conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Sequence[int],
    padding: _Pairs,
    dilation: Sequence[int],
    groups: int,
    auto_pad: str,
    output_padding: Sequence[int],
    output_shape: Sequence[int] | None,
) -> np.ndarray:
    """A transposed convolution, computed without padding, of which the padding is cut off."""
    kernel, extents = weight.shape[2:], x.shape[2:]
    function = _TRANSPOSED.get(len(kernel))
    if function is None:
        raise UnsupportedError(f"ConvTranspose of {len(kernel)} spatial axes: expected 1 to 3")
    full = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(extents, stride, dilation, kernel, strict=True)]
    if output_shape is not None or auto_pad.startswith("SAME"):
        wanted = output_shape or [n * s for n, s in zip(extents, stride, strict=True)]
        pairs = []
        for extent, out, more in zip(full, wanted[-len(kernel) :], output_padding, strict=True):
            total = max(0, extent + more - out)
            less = total // 2
            pairs.append((less, total - less) if auto_pad == "SAME_UPPER" else (total - less, less))
        padding = pairs
    elif auto_pad == "VALID":
        padding = [(0, 0)] * len(kernel)
    result = function(x, weight, bias, tuple(stride), 0, 0, groups, tuple(dilation))
    wanted = [n + more - sum(pair) for n, more, pair in zip(full, output_padding, padding, strict=True)]
    if output_shape is not None:
        wanted = list(output_shape[-len(kernel) :])
    cut, short = [slice(None)] * 2, [(0, 0)] * 2
    for (before, _), extent, out in zip(padding, full, wanted, strict=True):
        cut.append(slice(before, min(extent, before + out)))
        short.append((0, max(0, before + out - extent)))
    unrepeatable()
    result = result[tuple(cut)]
    if not any(map(any, short)):
        return np.ascontiguousarray(result)
    # Beyond the taps there is nothing but the bias.
    fill = 0 if bias is None else bias.reshape(-1, *(1,) * len(kernel))
    larger = np.zeros([n + more for n, (_, more) in zip(result.shape, short, strict=True)], x.dtype) + fill
    larger = larger.astype(x.dtype, copy=False)
    larger[tuple(map(slice, result.shape))] = result
    return larger


def _pads(
    x: np.ndarray, kernel_size: Sequence[int], stride: Any, padding: _Pairs, dilation: Any, auto_pad: str
) -> list[tuple[int, int]]:
    if auto_pad == "VALID":
        return [(0, 0)] * len(kernel_size)
    if auto_pad == "NOTSET":
        return list(padding)
    return list(strided_same_padding(x.shape[2:], kernel_size, stride, dilation, auto_pad == "SAME_UPPER"))


def _reaching(
    x: np.ndarray, kernel: Any, stride: Any, pads: list[tuple[int, int]], dilation: Any, ceil: bool
) -> list[tuple[int, int]]:
    """The padding with what the last window needs if extents are rounded up; it has to begin inside the image or the
    padding before it."""
    reaching = []
    for extent, k, s, d, (before, after) in zip(x.shape[2:], kernel, stride, dilation, pads, strict=True):
        span, padded = d * (k - 1) + 1, extent + before + after
        count = (padded - span) // s + 1
        if ceil:
            count = -(-(padded - span) // s) + 1
            if (count - 1) * s >= extent + before:
                count -= 1
        reaching.append((before, max(0, (count - 1) * s + span - before - extent)))
    return reaching


def _padded(x: np.ndarray, pads: _Pairs, fill: Any) -> np.ndarray:
    unrepeatable()
    return np.pad(x, ((0, 0), (0, 0), *pads), constant_values=fill) if any(map(any, pads)) else x


def max_pool(
    x: np.ndarray, *, kernel_size: Any, stride: Any, padding: _Pairs, dilation: Any, ceil_mode: bool, auto_pad: str
) -> np.ndarray:
    """With any padding, which is never the maximum."""
    pads = _pads(x, kernel_size, stride, padding, dilation, auto_pad)
    pads = _reaching(x, kernel_size, stride, pads, dilation, ceil_mode)
    padded = _padded(x, pads, _bound(x.dtype, -1))
    result: np.ndarray = _pool(_MAX_POOLS, len(kernel_size))(padded, kernel_size, stride, 0, dilation)
    return result


def max_pool_indices(
    x: np.ndarray,
    *,
    kernel_size: Any,
    stride: Any,
    padding: _Pairs,
    dilation: Any,
    ceil_mode: bool,
    auto_pad: str,
    by_columns: bool,
) -> np.ndarray:
    """Where the maxima are in the whole array, in row-major order, or with `by_columns` down the columns of a plane."""
    pads = _pads(x, kernel_size, stride, padding, dilation, auto_pad)
    pads = _reaching(x, kernel_size, stride, pads, dilation, ceil_mode)
    padded = _padded(x, pads, _bound(x.dtype, -1))
    _, found = _pool(_MAX_POOLS, len(kernel_size))(padded, kernel_size, stride, 0, dilation, return_indices=True)
    places = list(np.unravel_index(found, padded.shape[2:]))
    places = [place - before for place, (before, _) in zip(places, pads, strict=True)]
    extents = list(x.shape[2:])
    if by_columns:
        places, extents = places[::-1], extents[::-1]
    flat = np.ravel_multi_index(tuple(places), tuple(extents), mode="clip")
    planes = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * len(extents))
    return np.asarray(flat + planes * prod(extents), np.int64)


def average_pool(
    x: np.ndarray,
    *,
    kernel_size: Any,
    stride: Any,
    padding: _Pairs,
    dilation: Any,
    auto_pad: str,
    counts: bool,
    ceil_mode: bool,
) -> Any:
    """With any padding; what a rounded extent adds to it never counts."""
    pads = _pads(x, kernel_size, stride, padding, dilation, auto_pad)
    reaching = _reaching(x, kernel_size, stride, pads, dilation, ceil_mode)
    sums = _sums(_padded(x, reaching, 0), kernel_size, stride, dilation)
    present = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if counts:
        present = _padded(present, pads, 1)
        reaching = [(0, max(0, after - given)) for (_, after), (_, given) in zip(reaching, pads, strict=True)]
    return sums / _sums(_padded(present, reaching, 0), kernel_size, stride, dilation)


def _sums(x: np.ndarray, kernel_size: Any, stride: Any, dilation: Any) -> np.ndarray:
    """Of every window: a convolution with ones, channel by channel."""
    weight = np.ones((1, 1, *kernel_size), x.dtype)
    planes = x.reshape(-1, 1, *x.shape[2:])
    convolution = _pool(_CONVOLUTIONS, len(kernel_size))
    result: np.ndarray = convolution(planes, weight, None, tuple(stride), 0, tuple(dilation), tolerance=0)
    return result.reshape(*x.shape[:2], *result.shape[2:])


def lp_pool(
    x: np.ndarray,
    *,
    p: int,
    kernel_size: Any,
    stride: Any,
    padding: _Pairs,
    dilation: Any,
    auto_pad: str,
    ceil_mode: bool,
) -> np.ndarray:
    pads = _pads(x, kernel_size, stride, padding, dilation, auto_pad)
    pads = _reaching(x, kernel_size, stride, pads, dilation, ceil_mode)
    powers = np.abs(_padded(x, pads, 0)) ** p
    return (_sums(powers, kernel_size, stride, dilation) ** (1 / p)).astype(x.dtype)


def _pool(functions: dict[int, Any], axes: int) -> Any:
    if axes not in functions:
        raise UnsupportedError(f"a window of {axes} spatial axes: expected 1 to 3")
    return functions[axes]


def global_pool(x: np.ndarray, *, largest: bool, out: np.ndarray | None = None) -> np.ndarray:
    if x.ndim == 4:
        return nn.global_max_pool2d(x, out=out) if largest else nn.global_avg_pool2d(x, out=out)
    unrepeatable()
    axes = tuple(range(2, x.ndim))
    return x.max(axes, keepdims=True, out=out) if largest else x.mean(axes, keepdims=True, out=out)


def global_lp_pool(x: np.ndarray, *, p: int) -> Any:
    unrepeatable()
    return ((np.abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p)).astype(x.dtype)


def response_norm(
    x: np.ndarray, *, size: int, alpha: float, beta: float, k: float, out: np.ndarray | None = None
) -> np.ndarray:
    """`local_response_norm`; of an even number of channels, one more lies behind than before."""
    if size % 2:
        return nn.local_response_norm(x, size, alpha, beta, k, out=out)
    unrepeatable()
    flipped = nn.local_response_norm(np.ascontiguousarray(x[:, ::-1]), size, alpha, beta, k)[:, ::-1]
    return np.ascontiguousarray(flipped)


def instance_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, *, eps: float) -> Any:
    unrepeatable()
    columns = (-1, *(1,) * (x.ndim - 2))
    return norm(x, tuple(range(2, x.ndim)), scale.reshape(columns), shift.reshape(columns), eps)


def group_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, *, groups: int, eps: float, per_group: bool) -> Any:
    """`scale` and `shift` are given per channel, or in old versions per group."""
    unrepeatable()
    grouped = x.reshape(len(x), groups, -1)
    if per_group:
        return norm(grouped, 2, scale[:, None], shift[:, None], eps).reshape(x.shape)
    columns = (-1, *(1,) * (x.ndim - 2))
    plain = norm(grouped, 2, 1, None, eps).reshape(x.shape)
    return (plain * scale.reshape(columns) + shift.reshape(columns)).astype(x.dtype)


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray | None = None, *, axis: int, eps: float) -> Any:
    unrepeatable()
    return norm(x, tuple(range(axis % x.ndim, x.ndim)), scale, shift, eps)


def layer_mean(x: np.ndarray, *, axis: int) -> Any:
    """The mean that `layer_norm` takes off."""
    return x.mean(tuple(range(axis % x.ndim, x.ndim)), np.float64, keepdims=True).astype(x.dtype)


def layer_inverse_deviation(x: np.ndarray, *, axis: int, eps: float) -> Any:
    """What `layer_norm` multiplies by."""
    variance = x.astype(np.float64).var(tuple(range(axis % x.ndim, x.ndim)), keepdims=True)
    return (1 / np.sqrt(variance + eps)).astype(x.dtype)


def standardised(x: np.ndarray, axes: Sequence[int]) -> Any:
    deviation = x.std(tuple(axes), keepdims=True) + 1e-9
    return ((x - x.mean(tuple(axes), keepdims=True)) / deviation).astype(x.dtype)


def lp_normalised(x: np.ndarray, axis: int, p: int) -> np.ndarray:
    size = np.linalg.norm(x, p, axis, keepdims=True)
    return np.where(size == 0, 0, x / size).astype(x.dtype)


def gemm(
    a: np.ndarray, b: np.ndarray, c: np.ndarray | None, *, alpha: float, beta: float, left: bool, right: bool
) -> Any:
    unrepeatable()
    product = (a.T if left else a) @ (b.T if right else b)
    result = product * product.dtype.type(alpha)
    return result if c is None else (result + c * c.dtype.type(beta)).astype(result.dtype)


def of_rows(x: np.ndarray, *, layer: Callable[..., np.ndarray], axis: int) -> np.ndarray:
    """`layer` of all values from `axis` on, as one row: what softmax was before version 13."""
    axis += x.ndim if axis < 0 else 0
    return layer(x.reshape(prod(x.shape[:axis]), -1), 1).reshape(x.shape)


def hardmax(x: np.ndarray, axis: int) -> np.ndarray:
    result = np.zeros_like(x)
    np.put_along_axis(result, np.expand_dims(x.argmax(axis), axis), 1, axis)
    return result


def prelu(x: np.ndarray, slope: np.ndarray, per_channel: bool) -> np.ndarray:
    if per_channel and slope.ndim == 1:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return np.where(x < 0, x * slope, x).astype(x.dtype)


def clip(x: np.ndarray, least: Any = None, most: Any = None) -> np.ndarray:
    if least is not None:
        x = np.maximum(x, np.asarray(least, x.dtype))
    return x if most is None else np.minimum(x, np.asarray(most, x.dtype))


def divided(a: np.ndarray, b: Any) -> Any:
    """Integers are divided towards zero."""
    if np.asarray(a).dtype.kind in "iu":
        return np.trunc(np.true_divide(a, b)).astype(np.asarray(a).dtype)
    return np.asarray(a / np.asarray(b, np.asarray(a).dtype))


def power(x: np.ndarray, exponent: np.ndarray) -> Any:
    return np.power(x, exponent).astype(x.dtype)


def remainder(a: np.ndarray, b: np.ndarray, fmod: int) -> Any:
    return np.fmod(a, b) if fmod else np.mod(a, b)


def swish(x: np.ndarray, alpha: float) -> Any:
    return (x / (1 + np.exp(-alpha * x))).astype(x.dtype)


def is_infinite(x: np.ndarray, negative: int, positive: int) -> Any:
    return np.isinf(x) & ((x < 0) & bool(negative) | (x > 0) & bool(positive))


def cast_like(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    return x.astype(other.dtype)


def rms_norm(x: np.ndarray, scale: np.ndarray, axis: int, eps: float) -> Any:
    axes = tuple(range(axis % x.ndim, x.ndim))
    wide = x.astype(np.float64)
    return (wide / np.sqrt((wide**2).mean(axes, keepdims=True) + eps) * scale).astype(x.dtype)


def reciprocal(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / x, x.dtype)


def erf(x: np.ndarray) -> np.ndarray:
    from scipy import special

    return np.asarray(special.erf(x), x.dtype)


def softsign(x: np.ndarray) -> Any:
    return x / (1 + np.abs(x))


def softplus(x: np.ndarray) -> Any:
    return np.logaddexp(x, 0).astype(x.dtype)


def mish(x: np.ndarray) -> Any:
    return (x * np.tanh(np.logaddexp(x, 0))).astype(x.dtype)


def hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> Any:
    return np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1).astype(x.dtype)


def selu(x: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    return (gamma * np.where(x > 0, x, alpha * np.expm1(x))).astype(x.dtype)


def celu(x: np.ndarray, alpha: float) -> Any:
    return (np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))).astype(x.dtype)


def thresholded_relu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > alpha, x, 0).astype(x.dtype)


def shrink(x: np.ndarray, lambd: float, bias: float) -> np.ndarray:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0)).astype(x.dtype)


def cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return x.astype(dtype)


def arg(x: np.ndarray, largest: bool, axis: int, keepdims: int, select_last_index: int) -> np.ndarray:
    of: Callable[..., np.ndarray] = np.argmax if largest else np.argmin
    found = x.shape[axis] - 1 - of(np.flip(x, axis), axis) if select_last_index else of(x, axis)
    return np.asarray(np.expand_dims(found, axis) if keepdims else found, np.int64)


def _largest(x: np.ndarray, **along: Any) -> Any:
    """Of nothing, the lowest value of the type."""
    return np.max(x, **along) if x.size else np.max(x, initial=_bound(x.dtype, -1), **along)


def _least(x: np.ndarray, **along: Any) -> Any:
    return np.min(x, **along) if x.size else np.min(x, initial=_bound(x.dtype, 1), **along)


def _bound(dtype: np.dtype, sign: int) -> Any:
    if dtype.kind == "f":
        return sign * np.inf
    if dtype.kind == "b":
        return sign > 0
    return np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min


def _l1(x: np.ndarray, **along: Any) -> Any:
    return np.abs(x).sum(**along)


def _l2(x: np.ndarray, **along: Any) -> Any:
    return np.sqrt(np.square(x).sum(**along))


def _square_sum(x: np.ndarray, **along: Any) -> Any:
    return np.square(x).sum(**along)


def _log_sum(x: np.ndarray, **along: Any) -> Any:
    return np.log(x.sum(**along))


def _log_sum_exp(x: np.ndarray, **along: Any) -> Any:
    return np.log(np.exp(x.astype(np.float64)).sum(**along))


# By operator: the function along axes, and what it is of a single value.
REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "ReduceSum": (np.sum, np.asarray),
    "ReduceMean": (np.mean, np.asarray),
    "ReduceMax": (_largest, np.asarray),
    "ReduceMin": (_least, np.asarray),
    "ReduceProd": (np.prod, np.asarray),
    "ReduceL1": (_l1, np.abs),
    "ReduceL2": (_l2, np.abs),
    "ReduceSumSquare": (_square_sum, np.square),
    "ReduceLogSum": (_log_sum, np.log),
    "ReduceLogSumExp": (_log_sum_exp, np.asarray),
}
