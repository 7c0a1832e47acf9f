"""Normalisation by the statistics of a channel, and by the response of neighbouring channels."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, common_float, is_target, named_input
from fastconv.engine.launch import Launch
from fastconv.engine.replay import constant, repeatable, repeated, unrepeatable
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team
from fastconv.nn.arguments import (
    alike_in_memory,
    as_pixels,
    channelwise,
    checked_channels,
    checked_choice,
    checked_eps,
    checked_integer,
    checked_operand,
    checked_real,
    launched,
    operand_and_result,
    quiet,
)

__all__ = ["batch_norm", "conv_bn_fold", "local_response_norm"]

_MOMENT = np.dtype(np.float64)

# Positions of a tile of local responses: RESPONSE_PART of kernels/simd/response.h.
_RESPONSE_PART = 256

# Pixels of fewer channels are joined: a row is worth a loop of its own.
_FEW_CHANNELS = 256


@named_input
def batch_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, ...)
    running_mean, running_var : array_like, shape (C,), optional
        The statistics, unless `training`. Training uses those of the batch, and updates these arrays **in place**:
        ``running += momentum * (batch - running)``, with the unbiased variance.
    weight, bias : array_like, shape (C,), optional
        Scale and shift; 1 and 0 by default.
    training : bool
    momentum, eps : float
    out : ndarray, optional
        Array for the result; may be `x`.

    Returns
    -------
    ndarray
        The result, as `x`. Statistics are summed in double precision.

    Raises
    ------
    TypeError
        `x` has another type, or running statistics are not arrays that can be updated.
    GeometryError
        The shapes do not fit together; a ``ValueError``.
    ValueError
        Statistics are missing, training has only one value per channel, or `eps` is negative.

    References
    ----------
    Ioffe and Szegedy, Batch normalization, ICML 2015.

    Examples
    --------
    >>> batch_norm([[1.0, 10.0], [3.0, 30.0]], None, None, training=True, eps=0.0)
    array([[-1., -1.],
           [ 1.,  1.]])
    """
    if training:
        return _normalised_by_batch(x, running_mean, running_var, weight, bias, momentum, eps, out=out)[0]
    return _normalised(x, running_mean, running_var, weight, bias, momentum, eps, out=out)


@repeated(by_value=("running_mean", "running_var", "weight", "bias"))
@quiet
def _normalised(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    momentum: float,
    eps: float,
    *,
    out: np.ndarray | None,
) -> np.ndarray:
    """`batch_norm` by running statistics, which are part of what a recording computes."""
    x, result = alike_in_memory(x, out)
    checked_real("momentum", momentum)
    mean, var = batch_statistics(x, running_mean, running_var, False)
    scale = checked_channels("weight", weight, x, 1) / np.sqrt(var + checked_eps(eps))
    # From here on the type is that of `x`; what the mean loses by it goes into the shift.
    near = mean.astype(x.dtype)
    shift = checked_channels("bias", bias, x, 0) + (near - mean) * scale
    constants = [array.astype(x.dtype) for array in (scale, shift, near)]
    pixels = _both_as_pixels(x, result)
    if pixels is None:
        return channelwise(x, result, *map(constant, constants))
    rows, times = pixels[0].shape[0], 1
    if x.shape[1] < _FEW_CHANNELS:  # several pixels are one, of as many times the channels
        times = next(times for times in range(_FEW_CHANNELS // x.shape[1], 0, -1) if rows % times == 0)
    source, target = (array.reshape(rows // times, -1) for array in pixels)
    channelwise(source, target, *(constant(np.tile(array, times)) for array in constants))
    return repeatable(result)


def _both_as_pixels(x: np.ndarray, result: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Both arrays by `as_pixels`; ``None`` if one of them does not have channels last in memory."""
    source, target = as_pixels(x), as_pixels(result)
    return None if source is None or target is None else (source, target)


@repeated()
def _normalised_by_batch(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    momentum: float,
    eps: float,
    *,
    out: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """`batch_norm` in training, and the running statistics that it updates."""
    scalars = checked_eps(eps), checked_real("momentum", momentum)
    running: dict[str, Any] = {"running_mean": running_mean, "running_var": running_var}
    x = _checked_batch(x, running)
    x, result = alike_in_memory(x, out)
    constants = [
        checked_operand(name, value, x.shape[1:2], x.dtype) for name, value in (("weight", weight), ("bias", bias))
    ]
    updated = [array for array in running.values() if array is not None]
    # Kernels update arrays of two types, both of one of them.
    dtype = x.dtype if all(array.dtype == x.dtype for array in updated) else _MOMENT
    direct = all(array.dtype == dtype and is_target(array, x, result, *constants) for array in updated)
    targets = [array if array is None or direct else array.astype(_MOMENT) for array in running.values()]
    source, target = _both_as_pixels(x, result) or (x, result)
    launch = _normalising(source, dtype is _MOMENT or not direct)
    launched(launch, source, target, (*constants, *_no_moments(x), *targets), scalars)
    if direct:
        return repeatable((result, *updated))
    unrepeatable()
    for array, target in zip(running.values(), targets, strict=True):
        if array is not None:
            array[...] = target
    return result, *updated


def _checked_batch(x: npt.ArrayLike, running: dict[str, Any]) -> np.ndarray:
    """`x`, if it has statistics, and running ones can be updated by them."""
    x = as_array("x", x)
    if x.ndim < 2:
        raise GeometryError(f"x of shape {x.shape}: expected at least 2 axes (batch, channels, ...)")
    check_running(x, running)
    if x.size <= x.shape[1]:
        raise ValueError(f"x of shape {x.shape}: expected more than one value per channel when training")
    return x


def check_running(x: np.ndarray, running: dict[str, Any]) -> None:
    """Statistics of each channel of `x` can be updated."""
    for name, array in running.items():
        if array is not None:
            checked_channels(name, array, x)
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.flags.writeable:
                raise TypeError(f"{name}: expected a writeable float array, which training updates in place")


def _normalising(x: np.ndarray, doubles: bool) -> Launch:
    """The launch that finds the statistics of each channel, and normalises by them.

    It updates running statistics of type float64, or else of the type of `x`.
    """
    from fastconv.kernels.slots import NEIGHBOURS, arguments

    images, channels, *extent = x.shape
    inner = prod(extent)
    ints = arguments("normalise")(images=images, channels=channels, inner=inner, doubles=doubles)
    return Launch.of("normalise", x.dtype, ints, -(-channels // NEIGHBOURS) if inner == 1 else channels)


def _no_moments(x: np.ndarray) -> np.ndarray:
    """Memory for the mean and the variance of each channel."""
    return team.aligned_empty(2 * x.shape[1], _MOMENT).reshape(2, x.shape[1])


def batch_statistics(
    x: np.ndarray, running_mean: Any, running_var: Any, training: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The mean and biased variance of each channel with which `batch_norm` normalises, in float64."""
    if training:
        x = as_contiguous(_checked_batch(x, {}))
        moments = _no_moments(x)
        _normalising(x, True).run((x, None, None, None, *moments, None, None), team.get_num_threads(), (0.0, 0.0))
        return moments[0], moments[1]
    if x.ndim < 2:
        raise GeometryError(f"x of shape {x.shape}: expected at least 2 axes (batch, channels, ...)")
    if running_mean is None or running_var is None:
        raise ValueError("running_mean and running_var are needed unless training=True")
    return checked_channels("running_mean", running_mean, x), checked_channels("running_var", running_var, x)


@quiet
def conv_bn_fold(
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None,
    running_mean: npt.ArrayLike,
    running_var: npt.ArrayLike,
    bn_weight: npt.ArrayLike | None = None,
    bn_bias: npt.ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the convolution that equals a convolution followed by `batch_norm` in evaluation.

    Parameters
    ----------
    weight : array_like of float32 or float64, shape (OC, ...)
        Weight of `fastconv.conv2d`, of a convolution with other axes, or of `linear`.
    bias : array_like, shape (OC,), or None
    running_mean, running_var, bn_weight, bn_bias, eps
        As in `batch_norm`.

    Returns
    -------
    weight, bias : ndarray
        The new weight and bias, in the type of `weight`, computed in double precision.

    Raises
    ------
    TypeError, GeometryError, ValueError
        As `batch_norm`.

    References
    ----------
    Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference, 2018.

    Examples
    --------
    >>> weight, bias = conv_bn_fold(np.ones((1, 1, 3, 3)), [1.0], [2.0], [4.0], [6.0], [0.5], eps=0.0)
    >>> weight[0, 0, 0], bias
    (array([3., 3., 3.]), array([-2.5]))
    """
    weight = as_array("weight", weight)
    dtype = common_float(weight=weight)
    if weight.ndim < 1:
        raise GeometryError(f"weight of shape {weight.shape}: expected (oc, ...)")
    outputs = weight[None]  # checked as if it were a batch of one
    scale = checked_channels("bn_weight", bn_weight, outputs, 1) / np.sqrt(
        checked_channels("running_var", running_var, outputs) + checked_eps(eps)
    )
    centred = checked_channels("bias", bias, outputs, 0) - checked_channels("running_mean", running_mean, outputs)
    shift = checked_channels("bn_bias", bn_bias, outputs, 0) + centred * scale
    return (weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))).astype(dtype), shift.astype(dtype)


@repeated()
@named_input
@quiet
def local_response_norm(
    x: npt.ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    rule: str = "mean",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x / (k + alpha * m) ** beta``, where ``m`` is the mean or sum of squares of `size` neighbouring channels.

    For channel ``c`` these are channels ``c - size // 2`` to ``c + (size - 1) // 2``; missing ones count as zeros.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, ...)
    size : int
        Number of channels, at least 1.
    alpha, beta, k : float
    rule : {"mean", "sum"}
        ``m`` is the mean of the squares, zeros included, as in torch; or their sum, as in the AlexNet paper, whose
        constants are ``size=5, alpha=1e-4, beta=0.75, k=2``.
    out : ndarray, optional
        Array for the result; may be `x`.

    Returns
    -------
    ndarray
        The result, as `x`.

    Raises
    ------
    TypeError, GeometryError
        As `relu`; also if `x` has no channels, or `size` is not an int of at least 1.
    ValueError
        `rule` is unknown, or a constant is not a number.

    References
    ----------
    Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012, 3.3.

    Examples
    --------
    >>> local_response_norm([[3.0, 4.0]], 3, alpha=1.0, beta=0.5, k=0.0, rule="sum")
    array([[0.6, 0.8]])
    """
    from fastconv.kernels.slots import arguments

    x, result = operand_and_result(x, out)
    before, after = _neighbours(x, size)
    scalars = checked_real("k", k), _per_square(alpha, size, rule), checked_real("beta", beta)
    source, inner = as_contiguous(x), prod(x.shape[2:])
    # A value is read again after its own result is known.
    target = result if is_target(result, source) else np.empty(result.shape, result.dtype)
    ints = arguments("response")(channels=x.shape[1], inner=inner, before=before, after=after)
    tiles = len(x) * -(-inner // _RESPONSE_PART) if x.shape[1] else 0
    Launch.of("response", x.dtype, ints, tiles).run((source, target), team.get_num_threads(), scalars)
    if target is result:
        return repeatable(result)
    unrepeatable()
    result[...] = target
    return result


def response(x: np.ndarray, size: int, alpha: float, k: float, rule: str) -> np.ndarray:
    """``k + alpha * m`` of `local_response_norm`."""
    gathered = neighbour_sum(np.square(x), size)
    gathered *= _per_square(alpha, size, rule)
    gathered += checked_real("k", k)
    return gathered


def _per_square(alpha: float, size: int, rule: str) -> float:
    """What `local_response_norm` multiplies sums of squares by."""
    summed = checked_choice("rule", rule, "mean", "sum")
    return checked_real("alpha", alpha) / (1 if summed else int(size))


def _neighbours(x: np.ndarray, size: int) -> tuple[int, int]:
    """How many channels before and after its own a window of `local_response_norm` has."""
    if x.ndim < 2:
        raise GeometryError(f"x of shape {x.shape}: expected at least 2 axes (batch, channels, ...)")
    size, channels = checked_integer("size", size, 1), x.shape[1]
    return min(size // 2, channels), min((size - 1) // 2, channels)


def neighbour_sum(values: np.ndarray, size: int, mirrored: bool = False) -> np.ndarray:
    """Sums of channels ``c - size // 2`` to ``c + (size - 1) // 2`` of ``(N, C, ...)``, or of the `mirrored` window."""
    before, after = _neighbours(values, size)
    if mirrored:
        before, after = after, before
    sums = values.copy()
    for step in range(1, before + 1):
        sums[:, step:] += values[:, :-step]
    for step in range(1, after + 1):
        sums[:, :-step] += values[:, step:]
    return sums
