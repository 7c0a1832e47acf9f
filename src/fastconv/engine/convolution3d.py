"""Convolutions of three spatial axes, reduced to two.

A 3-D convolution is one 2-D convolution per output depth: ``out[:, :, z]`` convolves the images
``x[:, :, z*sd - pf + k*dd]`` of all depth taps k, since a sum over depth is a sum over channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

# As wide as the widest value.
_ZEROS = constant(np.zeros(1, np.complex128))


@remembered(REMEMBERED)
def _depth_rows(g: ConvGeometry, z: int) -> Places:
    """The maps from which a slab's channels are copied, numbered through all channels of all images; -1 for none."""
    taps, depths = g.depths(z)
    seen = np.full(g.kernel[0], -1, np.int64)
    seen[taps] = np.arange(depths.start, depths.stop, depths.step)
    rows = np.arange(g.n * g.ic)[:, np.newaxis] * g.extent[0] + seen
    return Places(constant(np.where(seen < 0, -1, rows).ravel()), 0, 0)


def slabs(g: ConvGeometry, x: np.ndarray) -> Iterator[np.ndarray]:
    """The input of each output depth, as images of ``ic * kd`` channels, for `ConvGeometry.one_depth`.

    The same slab is refilled every time.
    """
    positions = prod(g.extent[1:])
    maps = as_contiguous(x).reshape(g.n * g.ic * g.extent[0], positions)
    slab = team.aligned_empty(g.n * g.ic * g.kernel[0] * positions, x.dtype)
    lines, columns = slab.reshape(-1, positions), places(0, positions, positions, "constant")
    for z in range(g.out_extent[0]):
        gather(maps, lines, _depth_rows(g, z), columns, fill=_ZEROS)
        yield slab.reshape(g.one_depth.x_shape)


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
        plane, depths = geometry.one_depth, geometry.out_extent[0]
        values = plane.n * (plane.ic * plane.ih * plane.iw + plane.oc * plane.positions)
        return 5e-6 + depths * values * dtype.itemsize / rates().memory

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        plane = geometry.one_depth
        return plane.n * (plane.ic * plane.ih * plane.iw + plane.oc * plane.positions) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        depths = geometry.out_extent[0]
        return (Part(f"each of {depths} depths", planned(geometry.one_depth), depths),)

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute into `out`, which is C-contiguous."""
        g: ConvGeometry = plan.geometry
        plane = plan.parts[0].plan
        of, strategy, threads = plane.geometry, plane.strategy, plane.threads
        plane.note()
        prepared = strategy.prepare(of, weight.reshape(of.weight_shape), threads)
        result = team.aligned_empty(prod(of.out_shape), x.dtype).reshape(of.out_shape)
        maps = result.reshape(g.n * g.oc, of.positions)
        every = [places(0, extent, extent, "constant") for extent in maps.shape]
        for z, slab in enumerate(slabs(g, x)):
            strategy.run(of, slab, prepared, result, epilogue, threads, plane.max_workspace)
            gather(maps, out.reshape(g.n * g.oc, g.out_extent[0], of.positions)[:, z], *every)


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
