"""Images with channels last, for strategies that compute planes: turned before and after, by kernels."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fastconv.engine.arrays import is_channels_last
from fastconv.engine.convolution.base import Strategy, element_strides
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.rates import rates
from fastconv.kernels import threads as team

# Rows of a matrix that are turned together, a multiple of what fills a cache line.
_BLOCK_ROWS = 32


def takes_channels_last(strategy: Strategy) -> bool:
    """Whether a strategy reads and writes images with channels last; those of others need not say."""
    return getattr(strategy, "takes_channels_last", False)


def turning(strategy: Strategy, geometry: ConvGeometry, dtype: np.dtype) -> tuple[float, int]:
    """The seconds and scratch bytes that it takes to turn images into planes for a strategy, and its output back."""
    if not geometry.channels_last or takes_channels_last(strategy):
        return 0.0, 0
    size = (prod(geometry.x_shape) + prod(geometry.out_shape)) * dtype.itemsize
    return 3e-6 + 2 * size / rates().memory, size


def laid_out(strategy: Strategy, run: Callable[..., None], geometry: ConvGeometry) -> Callable[..., None]:
    """`run`, which computes by a strategy, or one that turns images and output for it."""
    return _in_planes(run) if geometry.channels_last and not takes_channels_last(strategy) else run


def _in_planes(run: Callable[..., None]) -> Callable[..., None]:
    def run_in_planes(
        geometry: ConvGeometry,
        x: np.ndarray,
        weight: Any,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
        **past: Any,
    ) -> None:
        planes, target = to_planes(x, threads), planes_like(out)
        run(geometry.in_planes, planes, weight, target, epilogue, threads, max_workspace, **past)
        turn(target, out, threads)

    return run_in_planes


def empty(geometry: ConvGeometry, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new batch (N, C, H, W) of that shape, in the memory layout of the geometry."""
    if not geometry.channels_last:
        return np.empty(shape, dtype)
    n, channels, *extent = shape
    return np.moveaxis(np.empty((n, *extent, channels), dtype), -1, 1)


def planes_like(images: np.ndarray) -> np.ndarray:
    """Scratch memory for planes of that shape."""
    return team.aligned_empty(images.size, images.dtype).reshape(images.shape)


def to_planes(x: np.ndarray, threads: int) -> np.ndarray:
    """The planes of `x` in scratch memory, or `x` itself if its pixels do not follow one another at equal distances."""
    if not is_channels_last(x) or x.strides[2] != x.shape[3] * x.strides[3]:
        return x
    planes = planes_like(x)
    turn(x, planes, threads)
    return planes


def turn(source: np.ndarray, target: np.ndarray, threads: int) -> None:
    """Copy images with channels last to planes, or planes to images with channels last."""
    from fastconv.kernels.slots import arguments

    n, channels, height, width = source.shape
    positions = height * width
    from_image, from_channel, _, from_pixel = element_strides(source)
    to_image, to_channel, _, to_pixel = element_strides(target)
    if from_channel == 1:
        rows, columns, from_row, to_column = positions, channels, from_pixel, to_channel
    else:
        rows, columns, from_row, to_column = channels, positions, from_channel, to_pixel
    blocks = -(-rows // _BLOCK_ROWS)
    ints = arguments("turn_images")(
        rows=rows,
        columns=columns,
        from_image=from_image,
        from_row=from_row,
        to_image=to_image,
        to_column=to_column,
        block_rows=_BLOCK_ROWS,
        blocks=blocks,
    )
    Launch.of("turn_images", source.dtype, ints, n * blocks).run((source, target), threads)
