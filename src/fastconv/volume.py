"""Three spatial axes as two.

A convolution is one for each output depth: ``out[:, :, z]`` convolves the images ``x[:, :, z*sd - pf + k*dd]`` of all
depth taps k, since a sum over depth is a sum over channels. Pooling takes two passes, since folds are separable: the
maps, and then their depth, as the rows of planes whose columns are all positions of a map.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from fastconv import planner, pool_plan
from fastconv.arrays import as_operand
from fastconv.epilogue import Epilogue
from fastconv.geometry import ConvGeometry, PoolGeometry
from fastconv.pool_plan import Pooled


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


def pool(
    x: np.ndarray,
    dtype: np.dtype,
    kind: str,
    ndim: int,
    window: tuple[Any, ...],
    *,
    count_include_pad: bool = False,
    divisor: int = 0,
) -> Pooled:
    """As `pool_plan.pool`, of volumes: every map, and then down the depth. Sums are divided once, at the end."""
    *extents, ceil_mode = window
    g = PoolGeometry.from_shapes(x.shape, *extents, ndim=ndim, ceil_mode=ceil_mode)
    depth, height, width = g.extent

    def windows(axes: slice) -> list[tuple[int, ...]]:
        return [g.kernel[axes], g.stride[axes], tuple(begin for begin, _ in g.padding[axes]), g.dilation[axes]]

    maps = as_operand(x, dtype).reshape(g.n, g.c * depth, height, width)
    pooled = pool_plan.pool(maps, dtype, kind, 2, (*windows(slice(1, 3)), g.ceil_mode), divisor=1)
    maps, places = pooled if kind == "indices" else (pooled, None)
    across = (1, 1, 0, 1)
    down = [(*value, rest) for value, rest in zip(windows(slice(0, 1)), across, strict=True)]
    positions = prod(g.out_extent[1:])
    columns = maps.reshape(g.n, g.c, depth, positions)
    pooled = pool_plan.pool(columns, dtype, kind, 2, (*down, g.ceil_mode), divisor=1)
    shape = g.out_shape[5 - x.ndim :]
    if kind == "mean":
        sums = pooled.reshape(shape)
        sums /= np.array(divisor or functools.reduce(np.multiply.outer, g.counts(count_include_pad)), dtype)
        return sums
    if places is None:
        return pooled.reshape(shape)
    out, levels = pooled
    # `levels` are flat in (depth, positions of a map), as `places` are; a window without any tap has neither.
    flat = np.maximum(levels, 0).reshape(g.n, g.c, g.out_extent[0] * positions)
    taken = np.take_along_axis(places.reshape(g.n, g.c, depth * positions), flat, axis=2)
    taken = taken.reshape(levels.shape)
    found = flat.reshape(levels.shape) // positions * (height * width) + taken
    return out.reshape(shape), np.where((levels < 0) | (taken < 0), -1, found).reshape(shape)
