"""A convolution of three spatial axes as 2-D ones, one for each output depth.

``out[:, :, z]`` convolves the images ``x[:, :, z*sd - pf + k*dd]`` of all depth taps k: a sum over depth is a sum over
channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastconv import planner
from fastconv.epilogue import Epilogue
from fastconv.geometry import ConvGeometry


def slabs(g: ConvGeometry, x: np.ndarray) -> Iterator[np.ndarray]:
    """What each output depth sees, as images of ``ic * kd`` channels: the input of `ConvGeometry.one_depth`.

    One slab is filled again and again.
    """
    shape = g.one_depth().x_shape
    slab = np.empty((g.n, g.ic, g.kernel[0], *g.extent[1:]), x.dtype)
    for z in range(g.out_extent[0]):
        taps, depths = g.depths(z)
        slab[:, :, : taps.start] = 0
        slab[:, :, taps] = x[:, :, depths]
        slab[:, :, taps.stop :] = 0
        yield slab.reshape(shape)


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
    """Compute the 3-D convolution `g` into `out`, which has any strides."""
    plane = g.one_depth()
    plan = planner.plan(plane, x.dtype, strategy=strategy, tolerance=tolerance, threads=threads)
    prepared = plan.strategy.prepare(plane, weight.reshape(plane.weight_shape), plan.threads)
    result = np.empty(plane.out_shape, x.dtype)
    for z, slab in enumerate(slabs(g, x)):
        plan.strategy.run(plane, slab, prepared, result, epilogue, plan.threads, plan.max_workspace)
        out[:, :, z] = result
