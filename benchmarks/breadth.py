"""``python -m benchmarks.breadth --against torch|scipy``: every function that shares its name with theirs, beside it.

Sizes from tiny to large, types and options are multiplied out. Functions are discovered: one that both namespaces have,
but that has no cases here, is reported as not measured. Results are compared before anything is timed.

``--errors`` times nothing. It compares the errors of both sides in float32, as maximum differences from what the
original finds for the same values in float64.

The fixed sizes are those that kernels are tuned for. ``--seed`` draws others: odd extents, any number of channels and
filters, other windows, and arrays that are views or lie channels last.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from inspect import isroutine
from math import prod
from typing import Any, NamedTuple

import numpy as np

import fastconv
from benchmarks.calls import check, scipy_function, torch_function
from benchmarks.census import Summary
from fastconv.engine.timing import Contender, interleave

Shape = tuple[int, ...]

# fastconv's rooms and the modules that they take their names from, as paths in fastconv and in the original.
ROOMS = {
    "torch": {"nn": "nn.functional", "grad": "nn.grad"},
    "scipy": {"signal": "signal", "ndimage": "ndimage"},
}

_IMAGES = (
    *((1, 3, 8, 8), (4, 16, 16, 16), (1, 256, 14, 14), (1, 64, 56, 56)),
    *((8, 32, 32, 32), (1, 3, 224, 224), (8, 64, 112, 112)),
)
_PLANES = ((8, 8), (37, 53), (64, 64), (256, 256), (1024, 1024))
_LINES = ((200,), (100_000,))
_VOLUMES = ((24, 24, 24), (96, 96, 96))
SIZES: dict[str, tuple[Shape, ...]] = {
    "nn": _IMAGES,
    "grad": _IMAGES,
    "signal": _LINES + _PLANES,
    "ndimage": _LINES + _PLANES + _VOLUMES,
}
TYPES: dict[str, tuple[str, ...]] = {
    "nn": ("float32", "float64"),
    "grad": ("float32", "float64"),
    "signal": ("float32", "float64", "complex128", "uint8", "int32"),
    "ndimage": ("float32", "float64", "uint8", "int16", "uint16", "int32", "bool", "complex64"),
}

# Types beyond these have cases in fewer sizes; each function's first case has other layouts in some types and sizes.
_COMMON_TYPES = ("float32", "float64", "complex128", "uint8")
_SIZES_OF_OTHERS = ((200,), (37, 53), (256, 256), (24, 24, 24))
_LAYOUT_TYPES, _LAYOUT_SIZES = ("float32", "uint8"), ((64, 64), (256, 256), (24, 24, 24))

# Longer calls would make the suite long without telling more.
_MOST_FLOPS = 2e9
_MOST_VALUES_SEEN = 6e7
_MOST_ELEMENTS = 1 << 23

# An error this many times as large as the original's is listed.
_MUCH_LESS_ACCURATE = 4.0

# Windows that are drawn for a size.
_DRAWN_WINDOWS = 4

# Functions of which one call does not repeat another's values, or that advise rather than compute.
_NOT_COMPARED = ("nn.dropout", "nn.dropout2d", "signal.choose_conv_method")

_BURSTS = 5
_SLOW = 0.9
_WORST = 25


class Case(NamedTuple):
    """The arguments of a call."""

    label: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _as_it_is(array: np.ndarray) -> np.ndarray:
    return array


def _every_second(array: np.ndarray) -> np.ndarray:
    """The same values, as every second column of another array."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


def _channels_last(array: np.ndarray) -> np.ndarray:
    """The same values in memory (N, ..., C), for images and weights of at least one spatial axis."""
    if array.ndim < 3:
        return array
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


# How the arrays of a drawn case lie in memory.
_DRAWN_LAYOUTS = {"": _as_it_is, "view": _every_second, "channels last": _channels_last}


class Data:
    """Makes arrays of one type: normal deviates, whole numbers of up to 16 bits, or bools.

    With `draws`, makers draw their windows from it in place of fixed ones.
    """

    def __init__(self, dtype: str, draws: random.Random | None = None, layout: str = "") -> None:
        self.dtype = np.dtype(dtype)
        self.draws = draws
        self._lay = _DRAWN_LAYOUTS[layout]
        self._rng = np.random.default_rng(0)

    def __call__(self, *shape: int) -> np.ndarray:
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype if self.dtype.itemsize <= 2 else np.int16)
            return self._rng.integers(limits.min, limits.max + 1, shape).astype(self.dtype)
        if self.dtype.kind == "b":
            return self._rng.random(shape) < 0.8
        values = self._rng.standard_normal(shape)
        if self.dtype.kind == "c":
            values = values + 1j * self._rng.standard_normal(shape)
        return self._lay(values.astype(self.dtype))

    def kernel(self, *shape: int) -> np.ndarray:
        """Taps: of integers so small ones that no sum is too large for 32 bits."""
        return self._rng.integers(0, 4, shape).astype(self.dtype) if self.dtype.kind in "iu" else self(*shape)

    def classes(self, count: int, *shape: int) -> np.ndarray:
        return self._rng.integers(0, count, shape)


Maker = Callable[[str, Data, Shape], Iterator[Case]]

# By room and name, what makes a function's cases from its name, its data and a size.
MAKERS: dict[str, Maker] = {}


def makes(*names: str) -> Callable[[Maker], Maker]:
    """Register the maker of these functions' cases."""

    def register(maker: Maker) -> Maker:
        MAKERS.update(dict.fromkeys(names, maker))
        return maker

    return register


def _call(label: str, *args: Any, **kwargs: Any) -> Case:
    return Case(label, args, kwargs)


# torch: elementwise functions and normalisations


@makes(*(f"nn.{name}" for name in ("elu", "gelu", "hardswish", "leaky_relu", "prelu", "relu", "rrelu")))
@makes("nn.sigmoid", "nn.silu", "nn.tanh", "nn.dropout", "nn.softplus", "nn.softsign", "nn.selu", "nn.celu", "nn.mish")
@makes("nn.relu6", "nn.dropout2d")
@makes("nn.hardtanh", "nn.hardsigmoid", "nn.hardshrink", "nn.softshrink", "nn.tanhshrink", "nn.logsigmoid")
def _elementwise(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    weight = (data(shape[1]),) if name == "prelu" else ()
    yield _call("", data(*shape), *weight)
    if name == "gelu":
        yield _call("tanh", data(*shape), approximate="tanh")
    if name == "relu":
        yield _call("in place", data(*shape), inplace=True)
    if name == "rrelu":
        yield _call("training", data(*shape), 0.25, 0.25, training=True)  # slopes that both sides draw alike


@makes("nn.threshold")
def _threshold(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    yield _call("", data(*shape), 0.1, 2.0)


@makes("nn.softmax", "nn.log_softmax")
def _softmax(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for dim in (1, -1):
        yield _call(f"dim {dim}", data(*shape), dim=dim)


@makes("nn.batch_norm")
def _batch_norm(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    c = shape[1]
    mean, var, weight, bias = data(c), 1 + data(c) ** 2, data(c), data(c)
    yield _call("statistics", data(*shape), mean, var)
    yield _call("affine", data(*shape), mean, var, weight, bias)
    yield _call("training", data(*shape), None, None, weight, bias, training=True)
    yield _call("training, running", data(*shape), mean.copy(), var.copy(), weight, bias, training=True)


@makes("nn.layer_norm", "nn.rms_norm", "nn.group_norm", "nn.instance_norm")
def _norms_of_samples(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    c = shape[1]
    groups = next(groups for groups in (32, 3, 2, 1) if c % groups == 0)
    over: tuple[Any, ...] = {"group_norm": (groups,), "instance_norm": (None, None)}.get(name, (shape[-1:],))
    extent = shape[-1] if name in ("layer_norm", "rms_norm") else c
    yield _call("", data(*shape), *over)
    yield _call("affine", data(*shape), *over, *(data(extent) for _ in range(1 if name == "rms_norm" else 2)))


@makes("nn.local_response_norm")
def _local_response_norm(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    yield _call("5", data(*shape), 5)


@makes("nn.linear")
def _linear(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    n, c, h, w = shape
    x = data(n * c, h * w)
    for outputs in (10, 1000):
        if 2 * x.size * outputs <= _MOST_FLOPS:
            yield _call(f"{outputs}", x, data(outputs, h * w))
            yield _call(f"{outputs}, bias", x, data(outputs, h * w), data(outputs))


@makes("nn.cross_entropy")
def _cross_entropy(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    n, c, *extent = shape
    x, target = data(*shape), data.classes(c, n, *extent)
    yield _call("maps", x, target)
    yield _call("maps, none", x, target, reduction="none")
    yield _call("maps, weights, smoothed", x, target, 1 + data(c) ** 2, label_smoothing=0.1)
    yield _call("maps, probabilities", x, fastconv.nn.softmax(data(*shape), 1))
    rows = x.reshape(n * c, -1)
    classes, weights = data.classes(rows.shape[1], n * c), 1 + data(rows.shape[1]) ** 2
    yield _call("rows", rows, classes)
    yield _call("rows, weights, smoothed", rows, classes, weights, label_smoothing=0.1)


# torch: pooling


def _spread(name: str, data: Data, shape: Shape) -> np.ndarray | None:
    """Images with as many spatial axes as the function's name says, or ``None`` if they would be too large."""
    n, c, h, w = shape
    axes = {"1d": (h * w,), "2d": (h, w), "3d": (4, h, w)}[re.search(r"[123]d", name)[0]]
    return data(n, c, *axes) if n * c * prod(axes) <= _MOST_ELEMENTS else None


@makes(*(f"nn.{kind}_pool{d}d" for kind in ("avg", "max") for d in (1, 2, 3)))
def _pools(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    x = _spread(name, data, shape)
    if x is None:
        return
    if data.draws is not None:
        yield from _drawn_pools(name, data.draws, x)
        return
    yield _call("2", x, 2)
    yield _call("3 s2 p1", x, 3, 2, 1)
    yield _call("3 s1 p1", x, 3, 1, 1)
    yield _call("3 s2 ceil", x, 3, 2, ceil_mode=True)
    if name.startswith("avg"):
        yield _call("3 s2 p1, pads left out", x, 3, 2, 1, count_include_pad=False)
    else:
        yield _call("2, indices", x, 2, return_indices=True)
        yield _call("3 s1 p1, indices", x, 3, 1, 1, return_indices=True)
        if min(x.shape[2:]) > 4:
            yield _call("3 d2", x, 3, 1, 0, 2)


def _drawn_pools(name: str, draws: random.Random, x: np.ndarray) -> Iterator[Case]:
    for _ in range(_DRAWN_WINDOWS):
        k, stride = draws.choice((2, 3, 4, 5, 7)), draws.choice((1, 2, 3))
        padding = draws.randint(0, k // 2)
        if k <= min(x.shape[2:]):
            yield _call(f"{k} s{stride} p{padding}", x, k, stride, padding)
            if name.startswith("max"):
                yield _call(f"{k} s{stride} p{padding}, indices", x, k, stride, padding, return_indices=True)


@makes("nn.lp_pool1d", "nn.lp_pool2d")
def _lp_pools(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    x = _spread(name, data, shape)
    if x is None:
        return
    if name == "lp_pool2d":
        x = np.abs(x)  # torch takes sums of odd powers to a fractional power
    for norm in (1.0, 2.0):
        yield _call(f"norm {norm:g}, 2", np.abs(x), norm, 2)
    yield _call("norm 2, 3 s2", np.abs(x), 2.0, 3, 2)


@makes(*(f"nn.adaptive_{kind}_pool{d}d" for kind in ("avg", "max") for d in (1, 2)))
def _adaptive_pools(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    x = _spread(name, data, shape)
    if x is not None:
        for size in (1, 3, 7):
            yield _call(f"{size}", x, size)


@makes("nn.fractional_max_pool2d")
def _fractional_pools(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    n, c, h, w = shape
    where = np.random.default_rng(0).random((n, c, 2)).astype(data.dtype)
    yield _call("2", data(*shape), 2, (h // 2, w // 2), _random_samples=where)


@makes("nn.max_unpool2d")
def _unpooling(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    pooled, indices = fastconv.max_pool2d(data(*shape), 2, return_indices=True)
    yield _call("2", pooled, indices, 2)


# torch: convolutions and their gradients


class _Window(NamedTuple):
    label: str
    k: int
    options: dict[str, int]
    depthwise: bool = False
    filters: int | None = None
    """``None``: as many as channels."""


_WINDOWS = (
    _Window("3 p1", 3, {"padding": 1}),
    _Window("1", 1, {}),
    _Window("3 s2 p1", 3, {"stride": 2, "padding": 1}),
    _Window("2 s2", 2, {"stride": 2}),
)
_MORE_WINDOWS = (
    _Window("5 p2", 5, {"padding": 2}),
    _Window("3 d2 p2", 3, {"padding": 2, "dilation": 2}),
    _Window("depthwise 3 p1", 3, {"padding": 1}, depthwise=True),
)
_TRANSPOSED_WINDOWS = (
    _Window("4 s2 p1", 4, {"stride": 2, "padding": 1}),
    _Window("3 s2 p1, extended", 3, {"stride": 2, "padding": 1, "output_padding": 1}),
)


def _drawn_windows(draws: random.Random) -> Iterator[_Window]:
    for _ in range(_DRAWN_WINDOWS):
        k, stride = draws.choice((1, 2, 3, 3, 4, 5, 7)), draws.choice((1, 1, 1, 2, 3))
        dilation = draws.choice((1, 1, 2, 3)) if k > 1 and stride == 1 else 1
        padding, depthwise = draws.randint(0, dilation * (k - 1) // 2), draws.random() < 0.2
        filters = None if depthwise else draws.choice((1, 8, 21, 64, 100))
        label = f"{k} s{stride} d{dilation} p{padding}, {'depthwise' if depthwise else f'{filters} filters'}"
        yield _Window(label, k, {"stride": stride, "padding": padding, "dilation": dilation}, depthwise, filters)


def _fitting(
    name: str, data: Data, shape: Shape, windows: Iterable[_Window]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, dict[str, int]]]:
    """Images, weights and options, unless one call would take too many operations."""
    x = _spread(name, data, shape)
    if x is None:
        return
    c = x.shape[1]
    for label, k, options, depthwise, filters in windows if data.draws is None else _drawn_windows(data.draws):
        first, second = (c, filters or c) if name.startswith("conv_transpose") else (filters or c, c)
        weight = data(first, 1 if depthwise else second, *(k,) * (x.ndim - 2))
        sees = options.get("dilation", 1) * (k - 1) + 1
        if 2 * x.size * weight.size // c <= _MOST_FLOPS and min(x.shape[2:]) >= sees:
            yield label, x, weight, options | ({"groups": c} if depthwise else {})


@makes("nn.conv1d", "nn.conv2d", "nn.conv3d")
def _convolutions(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for label, x, weight, options in _fitting(name, data, shape, _WINDOWS + _MORE_WINDOWS):
        yield _call(label, x, weight, **options)
        if label == "3 p1":
            yield _call(f"{label}, bias", x, weight, data(len(weight)), **options)


@makes("nn.conv_transpose1d", "nn.conv_transpose2d", "nn.conv_transpose3d")
def _transposed(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for label, x, weight, options in _fitting(name, data, shape, _WINDOWS + _TRANSPOSED_WINDOWS):
        yield _call(label, x, weight, **options)
        if label == "2 s2":
            yield _call(f"{label}, bias", x, weight, data(weight.shape[1]), **options)


@makes(*(f"grad.conv{d}d_{operand}" for d in (1, 2, 3) for operand in ("input", "weight")))
def _gradients(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for label, x, weight, options in _fitting(name, data, shape, _WINDOWS):
        window = {"stride": 1, "padding": 0, "dilation": 1} | options
        sees = window["dilation"] * (weight.shape[-1] - 1) + 1
        out = ((extent + 2 * window["padding"] - sees) // window["stride"] + 1 for extent in x.shape[2:])
        grad = data(x.shape[0], len(weight), *out)
        if name.endswith("input"):
            yield _call(label, x.shape, weight, grad, **options)
        else:
            yield _call(label, x, weight.shape, grad, **options)


# SciPy: signals


@makes("signal.convolve", "signal.correlate", "signal.fftconvolve", "signal.oaconvolve")
def _signals(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps in (5, 8, 65) if len(shape) == 1 else (3, 4, 15):
        if taps <= min(shape) and _is_affordable(shape, taps):
            kernel = data.kernel(*(taps,) * len(shape))
            for mode in ("full", "same", "valid"):
                yield _call(f"{taps} {mode}", data(*shape), kernel, mode)


@makes("signal.convolve2d", "signal.correlate2d")
def _images(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for k in (3, 4, 9):
        if len(shape) == 2 and k <= min(shape) and _is_affordable(shape, k):
            for mode, boundary in (("full", "fill"), ("same", "symm"), ("same", "wrap"), ("valid", "fill")):
                yield _call(f"{k}x{k} {mode} {boundary}", data(*shape), data.kernel(k, k), mode, boundary)


@makes("signal.sepfir2d")
def _separable(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps in (3, 7, 15):
        if len(shape) == 2 and data.dtype.kind in "fc" and taps <= min(shape):
            yield _call(f"{taps}", data(*shape), data(taps), data(taps))


@makes("signal.choose_conv_method")
def _advice(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    yield _call("5", data(*shape), data(*(5,) * len(shape)))


@makes("signal.correlation_lags")
def _lags(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if len(shape) == 1 and data.dtype == np.float64:
        for mode in ("full", "same", "valid"):
            yield _call(f"5 {mode}", *shape, 5, mode)


@makes("signal.medfilt", "signal.medfilt2d", "signal.order_filter")
def _ranks_of_signals(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for size in (3, 5, 9):
        if data.dtype.kind in "fiu" and (len(shape) == 2 or name != "medfilt2d") and _is_affordable(shape, size):
            ones = np.ones((size,) * len(shape))
            yield _call(f"{size}", data(*shape), *((ones, 2) if name == "order_filter" else (size,)))


@makes("signal.wiener")
def _adaptive(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if data.dtype.kind in "fiu":
        for size in (3, 7):
            yield _call(f"{size}", data(*shape), size)
        yield _call("3, noise", data(*shape), 3, 0.5)


@makes("signal.upfirdn")
def _polyphase(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps, up, down in ((15, 1, 1), (31, 2, 1), (81, 1, 4), (61, 3, 2)):
        for axis in {0, len(shape) - 1}:
            yield _call(f"{taps} by {up}/{down} axis {axis}", np.ones(taps) / taps, data(*shape), up, down, axis)


@makes("signal.resample_poly")
def _resampled(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for up, down in ((2, 1), (1, 3), (3, 2), (160, 147)):
        for axis in {0, len(shape) - 1}:
            yield _call(f"{up}/{down} axis {axis}", data(*shape), up, down, axis)
    for padtype in ("line", "mean"):
        yield _call(f"3/2 {padtype}", data(*shape), 3, 2, padtype=padtype)


@makes("signal.decimate")
def _decimated(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for axis in {0, len(shape) - 1}:
        yield _call(f"4 fir axis {axis}", data(*shape), 4, None, "fir", axis)
    if min(shape) > 30:  # or the filter is longer than the signal
        yield _call("4 iir", data(*shape), 4)


@makes("signal.savgol_filter")
def _smoothed(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps in (5, 15):
        for axis in {0, len(shape) - 1}:
            if data.dtype.kind != "c" and taps <= shape[axis]:
                yield _call(f"{taps} axis {axis}", data(*shape), taps, 3, axis=axis)
    if data.dtype.kind != "c":
        yield _call("5 nearest", data(*shape), 5, 2, mode="nearest")


@makes("signal.savgol_coeffs")
def _weights_of_polynomials(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if shape == (200,) and data.dtype == np.float64:
        yield _call("3", shape[0] - 1, 3)


# SciPy: images


def _is_affordable(shape: Shape, size: int) -> bool:
    """Whether SciPy's time, which grows with the window, keeps the suite short."""
    return prod(shape) * size ** len(shape) <= _MOST_VALUES_SEEN


def _cross(axes: int) -> np.ndarray:
    cross: np.ndarray = np.sum(np.abs(np.indices((3,) * axes) - 1), axis=0) <= 1
    return cross


def _disk(axes: int) -> np.ndarray:
    disk: np.ndarray = np.sum((np.indices((7,) * axes) - 3) ** 2, axis=0) <= 9
    return disk


@makes("ndimage.correlate", "ndimage.convolve")
def _filters(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    weights = np.random.default_rng(1).standard_normal
    for k, modes in ((3, ("reflect", "constant", "wrap")), (4, ("nearest",)), (7, ("mirror",)), (11, ("reflect",))):
        for mode in modes:
            if _is_affordable(shape, k):
                yield _call(f"{k} {mode}", data(*shape), weights((k,) * len(shape)), mode=mode)
    yield _call("3 ones", data(*shape), np.ones((3,) * len(shape)))


@makes("ndimage.correlate1d", "ndimage.convolve1d")
def _line_filters(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    weights = np.random.default_rng(1).standard_normal
    for taps in (3, 15):
        for axis in {0, len(shape) - 1}:
            yield _call(f"{taps} axis {axis}", data(*shape), weights(taps), axis)
    yield _call("3 mirror", data(*shape), weights(3), mode="mirror")
    yield _call("5 symmetric, constant", data(*shape), [1.0, 4.0, 6.0, 4.0, 1.0], mode="constant")


@makes("ndimage.gaussian_filter", "ndimage.gaussian_filter1d")
def _gaussians(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for sigma in (1.0, 4.0):
        yield _call(f"sigma {sigma:g}", data(*shape), sigma)
    yield _call("sigma 1, derivative", data(*shape), 1.0, order=1)
    for mode in ("nearest", "constant", "wrap"):
        yield _call(f"sigma 1, {mode}", data(*shape), 1.0, mode=mode)


@makes(*(f"ndimage.{kind}_filter" for kind in ("uniform", "maximum", "minimum")))
def _windows(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if not name.startswith("uniform") and data.dtype.kind == "c":
        return
    for size in (3, 4, 15):
        for mode in ("reflect", "constant"):
            yield _call(f"{size} {mode}", data(*shape), size, mode=mode)
    if not name.startswith("uniform"):
        yield _call("cross", data(*shape), footprint=_cross(len(shape)))
        if _is_affordable(shape, 7):
            yield _call("disk", data(*shape), footprint=_disk(len(shape)), mode="nearest")


@makes(*(f"ndimage.{kind}_filter1d" for kind in ("uniform", "maximum", "minimum")))
def _line_windows(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if not name.startswith("uniform") and data.dtype.kind == "c":
        return
    for size in (3, 25):
        for axis in {0, len(shape) - 1}:
            yield _call(f"{size} axis {axis}", data(*shape), size, axis)
    yield _call("4 mirror", data(*shape), 4, mode="mirror")


@makes(*(f"ndimage.grey_{name}" for name in ("erosion", "dilation", "opening", "closing")))
@makes("ndimage.morphological_gradient", "ndimage.morphological_laplace", "ndimage.white_tophat")
@makes("ndimage.black_tophat")
def _grey_morphology(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    # SciPy subtracts no bools.
    if data.dtype.kind == "c" or (data.dtype.kind == "b" and name.startswith("morphological")):
        return
    yield _call("5", data(*shape), 5)
    yield _call("cross", data(*shape), footprint=_cross(len(shape)))
    if data.dtype.kind in "fi":  # unsigned sums wrap around
        yield _call("structure", data(*shape), structure=np.ones((3,) * len(shape)), mode="constant")


@makes(*(f"ndimage.binary_{name}" for name in ("erosion", "dilation", "opening", "closing")))
def _binary_morphology(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if data.dtype.kind not in "bu":
        return
    image = data(*shape)
    yield _call("cross", image if image.dtype == bool else image > 60)
    if data.dtype == np.uint8:
        bits = image > 60
        yield _call("bytes", bits.view(np.uint8))
        yield _call("5", bits, np.ones((5,) * len(shape)))
        yield _call("cross 3 times", bits, iterations=3)
        yield _call("4, border", bits, np.ones((4,) * len(shape)), border_value=1)
        yield _call("masked", bits, mask=data(*shape) > 100)


@makes("ndimage.median_filter", "ndimage.rank_filter", "ndimage.percentile_filter")
def _ranks(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    which = {"rank_filter": (2,), "percentile_filter": (20,)}.get(name, ())
    if data.dtype.kind == "c":
        return
    for size in (3, 4, 5, 9):
        if _is_affordable(shape, size):
            yield _call(f"{size}", data(*shape), *which, size, mode="mirror" if size == 4 else "reflect")
    yield _call("cross", data(*shape), *which, footprint=_cross(len(shape)))


@makes("ndimage.sobel", "ndimage.prewitt", "ndimage.laplace")
def _differences(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if data.dtype.kind == "b":  # differences of bool images are bytes other than 0 and 1 to SciPy
        return
    for mode in ("reflect", "constant"):
        yield _call(mode, data(*shape), mode=mode)
    if name != "laplace":
        yield _call("axis 0, nearest", data(*shape), 0, mode="nearest")


@makes("ndimage.gaussian_laplace", "ndimage.gaussian_gradient_magnitude")
def _gaussian_derivatives(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for sigma in (1.0, 2.0):
        yield _call(f"sigma {sigma:g}", data(*shape), sigma)


@makes("ndimage.generic_filter", "ndimage.vectorized_filter")
def _functions_of_windows(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if prod(shape) <= 4096 and data.dtype.kind in "fiu":  # SciPy calls the function for every pixel
        yield _call("max 3", data(*shape), np.max, size=3)


@makes("ndimage.generic_filter1d")
def _functions_of_lines(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    def differences(line: np.ndarray, out: np.ndarray) -> None:
        np.subtract(line[1:], line[:-1], out)

    if data.dtype.kind in "fiu":
        yield _call("2", data(*shape), differences, 2)


@makes("ndimage.generic_laplace", "ndimage.generic_gradient_magnitude")
def _functions_of_axes(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if data.dtype.kind in "fiu":
        yield _call("sobel", data(*shape), import_module("scipy.ndimage").sobel)


def shared_names(ours: Any, theirs: Any) -> list[str]:
    """The public functions of one namespace that another has, too."""
    names = getattr(ours, "__all__", None) or vars(ours)
    return sorted(n for n in names if not n.startswith("_") and isroutine(getattr(ours, n)) and hasattr(theirs, n))


def discovered(against: str) -> tuple[list[str], list[str]]:
    """Functions of fastconv that share their name with the library, as "room.name": with cases, and without."""
    found = [
        f"{room}.{name}"
        for room, path in ROOMS[against].items()
        for name in shared_names(getattr(fastconv, room), import_module(f"{against}.{path}"))
    ]
    return [name for name in found if name in MAKERS], [name for name in found if name not in MAKERS]


class Result(NamedTuple):
    function: str
    label: str
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours


def measure(
    function: str,
    label: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Time both calls, after comparing their results."""
    if function not in _NOT_COMPARED:
        check(f"{function} {label}", ours, theirs)
    contenders = [Contender(name, call, clock) for name, call in (("ours", ours), ("theirs", theirs))]
    interleave(contenders, _BURSTS)
    return Result(function, label, *(contender.seconds for contender in contenders))


def _drawn_sizes(room: str, seed: int | None) -> Iterator[tuple[Shape, str]]:
    """The sizes of a room's arrays and their layouts: the fixed ones, or as many that a seed draws."""
    if seed is None:
        yield from ((shape, "") for shape in SIZES[room])
        return
    draws = random.Random(seed)
    for shape in SIZES[room]:
        # Between half and twice the extent; images have at least as much as the largest window.
        extents = [round(extent * 2 ** draws.uniform(-1, 1)) for extent in shape]
        least = [1, 1, 8, 8] if room in ROOMS["torch"] else [8] * len(shape)
        yield tuple(map(max, extents, least)), draws.choice(("", *_DRAWN_LAYOUTS))


def cases(function: str, seed: int | None = None) -> Iterator[tuple[str, Case]]:
    """Every case of a function, with its label, type, size and layout in words; fixed ones, or those of a seed."""
    room, _, name = function.partition(".")
    drawn = list(_drawn_sizes(room, seed))
    for dtype in TYPES[room]:
        for number, (shape, layout) in enumerate(drawn):
            if seed is None and dtype not in _COMMON_TYPES and shape not in _SIZES_OF_OTHERS:
                continue
            draws = None if seed is None else random.Random(f"{seed} {function} {number}")
            for at, case in enumerate(MAKERS[function](name, Data(dtype, draws, layout), shape)):
                words = case.label, dtype, "x".join(map(str, shape)), layout
                yield " ".join(filter(None, words)), case
                if at == 0 and room in ROOMS["scipy"] and dtype in _LAYOUT_TYPES and shape in _LAYOUT_SIZES:
                    for viewed, view in LAYOUTS.items():
                        args = [view(arg) if _is_image(arg, shape) else arg for arg in case.args]
                        yield " ".join(filter(None, (*words, viewed))), case._replace(args=tuple(args))


# Arrays of the same values that are not contiguous.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "every other": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "upside down": lambda array: np.ascontiguousarray(array[::-1])[::-1],
}


def _is_image(value: Any, shape: Shape) -> bool:
    return isinstance(value, np.ndarray) and value.shape == shape


def print_results(results: list[Result]) -> None:
    """Functions, the slowest first, and the worst rows."""
    by_function: dict[str, list[float]] = {}
    for result in results:
        by_function.setdefault(result.function, []).append(result.ratio)
    below = f"below {_SLOW}"
    print(f"\n{'function':<28} {'rows':>5} {'geomean':>8} {'won':>6} {below:>10} {'least':>6}")
    summaries = {function: Summary.of(ratios, _SLOW) for function, ratios in by_function.items()}
    for function, summary in sorted(summaries.items(), key=lambda item: item[1].geomean):
        print(f"{function:<28} {summary.cells()}")
    ratios = [result.ratio for result in results]
    print(f"{'all':<28} {Summary.of(ratios, _SLOW).cells()}")
    much = sum(ratio < 0.7 for ratio in ratios)
    print(f"\n{much} of {len(ratios)} rows below 0.7; the worst, in µs:")
    for result in sorted(results, key=lambda r: r.ratio)[:_WORST]:
        times = f"{result.ours * 1e6:.4g} to {result.theirs * 1e6:.4g}"
        print(f"  {result.ratio:4.2f} {result.function} {result.label}: {times}")


def error_ratio(ours: Callable[[], Any], theirs: Callable[[], Any], exact: Callable[[], Any]) -> float | None:
    """Our maximum error as a multiple of theirs, or of a rounding if they have none; ``None`` if none is float32."""
    truth = np.asarray(exact())
    found, expected = np.asarray(ours()), np.asarray(theirs())
    if expected.dtype.char not in "fF" or not truth.size:
        return None
    mine, peers = (float(np.abs(result - truth).max()) for result in (found, expected))
    rounding = float(np.finfo(np.float32).eps / 4 * np.abs(truth).max())
    return mine / max(peers, rounding) if mine else 0.0


def in_float64(case: Case) -> Case:
    """A case with the same values in float64."""

    def wide(value: Any) -> Any:
        is_single = isinstance(value, np.ndarray) and value.dtype.char in "fF"
        return value.astype(np.promote_types(value.dtype, np.float64)) if is_single else value

    return case._replace(args=tuple(map(wide, case.args)), kwargs={k: wide(v) for k, v in case.kwargs.items()})


def print_errors(ratios: dict[str, float], rows: int) -> None:
    """How many of the float32 rows, and of all, are much less accurate than the original; and which."""
    much = {label: ratio for label, ratio in ratios.items() if ratio > _MUCH_LESS_ACCURATE}
    shares = " and ".join(f"{100 * len(much) / max(1, n):.1f} % of {n} {of}" for n, of in
                          ((len(ratios), "rows in float32"), (rows, "rows in all")))  # fmt: skip
    print(f"\nmore than {_MUCH_LESS_ACCURATE:g} times the original's error: {len(much)} rows, {shares}")
    for label, ratio in sorted(much.items(), key=lambda item: -item[1]):
        print(f"  {ratio:5.1f} {label}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breadth", description=__doc__.splitlines()[0])
    parser.add_argument("--against", choices=ROOMS, required=True)
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--only", metavar="PATTERN", default="", help="functions or rows that this expression matches")
    parser.add_argument("--cpu-time", action="store_true", help="do not count waiting for a core; for one thread")
    parser.add_argument("--seed", type=int, help="draw sizes, windows and layouts, in place of the fixed ones")
    parser.add_argument("--verbose", action="store_true", help="print every row")
    parser.add_argument("--errors", action="store_true", help="compare errors in float32 instead of times")
    options = parser.parse_args(arguments)
    if options.cpu_time and options.threads > 1:
        parser.error("--cpu-time: expected --threads 1")
    clock = time.process_time if options.cpu_time else time.perf_counter
    fastconv.set_num_threads(options.threads)
    try:
        functions, without = discovered(options.against)
    except ImportError as error:
        parser.error(f"--against {options.against}: {error}")
    original = partial(torch_function, threads=options.threads) if options.against == "torch" else scipy_function
    results, differ, ratios, rows = [], [], {}, 0
    for function in functions:
        room, _, name = function.partition(".")
        theirs = original(f"{ROOMS[options.against][room]}.{name}")
        for label, case in cases(function, options.seed):
            if not re.search(options.only, f"{function} {label}"):
                continue
            rows += 1
            ours = partial(getattr(getattr(fastconv, room), name), *case.args, **case.kwargs)
            if options.errors:
                wide = in_float64(case)
                ratio = error_ratio(ours, theirs(*case.args, **case.kwargs), theirs(*wide.args, **wide.kwargs))
                if ratio is not None and function not in _NOT_COMPARED:
                    ratios[f"{function} {label}"] = ratio
                continue
            try:
                result = measure(function, label, ours, theirs(*case.args, **case.kwargs), clock)
            except AssertionError as error:
                differ.append(str(error))
                continue
            results.append(result)
            if options.verbose:
                print(f"{result.ratio:6.2f} {function} {label}", flush=True)
    if not rows:
        parser.error(f"--only {options.only}: matches no row")
    if options.errors:
        print_errors(ratios, rows)
        return 0
    print_results(results)
    for fault in differ:
        print(f"WRONG: {fault}")
    if without:
        print(f"not measured: {', '.join(without)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
