"""Filters along one axis after another: what windows and passes have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.engine.arrays import is_target
from fastconv.engine.conversion import scratch_like
from fastconv.engine.geometry import AlongAxes, Window
from fastconv.engine.patches import copied
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned
from fastconv.engine.rates import rates

# The types of arrays and results, as NumPy's characters.
_TYPES = "?bBhHiIlLqQfd"

_FLOAT64 = np.dtype(np.float64)

# What a slab of an array takes, so that it stays in a cache from one sweep to the next.
_SLAB_BYTES = 1 << 20


def compute(plan: Plan, array: np.ndarray, weights: tuple[Any, ...], cval: float, out: np.ndarray) -> None:
    """Filter `array` by `plan`, in the type of the plan, and store the result in `out`, whatever types both have.

    `weights` are those of each window of the geometry, or none, and `cval` is the constant past the edges.
    """
    plan.note()
    plan.strategy.run(plan, array, weights, cval, out)


def refuse_type(dtype: np.dtype) -> str | None:
    """The refusal of types that cannot be filtered as they are; the parts of complex numbers are filtered apart."""
    return None if dtype.char in _TYPES else f"computes bool, integers, float32 and float64, not {dtype}"


def stored_type(geometry: AlongAxes, dtype: np.dtype) -> np.dtype:
    """The type of the result for an array of `dtype`."""
    return dtype if geometry.stored is None else np.dtype(geometry.stored)


class AlongAxesKind(Kind):
    """A kind whose problems have one solver each, which follows from their axes and types."""

    limits_workspace = False

    def needs_cast(self, geometry: Any, dtype: np.dtype) -> bool:
        """Whether arrays of `dtype` are filtered in another type, or the results are stored in another one.

        Sums of integers are floating point.
        """
        return dtype.kind != "f" or stored_type(geometry, dtype) != dtype

    def cast_parts(self, geometry: Any, dtype: np.dtype) -> list[tuple[Any, np.dtype]]:
        """The problems within one type, in order, after each of which results are stored.

        Sums are computed in float64, and those that it stores are not rounded between two axes.
        """
        if stored_type(geometry, dtype) == _FLOAT64:
            return [(geometry.along(geometry.windows), _FLOAT64)]
        return [(geometry.along((window,)), _FLOAT64) for window in geometry.windows]

    def sweeps(self, geometry: Any, dtype: np.dtype) -> tuple[tuple[Window, ...], ...]:
        """The windows of each sweep over the array."""
        raise NotImplementedError

    def refuse_cast(self, geometry: Any, dtype: np.dtype) -> str | None:
        """The refusal of solvers that compute and store in the type of the array."""
        refusal = refuse_type(dtype)
        if refusal is None and self.needs_cast(geometry, dtype):
            refusal = "computes and stores results in the type of the array"
        return refusal

    def one_image(self, geometry: Any) -> Any:
        return geometry

    def call(self, plan: Plan, operands: tuple[np.ndarray, ...]) -> Callable[[], np.ndarray]:
        array, *given = operands
        g = plan.geometry
        weights = self.weights(g, given)
        cval = float(any(window.mode == "constant" for window in g.windows))
        out = np.empty(g.extent, g.stored or plan.dtype)

        def call() -> np.ndarray:
            compute(plan, array, weights, cval, out)
            return out

        return call

    def weights(self, geometry: Any, given: Sequence[np.ndarray]) -> tuple[Any, ...]:
        """Weights as the solvers take them."""
        return ()


class Axes(Composite):
    """One sweep over the array after another.

    The first stores in the result. If the others leave the first axis alone, they then run slab by slab, so that what
    lies between two sweeps is never as large as the array.
    """

    name = "axes"

    def __init__(self, kind: AlongAxesKind) -> None:
        self.kind = kind

    def refuse(self, geometry: Any, dtype: np.dtype) -> str | None:
        refusal = self.kind.refuse_cast(geometry, dtype)
        if refusal is None and len(self.kind.sweeps(geometry, dtype)) == 1:
            refusal = "makes several sweeps over an array, here one suffices"
        return refusal

    def cost(self, geometry: Any, dtype: np.dtype) -> float:
        return 0.0

    def workspace_bytes(self, geometry: Any, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        """The results of two sweeps over the array or a slab, one of which reads that of the other."""
        rows = self._rows(geometry, dtype) or geometry.extent[0]
        results = min(2, len(self.kind.sweeps(geometry, dtype)) - 1)
        values: int = results * geometry.values // geometry.extent[0] * rows
        return values * dtype.itemsize

    def parts(self, geometry: Any, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        first, *others = map(geometry.along, self.kind.sweeps(geometry, dtype))
        parts = [Part(first.label(), planned(first, self.kind, dtype))]
        rows = self._rows(geometry, dtype)
        for count, some in _slabs(geometry.extent[0], rows) if rows else ((1, geometry.extent[0]),):
            slabs = f", each of {count} slabs" if count > 1 else ", the last slab" if rows else ""
            parts += [Part(g.label() + slabs, planned(g.of_rows(some), self.kind, dtype), count) for g in others]
        return tuple(parts)

    def run(self, plan: Plan, array: np.ndarray, weights: tuple[Any, ...], cval: float, out: np.ndarray) -> None:
        dtype, rows = np.dtype(plan.dtype), self._rows(plan.geometry, np.dtype(plan.dtype))
        first, *others = [part.plan for part in plan.parts]
        count = len(first.geometry.windows)
        if not rows:
            result = scratch_like(out, dtype)
            compute(first, array, weights[:count], cval, result)
            _sweep(others, result, weights[count:], cval, out)
            return
        result = out if out.dtype.char == dtype.char and is_target(out, array) else scratch_like(out, dtype)
        compute(first, array, weights[:count], cval, result)
        seen = scratch_like(result[:rows], dtype)
        for begin in range(0, len(result), rows):
            slab = result[begin : begin + rows]
            chain = [plan for plan in others if plan.geometry.extent[0] == len(slab)]
            if result is out and len(chain) == 1:  # no sweep reads what it overwrites
                slab = copied(slab, seen[: len(slab)])
            _sweep(chain, slab, weights[count:], cval, out[begin : begin + rows])

    def _rows(self, geometry: Any, dtype: np.dtype) -> int:
        """The indices along the first axis that a slab has; 0 if there are no slabs."""
        _, *others = self.kind.sweeps(geometry, dtype)
        rows = max(1, _SLAB_BYTES * geometry.extent[0] // (geometry.values * dtype.itemsize))
        alone = all(window.axis for windows in others for window in windows)
        return rows if alone and 2 * rows <= geometry.extent[0] else 0


def _slabs(extent: int, rows: int) -> tuple[tuple[int, int], ...]:
    """How many slabs there are of which numbers of rows."""
    whole, rest = divmod(extent, rows)
    return ((whole, rows), (1, rest)) if rest else ((whole, rows),)


def _sweep(plans: list[Plan], array: np.ndarray, weights: tuple[Any, ...], cval: float, out: np.ndarray) -> None:
    """One sweep after another, the last of which stores in `out`."""
    for at, plan in enumerate(plans):
        result = out if at == len(plans) - 1 else scratch_like(out, np.dtype(plan.dtype))
        count = len(plan.geometry.windows)
        compute(plan, array, weights[:count], cval, result)
        array, weights = result, weights[count:]


class Cast(Composite):
    """Filters computed in one type and stored, after each axis, in another, as C casts."""

    name = "cast"

    def __init__(self, kind: AlongAxesKind) -> None:
        self.kind = kind

    def refuse(self, geometry: AlongAxes, dtype: np.dtype) -> str | None:
        refusal = refuse_type(dtype)
        if refusal is None and not self.kind.needs_cast(geometry, dtype):
            refusal = "casts from one type to another, here there is one"
        return refusal

    def cost(self, geometry: AlongAxes, dtype: np.dtype) -> float:
        """Each axis reads and writes both types."""
        bytes_per_value = 2 * (dtype.itemsize + stored_type(geometry, dtype).itemsize)
        return len(geometry.windows) * geometry.values * bytes_per_value / rates().memory

    def error(self, geometry: AlongAxes, dtype: np.dtype) -> float:
        """That of storing floating point; the parts are computed in a type that is at least as wide."""
        stored = stored_type(geometry, dtype)
        return float(np.finfo(stored).eps) * len(geometry.windows) if stored.kind == "f" else 0.0

    def workspace_bytes(self, geometry: AlongAxes, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return geometry.values * sum(2 * part.itemsize for _, part in self.kind.cast_parts(geometry, dtype)[:1])

    def parts(self, geometry: AlongAxes, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        problems = self.kind.cast_parts(geometry, dtype)
        return tuple([Part(g.label(), planned(g, self.kind, part)) for g, part in problems])

    def run(self, plan: Plan, array: np.ndarray, weights: tuple[Any, ...], cval: float, out: np.ndarray) -> None:
        at = 0
        for part in plan.parts:
            end = at + len(part.plan.geometry.windows)
            compute(part.plan, array, weights[at:end], cval, out)
            array, at = out, end
