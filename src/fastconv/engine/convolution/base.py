"""The protocol of strategies, and what they share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from math import prod
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import Solver
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import unrepeatable
from fastconv.engine.rounding import running_error
from fastconv.kernels import threads as team

Block = TypeVar("Block")

# Default limit on the scratch memory of a call.
DEFAULT_MAX_WORKSPACE = 512 << 20


class Strategy(Solver, Protocol):
    """One way to compute a convolution. Arrays have the shapes `ConvGeometry.x_shape` and so on, always 2-D batches.

    An accuracy that is `componentwise` means ``|error| <= c ε (|weight| * |x|)`` at every output, whatever lies outside
    its window: zeros stay zeros, and whole numbers below 2^24 (float64: 2^53) are exact. Otherwise `error` bounds it
    for the output as a whole. `cost` is that of `run`, and only one-shot calls pay `prepare_cost` each time.

    What lies past the edges is zeros, except for a strategy whose attribute `continues` is true: that one reads what
    the geometry's `boundary` says, and takes the constant of a constant boundary as an argument `fill`.
    """

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> Any:
        """Do all work that depends only on the weight, and return an object that has `nbytes`.

        `run` may add to it what it computes for images of one extent; results do not depend on that.

        It depends only on the geometry's channels, groups, kernel and stride, so that it serves images of any extent.
        """

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: Any,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        """Compute into `out`, which is C-contiguous and does not overlap other arrays. `x` may have any strides."""

    def run_once(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        weight: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        """`run` with a weight that was not prepared and is not used again; the bits are the same."""


class PricedQuickly:
    """Mixin for strategies whose cost is quick to compute."""

    def least_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return 0.0


class PreparesFirst:
    """Mixin for strategies that gain nothing from a weight being used again."""

    def run_once(
        self: Strategy,
        geometry: ConvGeometry,
        x: np.ndarray,
        weight: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
        **past: Any,
    ) -> None:
        prepared = self.prepare(geometry, weight, threads)
        self.run(geometry, x, prepared, out, epilogue, threads, max_workspace, **past)


class KeepsWeights(PreparesFirst):
    """Mixin for strategies that read the weight unprepared."""

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> np.ndarray:
        return as_contiguous(weight)


def refuse_unless_real_2d(geometry: ConvGeometry, dtype: np.dtype) -> str | None:
    """The refusal of strategies that compute float32 and float64 planes."""
    if geometry.ndim != 2:
        return refuse_unless_real(dtype) or f"computes 1 or 2 spatial axes, not {geometry.ndim}"
    return refuse_unless_real(dtype)


def refuse_unless_real(dtype: np.dtype) -> str | None:
    """The refusal of solvers that compute float32 and float64."""
    return None if dtype.char in "fd" else f"computes float32 and float64, not {dtype}"  # quicker than comparing names


def sum_error(geometry: ConvGeometry, dtype: np.dtype, steps: int | None = None) -> float:
    """`running_error` of the products of an output."""
    return running_error(geometry.reduction, dtype, steps)


# The kernels' names for the strides of images.
STRIDES = ("xn", "xc", "xh", "xw")


def element_strides(x: np.ndarray) -> tuple[int, int, int, int]:
    """The strides of a batch of images in elements."""
    n, c, h, w = x.strides
    size = x.itemsize
    return n // size, c // size, h // size, w // size


def window(geometry: ConvGeometry, strides: tuple[int, int, int, int]) -> dict[str, int]:
    """The arguments WINDOW_FIELDS of kernels/simd/simd.h, for images with these `element_strides`."""
    names, values = _window_fields()
    return dict(zip((*names, *STRIDES), (*values(geometry), *strides), strict=True))


@functools.cache
def _window_fields() -> tuple[tuple[str, ...], Callable[[ConvGeometry], tuple[int, ...]]]:
    """The names of what a geometry says of a window, and a function that reads it."""
    from fastconv.kernels.slots import arguments

    names = tuple(name for name in arguments("im2col")._fields if name not in STRIDES)
    return names, attrgetter(*names)


def is_pixelwise(geometry: ConvGeometry) -> bool:
    """Whether each output sees only the pixel at its own position: a 1×1 kernel at stride 1."""
    return geometry.taps == 1 and max(geometry.stride) == 1 and not any(map(any, geometry.padding))


def finish_planes(out: np.ndarray, epilogue: Epilogue, threads: int) -> None:
    """Bias and activation as a pass over `out`, for lowerings without a tile to fuse them into."""
    from fastconv.kernels.slots import arguments

    if epilogue:
        _, channels, *extent = out.shape
        ints = arguments("finish_planes")(values=prod(extent), channels=channels, activation=epilogue.activation)
        launch = Launch.of("finish_planes", out.dtype, ints, len(out) * channels)
        launch.run((out, epilogue.bias), threads, (epilogue.parameter,))


@remembered(REMEMBERED)
def _blind_outputs(g: ConvGeometry) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = (np.array(g.blind_outputs(axis), np.int64) for axis in (0, 1))
    return rows, cols


def write_blind(g: ConvGeometry, weight: np.ndarray, out: np.ndarray, epilogue: Epilogue) -> None:
    """Restore the outputs that see nothing but padding, where transforms of whole tiles leave rounding errors."""
    rows, cols = _blind_outputs(g)
    if rows.size or cols.size:
        unrepeatable()
        with np.errstate(invalid="ignore"):  # NaN where a tap is not finite
            sums = (weight * 0).sum(axis=(1, 2, 3)).reshape(1, g.oc, 1, 1)
        finish_planes(sums, epilogue, 1)
        out[:, :, rows] = sums
        out[:, :, :, cols] = sums


# The most threads that have enough of the blocks that a single one works best with.
FEW_THREADS = 2

# Seconds to hand out a tile, and to begin it.
_TILE_SECONDS = 5e-7


def equal_parts(whole: int, most: int) -> Iterator[int]:
    """The extents of about equal parts of `whole`, from `most` on downwards; of many parts not each number."""
    parts = max(1, -(-whole // most))
    while True:
        extent = max(1, -(-whole // parts))
        yield extent
        if extent == 1:
            return
        parts = max(-(-whole // (extent - 1)), parts + parts // 8)


def span(tiles: int, seconds: float, threads: int) -> float:
    """The seconds until the last thread has done its last tile, if each takes so many `seconds`."""
    return -(-tiles // threads) * (seconds + _TILE_SECONDS)


def share_among_many(
    blocks: Iterable[tuple[int, Block]], panels: int, threads: int, seconds: Callable[[Block, int], float]
) -> tuple[Block, int]:
    """The block of positions, and the panels of output channels per tile, with which threads are done first.

    `blocks` pairs a number of blocks with their extent; `seconds` says what a tile takes. Smaller blocks read filters
    more often, and fewer panels gather the image more often.
    """
    parts = [(some, -(-panels // some)) for some in equal_parts(panels, panels)]
    shares = [(block, some, number * share) for number, block in blocks for some, share in parts]
    block, some, _ = min(shares, key=lambda share: span(share[2], seconds(share[0], share[1]), threads))
    return block, some


def share_panels(panels: int, least: int, tiles: int, threads: int) -> int:
    """Panels of output channels per tile: all of them, unless threads would share `tiles` blocks of positions unevenly.

    A thread may have an eighth more than its share. Every block of channels gathers the image again, so there are as
    few as possible (twice as many as threads cost a tenth of the speed on two threads), with `least` panels each, or
    fewer if threads would be idle otherwise.
    """
    most = max(1, panels // least, min(panels, threads // max(1, tiles)))
    even = (b for b in range(1, most) if -(-tiles * b // threads) * threads * 8 <= tiles * b * 9)
    return -(-panels // next(even, most))


def share_blocks(blocks: int, most: int, panels: int, least: int, threads: int) -> int:
    """How many blocks of positions threads share evenly, if there are to be at least `blocks`, and can be `most`.

    A few blocks are left uneven if there are enough channels for `share_panels` to share instead.
    """
    even = -(-blocks // threads) * threads
    enough = panels >= (threads if blocks == 1 else 2 * least)
    return blocks if enough and blocks <= 2 * threads else min(even, max(blocks, most))


class Packing(NamedTuple):
    """How filters are packed."""

    launch: Launch
    size: int
    """Bytes of the packed filters."""

    def packed(self, weight: np.ndarray, threads: int) -> np.ndarray:
        """The packed filters, in scratch memory."""
        packed = team.aligned_empty(self.size // weight.itemsize, weight.dtype)
        self.launch.run((weight, packed), threads)
        return packed


class PacksFilters:
    """Mixin for strategies that prepare filters by packing them."""

    packing: Callable[[ConvGeometry, np.dtype], Packing]

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> np.ndarray:
        return self.packing(geometry, weight.dtype).packed(as_contiguous(weight), threads)
