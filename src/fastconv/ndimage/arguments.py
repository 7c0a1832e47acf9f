"""The arguments that functions of ``scipy.ndimage`` share: their values, and our names for these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.engine.geometry import Window
from fastconv.engine.passes import Pass
from fastconv.engine.patches import compact

# SciPy's modes, and the names of boundary.py.
_MODES = {
    "reflect": "reflect",
    "grid-mirror": "reflect",
    "mirror": "mirror",
    "nearest": "nearest",
    "wrap": "wrap",
    "grid-wrap": "wrap",
    "constant": "constant",
    "grid-constant": "constant",
}


TYPES = "?bBhHiIlLqQfdFD"


def as_input(input: npt.ArrayLike) -> np.ndarray:
    array = compact(as_array("input", input))
    if array.dtype.char not in TYPES:
        raise RuntimeError(f"input of {array.dtype}: array type not supported; convert with astype")
    return array


def as_ordered(input: npt.ArrayLike) -> np.ndarray:
    """An input whose values have an order."""
    array = as_input(input)
    if array.dtype.kind == "c":
        raise TypeError(f"input of {array.dtype}: Complex type not supported, complex numbers have no order")
    return array


def as_index(name: str, value: Any) -> int:
    """Any kind of integer as an int, so that `3`, `np.int64(3)` and `np.array(3)` share a cache entry; `3.0` raises."""
    if type(value) is int:
        return value
    try:
        return index(value)
    except TypeError as error:
        raise TypeError(f"{name}={value!r}: expected an integer ({error})") from None


@overload
def as_number(name: str, value: Any) -> float: ...


@overload
def as_number(name: str, value: Any, complex_too: bool) -> complex: ...


def as_number(name: str, value: Any, complex_too: bool = False) -> complex:
    """Any kind of number as Python's: an int stays an int, since a float would round it beyond 2**53."""
    if type(value) is float:
        return value
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in ("biufc" if complex_too else "biuf"):
        if type(value) is int:  # with more than 64 bits
            return float(value)
        raise TypeError(f"{name}={value!r}: expected a {'' if complex_too else 'real '}number")
    as_python: type[complex] = {"f": float, "c": complex}.get(number.dtype.kind, int)
    return as_python(number)


def as_axis(axis: Any, ndim: int, error: type[ValueError] = np.exceptions.AxisError) -> int:
    number = as_index("axis", axis)
    if not -ndim <= number < ndim:
        raise error(f"axis={number}: specified axis: {number} is out of range for {ndim} axes")
    return number % ndim


def as_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    is_one = bool(np.isscalar(axes))
    if not is_one and not isinstance(axes, Iterable):
        raise ValueError(f"axes={axes!r}: axes must be an integer, iterable of integers, or None")
    chosen = tuple(as_axis(axis, ndim, ValueError) for axis in ([axes] if is_one else axes))
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"axes={axes!r}: axes must be unique")
    return chosen


# Types known to be one value, which saves a test of a microsecond.
_SINGLE = (str, int, float, type(None))


def for_each(value: Any, count: int) -> list[Any]:
    """`value` as one value for each of `count` axes."""
    if isinstance(value, _SINGLE) or not np.iterable(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise RuntimeError(f"{value!r}: sequence argument must have length equal to input rank, {count}")
    return values


def as_mode(mode: Any) -> str:
    if not isinstance(mode, str):
        raise RuntimeError(f"mode={mode!r}: A sequence of modes is not supported, expected a string")
    if mode not in _MODES:
        raise RuntimeError(f"mode={mode!r}: boundary mode not supported, expected one of {', '.join(_MODES)}")
    return _MODES[mode]


def as_origin(origin: Any, size: int, fault: str) -> int:
    samples = as_index("origin", origin)
    if not 0 <= size // 2 + samples < size:
        raise ValueError(f"origin={samples}: {fault} for {size} samples")
    return samples


def as_window(axis: int, size: Any, mode: Any, origin: Any) -> Window:
    size = as_index("size", size)
    if size < 1:
        raise RuntimeError(f"size={size}: incorrect filter size, expected at least 1")
    return Window(axis, size, as_mode(mode), size // 2 + as_origin(origin, size, "invalid origin"))


def as_pass(axis: int, weights: np.ndarray, mode: str, origin: int, keeps_sum: bool = False) -> Pass:
    origin = as_origin(origin, len(weights), "Invalid origin; origin must satisfy -(len(weights) // 2) <= origin <= "
                                             "(len(weights)-1) // 2")  # fmt: skip
    return Pass(axis, np.asarray(weights, np.float64).tobytes(), as_mode(mode), origin, keeps_sum)


def spread(values: Sequence[Any], axes: tuple[int, ...], ndim: int, rest: Any) -> list[Any]:
    """The values of the filtered `axes` in their places among all axes, and `rest` for the others."""
    spread = [rest] * ndim
    for axis, value in zip(axes, values, strict=True):
        spread[axis] = value
    return spread


def spread_window(window: np.ndarray, axes: tuple[int, ...], ndim: int, name: str) -> np.ndarray:
    """A window over the filtered axes, extended to all axes."""
    if window.ndim != len(axes):
        raise RuntimeError(f"{name}.ndim ({window.ndim}) must match len(axes) ({len(axes)})")
    if window.ndim == ndim:
        return window
    # SciPy does not sort the axes: the window's k-th axis belongs to the k-th filtered axis, in ascending order.
    return np.expand_dims(window, tuple(axis for axis in range(ndim) if axis not in axes))


def mirrored(window: np.ndarray) -> np.ndarray:
    """A window seen from the other end of each axis."""
    return window[(slice(None, None, -1),) * window.ndim]
