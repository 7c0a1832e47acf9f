"""The layer that is a matrix product."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import as_array, as_contiguous, as_operand, common_float, is_target, named_input
from fastconv.engine.geometry import ProductGeometry
from fastconv.engine.products import PRODUCT
from fastconv.engine.replay import note, repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team
from fastconv.nn.arguments import result_like

__all__ = ["linear"]


@repeated()
@named_input
def linear(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, out: np.ndarray | None = None
) -> np.ndarray:
    """``x @ weight.T + bias``, by the inner products of kernels/simd/inner.h.

    The bits are the same for any batch and any number of threads.

    Parameters
    ----------
    x : array_like, shape (..., I)
    weight : array_like, shape (O, I)
    bias : array_like, shape (O,), optional
    out : ndarray, optional
        Array for the result.

    Returns
    -------
    ndarray, shape (..., O)
        The result, in the type to which the arguments promote, float32 or float64.

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
    bias = None if bias is None else as_array("bias", bias)
    dtype = common_float(x=x, weight=weight, bias=bias)
    check_linear(x, weight)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise GeometryError(f"bias of shape {bias.shape}: expected {weight.shape[:1]}, one value per row of weight")
    outputs, inputs = weight.shape
    result = result_like((*x.shape[:-1], outputs), dtype, out)
    x, weight = as_contiguous(as_operand(x, dtype)), as_contiguous(as_operand(weight, dtype))
    bias = None if bias is None else as_contiguous(as_operand(bias, dtype))
    target = result if is_target(result, x, weight, bias) else np.empty(result.shape, dtype)
    multiply(x.reshape(prod(x.shape[:-1]), inputs), weight, bias, target)
    if target is not result:
        result[...] = target
    return repeatable(result)


def multiply(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray) -> None:
    """``x @ weight.T + bias`` into `out`, for C-contiguous matrices of one type."""
    geometry = ProductGeometry(len(x), x.shape[1], len(weight))
    plan = planner.plan(geometry, x.dtype, kind=PRODUCT, threads=team.get_num_threads())
    note(geometry, ", ", x.dtype, ", by ", plan.strategy.name, threads=plan.threads)
    plan.strategy.run(plan, x, weight, bias, out)


def check_linear(x: np.ndarray, weight: np.ndarray) -> None:
    """Raise for arrays that `linear` cannot multiply."""
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise GeometryError(
            f"x of shape {x.shape}, weight of shape {weight.shape}: expected (..., inputs) and (outputs, inputs)"
        )
