"""Class scores: softmax, its logarithm, and the loss."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, as_operand, common_float, named_input
from fastconv.engine.conversion import converted
from fastconv.engine.launch import Launch
from fastconv.engine.replay import constant, repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team
from fastconv.nn.arguments import (
    alike_in_memory,
    as_pixels,
    checked_axis,
    checked_channels,
    checked_integer,
    checked_real,
    in_memory_order,
    launched,
    quiet,
)

__all__ = ["cross_entropy", "log_softmax", "softmax"]

_CLASS, _SUM = np.dtype(np.int64), np.dtype(np.float64)

# Slices of about as many values together are handed out at a time: handing out takes as long as some 30 powers.
_GRAIN_VALUES = 4096


@repeated()
@named_input
def softmax(
    x: npt.ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: npt.DTypeLike | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` along an axis.

    A slice that contains NaN or plus infinity, or nothing but minus infinity, becomes NaN.

    Parameters
    ----------
    x, out
        As `relu`.
    dim : int, optional
        The axis along which the result sums to 1; by default as in torch, the first of 1 or 3 axes, else the second.
    _stacklevel : int
        Ignored; for compatibility with torch.
    dtype : dtype_like, optional
        float32 or float64: the type to which `x`, which may then hold integers, is converted first.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, GeometryError
        As `relu`; also if `x` does not have that axis.

    References
    ----------
    Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990.

    Examples
    --------
    >>> softmax([1000.0, 1000.0, -1000.0], 0)
    array([0.5, 0.5, 0. ])
    """
    return _softmax(x, dim, dtype, out, logarithm=False)


@repeated()
@named_input
def log_softmax(
    x: npt.ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: npt.DTypeLike | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``x - log(sum(exp(x)))`` along an axis: the logarithm of `softmax`, without its underflow.

    Parameters, result and errors as `softmax`.

    References
    ----------
    Blanchard, Higham and Higham, Accurately computing the log-sum-exp and softmax functions, 2021.

    Examples
    --------
    >>> log_softmax([1000.0, 0.0], 0)
    array([    0., -1000.])
    """
    return _softmax(x, dim, dtype, out, logarithm=True)


def _softmax(
    x: npt.ArrayLike, dim: int | None, dtype: npt.DTypeLike | None, out: np.ndarray | None, logarithm: bool
) -> np.ndarray:
    x, result = alike_in_memory(x if dtype is None else _converted(x, dtype), out)
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    axis = checked_axis("dim", dim, x.ndim)
    if not x.size:
        return result
    source, target, axes = in_memory_order(x, result)
    launched(_slices(source, axes.index(axis), logarithm), source, target)
    return repeatable(result)


def _converted(x: npt.ArrayLike, dtype: npt.DTypeLike) -> np.ndarray:
    """The real numbers `x` as float32 or float64."""
    x = as_array("x", x)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"x of dtype {x.dtype}: expected real numbers")
    return x.astype(common_float(dtype=np.empty(0, dtype)), copy=False)


def _slices(x: np.ndarray, axis: int, logarithm: bool) -> Launch:
    """The launch of the softmax kernel for slices along an axis."""
    from fastconv.kernels.slots import NEIGHBOURS, arguments

    inner = prod(x.shape[axis + 1 :])
    blocks = -(-inner // NEIGHBOURS)
    tiles = prod(x.shape[:axis]) * blocks
    ints = arguments("softmax")(classes=x.shape[axis], inner=inner, blocks=blocks, logarithm=logarithm)
    return Launch.of("softmax", x.dtype, ints, tiles, max(1, _GRAIN_VALUES * tiles // max(1, x.size)))


@repeated(by_value=("weight",))
@named_input
@quiet
def cross_entropy(
    x: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """The negative logarithm of the probability that `softmax` assigns to the targets.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (C,), (N, C) or (N, C, ...)
        Scores of the classes, before any softmax.
    target : array_like
        The right classes, integers of shape (), (N,) or (N, ...); or their probabilities, floats with the shape of `x`.
    weight : array_like, shape (C,), optional
        Weight of each class.
    size_average, reduce : bool, optional
        Torch's older arguments, which override `reduction`: ``reduce=False`` means "none", otherwise
        ``size_average=False`` means "sum".
    ignore_index : int
        Targets of this class do not count (only for targets that are classes).
    reduction : {"mean", "sum", "none"}
        "mean" divides by the weights of the targets, or by their number where they are probabilities.
    label_smoothing : float
        From 0 to 1: the part of the target that is spread evenly over all classes.

    Returns
    -------
    ndarray
        The loss, without axes, or with "none" one per sample. Means and sums are taken in double precision.

    Raises
    ------
    TypeError
        Another type.
    GeometryError
        The shapes do not fit together; a ``ValueError``.
    ValueError
        A target is not a class, or another argument is out of range.

    References
    ----------
    Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990; label smoothing: Szegedy
    et al., Rethinking the inception architecture for computer vision, 2016.

    Examples
    --------
    >>> cross_entropy([[1000.0, 0.0], [1000.0, 0.0]], [0, 1], reduction="none")
    array([   0., 1000.])
    """
    from fastconv.kernels.slots import arguments

    x, target = as_array("x", x), as_array("target", target)
    x = as_operand(x, common_float(x=x))
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    _check_loss(x, reduction)
    smoothing, ignored = _checked_smoothing(label_smoothing), checked_integer("ignore_index", ignore_index)
    axis = class_axis(x)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    are_shares = target.dtype.kind == "f"
    if are_shares:
        _check_shares(x, target)
    else:
        _check_classes(x, target)
    weights = None if weight is None else constant(_class_weights(x, weight))
    out = np.empty(shape if reduction == "none" else (), x.dtype)
    if not x.size:
        out[...] = np.nan if reduction == "mean" else 0
        return out
    pixels = as_pixels(x)
    if pixels is not None:  # rows of classes, in the order of the samples
        target = np.moveaxis(target, 1, -1).reshape(pixels.shape) if are_shares else target.reshape(-1)
        x, axis = pixels, 1
    x = as_contiguous(x)
    samples, threads = prod(shape), team.get_num_threads()
    slices = _slices(x, axis, True)
    peaks, logarithms = (team.aligned_empty(samples, x.dtype) for _ in range(2))
    slices.run((x, None, peaks, logarithms), threads)
    spread = None
    if are_shares or smoothing:
        shares = as_contiguous(as_operand(target, x.dtype)) if are_shares else None
        spread = team.aligned_empty(samples, _SUM)
        of = slices.arguments
        spreading = arguments("spread")(classes=of.classes, inner=of.inner, blocks=of.blocks)
        launch = Launch.of("spread", x.dtype, spreading, slices.tiles, slices.grain)
        scalars = 1 - smoothing, smoothing / x.shape[axis]
        launch.run((x, peaks, logarithms, shares, weights, spread), threads, scalars)
    flag, chosen = team.flags(1), None if are_shares else as_contiguous(converted(target, _CLASS))
    ints = arguments("losses")(
        classes=slices.arguments.classes,
        inner=slices.arguments.inner,
        samples=samples,
        ignored=ignored,
        each=reduction == "none",
        mean=reduction == "mean",
    )
    launch = Launch.of("losses", x.dtype, ints, tiles=1)
    launch.run((x, peaks, logarithms, chosen, weights, spread, out, flag), 1, (1 - smoothing,))
    if flag[0]:
        _check_chosen(target, target != ignored, ints.classes)
    return repeatable(out)


def class_axis(x: np.ndarray) -> int:
    """The axis of the classes: the only one, or that after the batch."""
    return min(1, x.ndim - 1)


def target_shares(
    x: np.ndarray, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> tuple[np.ndarray, float]:
    """What each class counts in the loss, in float64 and the shape of `x`; and what the sum is divided by."""
    _check_loss(x, reduction)
    smoothing = _checked_smoothing(label_smoothing)
    axis, target = class_axis(x), as_array("target", target)
    classes = x.shape[axis]
    weights = _class_weights(x, weight)
    spread = weights.reshape(-1, *(1,) * (x.ndim - 1 - axis))
    if target.dtype.kind == "f":
        _check_shares(x, target)
        shares = (target.astype(np.float64) * (1 - smoothing) + smoothing / classes) * spread
        count = x.size // classes
    else:
        chosen, counts = _chosen(x, target, weight, ignore_index, reduction)
        shares = np.full(x.shape, smoothing / classes) * spread
        at = np.expand_dims(chosen, axis)
        own = np.take_along_axis(shares, at, axis) + np.expand_dims((1 - smoothing) * weights[chosen], axis)
        np.put_along_axis(shares, at, own, axis)
        shares *= np.expand_dims(target != ignore_index, axis)
        count = float(counts.sum())
    return shares, count if reduction == "mean" else 1


def _check_loss(x: np.ndarray, reduction: str) -> None:
    if x.ndim < 1 or x.shape[class_axis(x)] < 1:
        raise GeometryError(f"x of shape {x.shape}: expected (C,), (N, C) or (N, C, ...) with at least one class")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction={reduction!r}: expected 'mean', 'sum' or 'none'")


def _checked_smoothing(label_smoothing: Any) -> float:
    smoothing = checked_real("label_smoothing", label_smoothing)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing!r}: expected a number from 0 to 1")
    return smoothing


def _check_shares(x: np.ndarray, target: np.ndarray) -> None:
    if target.shape != x.shape:
        raise GeometryError(f"target of shape {target.shape}: expected probabilities of the shape of x, {x.shape}")


def _class_weights(x: np.ndarray, weight: Any) -> np.ndarray:
    classes = x.shape[class_axis(x)]
    return checked_channels("weight", weight, np.broadcast_to(x.dtype.type(0), (1, classes)), 1)


def _check_classes(x: np.ndarray, target: np.ndarray) -> None:
    axis = class_axis(x)
    if target.dtype.kind not in "iu":
        raise TypeError(f"target of dtype {target.dtype}: expected integers (classes) or floats (probabilities)")
    if target.shape != x.shape[:axis] + x.shape[axis + 1 :]:
        raise GeometryError(
            f"target of shape {target.shape}: expected {x.shape[:axis] + x.shape[axis + 1 :]}, one class each"
        )


def _check_chosen(target: np.ndarray, counted: np.ndarray, classes: int) -> None:
    wrong = target[counted & ((target < 0) | (target >= classes))]
    if wrong.size:
        raise ValueError(f"target={int(wrong[0])}: expected a class from 0 to {classes - 1}")


def _chosen(
    x: np.ndarray, target: np.ndarray, weight: Any, ignore_index: int, reduction: str
) -> tuple[np.ndarray, np.ndarray]:
    """The class of each sample, and what it counts in the loss."""
    _check_loss(x, reduction)
    axis = class_axis(x)
    classes = x.shape[axis]
    _check_classes(x, target)
    counted = target != checked_integer("ignore_index", ignore_index)
    _check_chosen(target, counted, classes)
    chosen = np.where(counted, target, 0).astype(np.intp)
    return chosen, counted.astype(np.float64) if weight is None else _class_weights(x, weight)[chosen] * counted
