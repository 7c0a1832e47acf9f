"""Derivatives of `fastconv.nn`: each function carries the name of the layer whose gradient it propagates.

``grad.relu(grad_output, x)`` is the gradient of a loss with respect to `x`, given its gradient with respect to
``nn.relu(x)``. Layers with parameters return a tuple of gradients, in the order of the arguments. Random numbers of the
forward pass are arguments here. Gradients have the type to which `grad_output` and the layer's arrays promote, float32
or float64.

At a kink the derivative is torch's: the left-hand one, such as 0 for `relu` at 0, but 1 for `hardswish` at 3. At a NaN
in `x`, `relu` passes the gradient on, layers with a slope multiply it by the slope, and others give NaN. `silu` and
`gelu` give NaN at infinities, too. Where `relu` and `hardswish` are flat the gradient is 0, whatever `grad_output` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import nn
from fastconv.engine.arrays import as_array, as_contiguous, common_float
from fastconv.engine.epilogue import SELU_ALPHA, SELU_SCALE
from fastconv.engine.launch import Launch
from fastconv.engine.replay import repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.grad.arguments import check_grad_output
from fastconv.kernels import threads as team
from fastconv.kernels.shield import imported
from fastconv.nn.activations import channel_slopes, checked_divisor, competitors, gelu_argument
from fastconv.nn.arguments import (
    checked_axis,
    checked_channels,
    checked_choice,
    checked_eps,
    checked_operand,
    checked_real,
    quiet,
)
from fastconv.nn.joining import checked_places
from fastconv.nn.normalisation import batch_statistics, neighbour_sum, response
from fastconv.nn.products import check_linear
from fastconv.nn.scores import class_axis, target_shares
from fastconv.nn.standardising import (
    Slices,
    checked_least,
    slices_of_groups,
    slices_of_instances,
    slices_of_layers,
    trailing_shape,
)

__all__ = [
    "add",
    "batch_norm",
    "cat",
    "celu",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "index_select",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "maxout",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]


# As in nn/activations.py.
_TILE_VALUES, _GRAIN = 2048, 8


def _operands(**arrays: npt.ArrayLike) -> list[np.ndarray]:
    """The arrays, converted to their common type; all must have the same shape."""
    operands = [as_array(name, value) for name, value in arrays.items()]
    dtype = common_float(**dict(zip(arrays, operands, strict=True)))
    check_grad_output(operands[0], operands[1].shape)
    return [operand.astype(dtype, copy=False) for operand in operands]


@repeated()
def relu(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output`` where `x` is positive, else 0.

    Parameters
    ----------
    grad_output : array_like of float32 or float64
        Gradient with respect to the output, in its shape.
    x : array_like of float32 or float64
        The input of the layer.

    Returns
    -------
    ndarray
        Gradient with respect to `x`, with its shape.

    Raises
    ------
    TypeError
        An array is masked or of another type.
    GeometryError
        The shapes differ; a ``ValueError``.

    Examples
    --------
    >>> relu([3.0, 3.0], [-1.0, 0.5])
    array([0., 3.])
    """
    from fastconv.kernels.slots import arguments

    grad_output, x = _operands(grad_output=grad_output, x=x)
    out = np.empty(x.shape, x.dtype)
    ints = arguments("rectified")(values=x.size, tile_values=_TILE_VALUES)
    launch = Launch.of("rectified", x.dtype, ints, -(-x.size // _TILE_VALUES), _GRAIN)
    launch.run((as_contiguous(grad_output), as_contiguous(x), out), team.get_num_threads())
    return repeatable(out)


@quiet
def leaky_relu(grad_output: npt.ArrayLike, x: npt.ArrayLike, negative_slope: float = 0.01) -> np.ndarray:
    """``grad_output`` where `x` is positive, else ``negative_slope`` of it. Parameters, result and errors as `relu`.

    Examples
    --------
    >>> leaky_relu([4.0, 4.0], [-1.0, 0.5], 0.25)
    array([1., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return np.where(x > 0, grad_output, checked_real("negative_slope", negative_slope) * grad_output)


@quiet
def elu(grad_output: npt.ArrayLike, x: npt.ArrayLike, alpha: float = 1.0) -> np.ndarray:
    """``grad_output * alpha * exp(x)`` left of 0. Parameters, result and errors as `relu`.

    Examples
    --------
    >>> elu([3.0, 3.0], [-1000.0, 0.5])
    array([0., 3.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return np.where(x > 0, grad_output, checked_real("alpha", alpha) * np.exp(np.minimum(x, 0)) * grad_output)


@quiet
def sigmoid(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output * sigmoid(x) * sigmoid(-x)``. Parameters, result and errors as `relu`.

    Examples
    --------
    >>> sigmoid([4.0, 4.0], [0.0, 1000.0])
    array([1., 0.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    # Not s * (1 - s), whose difference loses all digits far right.
    gradient: np.ndarray = grad_output * nn.sigmoid(x) * nn.sigmoid(-x)
    return gradient


@quiet
def tanh(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output / cosh(x) ** 2``. Parameters, result and errors as `relu`.

    Examples
    --------
    >>> tanh([4.0, 4.0], [0.0, 1000.0])
    array([4., 0.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    gradient: np.ndarray = 4 * grad_output * nn.sigmoid(2 * x) * nn.sigmoid(-2 * x)
    return gradient


@quiet
def silu(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output * s * (1 + x * (1 - s))`` with ``s = sigmoid(x)``. Parameters, result and errors as `relu`.

    Examples
    --------
    >>> silu([4.0, 4.0], [0.0, 1000.0])
    array([2., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    gradient: np.ndarray = grad_output * nn.sigmoid(x) * (1 + x * nn.sigmoid(-x))
    return gradient


@quiet
def gelu(grad_output: npt.ArrayLike, x: npt.ArrayLike, approximate: str = "none") -> np.ndarray:
    """``grad_output * (Phi(x) + x * phi(x))``, or the derivative of the tanh form. Otherwise as `relu`.

    Examples
    --------
    >>> gelu([4.0, 4.0], [0.0, 1000.0])
    array([2., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    if checked_choice("approximate", approximate, "none", "tanh"):
        u = gelu_argument(x)
        rise = sqrt(8 / pi) * (1 + 3 * 0.044715 * x * x)
        # Where the sigmoid is flat the gradient is 0; the sigmoid's argument may have overflowed there.
        slope = nn.sigmoid(u) * nn.sigmoid(-u)
        gradient: np.ndarray = grad_output * (nn.sigmoid(u) + np.where(slope == 0, 0, x * slope * rise))
        return gradient
    density = np.exp(-0.5 * x * x) / sqrt(2 * pi)
    gradient = grad_output * (imported("scipy.special").ndtr(x) + x * density).astype(x.dtype, copy=False)
    return gradient


@quiet
def relu6(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output`` strictly between 0 and 6, else 0.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> relu6([4.0, 4.0, 4.0], [-1.0, 0.5, 8.0])
    array([0., 4., 0.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return np.where((x <= 0) | (x >= 6), 0, grad_output)


@quiet
def hardswish(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output * (2 * x + 3) / 6`` between -3 and 3, 0 left of them, `grad_output` right of them.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> hardswish([6.0, 6.0, 6.0], [-4.0, 0.0, 4.0])
    array([0., 3., 6.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return np.where(x <= -3, 0, np.where(x >= 3, grad_output, grad_output * ((2 * x + 3) / 6)))


@quiet
def selu(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output`` times the slope of ``nn.selu``: its scale where `x` is positive, else ``scale * alpha * exp(x)``.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> selu([4.0, 4.0], [-1000.0, 1.0]).round(4)
    array([0.    , 4.2028])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    slopes = np.where(x > 0, 1, SELU_ALPHA * np.exp(np.minimum(x, 0)))
    return (grad_output * (SELU_SCALE * slopes)).astype(x.dtype, copy=False)


@quiet
def celu(grad_output: npt.ArrayLike, x: npt.ArrayLike, alpha: float = 1.0) -> np.ndarray:
    """``grad_output * exp(x / alpha)`` left of 0.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> celu([3.0, 3.0], [-2000.0, 0.5], 2.0)
    array([0., 3.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return np.where(x > 0, grad_output, grad_output * np.exp(np.where(x > 0, 0, x) / checked_divisor("alpha", alpha)))


@quiet
def mish(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output * (t + x * sigmoid(x) * (1 - t**2))`` with ``t = tanh(log(1 + exp(x)))``.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> mish([5.0, 5.0], [0.0, 1000.0])
    array([3., 5.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    raised = nn.softplus(x)
    # Not 1 - t**2, whose difference loses all digits far right.
    rest = 4 * nn.sigmoid(2 * raised) * nn.sigmoid(-2 * raised)
    gradient: np.ndarray = grad_output * (nn.tanh(raised) + x * nn.sigmoid(x) * rest)
    return gradient


@quiet
def softplus(grad_output: npt.ArrayLike, x: npt.ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    """``grad_output * sigmoid(beta * x)``, or `grad_output` itself where ``beta * x > threshold``.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> softplus([4.0, 4.0], [0.0, 1000.0])
    array([2., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    raised = x * x.dtype.type(checked_real("beta", beta))
    return np.where(raised > checked_real("threshold", threshold), grad_output, grad_output * nn.sigmoid(raised))


@quiet
def softsign(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output / (1 + abs(x)) ** 2``, which is 0 at infinities.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> softsign([4.0, 4.0], [0.0, 3.0])
    array([4.  , 0.25])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    raised = 1 + np.abs(x)
    gradient: np.ndarray = grad_output / raised / raised
    return gradient


@quiet
def logsigmoid(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output * sigmoid(-x)``.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> logsigmoid([4.0, 4.0], [0.0, -1000.0])
    array([2., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    gradient: np.ndarray = grad_output * nn.sigmoid(-x)
    return gradient


@quiet
def hardsigmoid(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output / 6`` strictly between -3 and 3, else 0.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> hardsigmoid([6.0, 6.0, 6.0], [-3.0, 0.0, 4.0])
    array([0., 1., 0.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return np.where((x > -3) & (x < 3), grad_output / 6, 0)


@quiet
def hardtanh(grad_output: npt.ArrayLike, x: npt.ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> np.ndarray:
    """``grad_output`` strictly between the bounds, else 0.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> hardtanh([4.0, 4.0, 4.0], [-1.0, 0.5, 8.0])
    array([0., 4., 0.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    above, below = x > checked_real("min_val", min_val), x < checked_real("max_val", max_val)
    return np.where(above & below, grad_output, 0)


@quiet
def threshold(grad_output: npt.ArrayLike, x: npt.ArrayLike, threshold: float, value: float) -> np.ndarray:
    """``grad_output`` where `x` is above `threshold`, else 0; `value` does not count.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> threshold([4.0, 4.0], [1.0, 2.0], 1.0, -3.0)
    array([0., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    checked_real("value", value)
    return np.where(x <= checked_real("threshold", threshold), 0, grad_output)


@quiet
def hardshrink(grad_output: npt.ArrayLike, x: npt.ArrayLike, lambd: float = 0.5) -> np.ndarray:
    """0 from ``-lambd`` to ``lambd``, elsewhere `grad_output`.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> hardshrink([4.0, 4.0], [0.5, 2.0])
    array([0., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    distance = checked_real("lambd", lambd)
    return np.where((x < -distance) | (x > distance), grad_output, 0)


@quiet
def softshrink(grad_output: npt.ArrayLike, x: npt.ArrayLike, lambd: float = 0.5) -> np.ndarray:
    """0 from ``-lambd`` to ``lambd``, elsewhere `grad_output`.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> softshrink([4.0, 4.0], [0.5, 2.0])
    array([0., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    distance = checked_real("lambd", lambd)
    return np.where((x < -distance) | (x > distance), grad_output, 0)


@quiet
def tanhshrink(grad_output: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """``grad_output * tanh(x) ** 2``.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> tanhshrink([4.0, 4.0], [0.0, 1000.0])
    array([0., 4.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    gradient: np.ndarray = grad_output * np.square(nn.tanh(x))
    return gradient


@quiet
def prelu(grad_output: npt.ArrayLike, x: npt.ArrayLike, weight: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to `x` and `weight`, the latter summed in double precision. Otherwise as `relu`.

    Examples
    --------
    >>> prelu([[4.0, 4.0]], [[-2.0, 3.0]], [0.25])
    (array([[1., 4.]]), array([-8.]))
    """
    weight = as_array("weight", weight)
    grad_output, x = _operands(grad_output=grad_output, x=x)
    dtype = common_float(grad_output=grad_output, weight=weight)
    slopes = channel_slopes(x, weight).astype(dtype)
    by_slope = np.where(x > 0, 0, x * grad_output)
    axis = min(1, x.ndim - 1)
    kept = tuple(range(x.ndim)) if weight.size == 1 else tuple(i for i in range(x.ndim) if i != axis)
    by_weight = by_slope.sum(kept, np.float64).astype(dtype).reshape(weight.shape)
    return np.where(x > 0, grad_output, slopes * grad_output).astype(dtype, copy=False), by_weight


@quiet
def rrelu(grad_output: npt.ArrayLike, x: npt.ArrayLike, slopes: npt.ArrayLike) -> np.ndarray:
    """``grad_output`` where `x` is positive, else times the `slopes` from ``nn.rrelu(..., return_slopes=True)``.

    Parameters, result and errors as `relu`.

    Examples
    --------
    >>> rrelu([4.0, 4.0], [-1.0, 0.5], [0.25, 0.125])
    array([1., 4.])
    """
    grad_output, x, slopes = _operands(grad_output=grad_output, x=x, slopes=slopes)
    check_grad_output(grad_output, slopes.shape)
    return np.where(x > 0, grad_output, slopes * grad_output)


def maxout(grad_output: npt.ArrayLike, x: npt.ArrayLike, pieces: int, dim: int = 1) -> np.ndarray:
    """``grad_output`` for the first largest of each `pieces` channels, else 0. Otherwise as `relu`.

    Examples
    --------
    >>> maxout([[4.0, 5.0]], [[1.0, 3.0, -2.0, -5.0]], 2)
    array([[0., 4., 5., 0.]])
    """
    grad_output, x = as_array("grad_output", grad_output), as_array("x", x)
    dtype = common_float(grad_output=grad_output, x=x)
    competing = competitors(x, pieces, dim)
    axis = checked_axis("dim", dim, x.ndim) + 1
    check_grad_output(grad_output, competing.shape[:axis] + competing.shape[axis + 1 :])
    out = np.zeros(competing.shape, dtype)
    if out.size:
        winners = np.expand_dims(competing.argmax(axis), axis)
        np.put_along_axis(out, winners, np.expand_dims(grad_output, axis), axis)
    return out.reshape(x.shape)


@quiet
def softmax(grad_output: npt.ArrayLike, x: npt.ArrayLike, dim: int) -> np.ndarray:
    """``s * (grad_output - sum(grad_output * s))`` with ``s = softmax(x)``. Otherwise as `relu`.

    Examples
    --------
    >>> softmax([4.0, 0.0], [0.0, 0.0], 0)
    array([ 1., -1.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    shares = nn.softmax(x, dim)
    gradient: np.ndarray = shares * (grad_output - (grad_output * shares).sum(dim, keepdims=True))
    return gradient


@quiet
def log_softmax(grad_output: npt.ArrayLike, x: npt.ArrayLike, dim: int) -> np.ndarray:
    """``grad_output - softmax(x) * sum(grad_output)``. Otherwise as `relu`.

    Examples
    --------
    >>> log_softmax([4.0, 0.0], [0.0, 0.0], 0)
    array([ 2., -2.])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    shares = nn.softmax(x, dim)
    gradient: np.ndarray = grad_output - shares * grad_output.sum(dim, keepdims=True)
    return gradient


@quiet
def linear(
    grad_output: npt.ArrayLike, x: npt.ArrayLike, weight: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of ``x @ weight.T + bias`` with respect to `x`, `weight` and bias. Errors as `relu`.

    Examples
    --------
    >>> by_x, by_weight, by_bias = linear([[1.0], [1.0]], [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]])
    >>> by_x, by_weight, by_bias
    (array([[5., 6.],
           [5., 6.]]), array([[4., 6.]]), array([2.]))
    """
    arrays = {"grad_output": grad_output, "x": x, "weight": weight}
    operands = [as_array(name, value) for name, value in arrays.items()]
    dtype = common_float(**dict(zip(arrays, operands, strict=True)))
    grad_output, x, weight = (operand.astype(dtype, copy=False) for operand in operands)
    check_linear(x, weight)
    check_grad_output(grad_output, (*x.shape[:-1], len(weight)))
    rows = grad_output.reshape(-1, len(weight)) if grad_output.size else np.zeros((0, len(weight)), dtype)
    samples = x.reshape(len(rows), x.shape[-1])
    by_x, by_weight = _product(rows, weight).reshape(x.shape), _product(rows.T, samples)
    return by_x, by_weight, rows.sum(0, np.float64).astype(dtype)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``, as the convolution of a row of pixels, whose channels are the rows of `b`, by the filters `a`.

    Neither matrix is transposed, as inner products of rows would need it.
    """
    if not (a.size and b.size):
        return np.zeros((len(a), b.shape[1]), a.dtype)
    pixels, filters = b[np.newaxis, :, np.newaxis], a[..., np.newaxis, np.newaxis]
    return nn.conv2d(pixels, filters, strategy="implicit")[0, :, 0]


@quiet
def dropout(grad_output: npt.ArrayLike, mask: npt.ArrayLike) -> np.ndarray:
    """``grad_output * mask``, with the mask that a dropout of `fastconv.nn` returned. Otherwise as `relu`.

    The mask of ``nn.dropout2d`` has one value per channel.

    Examples
    --------
    >>> dropout([3.0, 4.0], [0.0, 2.0])
    array([0., 8.])
    """
    grad_output, mask = as_array("grad_output", grad_output), as_array("mask", mask)
    dtype = common_float(grad_output=grad_output, mask=mask)
    if mask.shape != (*grad_output.shape[:-2], 1, 1):
        check_grad_output(grad_output, mask.shape)
    return np.where(mask == 0, 0, grad_output * mask).astype(dtype, copy=False)


def add(grad_output: npt.ArrayLike, x_size: Sequence[int], other_size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of ``nn.add`` with respect to both terms, which have these shapes.

    Each is `grad_output` itself, or its sum, in double precision, over the axes along which the term was broadcast.

    Raises
    ------
    TypeError
        `grad_output` is neither float32 nor float64.
    GeometryError
        The shapes do not fit together; a ``ValueError``.

    Examples
    --------
    >>> add([[1.0, 2.0], [3.0, 4.0]], (2, 2), (2, 1))
    (array([[1., 2.],
           [3., 4.]]), array([[3.],
           [7.]]))
    """
    grad_output = as_array("grad_output", grad_output)
    dtype, shapes = common_float(grad_output=grad_output), (tuple(x_size), tuple(other_size))
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        raise GeometryError(f"x_size={x_size!r}, other_size={other_size!r}: cannot be broadcast to one") from None
    check_grad_output(grad_output, expected)
    by_x, by_other = (_summed(grad_output, shape).astype(dtype, copy=False) for shape in shapes)
    return by_x, by_other


def _summed(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`values` added up over the axes that make it larger than `shape`."""
    if values.shape == shape:
        return values
    more = values.ndim - len(shape)
    axes = tuple(at for at in range(values.ndim) if at < more or shape[at - more] != values.shape[at])
    sums: np.ndarray = values.sum(axes, np.float64, keepdims=True)
    return sums.reshape(shape)


def cat(grad_output: npt.ArrayLike, sizes: Sequence[Sequence[int]], dim: int = 0) -> list[np.ndarray]:
    """Gradients of ``nn.cat`` with respect to tensors of these shapes: the parts of `grad_output`, as views.

    Raises
    ------
    TypeError
        `grad_output` is neither float32 nor float64.
    GeometryError
        The shapes do not fit together; a ``ValueError``.

    Examples
    --------
    >>> cat([[1.0, 2.0, 3.0]], [(1, 1), (1, 2)], dim=1)
    [array([[1.]]), array([[2., 3.]])]
    """
    grad_output = as_array("grad_output", grad_output)
    common_float(grad_output=grad_output)
    axis = checked_axis("dim", dim, grad_output.ndim)
    parts, begin = [], 0
    for size in sizes:
        end = begin + (size[axis] if len(size) == grad_output.ndim else 0)
        parts.append(grad_output[(slice(None),) * axis + (slice(begin, end),)])
        begin = end
    if [part.shape for part in parts] != [tuple(size) for size in sizes] or begin != grad_output.shape[axis]:
        raise GeometryError(f"grad_output of shape {grad_output.shape}: expected tensors of {sizes!r} along dim={dim}")
    return parts


def index_select(grad_output: npt.ArrayLike, input_size: Sequence[int], dim: int, index: npt.ArrayLike) -> np.ndarray:
    """The gradient of ``nn.index_select``, whose input had this shape: each slice is added where it came from.

    Raises
    ------
    TypeError
        `grad_output` is neither float32 nor float64, or `index` holds no integers.
    GeometryError
        The shapes do not fit together; a ``ValueError``.

    Examples
    --------
    >>> index_select([[1.0, 2.0, 4.0]], (1, 3), 1, [2, 0, 2])
    array([[2., 0., 5.]])
    """
    grad_output, index = as_array("grad_output", grad_output), as_array("index", index)
    axis = checked_axis("dim", dim, len(input_size))
    places = checked_places(index, input_size[axis])
    check_grad_output(grad_output, (*input_size[:axis], len(places), *input_size[axis + 1 :]))
    by_input = np.zeros(input_size, common_float(grad_output=grad_output))
    along: tuple[Any, ...] = (slice(None),) * axis
    for at, place in enumerate(places):
        by_input[*along, place] += grad_output[*along, at]
    return by_input


@quiet
def batch_norm(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
    weight: npt.ArrayLike | None = None,
    training: bool = False,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of ``nn.batch_norm`` with respect to `x`, `weight` and bias; in training also through the statistics.

    Parameters
    ----------
    grad_output, x
        As `relu`.
    running_mean, running_var, weight, training, eps
        As ``nn.batch_norm``; in training the running statistics are not used.

    Returns
    -------
    by_x, by_weight, by_bias : ndarray
        Sums over the batch are taken in double precision.

    Raises
    ------
    TypeError, GeometryError, ValueError
        As ``nn.batch_norm``, and as `relu`.

    References
    ----------
    Ioffe and Szegedy, Batch normalization, ICML 2015, section 3.

    Examples
    --------
    >>> by_x, by_weight, by_bias = batch_norm([[1.0], [0.0]], [[1.0], [3.0]], None, None, training=True, eps=0.0)
    >>> by_x.round(15), by_weight, by_bias
    (array([[0.],
           [0.]]), array([-1.]), array([1.]))
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    mean, var = batch_statistics(x, running_mean, running_var, training)
    deviation = np.sqrt(var + checked_eps(eps))
    scale = checked_channels("weight", weight, x, 1) / deviation
    axes, spread = (0, *range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
    normal = (x - mean.reshape(spread)) / deviation.reshape(spread)
    by_bias = grad_output.sum(axes, np.float64)
    by_weight = (grad_output * normal).sum(axes)
    inner = grad_output.astype(np.float64)
    if training:
        count = x.size // x.shape[1]
        inner = inner - (by_bias.reshape(spread) + normal * by_weight.reshape(spread)) / count
    by_x = inner * scale.reshape(spread)
    return by_x.astype(x.dtype), by_weight.astype(x.dtype), by_bias.astype(x.dtype)


@quiet
def layer_norm(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: npt.ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of ``nn.layer_norm`` with respect to `x`, `weight` and bias. Sums and errors as `batch_norm`.

    Examples
    --------
    >>> by_x, by_weight, by_bias = layer_norm([[1.0, 0.0]], [[1.0, 3.0]], (2,), eps=0.0)
    >>> by_x, by_weight, by_bias
    (array([[0., 0.]]), array([-1.,  0.]), array([1., 0.]))
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    shape = trailing_shape(x, normalized_shape)
    axes = range(x.ndim - len(shape), x.ndim)
    return _standardised(grad_output, x, slices_of_layers(shape), axes, weight, checked_eps(eps))


@quiet
def rms_norm(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: npt.ArrayLike | None = None,
    eps: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of ``nn.rms_norm`` with respect to `x` and `weight`. Sums and errors as `batch_norm`.

    Examples
    --------
    >>> by_x, by_weight = rms_norm([[1.0, 1.0]], [[1.0, 7.0]], (2,), eps=0.0)
    >>> by_x.round(4), by_weight
    (array([[ 0.168, -0.024]]), array([0.2, 1.4]))
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    shape, least = trailing_shape(x, normalized_shape), checked_least(x, eps)
    axes = range(x.ndim - len(shape), x.ndim)
    return _standardised(grad_output, x, slices_of_layers(shape, False), axes, weight, least)[:2]


@quiet
def group_norm(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of ``nn.group_norm`` with respect to `x`, `weight` and bias. Sums and errors as `batch_norm`.

    Examples
    --------
    >>> by_x, by_weight, by_bias = group_norm([[1.0, 0.0]], [[1.0, 3.0]], 1, eps=0.0)
    >>> by_x, by_weight, by_bias
    (array([[0., 0.]]), array([-1.,  0.]), array([1., 0.]))
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return _standardised(grad_output, x, slices_of_groups(x, num_groups), range(1, 2), weight, checked_eps(eps))


@quiet
def instance_norm(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    running_mean: npt.ArrayLike | None = None,
    running_var: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of ``nn.instance_norm`` with respect to `x`, `weight` and bias. Sums and errors as `batch_norm`.

    The running statistics count unless `use_input_stats`.

    Examples
    --------
    >>> by_x, by_weight, by_bias = instance_norm([[[1.0, 0.0]]], [[[1.0, 3.0]]], eps=0.0)
    >>> by_x, by_weight, by_bias
    (array([[[0., 0.]]]), array([-1.]), array([1.]))
    """
    if not use_input_stats:
        return batch_norm(grad_output, x, running_mean, running_var, weight, False, eps)
    grad_output, x = _operands(grad_output=grad_output, x=x)
    return _standardised(grad_output, x, slices_of_instances(x), range(1, 2), weight, checked_eps(eps))


def _standardised(
    grad_output: np.ndarray, x: np.ndarray, slices: Slices, axes: range, weight: npt.ArrayLike | None, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a normalisation by the statistics of slices, whose weight and bias have these axes of `x`."""
    shape = tuple(x.shape[axis] for axis in axes)
    scale = checked_operand("weight", weight, shape, np.dtype(np.float64))
    if not x.size:
        return np.zeros_like(x), np.zeros(shape, x.dtype), np.zeros(shape, x.dtype)
    mean, var = (moments[:, np.newaxis] for moments in slices.moments(x))
    deviation = np.sqrt(var + eps)
    normal = (x.reshape(-1, slices.length) - mean) / deviation
    flowing = grad_output.astype(np.float64)
    if scale is not None:
        flowing = flowing * scale.reshape(*shape, *(1,) * (x.ndim - axes.stop))
    flowing = flowing.reshape(normal.shape)
    inner = flowing - normal * (flowing * normal).mean(1, keepdims=True)
    if slices.centred:
        inner -= flowing.mean(1, keepdims=True)
    others = tuple(axis for axis in range(x.ndim) if axis not in axes)
    by_weight = (grad_output * normal.reshape(x.shape)).sum(others)
    by_bias = grad_output.sum(others, np.float64)
    by_x = (inner / deviation).reshape(x.shape)
    return by_x.astype(x.dtype), by_weight.astype(x.dtype), by_bias.astype(x.dtype)


@quiet
def local_response_norm(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    rule: str = "mean",
) -> np.ndarray:
    """Gradient of ``nn.local_response_norm``; parameters as there, result and errors as `relu`.

    Examples
    --------
    >>> local_response_norm([[1.0, 0.0]], [[3.0, 4.0]], 1, alpha=1.0, beta=0.5, k=16.0, rule="sum")
    array([[0.128, 0.   ]])
    """
    grad_output, x = _operands(grad_output=grad_output, x=x)
    divisor = response(x, size, alpha, k, rule)
    beta = checked_real("beta", beta)
    # Channel c contributed to every output whose window contains it, so the window is mirrored.
    shared = neighbour_sum(grad_output * x * divisor ** (-beta - 1), size, mirrored=True)
    factor = 2 * alpha * beta / (size if rule == "mean" else 1)
    gradient: np.ndarray = grad_output * divisor**-beta - factor * x * shared
    return gradient


@quiet
def cross_entropy(
    grad_output: npt.ArrayLike,
    x: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """Gradient of ``nn.cross_entropy`` with respect to `x`: with one class per sample, softmax minus 1 at the target.

    A sample that does not count (ignored, or of weight 0) has gradient 0 whatever its scores; so have all samples of a
    batch in which none counts, although their mean loss is NaN.

    Parameters
    ----------
    grad_output : array_like of float32 or float64
        Gradient with respect to the loss: one number, or with ``reduction="none"`` one per loss.
    x, target, weight, ignore_index, reduction, label_smoothing
        As ``nn.cross_entropy``.

    Returns
    -------
    ndarray
        The gradient, with the shape of `x`.

    Raises
    ------
    TypeError, GeometryError, ValueError
        As ``nn.cross_entropy``, and as `relu`.

    References
    ----------
    Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990.

    Examples
    --------
    >>> cross_entropy(1.0, [[0.0, 0.0]], [1])
    array([[ 0.5, -0.5]])
    """
    grad_output, x = as_array("grad_output", grad_output), as_array("x", x)
    dtype = common_float(grad_output=grad_output, x=x)
    shares, divisor = target_shares(x, target, weight, ignore_index, reduction, label_smoothing)
    axis = class_axis(x)
    check_grad_output(grad_output, x.shape[:axis] + x.shape[axis + 1 :] if reduction == "none" else ())
    by_loss: Any = np.expand_dims(grad_output, axis) if reduction == "none" else grad_output / divisor
    slopes = by_loss * (nn.softmax(x, axis) * shares.sum(axis, keepdims=True) - shares)
    return np.where(shares.any(axis, keepdims=True), slopes, 0).astype(dtype)
