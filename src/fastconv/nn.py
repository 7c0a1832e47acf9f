"""The other layers of a classical network, with the names, argument order and meaning of ``torch.nn.functional``.

Arrays are float32 or float64 and stay what they are; lists of floats are float64, integers are refused. Results are
new C-contiguous arrays, or `out`, which may be the input itself. Nothing overflows with a warning: what is too large
becomes infinite, and what no limit defines NaN, as in torch. Derivatives are in `fastconv.layer_grad`.

The activations that convolutions apply while a tile is at hand are those of kernels/simd/epilogue.h here too, so that
``relu(conv2d(x, w))`` and ``conv2d(x, w, activation="relu")`` are the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from numbers import Real
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import threads as team
from fastconv.arrays import as_array, as_operand, checked_out, common_float, is_target
from fastconv.epilogue import parse_activation
from fastconv.errors import GeometryError

# Values that a tile of an activation holds: with its copy it stays in L1.
_TILE_VALUES = 2048

# Tiles that are handed out at a time: what takes a thread longer than being woken.
_GRAIN = 8

# Values too large for their type become infinite, and differences of infinities NaN, without a warning.
quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


def relu(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``max(x, 0)``; NaN stays NaN.

    Parameters
    ----------
    x : array_like of float32 or float64
        Any shape.
    out : ndarray, optional
        Where to put the result; may be `x`.

    Returns
    -------
    ndarray
        As `x` in shape and type.

    Raises
    ------
    TypeError
        `x` is masked or of another type, or `out` is.
    GeometryError
        `out` has another shape; a ``ValueError``.

    References
    ----------
    Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.

    Examples
    --------
    >>> relu([-1.0, 0.5])
    array([0. , 0.5])
    """
    return _activated("relu", x, out)


def leaky_relu(x: npt.ArrayLike, negative_slope: float = 0.01, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x`` where it is positive, else ``negative_slope * x``.

    Parameters, result and errors as `relu`.

    References
    ----------
    Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, ICML 2013.

    Examples
    --------
    >>> leaky_relu([-1.0, 0.5], 0.25)
    array([-0.25,  0.5 ])
    """
    return _activated(("leaky_relu", checked_real("negative_slope", negative_slope)), x, out)


def elu(x: npt.ArrayLike, alpha: float = 1.0, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``.

    Parameters, result and errors as `relu`.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential linear units, 2015.

    Examples
    --------
    >>> elu([-1000.0, 0.5], 2.0)
    array([-2. ,  0.5])
    """
    return _activated(("elu", checked_real("alpha", alpha)), x, out)


def sigmoid(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``1 / (1 + exp(-x))``.

    Parameters, result and errors as `relu`.

    References
    ----------
    LeCun, Bottou, Orr and Müller, Efficient backprop, 1998.

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    return _activated("sigmoid", x, out)


def tanh(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic tangent.

    Parameters, result and errors as `relu`.

    References
    ----------
    LeCun, Bottou, Orr and Müller, Efficient backprop, 1998.

    Examples
    --------
    >>> tanh([-1000.0, 0.0, 1000.0])
    array([-1.,  0.,  1.])
    """
    return _activated("tanh", x, out)


def silu(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x * sigmoid(x)``, also called swish; NaN at minus infinity, as torch has it.

    Parameters, result and errors as `relu`.

    References
    ----------
    Elfwing, Uchibe and Doya, Sigmoid-weighted linear units for neural network function approximation, 2018.

    Examples
    --------
    >>> silu([-1000.0, 0.0, 1000.0])
    array([  -0.,    0., 1000.])
    """
    return _activated("silu", x, out)


@quiet
def gelu(x: npt.ArrayLike, approximate: str = "none", *, out: np.ndarray | None = None) -> np.ndarray:
    """``x * Phi(x)``, with the cumulative normal distribution; NaN at minus infinity, as torch has it.

    Parameters
    ----------
    x, out
        As `relu`.
    approximate : {"none", "tanh"}
        By the error function, or ``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, GeometryError
        As `relu`.
    ValueError
        `approximate` is neither.

    References
    ----------
    Hendrycks and Gimpel, Gaussian error linear units, 2016.

    Examples
    --------
    >>> gelu([-1000.0, 0.0, 1000.0])
    array([  -0.,    0., 1000.])
    """
    if not checked_choice("approximate", approximate, "none", "tanh"):
        return _activated("gelu", x, out)
    x, result = operand_and_result(x, out)
    # (1 + tanh(u)) / 2 = sigmoid(2 u), which has no cancellation far left.
    return _stored(result, x * sigmoid(gelu_argument(x)))


@quiet
def gelu_argument(x: np.ndarray) -> np.ndarray:
    """What the tanh form of `gelu` is the sigmoid of."""
    return sqrt(8 / np.pi) * (x + 0.044715 * x * x * x)


def hardswish(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x * min(max(x + 3, 0), 6) / 6``.

    Parameters, result and errors as `relu`.

    References
    ----------
    Howard et al., Searching for MobileNetV3, ICCV 2019.

    Examples
    --------
    >>> hardswish([-4.0, 0.0, 1.5, 4.0])
    array([0.   , 0.   , 1.125, 4.   ])
    """
    return _activated("hardswish", x, out)


def prelu(x: npt.ArrayLike, weight: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x`` where it is positive, else ``weight * x``, with a slope that was learnt.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, ...), (C,) or any with one slope
    weight : array_like, shape (1,) or (C,)
        One slope, or one a channel.
    out : ndarray, optional
        Where to put the result; may be `x`.

    Returns
    -------
    ndarray
        As `x` in shape, in the type where both meet.

    Raises
    ------
    TypeError, GeometryError
        As `relu`; also `weight` of another shape.

    References
    ----------
    He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015.

    Examples
    --------
    >>> prelu([[-1.0, -1.0]], [0.25, 0.5])
    array([[-0.25, -0.5 ]])
    """
    x, weight = as_array("x", x), as_array("weight", weight)
    x, result = operand_and_result(x, out, weight=weight)
    return _sloped(x, channel_slopes(x, weight).astype(x.dtype), result)


def channel_slopes(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The slopes of `prelu`, shaped so that they broadcast against `x`."""
    channels = x.shape[min(1, x.ndim - 1)] if x.ndim else 1
    if weight.ndim > 1 or weight.size not in (1, channels):
        raise GeometryError(f"weight of shape {weight.shape}: expected (1,), or one slope for each of {channels}")
    return weight.reshape(()) if weight.size == 1 else weight.reshape(-1, *(1,) * max(0, x.ndim - 2))


def rrelu(
    x: npt.ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    rng: np.random.Generator | int | None = None,
    return_slopes: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`leaky_relu` with slopes drawn uniformly from ``[lower, upper)``, for each value its own; else with their mean.

    Parameters
    ----------
    x, out
        As `relu`.
    lower, upper : float
        Bounds of the slopes.
    training : bool
        Draw, or use ``(lower + upper) / 2`` everywhere.
    rng : Generator, int or None
        What draws: a generator, its seed, or a fresh one.
    return_slopes : bool
        Also return the slopes, which `fastconv.layer_grad.rrelu` wants.

    Returns
    -------
    out : ndarray
    slopes : ndarray
        With `return_slopes`.

    Raises
    ------
    TypeError, GeometryError
        As `relu`.
    ValueError
        The bounds are not finite or not in order.

    References
    ----------
    Xu, Wang, Chen and Li, Empirical evaluation of rectified activations in convolutional network, 2015.

    Examples
    --------
    >>> rrelu([-1.0, 1.0], 0.25, 0.75)
    array([-0.5,  1. ])
    """
    lower, upper = checked_real("lower", lower), checked_real("upper", upper)
    if not -np.inf < lower <= upper < np.inf:
        raise ValueError(f"lower={lower!r}, upper={upper!r}: expected finite bounds in order")
    x, result = operand_and_result(x, out)
    slopes = np.full(x.shape, (lower + upper) / 2, x.dtype)
    if training:
        slopes = np.random.default_rng(rng).random(x.shape, x.dtype)
        slopes *= upper - lower
        slopes += lower
    _sloped(x, slopes, result)
    return (result, slopes) if return_slopes else result


def maxout(x: npt.ArrayLike, pieces: int, dim: int = 1, *, out: np.ndarray | None = None) -> np.ndarray:
    """The maximum of each `pieces` neighbouring channels.

    ``out[:, c] = max_j x[:, c * pieces + j]``

    Parameters
    ----------
    x : array_like of float32 or float64
    pieces : int
        How many channels compete; divides the extent along `dim`.
    dim : int
        The axis of channels.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray
        As `x`, but for ``x.shape[dim] / pieces`` channels.

    Raises
    ------
    TypeError, GeometryError
        As `relu`; also `pieces` that do not divide the channels, and an axis that `x` does not have.

    References
    ----------
    Goodfellow, Warde-Farley, Mirza, Courville and Bengio, Maxout networks, ICML 2013.

    Examples
    --------
    >>> maxout([[1.0, 3.0, -2.0, -5.0]], 2)
    array([[ 3., -2.]])
    """
    x = as_array("x", x)
    x = as_operand(x, common_float(x=x))
    competing = competitors(x, pieces, dim)
    axis = checked_axis("dim", dim, x.ndim) + 1
    result = result_like(competing.shape[:axis] + competing.shape[axis + 1 :], x.dtype, out)
    return _stored(result, competing.max(axis))


def competitors(x: np.ndarray, pieces: int, dim: int) -> np.ndarray:
    """`x` with the axis `dim` split in two: groups, and the `pieces` of each."""
    axis = checked_axis("dim", dim, x.ndim)
    pieces = checked_integer("pieces", pieces, 1)
    if x.shape[axis] % pieces:
        raise GeometryError(f"pieces={pieces}: does not divide {x.shape[axis]} channels")
    return x.reshape(*x.shape[:axis], x.shape[axis] // pieces, pieces, *x.shape[axis + 1 :])


@quiet
def softmax(x: npt.ArrayLike, dim: int, *, out: np.ndarray | None = None) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` along an axis.

    A slice that holds a NaN, plus infinity, or nothing but minus infinity, becomes NaN.

    Parameters
    ----------
    x, out
        As `relu`.
    dim : int
        The axis along which the result sums up to 1.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, GeometryError
        As `relu`; also an axis that `x` does not have.

    References
    ----------
    Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990.

    Examples
    --------
    >>> softmax([1000.0, 1000.0, -1000.0], 0)
    array([0.5, 0.5, 0. ])
    """
    x, result = operand_and_result(x, out)
    axis = checked_axis("dim", dim, x.ndim)
    powers = np.subtract(x, _largest(x, axis), out=result)
    np.exp(powers, out=powers)
    powers /= powers.sum(axis, keepdims=True)
    return result


@quiet
def log_softmax(x: npt.ArrayLike, dim: int, *, out: np.ndarray | None = None) -> np.ndarray:
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
    x, result = operand_and_result(x, out)
    axis = checked_axis("dim", dim, x.ndim)
    np.subtract(x, _largest(x, axis), out=result)
    result -= np.log(np.exp(result).sum(axis, keepdims=True))
    return result


def _largest(x: np.ndarray, axis: int) -> np.ndarray:
    return x.max(axis, keepdims=True, initial=-np.inf)


@quiet
def linear(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, out: np.ndarray | None = None
) -> np.ndarray:
    """``x @ weight.T + bias``, by NumPy's BLAS, whose roundings depend on the batch and on its own threads.

    Parameters
    ----------
    x : array_like, shape (..., I)
    weight : array_like, shape (O, I)
    bias : array_like, shape (O,), optional
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray, shape (..., O)
        float32 or float64, the type in which the arguments meet.

    Raises
    ------
    TypeError
        Another type.
    GeometryError
        The shapes do not fit together; a ``ValueError``.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.

    Examples
    --------
    >>> linear([1.0, 2.0], [[1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [0.0, 0.0, 0.5])
    array([ 1. , -2. ,  3.5])
    """
    x, weight = as_array("x", x), as_array("weight", weight)
    bias = None if bias is None else np.array(as_array("bias", bias))  # a copy, since `out` may overlap it
    dtype = common_float(x=x, weight=weight, bias=bias)
    check_linear(x, weight)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise GeometryError(
            f"bias of shape {bias.shape}: expected {weight.shape[:1]}, one value for each row of weight"
        )
    result = result_like((*x.shape[:-1], len(weight)), dtype, out)
    # matmul itself copies operands that overlap `out`.
    np.matmul(as_operand(x, dtype), as_operand(weight, dtype).T, out=result)
    if bias is not None:
        result += bias
    return result


def check_linear(x: np.ndarray, weight: np.ndarray) -> None:
    """Refuse arrays that `linear` cannot multiply."""
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise GeometryError(
            f"x of shape {x.shape}, weight of shape {weight.shape}: expected (..., inputs) and (outputs, inputs)"
        )


def dropout(
    x: npt.ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    scale_at: str = "training",
    rng: np.random.Generator | int | None = None,
    return_mask: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Set each value to zero with probability `p`, and keep the expectation by a factor.

    Parameters
    ----------
    x, out
        As `relu`.
    p : float
        Probability of a zero, from 0 to 1.
    training : bool
        Drop, or only scale where `scale_at` says so.
    scale_at : {"training", "test"}
        Divide what is kept by ``1 - p`` in training ("inverted" dropout, what torch does), or multiply by ``1 - p`` at
        test time (as dropout was published).
    rng : Generator, int or None
        What draws: a generator, its seed, or a fresh one.
    return_mask : bool
        Also return the factors, which `fastconv.layer_grad.dropout` wants.

    Returns
    -------
    out : ndarray
        Whatever `x` held, dropped values are 0.
    mask : ndarray
        With `return_mask`: what each value of `x` was multiplied by.

    Raises
    ------
    TypeError, GeometryError
        As `relu`.
    ValueError
        `p` is no probability, or `scale_at` unknown.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, JMLR 2014.

    Examples
    --------
    >>> out = dropout(np.ones(1000), 0.25, rng=0)
    >>> np.unique(out)
    array([0.        , 1.33333333])
    >>> dropout([1.0, 2.0], 0.25, training=False, scale_at="test")
    array([0.75, 1.5 ])
    """
    p = _checked_rate(p)
    return _dropped(x, p, p, training, scale_at, np.random.default_rng(rng), return_mask, out)


def random_dropout(
    x: npt.ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    scale_at: str = "training",
    rng: np.random.Generator | int | None = None,
    return_mask: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`dropout` whose rate is drawn anew for each call, that is for each layer and pass, uniformly from ``[0, p)``.

    Parameters
    ----------
    x, training, scale_at, rng, return_mask, out
        As `dropout`; at test time the mean rate ``p / 2`` counts.
    p : float
        Upper bound of the rate, from 0 to 1.

    Returns
    -------
    ndarray, or ndarray and mask
        As `dropout`.

    Raises
    ------
    TypeError, ValueError
        As `dropout`.

    References
    ----------
    Bouthillier, Konda, Vincent and Memisevic, Dropout as data augmentation, 2015.

    Examples
    --------
    >>> random_dropout([1.0, 2.0], 0.5, training=False, scale_at="test")
    array([0.75, 1.5 ])
    """
    p, rng = _checked_rate(p), np.random.default_rng(rng)
    return _dropped(x, p * rng.random() if training else p, p / 2, training, scale_at, rng, return_mask, out)


@quiet
def _dropped(x, rate, mean_rate, training, scale_at, rng, return_mask, out):
    """`dropout` at the `rate` that this call drew, of those whose mean is `mean_rate`."""
    at_test = checked_choice("scale_at", scale_at, "training", "test")
    x, result = operand_and_result(x, out)
    if training:
        mask = (rng.random(x.shape, x.dtype) >= rate).astype(x.dtype)
        if not at_test and rate < 1:
            mask *= 1 / (1 - rate)
    else:
        mask = np.full(x.shape, 1 - mean_rate if at_test else 1, x.dtype)
    np.multiply(x, mask, out=result)
    if training:
        np.copyto(result, 0, where=mask == 0)  # infinite and NaN values are dropped too
    return (result, mask) if return_mask else result


@quiet
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
        The statistics, when not `training`. In training those of the batch are used, and arrays that are given move
        towards them **in place**: ``running += momentum * (batch - running)``, with the unbiased variance.
    weight, bias : array_like, shape (C,), optional
        Scale and shift; 1 and 0 by default.
    training : bool
    momentum, eps : float
    out : ndarray, optional
        Where to put the result; may be `x`.

    Returns
    -------
    ndarray
        As `x`. Statistics are summed in double precision.

    Raises
    ------
    TypeError
        `x` has another type, or running statistics are no arrays that can be updated.
    GeometryError
        The shapes do not fit together; a ``ValueError``.
    ValueError
        Statistics are missing, there is but one value a channel to train on, or `eps` is negative.

    References
    ----------
    Ioffe and Szegedy, Batch normalization, ICML 2015.

    Examples
    --------
    >>> batch_norm([[1.0, 10.0], [3.0, 30.0]], None, None, training=True, eps=0.0)
    array([[-1., -1.],
           [ 1.,  1.]])
    """
    x, result = operand_and_result(x, out)
    momentum = checked_real("momentum", momentum)
    running = {"running_mean": running_mean, "running_var": running_var}
    if training:
        for name, array in running.items():
            if array is not None:
                checked_channels(name, array, x)
                if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.flags.writeable:
                    raise TypeError(f"{name}: expected a writeable float array, which training updates in place")
    mean, var = batch_statistics(x, running_mean, running_var, training)
    scale = checked_channels("weight", weight, x, 1) / np.sqrt(var + checked_eps(eps))
    # Double precision ends here: what the mean loses in the type of `x` goes into the shift.
    near = mean.astype(x.dtype)
    shift = checked_channels("bias", bias, x, 0) + (near - mean) * scale
    np.subtract(x, _along_channels(near, x), out=result)
    result *= _along_channels(scale.astype(x.dtype), x)
    result += _along_channels(shift.astype(x.dtype), x)
    if training:
        count = x.size // x.shape[1]
        for array, batch in ((running_mean, mean), (running_var, var * (count / (count - 1)))):
            if array is not None:
                array += momentum * (batch - array)
    return result


def batch_statistics(
    x: np.ndarray, running_mean: Any, running_var: Any, training: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel that `batch_norm` normalises with, in float64."""
    if x.ndim < 2:
        raise GeometryError(f"x of shape {x.shape}: expected at least 2 axes (batch, channels, ...)")
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("running_mean and running_var are needed unless training=True")
        return checked_channels("running_mean", running_mean, x), checked_channels("running_var", running_var, x)
    if x.size <= x.shape[1]:
        raise ValueError(f"x of shape {x.shape}: expected more than one value a channel when training")
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes, np.float64)
    return mean, np.square(x - _along_channels(mean, x)).mean(axes)


def checked_channels(name: str, value: Any, x: np.ndarray, default: float | None = None) -> np.ndarray:
    """`value` as one float64 number for each channel of `x`."""
    if value is None and default is not None:
        return np.full(x.shape[1], default, np.float64)
    array = as_array(name, value)
    if array.shape != x.shape[1:2]:
        raise GeometryError(f"{name} of shape {array.shape}: expected {x.shape[1:2]}, one value a channel")
    common_float(**{name: array})
    return array.astype(np.float64)


def _along_channels(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`values`, one a channel, shaped so that they broadcast against ``x (N, C, ...)``."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


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
        Of `fastconv.conv2d`, of a convolution with other axes, or of `linear`.
    bias : array_like, shape (OC,), or None
    running_mean, running_var, bn_weight, bn_bias, eps
        As `batch_norm` has them.

    Returns
    -------
    weight, bias : ndarray
        In the type of `weight`; computed in double precision.

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
    outputs = weight[None]  # checked as if they were one image
    scale = checked_channels("bn_weight", bn_weight, outputs, 1) / np.sqrt(
        checked_channels("running_var", running_var, outputs) + checked_eps(eps)
    )
    centred = checked_channels("bias", bias, outputs, 0) - checked_channels("running_mean", running_mean, outputs)
    shift = checked_channels("bn_bias", bn_bias, outputs, 0) + centred * scale
    return (weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))).astype(dtype), shift.astype(dtype)


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
    """``x / (k + alpha * m) ** beta``, where ``m`` gathers the squares of `size` neighbouring channels.

    They are channels ``c - size // 2`` to ``c + (size - 1) // 2`` for channel ``c``; those that do not exist are zeros.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, ...)
    size : int
        How many channels, at least 1.
    alpha, beta, k : float
    rule : {"mean", "sum"}
        ``m`` is the mean of the squares, zeros included, as in torch; or their sum, as in the AlexNet paper, whose
        constants are ``size=5, alpha=1e-4, beta=0.75, k=2``.
    out : ndarray, optional
        Where to put the result; may be `x`.

    Returns
    -------
    ndarray
        As `x`.

    Raises
    ------
    TypeError, GeometryError
        As `relu`; also `x` without channels, and a `size` that is no int of at least 1.
    ValueError
        `rule` is unknown, or a constant no number.

    References
    ----------
    Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012, 3.3.

    Examples
    --------
    >>> local_response_norm([[3.0, 4.0]], 3, alpha=1.0, beta=0.5, k=0.0, rule="sum")
    array([[0.6, 0.8]])
    """
    x, result = operand_and_result(x, out)
    divisor = response(x, size, alpha, k, rule)
    return np.multiply(x, divisor ** -checked_real("beta", beta), out=result)


def response(x: np.ndarray, size: int, alpha: float, k: float, rule: str) -> np.ndarray:
    """``k + alpha * m`` of `local_response_norm`."""
    summed = checked_choice("rule", rule, "mean", "sum")
    gathered = neighbour_sum(np.square(x), size)
    gathered *= checked_real("alpha", alpha) / (1 if summed else size)
    gathered += checked_real("k", k)
    return gathered


def neighbour_sum(values: np.ndarray, size: int, mirrored: bool = False) -> np.ndarray:
    """Sums of channels ``c - size // 2`` to ``c + (size - 1) // 2`` of ``(N, C, ...)``, or of the `mirrored` window."""
    if values.ndim < 2:
        raise GeometryError(f"x of shape {values.shape}: expected at least 2 axes (batch, channels, ...)")
    size, channels = checked_integer("size", size, 1), values.shape[1]
    before, after = min(size // 2, channels), min((size - 1) // 2, channels)
    if mirrored:
        before, after = after, before
    sums = values.copy()
    for step in range(1, before + 1):
        sums[:, step:] += values[:, :-step]
    for step in range(1, after + 1):
        sums[:, :-step] += values[:, step:]
    return sums


@quiet
def cross_entropy(
    x: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """The negative logarithm of the probability that `softmax` gives to the targets.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (C,), (N, C) or (N, C, ...)
        Scores of the classes, before any softmax.
    target : array_like
        Integers of shape (), (N,) or (N, ...): the right classes. Or floats of the shape of `x`: their probabilities.
    weight : array_like, shape (C,), optional
        How much each class counts.
    ignore_index : int
        Targets of this class count nothing (not for probabilities).
    reduction : {"mean", "sum", "none"}
        "mean" divides by the weights of the targets, or by their number where they are probabilities.
    label_smoothing : float
        From 0 to 1: how much of the target is shared by all classes alike.

    Returns
    -------
    ndarray
        Without axes, or with "none" of the shape of the classes. Means and sums are taken in double precision.

    Raises
    ------
    TypeError
        Another type.
    GeometryError
        The shapes do not fit together; a ``ValueError``.
    ValueError
        A target is no class, or another argument is out of range.

    References
    ----------
    Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990; label smoothing: Szegedy
    et al., Rethinking the inception architecture for computer vision, 2016.

    Examples
    --------
    >>> cross_entropy([[1000.0, 0.0], [1000.0, 0.0]], [0, 1], reduction="none")
    array([   0., 1000.])
    """
    x = as_array("x", x)
    dtype = common_float(x=x)
    shares, divisor = target_shares(x, target, weight, ignore_index, reduction, label_smoothing)
    # A class without a share counts nothing, even if its logarithm is minus infinity.
    losses = np.where(shares == 0, 0, -shares * log_softmax(x, class_axis(x))).sum(class_axis(x))
    return np.asarray(losses if reduction == "none" else losses.sum() / divisor, dtype)


def class_axis(x: np.ndarray) -> int:
    """The axis of the classes: the only one, or that after the batch."""
    return min(1, x.ndim - 1)


def target_shares(
    x: np.ndarray, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> tuple[np.ndarray, float]:
    """What each class counts in the loss, in float64 and the shape of `x`; and what the sum is divided by."""
    if x.ndim < 1 or x.shape[class_axis(x)] < 1:
        raise GeometryError(f"x of shape {x.shape}: expected (C,), (N, C) or (N, C, ...) with at least one class")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction={reduction!r}: expected 'mean', 'sum' or 'none'")
    smoothing = checked_real("label_smoothing", label_smoothing)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing!r}: expected a number from 0 to 1")
    axis, target = class_axis(x), as_array("target", target)
    classes = x.shape[axis]
    weight = checked_channels("weight", weight, np.moveaxis(x, axis, -1).reshape(-1, classes), 1)
    spread = weight.reshape(-1, *(1,) * (x.ndim - 1 - axis))
    if target.dtype.kind == "f":
        if target.shape != x.shape:
            raise GeometryError(f"target of shape {target.shape}: expected probabilities of the shape of x, {x.shape}")
        shares = (target.astype(np.float64) * (1 - smoothing) + smoothing / classes) * spread
        count = x.size // classes
    else:
        if target.dtype.kind not in "iu":
            raise TypeError(f"target of dtype {target.dtype}: expected integers (classes) or floats (probabilities)")
        if target.shape != x.shape[:axis] + x.shape[axis + 1 :]:
            raise GeometryError(
                f"target of shape {target.shape}: expected {x.shape[:axis] + x.shape[axis + 1 :]}, one class each"
            )
        counted = target != checked_integer("ignore_index", ignore_index)
        wrong = counted & ((target < 0) | (target >= classes))
        if wrong.any():
            raise ValueError(f"target={int(target[wrong][0])}: expected a class from 0 to {classes - 1}")
        chosen = np.where(counted, target, 0).astype(np.intp)
        shares = np.full(x.shape, smoothing / classes) * spread
        at = np.expand_dims(chosen, axis)
        own = np.take_along_axis(shares, at, axis) + np.expand_dims((1 - smoothing) * weight[chosen], axis)
        np.put_along_axis(shares, at, own, axis)
        shares *= np.expand_dims(counted, axis)
        count = float((weight[chosen] * counted).sum())
    return shares, count if reduction == "mean" else 1


def operand_and_result(
    x: npt.ArrayLike, out: np.ndarray | None, **others: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """`x` in the type where it meets the `others`, and the array that takes a result of its shape."""
    x = as_array("x", x)
    dtype = common_float(x=x, **others)
    return as_operand(x, dtype), result_like(x.shape, dtype, out)


def result_like(shape: Sequence[int], dtype: np.dtype, out: np.ndarray | None) -> np.ndarray:
    """`out`, checked, or a new array."""
    return np.empty(shape, dtype) if out is None else checked_out(out, tuple(shape), dtype)


def _stored(result: np.ndarray, values: np.ndarray) -> np.ndarray:
    result[...] = values
    return result


@quiet
def _sloped(x: np.ndarray, slopes: np.ndarray, result: np.ndarray) -> np.ndarray:
    """``x < 0 ? slopes * x : x`` into `result`, which may be `x`."""
    negative = x < 0
    products = x * slopes
    if result is not x:
        result[...] = x
    np.copyto(result, products, where=negative)
    return result


def _activated(activation: Any, x: npt.ArrayLike, out: np.ndarray | None) -> np.ndarray:
    """An activation of the epilogue, alone."""
    from fastconv.kernels.epilogue import VALUES

    code, parameter = parse_activation(activation)
    x, result = operand_and_result(x, out)
    source = np.ascontiguousarray(x)
    # In place is fine, as long as every value goes where it came from.
    direct = is_target(result, source) or (result is source and result.flags.c_contiguous)
    target = result if direct else np.empty(x.shape, x.dtype)
    tiles = -(-x.size // _TILE_VALUES)
    ints = (x.size, _TILE_VALUES, code)
    team.run_tiles(VALUES[x.dtype.name], (source, target), ints, (parameter,), tiles, team.get_num_threads(), _GRAIN)
    if target is not result:
        result[...] = target
    return result


def checked_axis(name: str, axis: int, ndim: int) -> int:
    """`axis`, counted from the front."""
    number = checked_integer(name, axis)
    if not -ndim <= number < ndim:
        raise GeometryError(f"{name}={axis!r}: expected an axis of the {ndim} that there are")
    return number % ndim


def checked_integer(name: str, value: Any, least: int | None = None) -> int:
    """`value` as an int."""
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        raise GeometryError(f"{name}={value!r}: expected an int" + ("" if least is None else f" of at least {least}"))
    return number


def checked_real(name: str, value: Any) -> float:
    """`value` as a float."""
    if not isinstance(value, Real):
        raise ValueError(f"{name}={value!r}: expected a number")
    return float(value)


def checked_eps(eps: Any) -> float:
    """The constant beside a variance."""
    if not checked_real("eps", eps) >= 0:
        raise ValueError(f"eps={eps!r}: expected a number of at least 0")
    return float(eps)


def checked_choice(name: str, value: Any, usual: str, other: str) -> bool:
    """Whether `value` is the `other` of the two words that it may be."""
    if not isinstance(value, str) or value not in (usual, other):
        raise ValueError(f"{name}={value!r}: expected {usual!r} or {other!r}")
    return value == other


def _checked_rate(p: Any) -> float:
    if not 0 <= checked_real("p", p) <= 1:
        raise ValueError(f"p={p!r}: expected a probability from 0 to 1")
    return float(p)
