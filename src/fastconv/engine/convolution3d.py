"""Convolutions of three spatial axes, reduced to two.

Where two neighbouring axes are read position by position, they are one axis (`Flat`). Where a stride skips planes, rows
or columns that no tap sees, the others are copied first (`Sampled`).

Otherwise a 3-D convolution is one 2-D convolution per output depth: output z convolves the planes
``x[:, :, z*sd - pf + k*dd]`` of all depth taps k, since a sum over depth is a sum over channels. If the planes are
copied depth by depth, each with all of its channels, what neighbouring outputs see overlaps in memory: a batch of
outputs is a view, a few planes from one image to the next, of which each plane is copied once (`Depths`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.boundary import sources
from fastconv.engine.convolution import CONVOLUTION, runner
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

# Kernels with more depth taps are multiplied by padding, too.
_MOST_TRIMMED = 64

# Operations that take as long as preparing a value of a weight, and as launching the kernels of a batch. What is left
# out decides the roundings, so that it does not depend on a machine's rates.
_WEIGHT_FLOPS, _LAUNCH_FLOPS = 100, 300_000

# As wide as the widest value.
ZEROS = constant(np.zeros(1, np.complex128))


class _Batch(NamedTuple):
    """Output depths that one 2-D convolution computes."""

    problem: ConvGeometry
    taps: tuple[int, int]
    """The depth taps that it needs, from the first to the one past the last."""
    planes: Places
    """The planes that it sees, numbered through all channels of an image; -1 for zeros."""
    targets: np.ndarray
    """Where its results belong (see `place`)."""


class _Batches(tuple[_Batch, ...]):
    """All batches of an image."""

    @property
    def nbytes(self) -> int:
        return sum(batch.planes.indices.nbytes + batch.targets.nbytes for batch in self)


class _Cut(NamedTuple):
    """How the output depths of one image are cut into batches."""

    most: int
    """Depths of a batch."""
    trimmed: bool
    """Whether taps that see padding alone are left out."""
    shared: bool
    """Whether neighbouring depths see planes that are copied once, with all channels of a plane side by side."""
    counts: tuple[tuple[int, int, int], ...]
    """By number of taps: that number, the batches that have so many, and for how many of them a weight is prepared."""


@functools.lru_cache(maxsize=REMEMBERED)
def _cut(g: ConvGeometry, itemsize: int) -> _Cut:
    every, advance = g.depth_step
    outputs, taps = g.out_extent[0], g.kernel[0]
    longest = -(-outputs // every)
    most = min(longest, max(1, _BATCH_BYTES // (_values_per_depth(g) * itemsize)))
    # The channels of a group have to stay together.
    shared = g.g == 1 and advance < taps
    if g.boundary == "zeros" and taps <= _MOST_TRIMMED and outputs <= 10 * taps and _gains_by_trimming(g):
        found: dict[int, list[tuple[int, int]]] = {}
        for (begin, end), _ in _depths(g, most, trimmed=True):
            found.setdefault(end - begin, []).append((begin, end))
        return _Cut(most, True, shared, tuple((count, len(all_), len(set(all_))) for count, all_ in found.items()))
    runs, long = min(every, outputs), outputs % every
    count = long * -(-longest // most) + (runs - long) * -(-(outputs // every) // most)
    return _Cut(most, False, shared, ((taps, count, 1),))


def _gains_by_trimming(g: ConvGeometry) -> bool:
    """Whether a tenth of the products have a factor in the padding, and take longer than preparing more weights."""
    inside = [g.taps_inside(z) for z in range(g.out_extent[0])]
    idle = sum(g.kernel[0] - (end - begin) for begin, end in inside)
    weights, more = prod(g.weight_shape), len(set(inside)) - 1
    saved = 2 * weights * prod(g.out_extent[1:]) * idle // g.kernel[0]
    return 10 * idle >= g.kernel[0] * len(inside) and saved > more * (_WEIGHT_FLOPS * weights + _LAUNCH_FLOPS)


def _depths(g: ConvGeometry, most: int, trimmed: bool) -> Iterator[tuple[tuple[int, int], range]]:
    """The depth taps and the output depths of each batch."""
    every, _ = g.depth_step
    for run in range(min(every, g.out_extent[0])):
        depths = range(run, g.out_extent[0], every)
        while depths:
            taps, count = (0, g.kernel[0]), min(most, len(depths))
            if trimmed:
                taps = g.taps_inside(depths[0])
                count = next((at for at in range(count) if g.taps_inside(depths[at]) != taps), count)
            yield taps, depths[:count]
            depths = depths[count:]


@remembered(REMEMBERED)
def _batches(g: ConvGeometry, cut: _Cut) -> _Batches:
    every, advance = g.depth_step
    positions, first = prod(g.out_extent[1:]), np.arange(g.ic) * g.extent[0]
    batches, problems = [], {}
    for (begin, end), depths in _depths(g, cut.most, cut.trimmed):
        key = end - begin, len(depths)
        if key not in problems:
            problems[key] = replace(g.one_depth, ic=g.ic * key[0], n=key[1])
        from_first = np.arange(len(depths)) * advance
        if cut.shared:
            steps = np.arange(begin, from_first[-1] + end)[:, np.newaxis]
        else:
            steps = from_first[:, np.newaxis, np.newaxis] + np.arange(begin, end)
        planes = depths[0] * g.stride[0] - g.padding[0][0] + steps * (every * g.stride[0] // advance)
        planes = sources(planes, g.extent[0], "constant" if g.boundary == "zeros" else g.boundary)
        of_channels = planes + (first if cut.shared else first[:, np.newaxis])
        rows = np.where(planes >= 0, of_channels, -1)
        at = [Target(j * g.oc * positions, (1, 1, positions), (z, 0, 0), 0) for j, z in enumerate(depths)]
        batches.append(_Batch(problems[key], (begin, end), Places(constant(rows.ravel()), 0, 0), targets(at)))
    return _Batches(batches)


@remembered(REMEMBERED)
def _tap_major(channels: int, taps: int, positions: int, first: int) -> np.ndarray:
    """Where the planes of a filter (channels, taps, positions) belong in one whose taps, from the first, come first."""
    apart = channels * taps * positions
    starts = ((c * taps + first) * positions for c in range(channels))
    return targets([Target(start, (1, 1, positions), (c, 0, 0), apart) for c, start in enumerate(starts)])


def _with_taps(g: ConvGeometry, weight: np.ndarray, taps: tuple[int, int], shared: bool, threads: int) -> np.ndarray:
    """The depth taps of a contiguous weight from the first to the one past the last, as `Depths` orders channels."""
    begin, end = taps
    if taps == (0, g.kernel[0]) and not shared:
        return weight
    count, channels, positions = end - begin, g.ic // g.g, prod(g.kernel[1:])
    turned = team.aligned_empty(g.oc * channels * count * positions, weight.dtype)
    if shared:
        table = _tap_major(channels, g.kernel[0], positions, begin)
        place(weight, turned, table, count, (channels, 1, positions), (1, 1, 1), threads)
    else:
        table = targets([Target(begin * positions, (count, 1, positions), (0, 0, 0), g.kernel[0] * positions)])
        place(weight, turned, table, 1, (count, 1, positions), (1, 1, 1), threads)
    return turned


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


class Sampled(Composite):
    """The problem without what a stride skips, because kernels have extent 1 there: the rest is copied."""

    name = "sampled"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        refusal = refuse_unless_real_3d(geometry, dtype)
        if refusal is None and geometry.sampled is None:
            return "needs an axis with kernel 1, a stride and no padding"
        return refusal

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return 3e-6 + 2 * self.workspace_bytes(geometry, dtype, 1, 0) / rates().memory

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return prod(_sampled(geometry).x_shape) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        return (Part("", planned(_sampled(geometry))),)

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute into `out`, which is C-contiguous."""
        g: ConvGeometry = plan.geometry
        shape = _sampled(g).x_shape
        read = team.aligned_empty(prod(shape), x.dtype).reshape(shape)
        source = as_contiguous(x).reshape(-1, g.extent[2])[:, :: _every(g, 2)]
        gather(source, read.reshape(-1, shape[4]), _sampled_lines(g), places(0, shape[4], shape[4], "constant"))
        plan.parts[0].plan.run_once(read, weight, epilogue, out)


def _sampled(g: ConvGeometry) -> ConvGeometry:
    """What is left of a problem that this solver does not refuse."""
    assert g.sampled is not None
    return g.sampled


@remembered(REMEMBERED)
def _sampled_lines(g: ConvGeometry) -> Places:
    """The lines that are read, numbered through all planes of all channels."""
    depth, height, _ = g.extent
    _, _, read_depth, read_height, _ = _sampled(g).x_shape
    maps = np.arange(g.n * g.ic)[:, np.newaxis, np.newaxis] * depth
    planes = (maps + np.arange(read_depth)[:, np.newaxis] * _every(g, 0)) * height
    return Places(constant((planes + np.arange(read_height) * _every(g, 1)).ravel()), 0, 0)


def _every(g: ConvGeometry, axis: int) -> int:
    """The distance of planes, rows or columns that are read."""
    return g.stride[axis] if _sampled(g).stride[axis] != g.stride[axis] else 1


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
        values = _most_planes(geometry, cut) * plane.ih * plane.iw + cut.most * plane.oc * plane.positions
        ranges = sum(ranges for _, _, ranges in cut.counts) if cut.shared or cut.trimmed else 0
        return (values + ranges * prod(geometry.weight_shape)) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        cut = _cut(geometry, dtype.itemsize)
        parts = []
        for taps, count, ranges in cut.counts:
            plane = replace(geometry.one_depth, ic=geometry.ic * taps, n=cut.most)
            times = geometry.n * count
            label = f"{times} batches of depths" if times > 1 else "a batch of depths"
            label += f" that see {taps} of {geometry.kernel[0]} planes" if cut.trimmed else ""
            parts.append(Part(label, planned(plane), times, ranges))
        return tuple(parts)

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute into `out`, which is C-contiguous."""
        g: ConvGeometry = plan.geometry
        cut, size = _cut(g, x.itemsize), x.itemsize
        (height, width), results = g.extent[1:], g.oc * prod(g.out_extent[1:])
        positions, extent = height * width, (g.out_extent[0], 1, prod(g.out_extent[1:]))
        weight = as_contiguous(weight)
        plans: dict[int, Plan] = {}
        for (taps, *_), part in zip(cut.counts, plan.parts, strict=True):
            part.plan.note()
            plans[taps] = part.plan
        prepared: dict[tuple[int, int], Any] = {}
        seen = team.aligned_empty(_most_planes(g, cut) * positions, x.dtype)
        lines, columns = seen.reshape(-1, positions), places(0, positions, positions, "constant")
        made = team.aligned_empty(cut.most * results, x.dtype)
        advance = g.depth_step[1]
        for maps, volume in zip(as_contiguous(x).reshape(g.n, g.ic * g.extent[0], positions), out, strict=True):
            for batch in _batches(g, cut):
                taps = batch.taps[1] - batch.taps[0]
                plane = plans[taps]
                of, strategy, threads = batch.problem, plane.strategy, plane.threads
                if batch.taps not in prepared:
                    some = _with_taps(g, weight, batch.taps, cut.shared, threads).reshape(of.weight_shape)
                    prepared[batch.taps] = strategy.prepare(of, some, threads)
                gather(maps, lines[: len(batch.planes.indices)], batch.planes, columns, fill=ZEROS)
                # What neighbouring depths see overlaps, if they share planes.
                apart = g.ic * (advance if cut.shared else taps) * positions
                strides = (apart * size, positions * size, width * size, size)
                images, target = np.ndarray(of.x_shape, x.dtype, seen, 0, strides), made[: of.n * results]
                target = target.reshape(of.out_shape)
                run = runner(strategy, of)
                run(of, images, prepared[batch.taps], target, epilogue, threads, plane.max_workspace)
                place(target, volume, batch.targets, g.oc, extent, (1, 1, 1), threads)


def _most_planes(g: ConvGeometry, cut: _Cut) -> int:
    """The planes of all channels that a batch sees, at most."""
    taps = max(taps for taps, *_ in cut.counts)
    return g.ic * ((cut.most - 1) * g.depth_step[1] + taps if cut.shared else cut.most * taps)


class Convolution3d(Kind):
    name = "convolution3d"
    title = "the convolution"
    solvers: Sequence[Solver] = (Flat(CONVOLUTION), Sampled(), Depths())

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
