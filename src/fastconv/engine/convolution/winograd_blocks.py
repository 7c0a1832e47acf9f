"""How Winograd's work is divided among threads: into blocks of tiles, and by channels and points.

One or two threads compute blocks of tiles from the image to the output. Each transforms its inputs, reads the weights
once, and keeps everything in its own cache. Many threads run out of blocks. Splitting these by output channels
transforms the inputs again for each part, and splitting them into fewer tiles reads all weights more often. So threads
may also share the transformed inputs and the sums of an image, in three launches (kernels/simd/winograd_shared.h), each
of which has many tiles to hand out.

The division with which the last thread is done first, by the estimates here, is chosen. It never changes the order of a
sum.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from fastconv.engine.convolution.base import FEW_THREADS, equal_parts, share_panels, span
from fastconv.engine.geometry import REMEMBERED
from fastconv.engine.rates import rates, ratios

# Limit on the size of a block's transformed input and sums.
_MOST_BYTES = 12 << 20

# Limit on what threads share; an image that needs more has blocks enough.
_MOST_SHARED_BYTES = 64 << 20

# Channels that are gathered and transformed together, within L1 and L2, and fewer if there is too little to share.
_STRIPS = (8, 4, 2, 1)

# Least number of output channels per block, if there are too few tiles to share among a few threads.
_BLOCK_CHANNELS = 64

# How many times as many blocks across an image, and the least tiles of a block across if they are more.
_COLUMNS_OF_BLOCKS, _LEAST_COLS = (1, 2, 4), 4

# How much longer memory takes than L3.
_FROM_MEMORY = 2

# Seconds to transform a value, and to gather a row of tiles of a channel or to write it.
_VALUE_SECONDS, _ROW_SECONDS = 3e-10, 5e-8

# Seconds from the end of a launch to the beginning of the next one.
_LAUNCH_SECONDS = 2e-6

# How much longer part of the rows takes if each thread reads all filters; and the fewest tiles to be split so.
_ALL_FILTERS, _SPLIT_TILES = 1.25, 32


class Work(NamedTuple):
    """What there is to compute, and how it is summed."""

    images: int
    groups: int
    channels: int
    """Input channels of a group."""
    filters: int
    """Output channels of a group."""
    down: int
    """Tiles of an image down."""
    across: int
    points: int
    """Points of a tile."""
    steps: int
    """Channels of a running sum."""
    itemsize: int

    @property
    def panels(self) -> int:
        """Panels of output channels of a group."""
        from fastconv.kernels.slots import NR

        return -(-self.filters // NR[self.itemsize])


class Division(NamedTuple):
    """Blocks of tiles, and how much of them is computed at a time."""

    rows: int
    cols: int
    down: int
    across: int
    block_panels: int
    """Panels of output channels, by the kernel `winograd`."""
    strip_channels: int
    """Input channels, by `winograd` and `winograd_in`."""
    block_points: int
    """Points, by `winograd_sums`."""
    shared: bool = False
    """Whether threads share the transforms of an image, by the last two and `winograd_out`."""


def tiles_of_block(channels: int, tile_bytes: int) -> int:
    """The number of tiles per block, about equal to the output channels.

    Transformed inputs and weights then take equal space, and all of one are read for each panel of the other. Fewer
    than 48 tiles measured slower.
    """
    return min(max(channels, 48), max(8, _MOST_BYTES // tile_bytes))


@functools.lru_cache(maxsize=REMEMBERED)
def by_blocks(work: Work, threads: int) -> Division:
    """The division for a few threads, which do not share transforms."""
    from fastconv.kernels.slots import NR

    nr = NR[work.itemsize]
    tiles = tiles_of_block(work.filters, work.points * (work.channels + nr) * work.itemsize)
    # Blocks of whole rows unless those are twice as long.
    across = max(1, work.across // tiles)
    cols = -(-work.across // across)
    down = -(-work.down // min(work.down, max(1, round(tiles / cols))))
    if work.images * work.groups * down * across < threads and work.down * work.across >= _SPLIT_TILES:
        # A thread that gets most of the panels, and transforms the whole image as well, takes longer than one with
        # part of the rows, which reads all filters: 7 × 7 tiles of 128 filters took 1.3 times as long on two threads.
        filters = threads * min(work.filters, nr * -(-work.panels // threads)) / work.filters
        if filters > _ALL_FILTERS * threads * -(-work.down // threads) / work.down:
            down = threads
    rows = -(-work.down // down)
    down, across = -(-work.down // rows), -(-work.across // cols)
    blocks = work.images * work.groups * down * across
    block_panels = share_panels(work.panels, -(-_BLOCK_CHANNELS // nr), blocks, threads)
    return Division(rows, cols, down, across, block_panels, min(work.steps, _STRIPS[0]), work.points)


@functools.lru_cache(maxsize=REMEMBERED)
def divide(work: Work, threads: int, once: bool, limit: int, sharing: bool = True) -> Division:
    """The division that ends first, of those that take at most about `limit` bytes; with `sharing`, of transforms.

    Filters that are used `once` are transformed where they are used if a block is a whole image, and there is only one.
    """
    few = by_blocks(work, threads)
    if threads <= FEW_THREADS:
        return few
    if once and work.images * few.down * few.across == 1:
        return few._replace(block_panels=-(-work.panels // threads))
    divisions = (timed for timed in _divisions(work, few, threads, limit) if sharing or not timed[1].shared)
    return min(divisions, key=lambda timed: timed[0], default=(0.0, few))[1]


def _divisions(work: Work, few: Division, threads: int, limit: int) -> Iterator[tuple[float, Division]]:
    """Divisions, with what they take."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import LANES, MR, NR

    lanes, itemsize = LANES[work.itemsize], work.itemsize
    _, l2, l3 = cache_bytes()
    speed = ratios()
    relative = speed.transform_seconds()
    transform, row = _VALUE_SECONDS * itemsize / 4 * relative, _ROW_SECONDS * relative
    product = 2 / (0.98 * rates().flops(itemsize))
    read = itemsize / (21e9 * speed.l3)
    panel = min(NR[itemsize], -(-work.filters // lanes) * lanes)
    columns = work.panels * panel

    def kept(values: float, among: float) -> float:
        """The seconds of writing and reading values, where so many compete for L2 and L3."""
        size = among * itemsize
        return 0.0 if size <= l2 else 2 * values * read * (1 if size <= l3 else _FROM_MEMORY)

    for rows, cols in _extents(work, few.across):
        down, across = -(-work.down // rows), -(-work.across // cols)
        of = few._replace(rows=rows, cols=cols, down=down, across=across)
        size = rows * cols
        parts, tiles = work.groups * down * across, -(-size // MR) * MR
        value = work.points * size  # values of a channel
        come = value * transform + rows * row  # and go

        def sums(points: int, tiles: int = tiles) -> float:
            """So many points of a panel: weights of the first have to be waited for, the others are prefetched."""
            return panel * work.channels * (points * tiles * product + (points + 3) / 4 * read)

        if size <= few.rows * few.cols:
            block = value * (work.channels + panel)
            once = work.channels * come + kept(value * work.channels, block)
            each = sums(work.points) + panel * come + kept(value * panel, block)
            for block_panels in equal_parts(work.panels, work.panels):
                number = work.images * parts * -(-work.panels // block_panels)
                if min(threads, number) * block * itemsize > limit:
                    continue
                yield span(number, once + block_panels * each, threads), of._replace(block_panels=block_panels)
        shared = parts * value * (work.channels + columns)
        if shared * itemsize > min(limit, _MOST_SHARED_BYTES):
            continue
        come += kept(value, shared)
        strips = {n: span(parts * -(-work.channels // n), n * come, threads) for n in _STRIPS if n <= work.steps}
        strip = min(strips, key=strips.__getitem__)
        each = parts * work.panels
        sets = {n: span(each * -(-work.points // n), sums(n), threads) for n in equal_parts(work.points, work.points)}
        points = min(sets, key=sets.__getitem__)
        out = span(parts * -(-work.filters // lanes), lanes * come, threads)
        total = work.images * (strips[strip] + sets[points] + out + 2 * _LAUNCH_SECONDS)
        yield total, of._replace(strip_channels=strip, block_points=points, shared=True)


def _extents(work: Work, across: int) -> Iterator[tuple[int, int]]:
    """The extents of blocks: some rows, in as many columns of blocks as a few threads need, or in a few more."""
    for parts in _COLUMNS_OF_BLOCKS:
        cols = -(-work.across // (across * parts))
        if parts == 1 or cols >= _LEAST_COLS:
            yield from ((rows, cols) for rows in equal_parts(work.down, work.down))
