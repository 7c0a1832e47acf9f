"""A problem: an operation on arrays of one geometry and type, and how far two right answers may differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import sqrt

import numpy as np

from benchmarks.layers import TABLES
from fastconv.geometry import ConvGeometry, PoolGeometry
from fastconv.planner import checked_tolerance
from fastconv.strategies.base import sum_error

OPERATIONS = ("conv", "filter", "gaussian", "blur", "signal", "max_pool", "avg_pool")

# Operations of one image or signal, and the tables of which they are the rows.
_OF_TABLES = {"filters": "filter", "gaussians": "gaussian", "blurs": "blur", "signals": "signal"}

# What is expected of a maximum over many normal errors is passed now and then, but not twofold.
_MARGIN = 2.0


@dataclass(frozen=True)
class Problem:
    """One row of a table.

    Attributes
    ----------
    operation : str
        One of `OPERATIONS`. "conv" correlates batches ``(N, C, H, W)``; "filter" one image ``(H, W)``, mode "same",
        "gaussian" one by a Gaussian that is given as a kernel, "blur" by one of which `sigma` is given, and "signal"
        one signal ``(W,)``; zeros lie past the edges.
    geometry : ConvGeometry or PoolGeometry
    dtype : str
    """

    operation: str
    geometry: ConvGeometry | PoolGeometry
    dtype: str = "float32"

    @property
    def flops(self) -> int | None:
        """Operations of the direct algorithm, if that is what is done; pooling is bound by memory."""
        return self.geometry.flops if self.operation in ("conv", "filter", "signal") else None

    @property
    def sigma(self) -> float:
        """The standard deviation of a Gaussian that reaches four of them."""
        return (self.geometry.kernel[-1] - 1) / 8

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Normal data, the same every time: x and weight, or x alone for pooling and blurs."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal(self.geometry.x_shape).astype(self.dtype)
        if self.operation.endswith("pool"):
            return (x,)
        if self.operation == "conv":
            return x, rng.standard_normal(self.geometry.weight_shape).astype(self.dtype)
        if self.operation == "blur":
            return (x[0, 0],)
        if self.operation == "gaussian":
            reach = self.geometry.kernel[-1] // 2
            weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.sigma) ** 2)
            return x[0, 0], np.outer(weights, weights).astype(self.dtype)
        weight = rng.standard_normal(self.geometry.kernel).astype(self.dtype)
        return (x[0, 0, 0], weight[0]) if self.operation == "signal" else (x[0, 0], weight)

    @property
    def sum_error(self) -> float:
        """Expected maximum error, in σ of the output, of an implementation that adds the products up directly."""
        g = self.geometry
        if self.operation == "max_pool":
            return 0.0
        if isinstance(g, ConvGeometry):
            return sum_error(g, np.dtype(self.dtype))
        # A mean may be summed tap by tap or run along its row: roundings of at most `taps + iw` additions.
        return 5.0 * float(np.finfo(self.dtype).eps) / 2 * sqrt(g.taps + g.iw)

    @property
    def promised_error(self) -> float:
        """The same for fastconv, by its default tolerance."""
        if isinstance(self.geometry, ConvGeometry):
            return checked_tolerance(None, self.geometry, np.dtype(self.dtype))
        return self.sum_error

    def fault(self, result: np.ndarray, expected: np.ndarray, peer_error: float) -> str | None:
        """Why `result`, of a peer that expects an error of `peer_error`, contradicts fastconv's `expected`; or None."""
        if result.shape != expected.shape or result.dtype != expected.dtype:
            return f"gives {result.dtype} {result.shape}, fastconv {expected.dtype} {expected.shape}"
        allowed = _MARGIN * (self.promised_error + peer_error)
        difference = float(np.max(np.abs(result - expected)) / np.std(expected))
        return None if difference <= allowed else f"differs from fastconv by {difference:.1e} σ, allowed {allowed:.1e}"


def table_problems(table: str, dtype: str = "float32") -> dict[str, Problem]:
    """The rows of one of `TABLES`; every pooling window makes two, maximum and mean."""
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
    """The rows whose name the regular expression matches: one at least, or ValueError."""
    rows = table_problems(table, dtype)
    if not (found := {name: row for name, row in rows.items() if re.search(pattern, name, re.IGNORECASE)}):
        raise ValueError(f"--only {pattern}: matches no row of {', '.join(rows)}")
    return found
