"""Activations: of single values, with learnt or random slopes, and the maximum of competing channels.

Activations that convolutions can fuse use kernels/simd/epilogue.h here, too, so that ``relu(conv2d(x, w))`` and
``conv2d(x, w, activation="relu")`` give the same bits.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_operand, common_float, named_input
from fastconv.engine.epilogue import CODES
from fastconv.engine.launch import Launch
from fastconv.engine.replay import constant, repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.nn.arguments import (
    alike_in_memory,
    channelwise,
    checked_axis,
    checked_choice,
    checked_integer,
    checked_real,
    in_memory_order,
    in_place,
    launched,
    operand_and_result,
    quiet,
    result_like,
)
from fastconv.nn.dropping import drawn_key, launched_with_noise

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "maxout",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]

# Values per tile of an activation: few enough to share among threads, enough to hide the hand-out of a tile.
_TILE_VALUES = 2048

# Tiles handed out at a time, enough to outweigh waking a thread.
_GRAIN = 8


@repeated()
@named_input
def relu(x: npt.ArrayLike, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``max(x, 0)``; NaN stays NaN.

    Parameters
    ----------
    x : array_like of float32 or float64
        Any shape.
    inplace : bool
        Store the result in `x` and return it, as torch does.
    out : ndarray, optional
        Array for the result; may be `x`.

    Returns
    -------
    ndarray
        The result, with the shape and type of `x`.

    Raises
    ------
    TypeError
        `x` or `out` is masked or of another type; or `inplace` is set and `x` cannot be written to.
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
    return _activated("relu", x, in_place(x, inplace, out))


@repeated()
@named_input
def relu6(x: npt.ArrayLike, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``min(max(x, 0), 6)``; NaN stays NaN.

    Parameters, result and errors as `relu`.

    References
    ----------
    Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018.

    Examples
    --------
    >>> relu6([-1.0, 0.5, 8.0])
    array([0. , 0.5, 6. ])
    """
    return _activated("relu6", x, in_place(x, inplace, out))


@repeated()
@named_input
def leaky_relu(
    x: npt.ArrayLike, negative_slope: float = 0.01, inplace: bool = False, *, out: np.ndarray | None = None
) -> np.ndarray:
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
    slope = checked_real("negative_slope", negative_slope)
    return _activated("leaky_relu", x, in_place(x, inplace, out), slope)


@repeated()
@named_input
def elu(x: npt.ArrayLike, alpha: float = 1.0, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
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
    return _activated("elu", x, in_place(x, inplace, out), checked_real("alpha", alpha))


@repeated()
@named_input
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


@repeated()
@named_input
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


@repeated()
@named_input
def silu(x: npt.ArrayLike, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x * sigmoid(x)``, also called swish; NaN at minus infinity, as in torch.

    Parameters, result and errors as `relu`.

    References
    ----------
    Elfwing, Uchibe and Doya, Sigmoid-weighted linear units for neural network function approximation, 2018.

    Examples
    --------
    >>> silu([-1000.0, 0.0, 1000.0])
    array([  -0.,    0., 1000.])
    """
    return _activated("silu", x, in_place(x, inplace, out))


@repeated()
@named_input
def gelu(x: npt.ArrayLike, approximate: str = "none", *, out: np.ndarray | None = None) -> np.ndarray:
    """``x * Phi(x)``, with the cumulative normal distribution; NaN at minus infinity, as in torch.

    Parameters
    ----------
    x, out
        As `relu`.
    approximate : {"none", "tanh"}
        Use the error function, or ``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, GeometryError
        As `relu`.
    ValueError
        `approximate` has another value.

    References
    ----------
    Hendrycks and Gimpel, Gaussian error linear units, 2016.

    Examples
    --------
    >>> gelu([-1000.0, 0.0, 1000.0])
    array([  -0.,    0., 1000.])
    """
    in_tanh = checked_choice("approximate", approximate, "none", "tanh")
    return _activated("gelu_tanh" if in_tanh else "gelu", x, out)


@quiet
def gelu_argument(x: np.ndarray) -> np.ndarray:
    """The argument of the sigmoid in the tanh form of `gelu`."""
    argument: np.ndarray = sqrt(8 / np.pi) * (x + 0.044715 * x * x * x)
    return argument


@repeated()
@named_input
def hardswish(x: npt.ArrayLike, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x * min(max(x + 3, 0), 6) / 6``; NaN at minus infinity, as in torch.

    Parameters, result and errors as `relu`.

    References
    ----------
    Howard et al., Searching for MobileNetV3, ICCV 2019.

    Examples
    --------
    >>> hardswish([-4.0, 0.0, 1.5, 4.0])
    array([-0.   ,  0.   ,  1.125,  4.   ])
    """
    return _activated("hardswish", x, in_place(x, inplace, out))


@repeated()
@named_input
def selu(x: npt.ArrayLike, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``scale * x`` where it is positive, else ``scale * alpha * (exp(x) - 1)``: mean 0 and variance 1 persist.

    Parameters, result and errors as `relu`.

    References
    ----------
    Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, NeurIPS 2017.

    Examples
    --------
    >>> selu([-1000.0, 1.0]).round(4)
    array([-1.7581,  1.0507])
    """
    return _activated("selu", x, in_place(x, inplace, out))


@repeated()
@named_input
def celu(x: npt.ArrayLike, alpha: float = 1.0, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x`` where it is positive, else ``alpha * (exp(x / alpha) - 1)``.

    Parameters, result and errors as `relu`; also if `alpha` is 0, a ``ValueError``.

    References
    ----------
    Barron, Continuously differentiable exponential linear units, 2017.

    Examples
    --------
    >>> celu([-1000.0, 0.5], 2.0)
    array([-2. ,  0.5])
    """
    return _activated("celu", x, in_place(x, inplace, out), checked_divisor("alpha", alpha))


def checked_divisor(name: str, value: Any) -> float:
    """`value` as a float, by which one can divide."""
    if not checked_real(name, value):
        raise ValueError(f"{name}={value!r}: expected a number other than 0")
    return float(value)


@repeated()
@named_input
def mish(x: npt.ArrayLike, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x * tanh(log(1 + exp(x)))``; NaN at minus infinity, as in torch.

    Parameters, result and errors as `relu`.

    References
    ----------
    Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.

    Examples
    --------
    >>> mish([-1000.0, 0.0, 1000.0])
    array([  -0.,    0., 1000.])
    """
    return _activated("mish", x, in_place(x, inplace, out))


@repeated()
@named_input
def softplus(
    x: npt.ArrayLike, beta: float = 1.0, threshold: float = 20.0, *, out: np.ndarray | None = None
) -> np.ndarray:
    """``log(1 + exp(beta * x)) / beta``; ``x`` itself where ``beta * x > threshold``.

    Parameters, result and errors as `relu`.

    References
    ----------
    Dugas, Bengio, Bélisle, Nadeau and Garcia, Incorporating second-order functional knowledge, NeurIPS 2000.

    Examples
    --------
    >>> softplus([-1000.0, 0.0, 1000.0]).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+03])
    """
    return _activated("softplus", x, out, checked_real("beta", beta), checked_real("threshold", threshold))


@repeated()
@named_input
def softsign(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x / (1 + abs(x))``; NaN at infinities, as in torch.

    Parameters, result and errors as `relu`.

    References
    ----------
    Bergstra, Desjardins, Lamblin and Bengio, Quadratic polynomials learn better image features, 2009.

    Examples
    --------
    >>> softsign([-1.0, 0.0, 3.0])
    array([-0.5 ,  0.  ,  0.75])
    """
    return _activated("softsign", x, out)


@repeated()
@named_input
def logsigmoid(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``-log(1 + exp(-x))``: the logarithm of `sigmoid`, without its underflow.

    Parameters, result and errors as `relu`.

    References
    ----------
    LeCun, Bottou, Orr and Müller, Efficient backprop, 1998.

    Examples
    --------
    >>> logsigmoid([-1000.0, 1000.0])
    array([-1000.,    -0.])
    """
    return _activated("logsigmoid", x, out)


@repeated()
@named_input
def hardsigmoid(x: npt.ArrayLike, inplace: bool = False, *, out: np.ndarray | None = None) -> np.ndarray:
    """``min(max(x + 3, 0), 6) / 6``.

    Parameters, result and errors as `relu`.

    References
    ----------
    Courbariaux, Bengio and David, BinaryConnect, NeurIPS 2015.

    Examples
    --------
    >>> hardsigmoid([-4.0, 0.0, 1.5, 4.0])
    array([0.  , 0.5 , 0.75, 1.  ])
    """
    return _activated("hardsigmoid", x, in_place(x, inplace, out))


@repeated()
@named_input
def hardtanh(
    x: npt.ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``min(max(x, min_val), max_val)``; NaN stays NaN.

    Parameters, result and errors as `relu`; also if the bounds are not in order, a ``ValueError``.

    References
    ----------
    Collobert, Large scale machine learning, 2004.

    Examples
    --------
    >>> hardtanh([-4.0, 0.5, 4.0], -1.0, 2.0)
    array([-1. ,  0.5,  2. ])
    """
    least, most = checked_real("min_val", min_val), checked_real("max_val", max_val)
    if least > most:
        raise ValueError(f"min_val={min_val!r}, max_val={max_val!r}: expected bounds in order")
    return _activated("hardtanh", x, in_place(x, inplace, out), least, most)


@repeated()
@named_input
def threshold(
    x: npt.ArrayLike, threshold: float, value: float, inplace: bool = False, *, out: np.ndarray | None = None
) -> np.ndarray:
    """``x`` where it is above `threshold`, else `value`; NaN stays NaN.

    Parameters, result and errors as `relu`.

    References
    ----------
    Glorot, Bordes and Bengio, Deep sparse rectifier neural networks, AISTATS 2011.

    Examples
    --------
    >>> threshold([-1.0, 0.5, 2.0], 1.0, -3.0)
    array([-3., -3.,  2.])
    """
    return _activated(
        "threshold", x, in_place(x, inplace, out), checked_real("threshold", threshold), checked_real("value", value)
    )


@repeated()
@named_input
def hardshrink(x: npt.ArrayLike, lambd: float = 0.5, *, out: np.ndarray | None = None) -> np.ndarray:
    """0 from ``-lambd`` to ``lambd``, elsewhere ``x``.

    Parameters, result and errors as `relu`.

    References
    ----------
    Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994.

    Examples
    --------
    >>> hardshrink([-2.0, 0.5, 2.0])
    array([-2.,  0.,  2.])
    """
    return _activated("hardshrink", x, out, checked_real("lambd", lambd))


@repeated()
@named_input
def softshrink(x: npt.ArrayLike, lambd: float = 0.5, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x`` moved by `lambd` towards 0, but not past it.

    Parameters, result and errors as `relu`; also if `lambd` is negative, a ``ValueError``.

    References
    ----------
    Donoho, De-noising by soft-thresholding, 1995.

    Examples
    --------
    >>> softshrink([-2.0, 0.25, 2.0])
    array([-1.5,  0. ,  1.5])
    """
    distance = checked_real("lambd", lambd)
    if not distance >= 0:
        raise ValueError(f"lambd={lambd!r}: expected a number of at least 0")
    return _activated("softshrink", x, out, distance)


@repeated()
@named_input
def tanhshrink(x: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x - tanh(x)``.

    Parameters, result and errors as `relu`.

    References
    ----------
    Glorot, Bordes and Bengio, Deep sparse rectifier neural networks, AISTATS 2011.

    Examples
    --------
    >>> tanhshrink([-1000.0, 0.0, 2.0]).round(3)
    array([-999.   ,    0.   ,    1.036])
    """
    return _activated("tanhshrink", x, out)


@repeated(by_value=("weight",))
@named_input
def prelu(x: npt.ArrayLike, weight: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """``x`` where it is positive, else ``weight * x``, with a learnt slope.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, ...), (C,) or any with one slope
    weight : array_like, shape (1,) or (C,)
        One slope, or one per channel.
    out : ndarray, optional
        Array for the result; may be `x`.

    Returns
    -------
    ndarray
        The result, with the shape of `x`, in the type to which both promote.

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
    slopes = channel_slopes(x, weight).astype(x.dtype).ravel()
    if slopes.size == 1:
        return _activated("leaky_relu", x, result, float(slopes[0]))
    return channelwise(x, result, constant(slopes), None, None)


def channel_slopes(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The slopes of `prelu`, shaped so that they broadcast against `x`."""
    channels = x.shape[min(1, x.ndim - 1)] if x.ndim else 1
    if weight.ndim > 1 or weight.size not in (1, channels):
        raise GeometryError(f"weight of shape {weight.shape}: expected (1,), or one slope for each of {channels}")
    return weight.reshape(()) if weight.size == 1 else weight.reshape(-1, *(1,) * max(0, x.ndim - 2))


@named_input
def rrelu(
    x: npt.ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    rng: np.random.Generator | int | None = None,
    return_slopes: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`leaky_relu` with slopes drawn uniformly from ``[lower, upper)``, one per value; or with their mean.

    Parameters
    ----------
    x, inplace, out
        As `relu`.
    lower, upper : float
        Bounds of the slopes.
    training : bool
        Draw slopes; if false, use ``(lower + upper) / 2`` everywhere.
    rng : Generator, int or None
        Source of random numbers, as in `dropout`.
    return_slopes : bool
        Also return the slopes, which `fastconv.grad.layers.rrelu` needs.

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
    out = in_place(x, inplace, out)
    if training:
        return _randomly_sloped(x, lower, upper, drawn_key(rng), return_slopes, out=out)
    mean = (lower + upper) / 2
    result = leaky_relu(x, mean, out=out)
    return (result, np.full(result.shape, mean, result.dtype)) if return_slopes else result


@repeated()
def _randomly_sloped(
    x: npt.ArrayLike, lower: float, upper: float, key: np.ndarray, return_slopes: bool, *, out: np.ndarray | None
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`rrelu` in training."""
    x, result = operand_and_result(x, out)
    slopes = np.empty(x.shape, x.dtype) if return_slopes else None
    return launched_with_noise("slope", x, result, slopes, key, (lower, upper - lower))


@named_input
def maxout(x: npt.ArrayLike, pieces: int, dim: int = 1, *, out: np.ndarray | None = None) -> np.ndarray:
    """The maximum of each `pieces` neighbouring channels.

    ``out[:, c] = max_j x[:, c * pieces + j]``

    Parameters
    ----------
    x : array_like of float32 or float64
    pieces : int
        Number of channels that compete; must divide the extent along `dim`.
    dim : int
        The axis of channels.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray
        The result, as `x` but with ``x.shape[dim] / pieces`` channels.

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
    """`x` with the axis `dim` split in two: groups, and `pieces` channels per group."""
    axis = checked_axis("dim", dim, x.ndim)
    pieces = checked_integer("pieces", pieces, 1)
    if x.shape[axis] % pieces:
        raise GeometryError(f"pieces={pieces}: does not divide {x.shape[axis]} channels")
    return x.reshape(*x.shape[:axis], x.shape[axis] // pieces, pieces, *x.shape[axis + 1 :])


def _stored(result: np.ndarray, values: np.ndarray) -> np.ndarray:
    result[...] = values
    return result


def _activated(name: str, x: npt.ArrayLike, out: np.ndarray | None, *parameters: float) -> np.ndarray:
    """Apply an activation of the epilogue on its own."""
    from fastconv.kernels.slots import arguments

    x, result = alike_in_memory(x, out)
    ints = arguments("activation")(values=x.size, tile_values=_TILE_VALUES, activation=CODES[name])
    launch = Launch.of("activation", x.dtype, ints, -(-x.size // _TILE_VALUES), _GRAIN)
    source, target, _ = in_memory_order(x, result)
    launched(launch, source, target, scalars=parameters or (0.0,))
    return repeatable(result)
