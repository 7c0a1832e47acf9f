"""``python -m benchmarks.breadth --against torch|scipy``: every function that shares its name with theirs, beside it.

Sizes from tiny to large, types and options are multiplied out. Functions are discovered: one that both namespaces have,
but that has no cases here, is reported as not measured. Results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
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
_PLANES = ((8, 8), (64, 64), (256, 256), (1024, 1024))
_LINES = ((16,), (1000,), (100_000,))
SIZES: dict[str, tuple[Shape, ...]] = {
    "nn": _IMAGES,
    "grad": _IMAGES,
    "signal": _LINES + _PLANES,
    "ndimage": (*_PLANES, (16, 64, 64)),
}
TYPES = {
    "nn": ("float32", "float64"),
    "grad": ("float32", "float64"),
    "signal": ("float32", "float64", "complex128"),
    "ndimage": ("float32", "float64", "uint8"),
}

# Longer calls would make the suite long without telling more.
_MOST_FLOPS = 2e9
_MOST_ELEMENTS = 1 << 23

# Functions of which one call does not repeat another's values, or that advise rather than compute.
_NOT_COMPARED = ("nn.dropout", "signal.choose_conv_method")

_BURSTS = 5
_SLOW = 0.9
_WORST = 25


class Case(NamedTuple):
    """The arguments of a call."""

    label: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Data:
    """Makes arrays of one type: normal deviates, or bytes."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self._rng = np.random.default_rng(0)

    def __call__(self, *shape: int) -> np.ndarray:
        if self.dtype.kind == "u":
            return self._rng.integers(0, 256, shape).astype(self.dtype)
        values = self._rng.standard_normal(shape)
        if self.dtype.kind == "c":
            values = values + 1j * self._rng.standard_normal(shape)
        return values.astype(self.dtype)

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
@makes("nn.sigmoid", "nn.silu", "nn.tanh", "nn.dropout")
def _elementwise(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    weight = (data(shape[1]),) if name == "prelu" else ()
    yield _call("", data(*shape), *weight)
    if name == "gelu":
        yield _call("tanh", data(*shape), approximate="tanh")
    if name == "relu":
        yield _call("in place", data(*shape), inplace=True)
    if name == "rrelu":
        yield _call("training", data(*shape), 0.25, 0.25, training=True)  # slopes that both sides draw alike


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


def _fitting(
    name: str, data: Data, shape: Shape, windows: tuple[_Window, ...]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, dict[str, int]]]:
    """Images, weights and options, unless one call would take too many operations."""
    x = _spread(name, data, shape)
    if x is None:
        return
    c = x.shape[1]
    for label, k, options, depthwise in windows:
        weight = data(c, 1 if depthwise else c, *(k,) * (x.ndim - 2))
        if 2 * x.size * prod(weight.shape[1:]) <= _MOST_FLOPS and min(x.shape[2:]) >= k:
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
            yield _call(f"{label}, bias", x, weight, data(len(weight)), **options)


@makes(*(f"grad.conv{d}d_{operand}" for d in (1, 2, 3) for operand in ("input", "weight")))
def _gradients(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for label, x, weight, options in _fitting(name, data, shape, _WINDOWS):
        window = {"stride": 1, "padding": 0, "dilation": 1} | options
        out = ((extent + 2 * window["padding"] - weight.shape[-1]) // window["stride"] + 1 for extent in x.shape[2:])
        grad = data(x.shape[0], len(weight), *out)
        if name.endswith("input"):
            yield _call(label, x.shape, weight, grad, **options)
        else:
            yield _call(label, x, weight.shape, grad, **options)


# SciPy: signals


@makes("signal.convolve", "signal.correlate", "signal.fftconvolve", "signal.oaconvolve")
def _signals(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps in (5, 65) if len(shape) == 1 else (3, 15):
        if taps <= min(shape):
            kernel = data(*(taps,) * len(shape))
            for mode in ("full", "same", "valid"):
                yield _call(f"{taps} {mode}", data(*shape), kernel, mode)


@makes("signal.convolve2d", "signal.correlate2d")
def _images(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for k in (3, 9):
        if len(shape) == 2 and k <= min(shape):
            for mode, boundary in (("full", "fill"), ("same", "symm"), ("same", "wrap"), ("valid", "fill")):
                yield _call(f"{k}x{k} {mode} {boundary}", data(*shape), data(k, k), mode, boundary)


@makes("signal.sepfir2d")
def _separable(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps in (3, 7):
        if len(shape) == 2 and data.dtype.kind == "f":
            yield _call(f"{taps}", data(*shape), data(taps), data(taps))


@makes("signal.choose_conv_method")
def _advice(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    yield _call("5", data(*shape), data(*(5,) * len(shape)))


@makes("signal.correlation_lags")
def _lags(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if len(shape) == 1 and data.dtype == np.float64:
        yield _call("5", *shape, 5)


@makes("signal.medfilt", "signal.medfilt2d", "signal.order_filter", "signal.wiener")
def _ranks_of_signals(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if data.dtype.kind == "f" and (len(shape) == 2 or name != "medfilt2d"):
        ones = np.ones((3,) * len(shape))
        yield _call("3", data(*shape), *((ones, 2) if name == "order_filter" else (3,)))


@makes("signal.upfirdn")
def _polyphase(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps, up, down in ((15, 1, 1), (31, 2, 1), (81, 1, 4), (61, 3, 2)):
        for axis in range(len(shape)):
            yield _call(f"{taps} by {up}/{down} axis {axis}", np.ones(taps) / taps, data(*shape), up, down, axis)


@makes("signal.resample_poly")
def _resampled(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for up, down in ((2, 1), (1, 3), (3, 2), (160, 147)):
        for axis in range(len(shape)):
            yield _call(f"{up}/{down} axis {axis}", data(*shape), up, down, axis)
    yield _call("3/2 line", data(*shape), 3, 2, padtype="line")


@makes("signal.decimate")
def _decimated(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for axis in range(len(shape)):
        yield _call(f"4 fir axis {axis}", data(*shape), 4, None, "fir", axis)
    if min(shape) > 30:  # or the filter is longer than the signal
        yield _call("4 iir", data(*shape), 4)


@makes("signal.savgol_filter")
def _smoothed(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for taps in (5, 15):
        for axis in range(len(shape)):
            if data.dtype.kind == "f" and taps <= min(shape):
                yield _call(f"{taps} axis {axis}", data(*shape), taps, 3, axis=axis)
    if data.dtype.kind == "f":
        yield _call("5 nearest", data(*shape), 5, 2, mode="nearest")


@makes("signal.savgol_coeffs")
def _weights_of_polynomials(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if len(shape) == 1 and shape[0] <= 1000 and data.dtype == np.float64:
        yield _call("3", shape[0] - 1, 3)


# SciPy: images


@makes("ndimage.correlate", "ndimage.convolve")
def _filters(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    weights = np.random.default_rng(1).standard_normal
    for k in (3, 7):
        for mode in ("reflect", "constant", "wrap"):
            yield _call(f"{k} {mode}", data(*shape), weights((k,) * len(shape)), mode=mode)


@makes("ndimage.correlate1d", "ndimage.convolve1d")
def _line_filters(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    weights = np.random.default_rng(1).standard_normal
    for taps in (3, 15):
        for axis in (0, -1):
            yield _call(f"{taps} axis {axis}", data(*shape), weights(taps), axis)
    yield _call("3 mirror", data(*shape), weights(3), mode="mirror")


@makes("ndimage.gaussian_filter", "ndimage.gaussian_filter1d")
def _gaussians(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for sigma in (1.0, 4.0):
        yield _call(f"sigma {sigma:g}", data(*shape), sigma)
    yield _call("sigma 1, derivative", data(*shape), 1.0, order=1)
    yield _call("sigma 1, nearest", data(*shape), 1.0, mode="nearest")


@makes(*(f"ndimage.{kind}_filter" for kind in ("uniform", "maximum", "minimum")))
def _windows(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for size in (3, 15):
        for mode in ("reflect", "constant"):
            yield _call(f"{size} {mode}", data(*shape), size, mode=mode)
    if not name.startswith("uniform"):
        cross = np.sum(np.abs(np.indices((3,) * len(shape)) - 1), axis=0) <= 1
        yield _call("cross", data(*shape), footprint=cross)


@makes(*(f"ndimage.{kind}_filter1d" for kind in ("uniform", "maximum", "minimum")))
def _line_windows(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for size in (3, 25):
        for axis in (0, -1):
            yield _call(f"{size} axis {axis}", data(*shape), size, axis)


@makes(*(f"ndimage.grey_{name}" for name in ("erosion", "dilation", "opening", "closing")))
@makes("ndimage.morphological_gradient", "ndimage.morphological_laplace", "ndimage.white_tophat")
@makes("ndimage.black_tophat")
def _grey_morphology(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    yield _call("5", data(*shape), 5)
    cross = np.sum(np.abs(np.indices((3,) * len(shape)) - 1), axis=0) <= 1
    yield _call("cross", data(*shape), footprint=cross)


@makes(*(f"ndimage.binary_{name}" for name in ("erosion", "dilation", "opening", "closing")))
def _binary_morphology(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if data.dtype.kind == "u":
        image = data(*shape) > 60
        yield _call("cross", image)
        yield _call("5", image, np.ones((5,) * len(shape)))
        yield _call("cross 3 times", image, iterations=3)


@makes("ndimage.median_filter", "ndimage.rank_filter", "ndimage.percentile_filter")
def _ranks(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    which = {"rank_filter": (2,), "percentile_filter": (20,)}.get(name, ())
    for size in (3, 5, 9) if prod(shape) < 1 << 18 else (3, 5):
        if size ** len(shape) < 200:  # SciPy's time grows with the window
            yield _call(f"{size}", data(*shape), *which, size)


@makes("ndimage.sobel", "ndimage.prewitt", "ndimage.laplace")
def _differences(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    for mode in ("reflect", "constant"):
        yield _call(mode, data(*shape), mode=mode)


@makes("ndimage.gaussian_laplace", "ndimage.gaussian_gradient_magnitude")
def _gaussian_derivatives(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    yield _call("sigma 2", data(*shape), 2.0)


@makes("ndimage.generic_filter", "ndimage.vectorized_filter")
def _functions_of_windows(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    if prod(shape) <= 4096:  # SciPy calls the function for every pixel
        yield _call("ptp 3", data(*shape), np.ptp, size=3)


@makes("ndimage.generic_filter1d")
def _functions_of_lines(name: str, data: Data, shape: Shape) -> Iterator[Case]:
    def differences(line: np.ndarray, out: np.ndarray) -> None:
        np.subtract(line[1:], line[:-1], out)

    yield _call("2", data(*shape), differences, 2)


@makes("ndimage.generic_laplace", "ndimage.generic_gradient_magnitude")
def _functions_of_axes(name: str, data: Data, shape: Shape) -> Iterator[Case]:
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


def cases(function: str) -> Iterator[tuple[str, Case]]:
    """Every case of a function, with its label, type and size in words."""
    room, _, name = function.partition(".")
    for dtype in TYPES[room]:
        for shape in SIZES[room]:
            for case in MAKERS[function](name, Data(dtype), shape):
                yield " ".join(filter(None, (case.label, dtype, "x".join(map(str, shape))))), case


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.breadth", description=__doc__.splitlines()[0])
    parser.add_argument("--against", choices=ROOMS, required=True)
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--only", metavar="PATTERN", default="", help="functions or rows that this expression matches")
    parser.add_argument("--cpu-time", action="store_true", help="do not count waiting for a core; for one thread")
    parser.add_argument("--verbose", action="store_true", help="print every row")
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
    results, differ = [], []
    for function in functions:
        room, _, name = function.partition(".")
        theirs = original(f"{ROOMS[options.against][room]}.{name}")
        for label, case in cases(function):
            if not re.search(options.only, f"{function} {label}"):
                continue
            ours = partial(getattr(getattr(fastconv, room), name), *case.args, **case.kwargs)
            try:
                result = measure(function, label, ours, theirs(*case.args, **case.kwargs), clock)
            except AssertionError as error:
                differ.append(str(error))
                continue
            results.append(result)
            if options.verbose:
                print(f"{result.ratio:6.2f} {function} {label}", flush=True)
    if not results:
        parser.error(f"--only {options.only}: matches no row")
    print_results(results)
    for fault in differ:
        print(f"WRONG: {fault}")
    if without:
        print(f"not measured: {', '.join(without)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
