"""Independent references for every kind of problem: definitions, tap by tap, in NumPy and double precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from types import EllipsisType
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import (
    AlongAxes,
    ConvGeometry,
    FilterGeometry,
    PassesGeometry,
    PoolGeometry,
    ProductGeometry,
    UnevenGeometry,
    WindowGeometry,
)
from fastconv.engine.geometry.axes import Axes

Oracle = Callable[..., np.ndarray]

_Index = tuple[EllipsisType | int | slice, ...]


def _taps(g: Axes) -> Iterator[tuple[_Index, _Index]]:
    """Each tap of the window, and what it sees of the padded image from all output positions, as indices of arrays."""
    for tap in product(*map(range, g.kernel)):
        seen = (
            slice(k * d, k * d + (o - 1) * s + 1, s)
            for k, d, o, s in zip(tap, g.dilation, g.out_extent, g.stride, strict=True)
        )
        yield (..., *tap), (..., *seen)


def _grouped(array: np.ndarray, g: int, axis: int) -> np.ndarray:
    """`array` in double precision, with the channels of `axis` divided into groups."""
    shape = array.shape
    return array.astype(np.float64).reshape(*shape[:axis], g, -1, *shape[axis + 1 :])


# NumPy's names for boundaries.
_PAD_MODES: dict[str, Literal["edge", "symmetric", "reflect", "wrap"]] = {
    "nearest": "edge",
    "reflect": "symmetric",
    "mirror": "reflect",
    "wrap": "wrap",
}


def _convolution(g: ConvGeometry, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if g.boundary in _PAD_MODES:
        x = np.pad(x, ((0, 0), (0, 0), *g.padding), _PAD_MODES[g.boundary])
        g = replace(g, extent=x.shape[2:], padding=((0, 0),) * g.ndim)
    return convolve(g, x, weight, PLAIN)


def _input_gradient(g: ConvGeometry, grad: np.ndarray, weight: np.ndarray) -> np.ndarray:
    grads, filters = _grouped(grad, g.g, 1), _grouped(weight, g.g, 0)
    padded = np.zeros((g.n, g.g, g.ic // g.g, *(i + sum(p) for i, p in zip(g.extent, g.padding, strict=True))))
    for tap, seen in _taps(g):
        padded[seen] += np.einsum("ngm...,gmc->ngc...", grads, filters[tap], optimize=True)
    image = (slice(begin, begin + i) for i, (begin, _) in zip(g.extent, g.padding, strict=True))
    return padded[:, :, :, *image].reshape(g.x_shape)


def _weight_gradient(g: ConvGeometry, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    padded = _grouped(np.pad(x, ((0, 0), (0, 0), *g.padding)), g.g, 1)
    grads = _grouped(grad, g.g, 1)
    out = np.empty((g.g, g.oc // g.g, g.ic // g.g, *g.kernel))
    for tap, seen in _taps(g):
        images = padded[seen].reshape(*padded.shape[:3], -1)
        out[tap] = np.einsum("ngcp,ngmp->gmc", images, grads.reshape(*grads.shape[:3], -1), optimize=True)
    return out.reshape(g.weight_shape)


def _correlation(g: FilterGeometry, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Sums of integers wrap around; past a constant boundary lies 1."""
    wide = {"c": np.dtype(np.complex128), "f": np.dtype(np.float64)}.get(image.dtype.kind, np.dtype(np.int64))
    if g.boundary in _PAD_MODES:
        padded: np.ndarray = np.pad(image.astype(wide), g.padding, _PAD_MODES[g.boundary])
    else:
        padded = np.pad(image.astype(wide), g.padding, constant_values=int(g.boundary == "constant"))
    taps = kernel.astype(wide)
    out: np.ndarray = np.zeros(g.out_extent, wide)
    for tap, seen in _taps(g):
        out += padded[seen] * taps[tap]
    return out if wide.kind in "fc" else out.astype(image.dtype).astype(np.float64)


def _product(g: ProductGeometry, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    product: np.ndarray = np.einsum("nk,mk->nm", x.astype(np.float64), weight.astype(np.float64))
    return product


def _by_axis(g: AlongAxes, x: np.ndarray, folds: Iterable[Callable[[np.ndarray], np.ndarray]]) -> np.ndarray:
    """Fold what each window sees of the padded array; cast the result if it is stored in integers or another type."""
    stored, out = np.dtype(g.stored or x.dtype), x.astype(np.float64)
    for (axis, size, mode, begin), fold in zip(g.windows, folds, strict=True):
        sides = [(0, 0)] * out.ndim
        sides[axis] = begin, size - 1 - begin
        if mode in _PAD_MODES:
            out = np.pad(out, sides, _PAD_MODES[mode])
        else:
            out = np.pad(out, sides, constant_values=float(mode == "constant"))
        out = fold(sliding_window_view(out, size, axis))
        if stored != x.dtype or stored.kind != "f":
            out = (out.astype(np.int64) if stored.kind in "iu" else out).astype(stored).astype(np.float64)
    return out


def _window(g: WindowGeometry, x: np.ndarray) -> np.ndarray:
    folds: dict[str, Callable[..., np.ndarray]] = {"maximum": np.max, "minimum": np.min, "mean": np.mean}
    return _by_axis(g, x, [partial(folds[g.fold], axis=-1)] * len(g.windows))


def _passes(g: PassesGeometry, x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
    return _by_axis(g, x, [partial(np.dot, b=of.astype(np.float64)) for of in weights])


_Windows = Sequence[Sequence[int]]


def _pool_windows(g: PoolGeometry | UnevenGeometry) -> list[_Windows]:
    """For each axis, the taps of each window, also those outside the image."""
    if isinstance(g, UnevenGeometry):
        divided = zip(g.extent, g.out_extent, strict=True)
        return [[range(w * i // o, -(-(w + 1) * i // o)) for w in range(o)] for i, o in divided]
    axes = zip(g.out_extent, g.kernel, g.stride, g.dilation, g.padding, strict=True)
    return [[range(w * s - p, w * s - p + k * d, d) for w in range(o)] for o, k, s, d, (p, _) in axes]


def _folded(fold: np.ufunc, none: float, x: np.ndarray, windows: Sequence[_Windows]) -> np.ndarray:
    """Fold the last axes of `x` one after another, over the taps inside; `none` is the fold of a window without any."""
    for axis, of_axis in enumerate(windows, x.ndim - len(windows)):
        inside = (np.array([t for t in taps if 0 <= t < x.shape[axis]], np.intp) for taps in of_axis)
        x = np.stack([fold.reduce(x.take(taps, axis), axis, initial=none) for taps in inside], axis)
    return x


def _extreme(fold: np.ufunc, none: Callable[[np.dtype], float]) -> Oracle:
    """Pooling that takes one of the values of a window, which may start at random."""

    def extreme(g: PoolGeometry | UnevenGeometry, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
        wide, empty = x.astype(np.float64), none(x.dtype)
        if not starts:
            return _folded(fold, empty, wide, _pool_windows(g))
        planes = wide.reshape(-1, *g.extent)
        drawn = [
            [[range(s, s + k) for s in of_axis[plane].tolist()] for of_axis, k in zip(starts, g.kernel, strict=True)]
            for plane in range(len(planes))
        ]
        results = [_folded(fold, empty, *case) for case in zip(planes, drawn, strict=True)]
        return np.stack(results).reshape(g.out_shape)

    return extreme


def _lowest(dtype: np.dtype) -> float:
    return -np.inf if dtype.kind == "f" else float(np.iinfo(dtype).min)


def _mean(g: PoolGeometry | UnevenGeometry, x: np.ndarray) -> np.ndarray:
    windows = _pool_windows(g)
    counted = [
        [sum(-begin <= t < i + end for t in taps) for taps in of_axis]
        for of_axis, i, (begin, end) in zip(windows, g.extent, g.padding, strict=True)
    ]
    sums = _folded(np.add, 0, x.astype(np.float64), windows)
    for axis, counts in enumerate(counted, sums.ndim - len(counted)):
        sums /= np.expand_dims(counts, [*range(axis), *range(axis + 1, sums.ndim)])
    return sums


# By the name of the kind: functions of the geometry and the operands.
ORACLES: dict[str, Oracle] = {
    "convolution": _convolution,
    "convolution3d": _convolution,
    "correlation": _correlation,
    "input_gradient": _input_gradient,
    "weight_gradient": _weight_gradient,
    "product": _product,
    "window": _window,
    "passes": _passes,
    "max_pool": _extreme(np.maximum, _lowest),
    "max_pool_indices": _extreme(np.maximum, _lowest),
    "avg_pool": _mean,
}


def deviation(expected: np.ndarray) -> float:
    """σ of the finite outputs; for a constant output, its magnitude."""
    finite = expected[np.isfinite(expected)]
    largest = float(np.abs(finite).max(initial=0.0))
    # Scaled before squaring: float64 inputs may be large.
    return largest * float((finite / largest).std()) or largest if largest else 1.0


def max_error(out: np.ndarray, expected: np.ndarray, sigma: float) -> float:
    """The largest error in σ of the output; infinite if the two disagree on which outputs are finite."""
    finite = np.isfinite(expected)
    if not np.array_equal(out[~finite], expected[~finite], equal_nan=True) or not np.isfinite(out[finite]).all():
        return float("inf")
    return float(np.abs(out[finite] - expected[finite]).max(initial=0.0)) / sigma
