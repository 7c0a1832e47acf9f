"""Convolutions of three spatial axes, reduced to two.

A 3-D convolution is one 2-D convolution per output depth: ``out[:, :, z]`` convolves the images
``x[:, :, z*sd - pf + k*dd]`` of all depth taps k, since a sum over depth is a sum over channels. The depths of a small
volume are computed as one batch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import refuse_unless_real
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.patches import Places, gather, places
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned, Solver
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team

# Volumes whose slabs and results take no more than this, and so stay in L2, are computed as one batch: launching the
# kernels for each depth would take longer than they run.
_BATCH_BYTES = 128 << 10

# As wide as the widest value.
_ZEROS = constant(np.zeros(1, np.complex128))


@remembered(REMEMBERED)
def _slab_rows(g: ConvGeometry, z: int, depths: int) -> Places:
    """The maps that the channels of slabs are copies of, numbered through all channels of all images; -1 for zeros.

    The slabs are those of so many output depths from `z` on.
    """
    first = np.arange(g.n * g.ic)[:, np.newaxis] * g.extent[0]
    rows = []
    for depth in range(z, z + depths):
        taps, levels = g.depths(depth)
        seen = np.full(g.kernel[0], -1, np.int64)
        seen[taps] = np.arange(levels.start, levels.stop, levels.step)
        rows.append(np.where(seen < 0, -1, first + seen).ravel())
    return Places(constant(np.concatenate(rows)), 0, 0)


def slabs(g: ConvGeometry, x: np.ndarray, depths: int = 1) -> Iterator[np.ndarray]:
    """The input of each output depth, as images of ``ic * kd`` channels, for `ConvGeometry.one_depth`.

    Those of so many `depths` at a time are one batch, which is refilled every time.
    """
    positions, (_, *shape) = prod(g.extent[1:]), g.one_depth.x_shape
    maps = as_contiguous(x).reshape(g.n * g.ic * g.extent[0], positions)
    slab = team.aligned_empty(depths * g.n * g.ic * g.kernel[0] * positions, x.dtype)
    lines, columns = slab.reshape(-1, positions), places(0, positions, positions, "constant")
    for z in range(0, g.out_extent[0], depths):
        gather(maps, lines, _slab_rows(g, z, depths), columns, fill=_ZEROS)
        yield slab.reshape(depths * g.n, *shape)


@remembered(REMEMBERED)
def _result_rows(planes: int, depths: int) -> Places:
    """The rows of a batch of so many depths, of `planes` planes each, in the order of the output: plane by plane."""
    return Places(constant(np.arange(depths * planes).reshape(depths, planes).T.ravel()), 0, 0)


@functools.lru_cache(maxsize=REMEMBERED)
def _batch(plane: ConvGeometry, depths: int) -> ConvGeometry:
    """The problem `plane` of one output depth, for so many of them."""
    return plane if depths == 1 else replace(plane, n=depths * plane.n)


def _values_per_depth(g: ConvGeometry) -> int:
    """Values of a slab and of its result."""
    plane = g.one_depth
    return plane.n * (plane.ic * plane.ih * plane.iw + plane.oc * plane.positions)


def _depths_at_once(g: ConvGeometry, itemsize: int) -> int:
    """All of them in a small volume, otherwise one."""
    depths = g.out_extent[0]
    return depths if depths * _values_per_depth(g) * itemsize <= _BATCH_BYTES else 1


def refuse_unless_real_3d(geometry: ConvGeometry, dtype: np.dtype) -> str | None:
    """The refusal of solvers that compute float32 and float64 volumes."""
    if geometry.ndim != 3:
        return f"computes 3 spatial axes, not {geometry.ndim}"
    return refuse_unless_real(dtype)


class Depths(Composite):
    """One 2-D convolution per output depth, all with the same weight, which is prepared once."""

    name = "depths"
    part_kind: Kind = CONVOLUTION

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_3d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Gathering slabs, and copying results to their depth."""
        return 5e-6 + geometry.out_extent[0] * _values_per_depth(geometry) * dtype.itemsize / rates().memory

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return _depths_at_once(geometry, dtype.itemsize) * _values_per_depth(geometry) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        depths = geometry.out_extent[0]
        return (Part(f"each of {depths} depths", planned(geometry.one_depth), depths),)

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute into `out`, which is C-contiguous."""
        g: ConvGeometry = plan.geometry
        plane = plan.parts[0].plan
        depths = _depths_at_once(g, x.itemsize)
        of, strategy, threads = _batch(plane.geometry, depths), plane.strategy, plane.threads
        plane.note()
        prepared = strategy.prepare(of, weight.reshape(of.weight_shape), threads)
        result = team.aligned_empty(prod(of.out_shape), x.dtype).reshape(of.out_shape)
        planes, positions = g.n * g.oc, of.positions
        maps = result.reshape(depths * planes, positions)
        batches = out.reshape(planes, g.out_extent[0] // depths, depths, positions).swapaxes(0, 1)
        rows, columns = _result_rows(planes, depths), places(0, positions, positions, "constant")
        for slab, target in zip(slabs(g, x, depths), batches, strict=True):
            strategy.run(of, slab, prepared, result, epilogue, threads, plane.max_workspace)
            gather(maps, target.reshape(depths * planes, positions), rows, columns)  # a view


class Convolution3d(Kind):
    name = "convolution3d"
    title = "the convolution"
    solvers: Sequence[Solver] = (Depths(),)

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
