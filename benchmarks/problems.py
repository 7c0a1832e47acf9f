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

OPERATIONS = ("conv", "filter", "max_pool", "avg_pool")

# What is expected of a maximum over many normal errors is passed now and then, but not twofold.
_MARGIN = 2.0


@dataclass(frozen=True)
class Problem:
    """One row of a table.

    Attributes
    ----------
    operation : str
        One of `OPERATIONS`. "conv" correlates batches ``(N, C, H, W)``; "filter" one image ``(H, W)``, mode "same".
    geometry : ConvGeometry or PoolGeometry
    dtype : str
    """

    operation: str
    geometry: ConvGeometry | PoolGeometry
    dtype: str = "float32"

    @property
    def flops(self) -> int | None:
        """Operations of the direct algorithm; pooling, which is bound by memory, is not counted."""
        return self.geometry.flops if isinstance(self.geometry, ConvGeometry) else None

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Normal data, the same every time: x and weight, or x alone for pooling."""
        rng = np.random.default_rng(0)
        shapes = (self.geometry.x_shape, *([] if self.flops is None else [self.geometry.weight_shape]))
        arrays = (rng.standard_normal(shape).astype(self.dtype) for shape in shapes)
        return tuple(array[0, 0] if self.operation == "filter" else array for array in arrays)

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
    operation = "filter" if table == "filters" else "conv"
    return {
        name: Problem(operation, ConvGeometry.parse(descriptor), dtype) for name, descriptor in TABLES[table].items()
    }


def matching_problems(pattern: str, table: str, dtype: str = "float32") -> dict[str, Problem]:
    """The rows whose name the regular expression matches: one at least, or ValueError."""
    rows = table_problems(table, dtype)
    if not (found := {name: row for name, row in rows.items() if re.search(pattern, name, re.IGNORECASE)}):
        raise ValueError(f"--only {pattern}: matches no row of {', '.join(rows)}")
    return found
