"""Volumes in two passes, since folds are separable: first within maps, then along the depth.

The second pass pools planes whose rows are maps, and whose columns are all positions of a map.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.engine import planner
from fastconv.engine.geometry import REMEMBERED, PoolGeometry
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.plan import Composite, Part, Plan, Planned
from fastconv.engine.pooling.base import PLAIN, Call, Geometry, Scaling, Strides, joined, refuse_fold
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant
from fastconv.engine.rounding import running_error
from fastconv.kernels import threads as team

if TYPE_CHECKING:
    from fastconv.engine.pooling.kinds import Pool

# Sums are divided once, at the end.
_UNDIVIDED = Scaling(divisor=1)

_INDEX_BYTES = np.dtype(np.int64).itemsize


class Passes(Composite):
    name = "passes"

    def __init__(self, kind: Pool) -> None:
        self.kind = kind

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        return refuse_fold(self.kind, g, dtype) if g.ndim == 3 else f"splits 3 spatial axes, not {g.ndim}"

    def declines(self, g: Geometry) -> None:
        return None

    def parts(self, geometry: PoolGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        maps, columns = geometry.passes
        return (
            Part("within maps", planned(maps.as_row())),
            Part("along the depth", planned(columns.as_row())),
        )

    def cost(self, g: PoolGeometry, dtype: np.dtype) -> float:
        seconds = 0.0
        if self.kind.averages:
            seconds += _dividing_seconds(g, dtype)
        if self.kind.positions:  # it is looked up where the second pass found its values
            seconds += 3 * prod(g.out_shape) * _INDEX_BYTES / rates().memory
        return seconds

    def error(self, g: PoolGeometry, dtype: np.dtype) -> float:
        """Of the division."""
        return running_error(1, dtype) if self.kind.averages else 0.0

    def workspace_bytes(self, g: PoolGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        """What the first pass leaves to the second."""
        return prod(g.passes[1].x_shape) * (dtype.itemsize + self.kind.positions * _INDEX_BYTES)

    def bind(self, plan: Plan, strides: Strides, out_shape: tuple[int, ...], scaling: Scaling = PLAIN) -> VolumeCall:
        divisors = _divisors(plan.geometry, np.dtype(plan.dtype), scaling) if self.kind.averages else None
        return VolumeCall(plan, out_shape, self.kind.positions, divisors)


@dataclass(frozen=True, slots=True)
class VolumeCall(Call):
    """A call of two passes; the strides of the maps are seen when it runs."""

    divisors: np.ndarray | None

    @property
    def nbytes(self) -> int:
        return 0 if self.divisors is None else self.divisors.nbytes

    def into(
        self, out: np.ndarray, positions: np.ndarray | None, x: np.ndarray, starts: tuple[np.ndarray, ...] = ()
    ) -> None:
        plan = self.plan
        plan.note()
        g, (first, second) = plan.geometry, (part.plan for part in plan.parts)
        within, along = g.passes
        maps = x.reshape(within.x_shape)
        call = _pass(first, within, maps.strides)
        found = _in_scratch(call.out_shape, maps.dtype)
        taken = _in_scratch(call.out_shape, positions.dtype) if positions is not None else None
        call.into(found, taken, maps)
        maps = found
        columns = maps.reshape(along.x_shape)
        levels = None if positions is None else positions.reshape(along.out_shape)
        _pass(second, along, columns.strides).into(out.reshape(along.out_shape), levels, columns)
        if self.divisors is not None:
            _divide(out, self.divisors, plan.threads)
        if positions is not None:
            _locate(g, positions, taken, plan.threads)


def _in_scratch(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return team.aligned_empty(prod(shape), dtype).reshape(shape)


@remembered(REMEMBERED)
def _pass(part: Plan, g: PoolGeometry, strides: Strides) -> Call:
    """The call of `part` on planes `g`, which are rows in the plan unless their strides keep rows apart."""
    of, strides = joined(g, strides)
    if of != part.geometry:
        part = planner.plan(of, part.dtype, kind=part.kind, strategy=part.request, threads=part.threads)
    call: Call = part.strategy.bind(part, strides, g.out_shape, _UNDIVIDED)
    return call


@remembered(REMEMBERED)
def _divisors(g: PoolGeometry, dtype: np.dtype, scaling: Scaling) -> np.ndarray:
    """What the sums of a volume are divided by."""
    per_axis: Sequence[Any] = g.counts(scaling.count_include_pad)
    counts = functools.reduce(np.multiply.outer, per_axis)
    return constant(np.array(np.full(counts.shape, scaling.divisor) if scaling.divisor else counts, dtype))


def _dividing_seconds(g: PoolGeometry, dtype: np.dtype) -> float:
    return 2 * prod(g.out_shape) * dtype.itemsize / rates().memory


def _divide(sums: np.ndarray, counts: np.ndarray, threads: int) -> None:
    from fastconv.kernels.slots import arguments

    launch = Launch.of("divide", sums.dtype, arguments("divide")(positions=counts.size), sums.size // counts.size)
    launch.run((sums, counts), workers_for(2 * sums.nbytes / rates().memory, threads))


def _locate(g: PoolGeometry, levels: np.ndarray, taken: np.ndarray | None, threads: int) -> None:
    """Turn `levels`, indices of results of the first pass, into positions in volumes; `taken` are those in maps."""
    from fastconv.kernels.slots import arguments

    along = g.passes[1]
    ints = arguments("locate")(
        outputs=prod(g.out_extent), between=prod(along.extent), columns=along.extent[1], plane=prod(g.extent[1:])
    )
    launch = Launch.of("locate", levels.dtype, ints, g.n * g.c)
    launch.run((levels, taken), workers_for(3 * levels.nbytes / rates().memory, threads))
