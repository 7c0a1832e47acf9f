"""Problems of three spatial axes, reduced to two.

A 3-D convolution is one 2-D convolution per output depth: ``out[:, :, z]`` convolves the images
``x[:, :, z*sd - pf + k*dd]`` of all depth taps k, since a sum over depth is a sum over channels. Pooling takes two
passes, since folds are separable: first within maps, then along the depth, as the rows of planes whose columns are all
positions of a map.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from fastconv.engine import planner
from fastconv.engine import pooling as pool_plan
from fastconv.engine.arrays import as_contiguous, as_operand
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry, PoolGeometry
from fastconv.engine.patches import Places, gather, places
from fastconv.engine.pooling import Pooled
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, note, repeatable, unrepeatable
from fastconv.kernels import threads as team

# Dividing this many bytes takes longer than waking a thread.
_BYTES_PER_THREAD = 256 << 10

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


@remembered(REMEMBERED)
def _divisors(g: PoolGeometry, dtype: np.dtype, count_include_pad: bool, divisor: int) -> np.ndarray:
    """What the sums of a volume are divided by."""
    counts = functools.reduce(np.multiply.outer, g.counts(count_include_pad))
    return constant(np.array(np.full(counts.shape, divisor) if divisor else counts, dtype))


def _divide(sums: np.ndarray, counts: np.ndarray) -> None:
    from fastconv.kernels.volumes import DIVIDE

    volumes = sums.size // counts.size
    workers = min(team.get_num_threads(), 1 + sums.nbytes // _BYTES_PER_THREAD)
    team.run_tiles(DIVIDE[sums.dtype.char], (sums, counts), (counts.size,), (), volumes, workers)


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
    """`pool_plan.pool` for volumes: first every map, then along the depth. Sums are divided once, at the end."""
    *extents, ceil_mode = window
    g = PoolGeometry.from_shapes(x.shape, *extents, ndim=ndim, ceil_mode=ceil_mode)
    depth, height, width = g.extent

    def windows(axes: slice) -> list[tuple[int, ...]]:
        return [g.kernel[axes], g.stride[axes], tuple(begin for begin, _ in g.padding[axes]), g.dilation[axes]]

    maps = as_operand(x, dtype).reshape(g.n, g.c * depth, height, width)
    window = *windows(slice(1, 3)), g.ceil_mode
    pooled = pool_plan.pool(maps, dtype, kind, 2, window, divisor=1, in_scratch=kind != "indices")
    maps, argmax = pooled if kind == "indices" else (pooled, None)
    across = (1, 1, 0, 1)
    down = [(*value, rest) for value, rest in zip(windows(slice(0, 1)), across, strict=True)]
    positions = prod(g.out_extent[1:])
    columns = maps.reshape(g.n, g.c, depth, positions)
    pooled = pool_plan.pool(columns, dtype, kind, 2, (*down, g.ceil_mode), divisor=1)
    shape = g.out_shape[5 - x.ndim :]
    if kind == "mean":
        _divide(pooled, _divisors(g, dtype, count_include_pad, divisor))
    if argmax is None:
        return repeatable(pooled.reshape(shape))
    unrepeatable()
    out, levels = pooled
    # `levels` are flat indices into (depth, positions of a map), like `argmax`; a window without any tap has neither.
    flat = np.maximum(levels, 0).reshape(g.n, g.c, g.out_extent[0] * positions)
    taken = np.take_along_axis(argmax.reshape(g.n, g.c, depth * positions), flat, axis=2)
    taken = taken.reshape(levels.shape)
    found = flat.reshape(levels.shape) // positions * (height * width) + taken
    return out.reshape(shape), np.where((levels < 0) | (taken < 0), -1, found).reshape(shape)
