"""Convolutions of three spatial axes, reduced to two.

A 3-D convolution is one 2-D convolution per output depth: ``out[:, :, z]`` convolves the images
``x[:, :, z*sd - pf + k*dd]`` of all depth taps k, since a sum over depth is a sum over channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from fastconv.engine import planner
from fastconv.engine.arrays import as_contiguous
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.patches import Places, gather, places
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, note
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
        yield slab.reshape(g.one_depth().x_shape)


def convolve(
    g: ConvGeometry,
    x: np.ndarray,
    weight: np.ndarray,
    epilogue: Epilogue,
    out: np.ndarray,
    *,
    strategy: str = "auto",
    tolerance: float | None,
    threads: int,
) -> None:
    """Compute the 3-D convolution `g` into `out`, which is C-contiguous."""
    plane = g.one_depth()
    plan = planner.plan(plane, x.dtype, strategy=strategy, tolerance=tolerance, threads=threads)
    note(g, ", ", plan.dtype, ", each depth by ", plan.strategy.name, threads=plan.threads)
    prepared = plan.strategy.prepare(plane, weight.reshape(plane.weight_shape), plan.threads)
    result = team.aligned_empty(prod(plane.out_shape), x.dtype).reshape(plane.out_shape)
    maps = result.reshape(g.n * g.oc, plane.positions)
    every = [places(0, extent, extent, "constant") for extent in maps.shape]
    for z, slab in enumerate(slabs(g, x)):
        plan.strategy.run(plane, slab, prepared, result, epilogue, plan.threads, plan.max_workspace)
        gather(maps, out.reshape(g.n * g.oc, g.out_extent[0], plane.positions)[:, z], *every)
