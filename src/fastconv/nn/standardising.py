"""Normalisation by the statistics of each sample: of all its features, or of a group of channels.

The values that share statistics are neighbours in memory, a slice; one kernel finds the statistics of a slice while it
is in cache, and normalises by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, common_float, named_input
from fastconv.engine.launch import Launch
from fastconv.engine.replay import constant, repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team
from fastconv.nn.arguments import (
    checked_eps,
    checked_integer,
    checked_operand,
    checked_real,
    launched,
    operand_and_result,
    quiet,
)
from fastconv.nn.normalisation import batch_norm, check_running

__all__ = ["group_norm", "instance_norm", "layer_norm", "rms_norm"]

_MOMENT = np.dtype(np.float64)

# Values of the slices that are handed out together, enough to outweigh waking a thread.
_GRAIN_VALUES = 4096


@repeated()
@named_input
@quiet
def layer_norm(
    x: npt.ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, by the mean and the biased variance of the last axes.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (..., *normalized_shape)
    normalized_shape : int or sequence of int
        The extents of the last axes, whose values are normalised together.
    weight, bias : array_like, shape normalized_shape, optional
        Scale and shift; 1 and 0 by default.
    eps : float
        At least 0.
    out : ndarray, optional
        Array for the result; may be `x`.

    Returns
    -------
    ndarray
        The result, as `x`. Statistics are summed in double precision.

    Raises
    ------
    TypeError
        `x` or `out` is masked or of another type.
    GeometryError
        The shapes do not fit together; a ``ValueError``.
    ValueError
        `eps` is negative.

    References
    ----------
    Ba, Kiros and Hinton, Layer normalization, 2016.

    Examples
    --------
    >>> layer_norm([[1.0, 3.0], [10.0, 30.0]], (2,), eps=0.0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x = as_array("x", x)
    shape = trailing_shape(x, normalized_shape)
    return _standardised(x, slices_of_layers(shape), shape, weight, bias, checked_eps(eps), out)


@repeated()
@named_input
@quiet
def rms_norm(
    x: npt.ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: npt.ArrayLike | None = None,
    eps: float | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x / sqrt(mean(x**2) + eps) * weight``, by the mean over the last axes.

    Parameters
    ----------
    x, normalized_shape, weight, out
        As `layer_norm`.
    eps : float, optional
        At least 0; by default the machine epsilon of the result's type.

    Returns
    -------
    ndarray
        The result, as `x`. The mean is taken in double precision.

    Raises
    ------
    TypeError, GeometryError, ValueError
        As `layer_norm`.

    References
    ----------
    Zhang and Sennrich, Root mean square layer normalization, NeurIPS 2019.

    Examples
    --------
    >>> rms_norm([[1.0, 7.0], [10.0, 70.0]], (2,), eps=0.0)
    array([[0.2, 1.4],
           [0.2, 1.4]])
    """
    x = as_array("x", x)
    shape = trailing_shape(x, normalized_shape)
    return _standardised(x, slices_of_layers(shape, False), shape, weight, None, checked_least(x, eps), out)


@repeated()
@named_input
@quiet
def group_norm(
    x: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, by the statistics of groups of channels of each image.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, ...)
    num_groups : int
        Number of groups; must divide the channels.
    weight, bias : array_like, shape (C,), optional
        Scale and shift; 1 and 0 by default.
    eps, out
        As `layer_norm`.

    Returns
    -------
    ndarray
        The result, as `x`. Statistics are summed in double precision.

    Raises
    ------
    TypeError, GeometryError, ValueError
        As `layer_norm`; also a ``ValueError`` if there is only one value in all.

    References
    ----------
    Wu and He, Group normalization, ECCV 2018.

    Examples
    --------
    >>> group_norm([[1.0, 3.0, 10.0, 30.0]], 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    x = as_array("x", x)
    slices = slices_of_groups(x, num_groups)
    return _standardised(x, slices, x.shape[1:2], weight, bias, checked_eps(eps), out)


@named_input
def instance_norm(
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None = None,
    running_var: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, by the statistics of each channel of each image.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, ...)
    running_mean, running_var : array_like, shape (C,), optional
        The statistics, unless `use_input_stats`, which updates these arrays **in place** by the means over the images:
        ``running += momentum * (mean over N - running)``, with unbiased variances.
    weight, bias : array_like, shape (C,), optional
        Scale and shift; 1 and 0 by default.
    use_input_stats : bool
        Take the statistics of `x`; if false, the running ones, as `batch_norm` does.
    momentum : float
    eps, out
        As `layer_norm`.

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
        Statistics are missing, a channel has only one value per image, or `eps` is negative.

    References
    ----------
    Ulyanov, Vedaldi and Lempitsky, Instance normalization: the missing ingredient for fast stylization, 2016.

    Examples
    --------
    >>> instance_norm([[[1.0, 3.0], [10.0, 30.0]]], eps=0.0)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps, out=out)
    x, share = as_array("x", x), checked_real("momentum", momentum)
    running = {"running_mean": running_mean, "running_var": running_var}
    values = slices_of_instances(x).length
    check_running(x, running)
    result, means, variances = _by_instances(x, weight, bias, eps, out=out)
    if x.size:
        unbiased = variances * (values / (values - 1))
        for array, moments in ((running_mean, means), (running_var, unbiased)):
            if isinstance(array, np.ndarray):
                array += (share * (moments.reshape(x.shape[:2]).mean(0) - array)).astype(array.dtype)
    return result


@repeated()
@quiet
def _by_instances(
    x: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    eps: float,
    *,
    out: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """`instance_norm` by the statistics of `x`, and these."""
    x = as_array("x", x)
    slices = slices_of_instances(x)
    count = x.size // max(1, slices.length)
    moments = np.empty(count, _MOMENT), np.empty(count, _MOMENT)
    result = _standardised(x, slices, x.shape[1:2], weight, bias, checked_eps(eps), out, moments)
    return repeatable((result, *moments))


class Slices(NamedTuple):
    """How the values of an array are normalised together: as the arguments of the kernel "standardise"."""

    length: int
    inner: int
    channels: int
    centred: bool = True

    def launch(self, x: np.ndarray) -> Launch:
        """The launch of the kernel for `x`, which holds values."""
        from fastconv.kernels.slots import arguments

        grain = max(1, _GRAIN_VALUES // self.length)
        ints = arguments("standardise")(**self._asdict())
        return Launch.of("standardise", x.dtype, ints, x.size // self.length, grain)

    def moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the biased variance of each slice, or 0 and the mean square, in float64."""
        count = x.size // max(1, self.length)
        found = np.zeros(count, _MOMENT), np.zeros(count, _MOMENT)
        if count:
            launch = self.launch(x)
            launch.run((as_contiguous(x), None, None, None, *found), team.get_num_threads(), (0.0,))
        return found


def _standardised(
    x: np.ndarray,
    slices: Slices,
    shape: tuple[int, ...],
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    eps: float,
    out: np.ndarray | None,
    moments: tuple[np.ndarray | None, ...] = (None, None),
) -> np.ndarray:
    """`x` with each slice normalised, and with a weight and a bias of this shape; stores the moments of the slices."""
    x, result = operand_and_result(x, out)
    scale, shift = (
        checked_operand(name, value, shape, x.dtype) for name, value in (("weight", weight), ("bias", bias))
    )
    if not x.size:
        return result
    if scale is None and shift is None:  # one weight, which is 1, for all
        slices = slices._replace(inner=slices.length, channels=1)
    elif scale is None:
        scale = constant(np.ones(shape, x.dtype))
    return launched(slices.launch(x), x, result, (scale, shift, *moments), (eps,))


def trailing_shape(x: np.ndarray, normalized_shape: Any) -> tuple[int, ...]:
    """The extents of the last axes of `x`, after a check."""
    given = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    shape = tuple(checked_integer("normalized_shape", extent, 0) for extent in given)
    if not shape or x.shape[-len(shape) :] != shape:
        raise GeometryError(f"normalized_shape={normalized_shape!r}: expected the last extents of x of shape {x.shape}")
    return shape


def slices_of_layers(shape: tuple[int, ...], centred: bool = True) -> Slices:
    """Those of `layer_norm`, or of `rms_norm`."""
    return Slices(prod(shape), 1, prod(shape), centred)


def slices_of_groups(x: np.ndarray, num_groups: int) -> Slices:
    """Those of `group_norm`."""
    groups = checked_integer("num_groups", num_groups, 1)
    if x.ndim < 2:
        raise GeometryError(f"x of shape {x.shape}: expected at least 2 axes (batch, channels, ...)")
    if x.shape[1] % groups:
        raise GeometryError(f"num_groups={num_groups}: does not divide {x.shape[1]} channels")
    inner = prod(x.shape[2:])
    if len(x) * x.shape[1] // groups * inner == 1:
        raise ValueError(f"x of shape {x.shape}: expected more than one value for each of {groups} groups")
    return Slices(x.shape[1] // groups * inner, inner, x.shape[1])


def slices_of_instances(x: np.ndarray) -> Slices:
    """Those of `instance_norm`."""
    if x.ndim < 2:
        raise GeometryError(f"x of shape {x.shape}: expected at least 2 axes (batch, channels, ...)")
    inner = prod(x.shape[2:])
    if inner == 1:
        raise ValueError(f"x of shape {x.shape}: expected more than one value per channel of an image")
    return Slices(inner, inner, x.shape[1])


def checked_least(x: np.ndarray, eps: float | None) -> float:
    """The `eps` of `rms_norm`."""
    return float(np.finfo(common_float(x=x)).eps) if eps is None else checked_eps(eps)
