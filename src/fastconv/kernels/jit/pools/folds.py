"""Folds: how the values of a window become one. Kernels take the name of a fold as a constant.

A fold is given for single values, for vectors, and as LLVM instructions. All three agree on NaN, which stays, and on
equal values (zeros of either sign), of which the first stays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.extending import register_jitable

from fastconv.kernels.jit.vector import Emitter, maximum


class Fold(NamedTuple):
    """One way to fold a window; functions take the fold so far, and then what is added to it."""

    neutral: Callable[[np.dtype], Any]
    """The value of each type that changes no fold."""
    values: Callable[..., Any]
    vectors: Callable[..., Any]
    emit: Callable[[Emitter, ir.Value, ir.Value], ir.Value]
    """Writes the instructions of `vectors`."""
    replaces: Callable[..., bool] | None = None
    """Whether a value takes the place of the fold so far, if a fold is one of its values."""
    averages: bool = False
    """Whether the fold of a window is divided by its number of values, at the end."""


def _extreme(follows: Any, of_vectors: Any, emit: Any, none: float, last: str) -> Fold:
    """The value after which none `follows`; `none` and the `last` integer of a type are neutral."""

    @register_jitable
    def replaces(best, value):
        return follows(value, best) | (value != value)

    @register_jitable
    def values(best, value):
        return value if replaces(best, value) else best

    @register_jitable
    def vectors(best, value):
        return of_vectors(value, best)

    return Fold(
        neutral=lambda dtype: dtype.type(none if dtype.kind == "f" else getattr(np.iinfo(dtype), last)),
        values=values,
        vectors=vectors,
        emit=lambda vector, best, value: emit(vector, value, best),
        replaces=replaces,
    )


@register_jitable
def _sum(total, value):
    return total + value


FOLDS = {
    "max": _extreme(operator.gt, maximum, Emitter.maximum, -np.inf, "min"),
    # -0 preserves even the sign of a zero.
    "mean": Fold(lambda dtype: dtype.type(-0.0), _sum, _sum, Emitter.add, averages=True),
}
