"""Operators that move, choose or combine values, by NumPy and by ONNX's rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from fastconv.engine.replay import unrepeatable
from fastconv.errors import GeometryError

# Most values of an array that a model makes by its shape alone.
_MOST_VALUES = 1 << 29


@dataclass(frozen=True)
class by_numpy:
    """`function` as a node, which no recording of a program may skip. Its result is an array."""

    function: Callable[..., Any]

    @property
    def __name__(self) -> str:
        return self.function.__name__

    def __call__(self, *arguments: Any, **options: Any) -> np.ndarray:
        unrepeatable()
        with np.errstate(all="ignore"):
            return np.asarray(self.function(*arguments, **options))


class of_shape(by_numpy):
    """A function that looks at the shapes of arrays, not at their values."""

    reads_shapes_only = True


def reshape(x: np.ndarray, shape: Any, allowzero: bool = False) -> np.ndarray:
    wanted = [int(extent) for extent in shape]
    if not allowzero:
        wanted = [x.shape[at] if extent == 0 and at < x.ndim else extent for at, extent in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(x: np.ndarray, axis: int = 1) -> np.ndarray:
    axis += x.ndim if axis < 0 else 0
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def squeeze(x: np.ndarray, axes: Any = None) -> np.ndarray:
    return x.squeeze() if axes is None else x.squeeze(tuple(int(axis) for axis in axes))


def unsqueeze(x: np.ndarray, axes: Any) -> np.ndarray:
    return np.expand_dims(x, tuple(int(axis) for axis in axes))


def transpose(x: np.ndarray, axes: Sequence[int] | None = None) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(axes))


def shape(x: np.ndarray, start: int = 0, end: int | None = None) -> np.ndarray:
    return np.array(x.shape[start:end], np.int64)


def size(x: np.ndarray) -> np.ndarray:
    return np.array(x.size, np.int64)


def slices(x: np.ndarray, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> np.ndarray:
    starts = [int(start) for start in starts]
    axes = range(len(starts)) if axes is None else [int(axis) for axis in axes]
    steps = [1] * len(starts) if steps is None else [int(step) for step in steps]
    chosen = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        end = int(end)
        if step < 0 and end < -x.shape[axis]:
            end = None  # past the first value
        chosen[axis] = slice(start, end, step)
    return x[tuple(chosen)]


def split(x: np.ndarray, sizes: Sequence[int] | None, count: int, axis: int, at: int) -> np.ndarray:
    """Part number `at`, of parts of these sizes, or of `count` parts of which the last may be smaller."""
    extent = x.shape[axis]
    each = -(-extent // count)
    ends = np.cumsum(sizes if sizes is not None else [each] * count)
    chosen = [slice(None)] * x.ndim
    chosen[axis] = slice(int(ends[at - 1]) if at else 0, min(extent, int(ends[at])))
    return x[tuple(chosen)]


def gather(x: np.ndarray, indices: np.ndarray, axis: int = 0) -> np.ndarray:
    return np.take(x, indices, axis)


def expand(x: np.ndarray, shape: Any) -> np.ndarray:
    wanted = np.broadcast_shapes(x.shape, tuple(int(extent) for extent in shape))
    return np.ascontiguousarray(np.broadcast_to(x, checked_shape(wanted)))


def tile(x: np.ndarray, repeats: Any) -> np.ndarray:
    counts = tuple(int(count) for count in repeats)
    checked_shape(tuple(extent * count for extent, count in zip(x.shape, counts, strict=True)))
    return np.tile(x, counts)


def filled(shape: Any, value: np.ndarray | None = None) -> np.ndarray:
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return np.full(checked_shape(tuple(int(extent) for extent in shape)), fill.reshape(-1)[0], fill.dtype)


def arange(start: Any, limit: Any, delta: Any) -> np.ndarray:
    checked_shape((max(0, int((limit - start) / delta)),))
    return np.arange(start, limit, delta, dtype=np.asarray(start).dtype)


def pad(x: np.ndarray, pads: Any, value: Any = None, axes: Any = None, mode: str = "constant") -> np.ndarray:
    pads = [int(width) for width in pads]
    axes = range(x.ndim) if axes is None else [int(axis) for axis in axes]
    widths = [(0, 0)] * x.ndim
    for at, axis in enumerate(axes):
        widths[axis] = pads[at], pads[at + len(pads) // 2]
    if min(map(min, widths), default=0) < 0:
        x = x[
            tuple(slice(max(0, -before), n + min(0, after)) for (before, after), n in zip(widths, x.shape, strict=True))
        ]
        widths = [(max(0, before), max(0, after)) for before, after in widths]
    checked_shape(tuple(n + before + after for n, (before, after) in zip(x.shape, widths, strict=True)))
    if mode == "constant":
        fill = 0 if value is None or np.size(value) == 0 else np.asarray(value).reshape(-1)[0]
        return np.pad(x, widths, constant_values=fill)
    modes: dict[str, Any] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    return np.pad(x, widths, mode=modes[mode])


def depth_to_space(x: np.ndarray, block: int, mode: str) -> np.ndarray:
    n, c, h, w = x.shape
    if mode == "CRD":
        y = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        y = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    return np.ascontiguousarray(y).reshape(n, c // block**2, h * block, w * block)


def space_to_depth(x: np.ndarray, block: int, mode: str) -> np.ndarray:
    n, c, h, w = x.shape
    order = (0, 1, 3, 5, 2, 4) if mode == "CRD" else (0, 3, 5, 1, 2, 4)
    y = x.reshape(n, c, h // block, block, w // block, block).transpose(order)
    return np.ascontiguousarray(y).reshape(n, c * block**2, h // block, w // block)


def reduced(
    x: np.ndarray, axes: Any, function: Callable[..., Any], elementwise: Callable[..., Any], keepdims: bool, noop: bool
) -> np.ndarray:
    """`function` of the values along `axes`, or of all; with `noop`, no axes mean that each value is on its own."""
    chosen = None if axes is None or np.size(axes) == 0 else tuple(int(axis) for axis in np.atleast_1d(axes))
    if chosen is None and noop:
        return np.asarray(elementwise(x), x.dtype)
    return np.asarray(function(x, axis=chosen, keepdims=keepdims), x.dtype)


def cumulated(x: np.ndarray, axis: Any, exclusive: bool, reverse: bool) -> np.ndarray:
    axis = int(np.reshape(axis, -1)[0])
    if reverse:
        x = np.flip(x, axis)
    sums = np.cumsum(x, axis, dtype=x.dtype)
    if exclusive:
        sums = sums - x
    return np.flip(sums, axis) if reverse else sums


def multiplied_up(x: np.ndarray, axis: Any, exclusive: bool, reverse: bool) -> np.ndarray:
    axis = int(np.reshape(axis, -1)[0])
    if reverse:
        x = np.flip(x, axis)
    products = np.cumprod(x, axis, dtype=x.dtype)
    if exclusive:
        ones = np.ones_like(products.take([0], axis))
        products = np.concatenate([ones, products.take(range(x.shape[axis] - 1), axis)], axis)
    return np.flip(products, axis) if reverse else products


def triangle(x: np.ndarray, k: Any, upper: bool) -> np.ndarray:
    diagonal = 0 if k is None else int(np.reshape(k, -1)[0])
    return np.triu(x, diagonal) if upper else np.tril(x, diagonal)


def gather_elements(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    return np.take_along_axis(x, np.where(indices < 0, indices + x.shape[axis], indices), axis)


def gather_nd(x: np.ndarray, indices: np.ndarray, batch_axes: int) -> np.ndarray:
    """The parts of `x` whose places along its first axes, after `batch_axes` that both share, are rows of `indices`."""
    shared, depth = indices.shape[:batch_axes], indices.shape[-1]
    rows = np.ogrid[tuple(map(slice, shared))]
    apart = [row.reshape(*row.shape, *(1,) * (indices.ndim - 1 - batch_axes)) for row in rows]
    return np.asarray(x[(*apart, *(indices[..., at] for at in range(depth)))])


_COMBINED: dict[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scatter_elements(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, reduction: str) -> np.ndarray:
    places: list[np.ndarray] = list(np.ogrid[tuple(map(slice, indices.shape))])
    places[axis] = np.where(indices < 0, indices + x.shape[axis], indices)
    return _combined(x, tuple(places), updates, reduction)


def scatter_nd(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, reduction: str) -> np.ndarray:
    return _combined(x, tuple(np.moveaxis(indices, -1, 0)), updates, reduction)


def _combined(x: np.ndarray, places: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    """A copy of `x` with `updates` at these places, instead of its values or combined with them."""
    result = x.copy()
    if reduction == "none":
        result[places] = updates
    else:
        _COMBINED[reduction].at(result, places, updates)
    return result


def compressed(x: np.ndarray, condition: np.ndarray, axis: int | None) -> np.ndarray:
    return np.compress(condition, x, axis)


def one_hot(indices: np.ndarray, depth: Any, values: np.ndarray, axis: int) -> np.ndarray:
    count = int(np.reshape(depth, -1)[0])
    checked_shape((*indices.shape, count))
    found = np.expand_dims(np.mod(indices, count), axis)
    wanted = np.arange(count).reshape(-1, *(1,) * (found.ndim - 1 - axis % found.ndim))
    inside = np.expand_dims((indices >= -count) & (indices < count), axis)
    return np.asarray(np.where((found == wanted) & inside, values[1], values[0]), values.dtype)


def places(x: np.ndarray) -> np.ndarray:
    """Where `x` is not zero: a column each."""
    return np.array(np.nonzero(x), np.int64)


def top_places(x: np.ndarray, k: Any, axis: int, largest: bool) -> np.ndarray:
    """Where the `k` largest or least values are, in order; of equal ones the first come first."""
    count, extent = int(np.reshape(k, -1)[0]), x.shape[axis]
    if not 0 <= count <= extent:
        raise GeometryError(f"k={count}: expected 0 to {extent}, the extent of the axis")
    order = np.flip(x, axis).argsort(axis, kind="stable") if largest else x.argsort(axis, kind="stable")
    order = extent - 1 - np.flip(order, axis) if largest else order
    return np.asarray(order.take(range(count), axis), np.int64)


def centred(x: np.ndarray, shape: Any, axes: Any) -> np.ndarray:
    """`x` cropped or padded with zeros on both sides to `shape`, along `axes` or all."""
    along = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
    whole = list(x.shape)
    inside, outside = [slice(None)] * x.ndim, [slice(None)] * x.ndim
    for axis, size in zip(along, map(int, shape), strict=True):
        kept = min(size, whole[axis])
        inside[axis], outside[axis] = (
            slice((extent - kept) // 2, (extent - kept) // 2 + kept) for extent in (whole[axis], size)
        )
        whole[axis] = size
    result = np.zeros(checked_shape(tuple(whole)), x.dtype)
    result[tuple(outside)] = x[tuple(inside)]
    return result


def shifted(x: np.ndarray, count: np.ndarray, direction: str) -> np.ndarray:
    return np.asarray(np.left_shift(x, count) if direction == "LEFT" else np.right_shift(x, count))


def norm(x: np.ndarray, axes: Any, scale: Any, shift: Any, eps: float) -> Any:
    """Values less their mean over `axes`, divided by their deviation, times `scale`, plus `shift`."""
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axes, keepdims=True)
    result = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps) * scale
    return (result if shift is None else result + shift).astype(x.dtype)


def checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that a model asks for, if it is one, and not of absurd size."""
    if any(extent < 0 for extent in shape) or prod(shape) > _MOST_VALUES:
        raise GeometryError(f"an array of shape {shape}: expected extents from 0, and at most {_MOST_VALUES} values")
    return shape
