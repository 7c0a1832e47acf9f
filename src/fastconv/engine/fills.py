"""Constants past the edges of an image. They are numbers, not pixels: the image's type may be unable to hold them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.engine.arrays import as_operand
from fastconv.engine.replay import constant, unrepeatable
from fastconv.engine.storing import store

_BYTE = np.dtype(np.uint8)


def native(array: np.ndarray) -> np.ndarray:
    """Values that kernels can compare: bool becomes bytes."""
    return array.view(_BYTE) if array.dtype.kind == "b" else as_operand(array, np.dtype(array.dtype.char))


def limits_of(dtype: np.dtype) -> tuple[float, float]:
    """The smallest and the largest number of a type."""
    if dtype.kind == "f":
        return -np.inf, np.inf
    return (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def as_fill(cval: float, dtype: np.dtype, exactly: bool = False) -> np.ndarray | None:
    """`cval` in a native `dtype`; None if an integer type cannot hold it, or a floating-point type not `exactly`.

    Examples
    --------
    >>> as_fill(300, np.dtype("u1")), as_fill(0.1, np.dtype("f4"), exactly=True), as_fill(7.0, np.dtype("i2"))
    (None, None, array(7, dtype=int16))
    """
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            fill = constant(np.array(cval, dtype))
        return fill if not exactly or float(fill) == cval or cval != cval else None
    least, greatest = limits_of(dtype)
    if not least <= cval <= greatest or cval != int(cval):  # NaN lies outside any limits
        return None
    return constant(np.array(int(cval), _BYTE if dtype.kind == "b" else dtype))


def extremes_with_constant(
    fold: str,
    extremes: Callable[[str, np.ndarray, np.ndarray], np.ndarray],
    array: np.ndarray,
    cval: float,
    out: np.ndarray,
) -> None:
    """Store ``extremes(fold, array, cval)`` into `out`, whether or not the type of `array` holds `cval`.

    The constant is compared with the extremes found next to a constant that never wins. The extremes of a blank image
    tell which outputs see the constant, and which see nothing else.
    """
    unrepeatable()
    never = limits_of(array.dtype)[fold == "minimum"]
    fill = as_fill(never, array.dtype)
    assert fill is not None, "a type holds its own limits"
    values = extremes(fold, array, fill)
    blank, one = np.zeros(array.shape, _BYTE), np.ones((), _BYTE)
    seen, alone = extremes("maximum", blank, one) == 1, extremes("minimum", blank, one) == 1
    number = np.float64(cval)
    with np.errstate(invalid="ignore"):
        wins = values < number if fold == "maximum" else values > number
    store(values, out)
    beyond = np.empty((), out.dtype)
    store(np.asarray(number), beyond)
    np.copyto(out, beyond, where=alone | (seen & (wins | np.isnan(number))))
