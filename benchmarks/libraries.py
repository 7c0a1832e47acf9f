"""The protocol of the libraries that tables and suites compare, and fastconv as one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np

import fastconv
from benchmarks.problems import GRADIENTS, LAYERS, OPERATIONS, Layer, Problem
from fastconv.engine import planner
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution3d import CONVOLUTION_3D
from fastconv.engine.geometry import ConvGeometry

Call = Callable[[], np.ndarray]


class Library(Protocol):
    """A library, or one way to use it. The constructor imports it and sets its number of threads."""

    name: ClassVar[str]
    operations: ClassVar[tuple[str, ...]]
    version: str

    def __init__(self, threads: int) -> None: ...

    def refuse(self, problem: Problem) -> str | None:
        """Why the library does not take part in `problem`, which is one of its operations, or ``None``."""

    def error(self, problem: Problem) -> float:
        """Expected maximum error, in σ of the output."""

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        """A call of the library on ``problem.arrays()``, to be timed; what its users do once is done here.

        Results may share memory: each is valid until the next call, and as long as the call exists.
        """


class Fastconv:
    """One-shot calls of the public functions, as most users make them."""

    name = "fastconv"
    operations = OPERATIONS + LAYERS
    version = fastconv.__version__
    prepared = False
    tolerance: ClassVar[float | None] = None

    def __init__(self, threads: int, strategy: str = "auto") -> None:
        fastconv.set_num_threads(threads)
        self.threads = threads
        self.strategy = strategy

    def plan(self, problem: Problem) -> fastconv.engine.plan.Plan:
        # What SciPy sums directly is componentwise accurate unless the caller sets a tolerance.
        tolerance = 0.0 if self.tolerance is None and problem.operation == "filter" else self.tolerance
        return planner.plan(
            problem.geometry,
            problem.dtype,
            kind=CONVOLUTION_3D if problem.geometry.ndim == 3 else CONVOLUTION,
            strategy=self.strategy,
            tolerance=tolerance,
            threads=self.threads,
            prepared=self.prepared,
        )

    def refuse(self, problem: Problem) -> str | None:
        if problem.operation == "conv":
            try:
                self.plan(problem)
            except fastconv.UnsupportedError as error:
                return str(error)
        return None

    def error(self, problem: Problem) -> float:
        return problem.promised_error if self.tolerance is None else self.tolerance

    def prepare(self, problem: Problem | Layer, *arrays: np.ndarray) -> Call:
        if problem.operation in LAYERS:
            return partial(getattr(fastconv.nn, problem.operation), *arrays, **layer_options(problem))
        g = problem.geometry
        if problem.operation in GRADIENTS:
            first, grad = arrays
            if problem.operation == "conv_input":
                return partial(fastconv.grad.conv2d_input, g.x_shape, first, grad, **window(g))
            if problem.operation == "conv_weight":
                return partial(fastconv.grad.conv2d_weight, first, g.weight_shape, grad, **window(g))
            return partial(fastconv.conv_transpose2d, grad, first, **transposed_window(g))
        if problem.operation == "conv":
            convolve = fastconv.conv3d if g.ndim == 3 else fastconv.conv2d
            return partial(convolve, *arrays, **window(g), strategy=self.strategy)
        if problem.operation == "signal":
            signal, kernel = arrays
            return partial(fastconv.signal.convolve, signal, flipped(kernel), mode="same")
        if problem.operation in ("filter", "gaussian"):
            image, kernel = arrays
            return partial(fastconv.signal.convolve2d, image, flipped(kernel), mode="same", tolerance=self.tolerance)
        if problem.operation == "blur":
            return partial(fastconv.ndimage.gaussian_filter, *arrays, problem.sigma, mode="constant")
        if problem.operation == "max_window":
            return partial(fastconv.ndimage.maximum_filter, *arrays, g.kernel, mode="constant", cval=-np.inf)
        if problem.operation == "mean_window":
            return partial(fastconv.ndimage.uniform_filter, *arrays, g.kernel, mode="constant")
        pool = {"max_pool": fastconv.max_pool2d, "avg_pool": fastconv.avg_pool2d}[problem.operation]
        padding = tuple(begin for begin, _ in g.padding)
        return partial(pool, *arrays, g.kernel, g.stride, padding, ceil_mode=g.ceil_mode)


class Loosely(Fastconv):
    """Image filters with the tolerance that `conv2d` has by default."""

    name = "fastconv 1e-5"
    operations = ("filter",)
    tolerance = 1e-5


class Prepared(Fastconv):
    """The weight is prepared once and the result's memory is provided, as for onnxruntime."""

    name = "prepared"
    operations = ("conv",)
    prepared = True

    def refuse(self, problem: Problem) -> str | None:
        return "prepares images only" if problem.geometry.ndim > 2 else super().refuse(problem)

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        x, weight = arrays
        return partial(self.convolution(problem, weight), x, np.empty(problem.geometry.out_shape, problem.dtype))

    def convolution(self, problem: Problem, weight: np.ndarray, layout: str = "NCHW") -> fastconv.PreparedConv:
        return fastconv.prepare_conv2d(
            weight, **window(problem.geometry), strategy=self.strategy, tolerance=self.tolerance, layout=layout
        )


class PreparedChannelsLast(Prepared):
    """Prepared, with input and result in channels-last memory, as `LiteRt` and `TorchChannelsLast` have them."""

    name = "prepared NHWC"

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        x, weight = arrays
        n, c, h, w = problem.geometry.out_shape
        images, out = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), np.empty((n, h, w, c), problem.dtype)
        convolve = self.convolution(problem, weight, layout="NHWC")

        result = out.transpose(0, 3, 1, 2)  # once: it takes a tenth of the call of a head

        def call() -> np.ndarray:
            convolve(images, out)
            return result

        return call


class PreparedLoosely(Prepared):
    """Prepared, with ten times the default tolerance."""

    name = "prepared 1e-4"
    tolerance = 1e-4


def window(geometry: ConvGeometry) -> dict[str, Any]:
    """The arguments of `conv2d` that describe a geometry."""
    return {
        "stride": geometry.stride,
        "padding": geometry.padding,
        "dilation": geometry.dilation,
        "groups": geometry.g,
    }


def transposed_window(geometry: ConvGeometry) -> dict[str, Any]:
    """The arguments of `conv_transpose2d` that lead back from the outputs of a geometry to its input."""
    begins = tuple(begin for begin, _ in geometry.padding)
    # Samples at the end of an axis that the stride leaves unread.
    rest = tuple(
        (extent + begin + end - dilation * (kernel - 1) - 1) % stride
        for extent, (begin, end), kernel, stride, dilation in zip(
            geometry.extent, geometry.padding, geometry.kernel, geometry.stride, geometry.dilation, strict=True
        )
    )
    return window(geometry) | {"padding": begins, "output_padding": rest}


def layer_options(layer: Layer) -> dict[str, Any]:
    """The arguments of a layer besides its arrays, under names that torch shares."""
    options = {"softmax": {"dim": 1}, "log_softmax": {"dim": 1}, "local_response_norm": {"size": 5}}
    return options.get(layer.operation, {})


def flipped(kernel: np.ndarray) -> np.ndarray:
    """The flipped kernel, with which a true convolution correlates."""
    return np.ascontiguousarray(np.flip(kernel))
