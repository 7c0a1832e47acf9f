"""Pooling over three spatial axes, reduced to planes.

Folds are separable, so volumes are pooled in two passes: first within maps, then along the depth, as the rows of planes
whose columns are all positions of a map.
"""

from __future__ import annotations

import functools
from math import prod
from typing import Any

import numpy as np

from fastconv.engine import pooling as planar
from fastconv.engine.arrays import as_operand
from fastconv.engine.geometry import REMEMBERED, PoolGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.pooling import Pooled
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, repeatable, unrepeatable
from fastconv.kernels import threads as team

# Dividing this many bytes takes longer than waking a thread.
_BYTES_PER_THREAD = 256 << 10


@remembered(REMEMBERED)
def _divisors(g: PoolGeometry, dtype: np.dtype, count_include_pad: bool, divisor: int) -> np.ndarray:
    """What the sums of a volume are divided by."""
    counts = functools.reduce(np.multiply.outer, g.counts(count_include_pad))
    return constant(np.array(np.full(counts.shape, divisor) if divisor else counts, dtype))


def _divide(sums: np.ndarray, counts: np.ndarray) -> None:
    from fastconv.kernels.slots import arguments

    volumes = sums.size // counts.size
    workers = min(team.get_num_threads(), 1 + sums.nbytes // _BYTES_PER_THREAD)
    launch = Launch.of("divide", sums.dtype, arguments("divide")(positions=counts.size), volumes)
    launch.run((sums, counts), workers)


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
    """`planar.pool` for volumes: first every map, then along the depth. Sums are divided once, at the end."""
    *extents, ceil_mode = window
    g = PoolGeometry.from_shapes(x.shape, *extents, ndim=ndim, ceil_mode=ceil_mode)
    depth, height, width = g.extent

    def windows(axes: slice) -> list[tuple[int, ...]]:
        return [g.kernel[axes], g.stride[axes], tuple(begin for begin, _ in g.padding[axes]), g.dilation[axes]]

    maps = as_operand(x, dtype).reshape(g.n, g.c * depth, height, width)
    window = *windows(slice(1, 3)), g.ceil_mode
    pooled = planar.pool(maps, dtype, kind, 2, window, divisor=1, in_scratch=kind != "indices")
    maps, argmax = pooled if kind == "indices" else (pooled, None)
    across = (1, 1, 0, 1)
    down = [(*value, rest) for value, rest in zip(windows(slice(0, 1)), across, strict=True)]
    positions = prod(g.out_extent[1:])
    columns = maps.reshape(g.n, g.c, depth, positions)
    pooled = planar.pool(columns, dtype, kind, 2, (*down, g.ceil_mode), divisor=1)
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
