"""Every kind of problem, by the name that `fastconv.plan` and `fastconv.compare` give it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution3d import CONVOLUTION_3D
from fastconv.engine.correlation import CORRELATION
from fastconv.engine.geometry import AlongAxes
from fastconv.engine.geometry.axes import Axes
from fastconv.engine.gradients import INPUT_GRADIENT, WEIGHT_GRADIENT
from fastconv.engine.passes import PASSES
from fastconv.engine.plan import Kind, format_bytes
from fastconv.engine.pooling import KINDS as POOLS
from fastconv.engine.products import PRODUCT
from fastconv.engine.windows import WINDOW
from fastconv.errors import GeometryError

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        CONVOLUTION,
        CONVOLUTION_3D,
        CORRELATION,
        INPUT_GRADIENT,
        WEIGHT_GRADIENT,
        PRODUCT,
        WINDOW,
        PASSES,
        *POOLS,
    )
}

# Limit on the arrays of a problem with random data, the float64 reference included.
MOST_BYTES = 4 << 30


_Function = TypeVar("_Function", bound=Callable[..., Any])


def naming_kinds(function: _Function) -> _Function:
    """Decorator: name every kind in the docstring of `function`, in place of ``{kinds}``."""
    names = ", ".join(f'"{name}"' for name in KINDS)
    if function.__doc__ is not None:  # as it is under -OO
        function.__doc__ = function.__doc__.replace("{kinds}", textwrap.fill(names, 110).replace("\n", f"\n{8 * ' '}"))
    return function


def checked_kind(name: str) -> Kind:
    """The kind called `name`."""
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"kind={name!r}: expected one of {', '.join(KINDS)}")
    return KINDS[name]


def checked_dtype(dtype: npt.DTypeLike) -> np.dtype:
    """`dtype` as a native type of numbers; which of them a solver computes, it says itself."""
    found = np.dtype(dtype).newbyteorder("=")
    if found.kind not in "iufc":
        raise TypeError(f"dtype={dtype!r}: expected a type of numbers, such as float32")
    return found


def parsed(problem: Any, kind: Kind) -> Any:
    """The geometry of `problem`, a descriptor or an object whose `str` is one."""
    return kind.parse(str(problem))


def check_size(kind: Kind, geometry: Any, dtype: np.dtype) -> None:
    """Raise unless random data fits into memory, with an output per solver and the arrays of the oracle."""
    *operands, out = map(prod, kind.shapes(geometry))
    padded = 0
    if isinstance(geometry, Axes):
        image = prod(i + sum(pads) for i, pads in zip(geometry.extent, geometry.padding, strict=True))
        padded = operands[0] // prod(geometry.extent) * image
    elif isinstance(geometry, AlongAxes):
        padded = geometry.continued
    wide = max(8, dtype.itemsize)
    needed = dtype.itemsize * (sum(operands) + len(kind.solvers) * out) + wide * (sum(operands) + padded + 3 * out)
    if needed > MOST_BYTES:
        raise GeometryError(
            f"descriptor '{geometry}': needs {format_bytes(needed)} with its float64 reference, "
            f"the limit is {format_bytes(MOST_BYTES)}"
        )
