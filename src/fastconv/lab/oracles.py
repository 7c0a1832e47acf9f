"""Independent references for every kind of problem: definitions, tap by tap, in NumPy and double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import ConvGeometry

Oracle = Callable[..., np.ndarray]


def _convolution(g: ConvGeometry, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return convolve(g, x, weight, PLAIN)


# By the name of the kind: functions of the geometry and the operands.
ORACLES: dict[str, Oracle] = {
    "convolution": _convolution,
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
