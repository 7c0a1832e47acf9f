"""Convolutions of three spatial axes, reduced to two.

Where two neighbouring axes are read position by position, they are one axis (`Flat`).

Otherwise a 3-D convolution is one 2-D convolution per output depth: output z convolves the planes
``x[:, :, z*sd - pf + k*dd]`` of all depth taps k, since a sum over depth is a sum over channels. If the planes are
copied depth by depth, each with all of its channels, what neighbouring outputs see overlaps in memory: a batch of
outputs is a view, a few planes from one image to the next, of which each plane is copied once (`Depths`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import refuse_unless_real
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.patches import Places, Target, gather, place, places, targets
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned, Solver
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team

# Depths whose planes and results take no more than this are computed as one batch. More would leave the caches before
# they are read again; fewer would launch kernels more often.
_BATCH_BYTES = 1 << 20

# As wide as the widest value.
ZEROS = constant(np.zeros(1, np.complex128))


class _Batch(NamedTuple):
    """Output depths that one 2-D convolution computes."""

    count: int
    planes: Places
    """The planes that it sees, numbered through all channels of an image; -1 for zeros."""
    targets: np.ndarray
    """Where its results belong (see `place`)."""


class _Cut(NamedTuple):
    """How the output depths of one image are cut into batches."""

    most: int
    """Depths of a batch."""
    count: int
    """Batches."""
    shared: bool
    """Whether neighbouring depths see planes that are copied once, with all channels of a plane side by side."""
    planes: int
    """Planes of all channels that a batch sees, at most."""
    apart: int
    """Of these, planes from what one depth sees to what the next one sees."""


@functools.lru_cache(maxsize=REMEMBERED)
def _cut(g: ConvGeometry, itemsize: int) -> _Cut:
    every, advance = g.depth_step
    outputs, taps = g.out_extent[0], g.kernel[0]
    # The channels of a group have to stay together.
    shared = g.g == 1 and advance < taps
    longest = -(-outputs // every)
    most = min(longest, max(1, _BATCH_BYTES // (_values_per_depth(g) * itemsize)))
    runs, long = min(every, outputs), outputs % every
    count = long * -(-longest // most) + (runs - long) * -(-(outputs // every) // most)
    planes = (most - 1) * advance + taps if shared else most * taps
    return _Cut(most, count, shared, g.ic * planes, g.ic * (advance if shared else taps))


class _Batches(tuple[_Batch, ...]):
    """All batches of an image."""

    @property
    def nbytes(self) -> int:
        return sum(batch.planes.indices.nbytes + batch.targets.nbytes for batch in self)


@remembered(REMEMBERED)
def _batches(g: ConvGeometry, cut: _Cut) -> _Batches:
    every, advance = g.depth_step
    taps, positions = np.arange(g.kernel[0]), prod(g.out_extent[1:])
    first = np.arange(g.ic) * g.extent[0]
    batches = []
    for run in range(min(every, g.out_extent[0])):
        depths = range(run, g.out_extent[0], every)
        for begin in range(0, len(depths), cut.most):
            computed = depths[begin : begin + cut.most]
            from_first = np.arange(len(computed)) * advance
            if cut.shared:
                steps = np.arange(from_first[-1] + len(taps))[:, np.newaxis]
            else:
                steps = from_first[:, np.newaxis, np.newaxis] + taps
            planes = computed[0] * g.stride[0] - g.padding[0][0] + steps * (every * g.stride[0] // advance)
            of_channels = planes + (first if cut.shared else first[:, np.newaxis])
            rows = np.where((planes >= 0) & (planes < g.extent[0]), of_channels, -1)
            at = [Target(j * g.oc * positions, (1, 1, positions), (z, 0, 0), 0) for j, z in enumerate(computed)]
            batches.append(_Batch(len(computed), Places(constant(rows.ravel()), 0, 0), targets(at)))
    return _Batches(batches)


@remembered(REMEMBERED)
def _tap_major(channels: int, taps: int, positions: int) -> np.ndarray:
    """Where the planes of a filter (channels, taps, positions) belong in one of (taps, channels, positions)."""
    apart = channels * taps * positions
    return targets([Target(c * taps * positions, (1, 1, positions), (c, 0, 0), apart) for c in range(channels)])


def _values_per_depth(g: ConvGeometry) -> int:
    """Values of the planes of a depth and of its result, of one image."""
    plane = g.one_depth
    return g.ic * plane.ih * plane.iw + g.oc * plane.positions


def refuse_unless_real_3d(geometry: ConvGeometry, dtype: np.dtype) -> str | None:
    """The refusal of solvers that compute float32 and float64 volumes."""
    if geometry.ndim != 3:
        return f"computes 3 spatial axes, not {geometry.ndim}"
    return refuse_unless_real(dtype)


class Flat(Composite):
    """The 2-D problem in which two axes are one: nothing is copied."""

    name = "flat"

    def __init__(self, part_kind: Kind | None = None) -> None:
        self.part_kind = part_kind

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        refusal = refuse_unless_real_3d(geometry, dtype)
        if refusal is None and geometry.flattened is None:
            return "needs two neighbouring axes with kernel 1, stride 1 and no padding"
        return refusal

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return 0.0

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 0

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        return (Part("", planned(geometry.flattened)),)

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute into `out`, which is C-contiguous; or the gradient of a weight, given that of the output."""
        plan.parts[0].plan.run_once(as_contiguous(x), as_contiguous(weight), epilogue, out)


class Depths(Composite):
    """2-D convolutions of batches of output depths, all with the same weight, which is prepared once."""

    name = "depths"
    part_kind: Kind = CONVOLUTION

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_3d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Copying planes, and results to their depth."""
        values = geometry.n * geometry.out_extent[0] * _values_per_depth(geometry)
        return 5e-6 + values * dtype.itemsize / rates().memory

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        cut, plane = _cut(geometry, dtype.itemsize), geometry.one_depth
        values = cut.planes * plane.ih * plane.iw + cut.most * plane.oc * plane.positions
        return (values + (prod(geometry.weight_shape) if cut.shared else 0)) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        cut = _cut(geometry, dtype.itemsize)
        count, plane = geometry.n * cut.count, replace(geometry.one_depth, n=cut.most)
        label = f"{count} batches of depths" if count > 1 else "all depths"
        return (Part(label, planned(plane), count),)

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute into `out`, which is C-contiguous."""
        g: ConvGeometry = plan.geometry
        plane, cut = plan.parts[0].plan, _cut(g, x.itemsize)
        strategy, threads, size = plane.strategy, plane.threads, x.itemsize
        plane.note()
        taps, (height, width) = g.kernel[0], g.extent[1:]
        positions, results = height * width, g.oc * prod(g.out_extent[1:])
        weight = as_contiguous(weight)
        if cut.shared:
            planes = prod(g.kernel[1:])
            turned = team.aligned_empty(weight.size, weight.dtype)
            place(weight, turned, _tap_major(g.ic, taps, planes), taps, (g.ic, 1, planes), (1, 1, 1), threads)
            weight = turned
        prepared = strategy.prepare(plane.geometry, weight.reshape(plane.geometry.weight_shape), threads)
        seen = team.aligned_empty(cut.planes * positions, x.dtype)
        lines, columns = seen.reshape(-1, positions), places(0, positions, positions, "constant")
        made = team.aligned_empty(plane.geometry.n * results, x.dtype)
        # From one image of a batch to the next.
        apart = cut.apart * positions * size
        for maps, volume in zip(as_contiguous(x).reshape(g.n, -1, positions), out, strict=True):
            for batch in _batches(g, cut):
                gather(maps, lines[: len(batch.planes.indices)], batch.planes, columns, fill=ZEROS)
                problem = plane.geometry if batch.count == plane.geometry.n else replace(plane.geometry, n=batch.count)
                images = np.ndarray(problem.x_shape, x.dtype, seen, 0, (apart, positions * size, width * size, size))
                target = made[: batch.count * results].reshape(problem.out_shape)
                strategy.run(problem, images, prepared, target, epilogue, threads, plane.max_workspace)
                extent = g.out_extent[0], 1, prod(g.out_extent[1:])
                place(target, volume, batch.targets, g.oc, extent, (1, 1, 1), threads)


class Convolution3d(Kind):
    name = "convolution3d"
    title = "the convolution"
    solvers: Sequence[Solver] = (Flat(CONVOLUTION), Depths())

    def parse(self, descriptor: str) -> ConvGeometry:
        geometry = ConvGeometry.parse(descriptor)
        if geometry.ndim != 3:
            raise GeometryError(f"descriptor {descriptor!r}: expected three spatial axes, got {geometry.ndim}")
        return geometry

    def operations(self, geometry: ConvGeometry) -> int:
        return geometry.flops

    def shapes(self, geometry: ConvGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.x_shape, geometry.weight_shape, geometry.out_shape


CONVOLUTION_3D = Convolution3d()
