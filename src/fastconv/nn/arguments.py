"""Argument checks that layers share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from numbers import Real
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, as_operand, checked_out, common_float, is_target
from fastconv.engine.launch import Launch
from fastconv.engine.replay import repeatable
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team

# Values per chunk of work, enough to outweigh waking a thread; also the values of a long plane that make a tile.
_GRAIN_VALUES, _TILE_VALUES = 16384, 65536

# Overflow gives infinity and differences of infinities NaN, without a warning.
quiet: np.errstate = np.errstate(over="ignore", invalid="ignore", divide="ignore")


def operand_and_result(
    x: npt.ArrayLike, out: np.ndarray | None, **others: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """`x` in its common type with the `others`, and the array for a result of its shape."""
    x = as_array("x", x)
    dtype = common_float(x=x, **others)
    return as_operand(x, dtype), result_like(x.shape, dtype, out)


def alike_in_memory(
    x: npt.ArrayLike, out: np.ndarray | None, **others: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """As `operand_and_result`, but a new result has its axes in memory in the order of those of `x`."""
    x = as_array("x", x)
    dtype = common_float(x=x, **others)
    x = as_operand(x, dtype)
    return x, np.empty_like(x) if out is None and not x.flags.c_contiguous else result_like(x.shape, dtype, out)


def in_memory_order(x: np.ndarray, result: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Both arrays with their axes in the order in which they lie in memory, if both are contiguous; and that order.

    Functions of each value alone, or of the values along an axis, need not know of the order of other axes.
    """
    if not x.flags.c_contiguous:
        axes = tuple(sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis])))
        source = x.transpose(axes)
        target = source if result is x else result.transpose(axes)
        if source.flags.c_contiguous and target.flags.c_contiguous:
            return source, target, axes
    return x, result, tuple(range(x.ndim))


def as_pixels(array: np.ndarray) -> np.ndarray | None:
    """Images (N, C, ...) that have channels last in memory without gaps, as a matrix with a row per pixel."""
    if array.ndim < 3 or array.flags.c_contiguous:
        return None
    last = np.moveaxis(array, 1, -1)
    return last.reshape(-1, array.shape[1]) if last.flags.c_contiguous else None


def in_place(x: npt.ArrayLike, inplace: bool, out: np.ndarray | None) -> np.ndarray | None:
    """The array for the result: `out`, or with torch's `inplace`, `x` itself."""
    if not inplace:
        return out
    if out is not None:
        raise ValueError("inplace=True and out were both given: expected only one of them")
    if type(x) is not np.ndarray or not x.flags.writeable:
        kind = "a read-only array" if type(x) is np.ndarray else type(x).__name__
        raise TypeError(f"inplace=True, x={kind}: expected a writeable ndarray, which takes the result")
    return x


def result_like(shape: Sequence[int], dtype: np.dtype, out: np.ndarray | None) -> np.ndarray:
    """`out`, after checks, or a new array."""
    return np.empty(shape, dtype) if out is None else checked_out(out, tuple(shape), dtype)


def launched(
    launch: Launch,
    x: np.ndarray,
    result: np.ndarray,
    others: tuple[np.ndarray | None, ...] = (),
    scalars: tuple[float, ...] = (),
) -> np.ndarray:
    """`result`, once a kernel has read `x` and `others` and written all its values; it may be `x`, or overlap it."""
    source = as_contiguous(x)
    # In place is fine, as long as every value goes where it came from.
    direct = (result is x and source is x) or is_target(result, source, *others)
    target = result if direct else np.empty(result.shape, result.dtype)
    launch.run((source, target, *others), team.get_num_threads(), scalars)
    if target is result:
        return repeatable(result)
    result[...] = target
    return result


def channelwise(x: np.ndarray, result: np.ndarray, *constants: np.ndarray | None) -> np.ndarray:
    """`result` of the kernel "channels" on each channel of ``x (N, C, ...)`` or ``(C,)``."""
    from fastconv.kernels.slots import arguments

    channels = x.shape[min(1, x.ndim - 1)]
    inner = prod(x.shape[2:])
    size = channels if inner == 1 else inner
    grain = max(1, _GRAIN_VALUES // max(1, size))
    tiles = x.size // max(1, size) * -(-size // _TILE_VALUES)
    ints = arguments("channels")(inner=inner, channels=channels, part=_TILE_VALUES)
    return launched(Launch.of("channels", x.dtype, ints, tiles, grain), x, result, constants)


def checked_channels(name: str, value: Any, x: np.ndarray, default: float | None = None) -> np.ndarray:
    """`value` as one float64 number per channel of `x`."""
    if value is None and default is not None:
        return np.full(x.shape[1], default, np.float64)
    array = as_array(name, value)
    if array.shape != x.shape[1:2]:
        raise GeometryError(f"{name} of shape {array.shape}: expected {x.shape[1:2]}, one value per channel")
    common_float(**{name: array})
    return array.astype(np.float64)


def checked_operand(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """`value`, numbers of this shape, as kernels read it: in the type of the other operands. ``None`` stays."""
    if value is None:
        return None
    value = as_array(name, value)
    common_float(**{name: value})
    if value.shape != shape:
        raise GeometryError(f"{name} of shape {value.shape}: expected {shape}")
    return as_contiguous(as_operand(value, dtype))


def checked_axis(name: str, axis: int, ndim: int) -> int:
    """`axis`, counted from the front."""
    number = checked_integer(name, axis)
    if not -ndim <= number < ndim:
        raise GeometryError(f"{name}={axis!r}: expected one of the {ndim} axes")
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


def checked_choice(name: str, value: Any, usual: str, other: str) -> bool:
    """Whether `value` is the word `other`, rather than the `usual` one; anything else raises."""
    if not isinstance(value, str) or value not in (usual, other):
        raise ValueError(f"{name}={value!r}: expected {usual!r} or {other!r}")
    return value == other


def checked_eps(eps: Any) -> float:
    """The constant that is added to a variance."""
    if not checked_real("eps", eps) >= 0:
        raise ValueError(f"eps={eps!r}: expected a number of at least 0")
    return float(eps)
