"""Resize: values between pixels, axis by axis.

Each axis has a matrix of weights (output, input), so that nothing but the axis' own extent matters. Pixel ``q`` of the
result lies at ``p(q)`` in the input, by the coordinate mode of the operator; its weights are those of the kernel of the
mode at the distances of input pixels from there. Without antialiasing the kernel is one pixel wide; with it, as wide as
an output pixel (Keys, Cubic convolution interpolation for digital image processing, 1981, for cubic weights).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Any

import numpy as np

from fastconv.errors import GeometryError, UnsupportedError
from fastconv.onnx.arrays import checked_shape

_COORDINATES: dict[str, Callable[[np.ndarray, float, int, float], np.ndarray]] = {
    "half_pixel": lambda q, scale, extent, outputs: (q + 0.5) / scale - 0.5,
    "asymmetric": lambda q, scale, extent, outputs: q / scale,
    "align_corners": lambda q, scale, extent, outputs: q * (extent - 1) / (outputs - 1) if outputs > 1 else 0 * q,
    "pytorch_half_pixel": lambda q, scale, extent, outputs: (q + 0.5) / scale - 0.5 if outputs > 1 else 0 * q,
    "half_pixel_symmetric": lambda q, scale, extent, outputs: (
        extent / 2 * (1 - floor(outputs) / (scale * extent)) + (q + 0.5) / scale - 0.5
    ),
}

_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(
    x: np.ndarray,
    scales: Any,
    sizes: Any,
    *,
    mode: str,
    coordinates: str,
    nearest_mode: str,
    cubic_coeff_a: float,
    exclude_outside: bool,
    antialias: bool,
    axes: Sequence[int] | None,
    policy: str,
) -> np.ndarray:
    """`x` at other extents: `sizes`, or the present ones times `scales`, along `axes`."""
    along = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    extents = [x.shape[axis] for axis in along]
    if sizes is not None and np.size(sizes):
        wanted = [int(size) for size in sizes]
        factors = [size / extent for size, extent in zip(wanted, extents, strict=True)]
        if policy != "stretch":
            common = min(factors) if policy == "not_larger" else max(factors)
            factors = [common] * len(factors)
            wanted = [floor(common * extent + 0.5) for extent in extents]
    elif scales is not None and np.size(scales):
        factors = [float(scale) for scale in scales]
        wanted = [floor(extent * scale) for extent, scale in zip(extents, factors, strict=True)]
    else:
        raise GeometryError("Resize without scales and sizes: expected one of them")
    shape = list(x.shape)
    for axis, size in zip(along, wanted, strict=True):
        shape[axis] = size
    checked_shape(tuple(shape))
    if coordinates not in _COORDINATES:
        raise UnsupportedError(f"Resize with coordinate_transformation_mode={coordinates!r}")
    result = x
    for axis, extent, size, scale in zip(along, extents, wanted, factors, strict=True):
        if size == extent and scale == 1:
            continue
        at = _COORDINATES[coordinates](np.arange(size, dtype=np.float64), scale, extent, extent * scale)
        if mode == "nearest":
            index = np.clip(_NEAREST[nearest_mode](at), 0, extent - 1).astype(np.int64)
            result = np.take(result, index, axis)
            continue
        stretch = min(scale, 1.0) if antialias else 1.0
        weights = _weights(at, extent, mode, cubic_coeff_a, stretch, exclude_outside)
        wide = np.tensordot(result.astype(np.float64), weights, (axis, 1))
        result = np.moveaxis(wide, -1, axis)
    if x.dtype.kind in "iu":
        result = np.clip(np.rint(result), np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    return np.ascontiguousarray(result, x.dtype)


def _weights(at: np.ndarray, extent: int, mode: str, a: float, stretch: float, exclude: bool) -> np.ndarray:
    """The weights of input pixels, for outputs at these places; pixels outside count as the nearest inside."""
    reach = ceil((1 if mode == "linear" else 2) / stretch)
    taps = np.floor(at)[:, None] + np.arange(1 - reach, reach + 1)
    weights = _kernel(np.abs(taps - at[:, None]) * stretch, mode, a)
    if exclude:
        weights = np.where((taps >= 0) & (taps < extent), weights, 0)
    weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((len(at), extent))
    np.add.at(matrix, (np.arange(len(at))[:, None], np.clip(taps, 0, extent - 1).astype(np.int64)), weights)
    return matrix


def _kernel(distance: np.ndarray, mode: str, a: float) -> Any:
    if mode == "linear":
        return np.maximum(0, 1 - distance)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
