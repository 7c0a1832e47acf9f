"""A problem: an operation on arrays of one geometry and type, and how far two right answers may differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from benchmarks.layers import TABLES
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import sum_error
from fastconv.engine.geometry import ConvGeometry, PoolGeometry

GRADIENTS = ("conv_input", "conv_weight", "conv_transpose")

# Operations on the window of an image.
WINDOWS = ("max_window", "mean_window")

OPERATIONS = ("conv", "filter", "gaussian", "blur", "signal", *WINDOWS, "max_pool", "avg_pool", *GRADIENTS)

# The other layers, each of them a `Layer`.
LAYERS = (
    *("relu", "leaky_relu", "prelu", "gelu", "silu", "sigmoid", "tanh", "hardswish", "softmax", "log_softmax"),
    *("linear", "batch_norm", "local_response_norm", "dropout", "cross_entropy"),
)

# Operations on one image or signal, and the tables whose rows they make.
_OF_TABLES = {"filters": "filter", "gaussians": "gaussian", "blurs": "blur", "signals": "signal"}

# The maximum of many normal errors exceeds its expectation now and then, but not by a factor of two.
_MARGIN = 2.0

_FEW_OUTPUTS = 100


@dataclass(frozen=True)
class Problem:
    """One row of a table.

    Attributes
    ----------
    operation : str
        One of `OPERATIONS`. "conv" correlates batches ``(N, C, H, W)``. "filter" correlates one image ``(H, W)`` in
        mode "same", "gaussian" with a Gaussian given as a kernel, "blur" with one given by its `sigma`; "signal"
        correlates one signal ``(W,)``. All see zeros past the edges. "max_window" and "mean_window" filter an image
        that is surrounded by the smallest value, or by zeros. "conv_input" and "conv_weight" are the gradients of
        "conv", and "conv_transpose" is the former as a layer.
    geometry : ConvGeometry or PoolGeometry
    dtype : str
    """

    operation: str
    geometry: ConvGeometry | PoolGeometry
    dtype: str = "float32"

    @property
    def flops(self) -> int | None:
        """Operations of the direct algorithm; None for pooling, which is bound by memory."""
        return self.geometry.flops if self.planned or self.operation in GRADIENTS else None

    @property
    def planned(self) -> bool:
        """Whether the planner chooses one strategy for it, which the table shows."""
        return self.operation in ("conv", "filter", "signal")

    @property
    def shows_rates(self) -> bool:
        """Whether tables show GFLOP/s, as for layers that multiply, rather than milliseconds, as users of images do."""
        return self.operation in ("conv", *GRADIENTS)

    @property
    def sigma(self) -> float:
        """The standard deviation for which a Gaussian with these taps reaches four deviations."""
        return (self.geometry.kernel[-1] - 1) / 8

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Normal data, always the same: x and weight, or only x for pooling and blurs.

        For gradients, the output's gradient comes second; a transposed convolution takes it as input.
        """
        rng = np.random.default_rng(0)
        if self.operation in GRADIENTS:
            g = self.geometry
            first = g.x_shape if self.operation == "conv_weight" else g.weight_shape
            return tuple(rng.standard_normal(shape).astype(self.dtype) for shape in (first, g.out_shape))
        x = rng.standard_normal(self.geometry.x_shape)
        x = x.astype(self.dtype) if np.dtype(self.dtype).kind == "f" else (128 + 32 * x).astype(self.dtype)
        if self.operation.endswith("pool"):
            return (x,)
        if self.operation == "conv":
            return x, rng.standard_normal(self.geometry.weight_shape).astype(self.dtype)
        if self.operation in ("blur", *WINDOWS):
            return (x[0, 0],)
        if self.operation == "gaussian":
            reach = self.geometry.kernel[-1] // 2
            weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.sigma) ** 2)
            return x[0, 0], np.outer(weights, weights).astype(self.dtype)
        weight = rng.standard_normal(self.geometry.kernel).astype(self.dtype)
        return (x[0, 0, 0], weight[0]) if self.operation == "signal" else (x[0, 0], weight)

    @property
    def sum_error(self) -> float:
        """Expected maximum error, in σ of the output, of an implementation that sums products directly."""
        g = self.geometry
        if self.operation in ("max_pool", "max_window"):
            return 0.0
        if self.operation == "conv_weight":
            return running_sum_error(g.n * g.positions, np.dtype(self.dtype))
        if isinstance(g, ConvGeometry) and self.operation != "mean_window":
            return sum_error(g, np.dtype(self.dtype))
        # A mean may be summed tap by tap or as a running sum: roundings of at most `taps + iw` additions.
        return 5.0 * float(np.finfo(self.dtype).eps) / 2 * sqrt(g.taps + g.iw)

    @property
    def promised_error(self) -> float:
        """The same for fastconv with its default tolerance; image filters are sums of products."""
        if isinstance(self.geometry, ConvGeometry) and self.operation not in ("conv_weight", "filter", *WINDOWS):
            return CONVOLUTION.default_tolerance(self.geometry, np.dtype(self.dtype))
        return self.sum_error

    def fault(self, result: np.ndarray, expected: np.ndarray, peer_error: float) -> str | None:
        """Why a peer's `result` contradicts fastconv's `expected`, given the `peer_error` it may have; or None."""
        if result.shape != expected.shape or result.dtype != expected.dtype:
            return f"returns {result.dtype} {result.shape}, fastconv {expected.dtype} {expected.shape}"
        allowed = _MARGIN * (self.promised_error + peer_error)
        difference = self.error(result, expected)
        return None if difference <= allowed else f"differs from fastconv by {difference:.1e} σ, allowed {allowed:.1e}"

    def error(self, result: np.ndarray, truth: np.ndarray) -> float:
        """The largest error of `result`, in σ of the output."""
        # A few outputs do not tell their σ, but for normal data it is known.
        few = self.operation == "conv" and truth.size < _FEW_OUTPUTS
        deviation = sqrt(prod(self.geometry.weight_shape[1:])) if few else np.std(truth)
        return float(np.max(np.abs(result - truth)) / deviation)


@dataclass(frozen=True)
class Layer:
    """One row of the table of other layers.

    Attributes
    ----------
    operation : str
        One of `LAYERS`.
    shape : tuple of int
        Shape of the input.
    outputs : int
        Number of outputs, for "linear".
    dtype : str
    """

    operation: str
    shape: tuple[int, ...]
    outputs: int = 0
    dtype: str = "float32"

    flops = None
    planned = shows_rates = False

    @classmethod
    def parse(cls, descriptor: str, dtype: str) -> Layer:
        """Parse a name such as "linear 64x84-10"."""
        operation, extents = descriptor.split()
        shape, _, outputs = extents.partition("-")
        return cls(operation, tuple(map(int, shape.split("x"))), int(outputs or 0), dtype)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """x and the layer's other arrays, in torch's order."""
        rng = np.random.default_rng(0)

        def normals(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(self.dtype)

        channels = self.shape[1]
        beside = {
            "prelu": lambda: (normals(channels),),
            "linear": lambda: (normals(self.outputs, channels), normals(self.outputs)),
            "batch_norm": lambda: (normals(channels), 1 + normals(channels) ** 2, normals(channels), normals(channels)),
            "cross_entropy": lambda: (rng.integers(0, channels, self.shape[0]),),
        }
        return normals(*self.shape), *beside.get(self.operation, tuple)()

    @property
    def sum_error(self) -> float:
        """Expected maximum error, in σ of the output."""
        dtype = np.dtype(self.dtype)
        return running_sum_error(self.shape[1], dtype) if self.operation == "linear" else 8 * float(np.finfo(dtype).eps)

    promised_error = sum_error

    def fault(self, result: np.ndarray, expected: np.ndarray, peer_error: float) -> str | None:
        """As `Problem.fault`, except that libraries drop different values at random."""
        if result.shape != expected.shape or result.dtype != expected.dtype:
            return f"returns {result.dtype} {result.shape}, fastconv {expected.dtype} {expected.shape}"
        if self.operation == "dropout":
            return None
        allowed = _MARGIN * (self.promised_error + peer_error)
        difference = float(np.max(np.abs(result - expected)) / max(1.0, np.max(np.abs(expected))))
        return None if difference <= allowed else f"differs from fastconv by {difference:.1e}, allowed {allowed:.1e}"


def running_sum_error(terms: int, dtype: np.dtype) -> float:
    """`sum_error` for sums of `terms` products."""
    return sum_error(ConvGeometry.parse(f"ic{terms} oc1 i1 k1"), dtype)


def table_problems(table: str, dtype: str = "float32") -> dict[str, Problem | Layer]:
    """The rows of one of `TABLES`, several per entry for some.

    Pooling windows make two rows, maximum and mean; convolutions three gradients; and windows of images a maximum, a
    mean and a maximum of bytes.
    """
    if table == "layers":
        return {name: Layer.parse(descriptor, dtype) for name, descriptor in TABLES[table].items()}
    if table == "gradients":
        return {
            f"{operation.removeprefix('conv_')} {name}": Problem(operation, ConvGeometry.parse(descriptor), dtype)
            for operation in GRADIENTS
            for name, descriptor in TABLES[table].items()
        }
    if table == "windows":
        return {
            f"{title} {name}": Problem(operation, ConvGeometry.parse(descriptor).as_2d(), of)
            for title, operation, of in (
                ("max", "max_window", dtype),
                ("mean", "mean_window", dtype),
                ("uint8 max", "max_window", "uint8"),
            )
            for name, descriptor in TABLES[table].items()
        }
    if table == "pools":
        return {
            f"{operation[:3]} {name}": Problem(operation, PoolGeometry.parse(descriptor), dtype)
            for operation in ("max_pool", "avg_pool")
            for name, descriptor in TABLES[table].items()
        }
    operation = _OF_TABLES.get(table, "conv")
    return {
        name: Problem(operation, ConvGeometry.parse(descriptor).as_2d(), dtype)
        for name, descriptor in TABLES[table].items()
    }


def matching_problems(pattern: str, table: str, dtype: str = "float32") -> dict[str, Problem]:
    """The rows whose names match the regular expression; ValueError if there is none."""
    rows = table_problems(table, dtype)
    if not (found := {name: row for name, row in rows.items() if re.search(pattern, name, re.IGNORECASE)}):
        raise ValueError(f"--only {pattern}: matches no row of {', '.join(rows)}")
    return found
