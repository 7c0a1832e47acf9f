"""Implicit im2col: the matrix product of im2col, on our own micro-kernels, without the matrix.

The right operand is packed panel by panel from the image itself (kernels/simd/implicit.h); the filters are packed
once. Blocking after Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution.base import (
    FEW_THREADS,
    Packing,
    PacksFilters,
    element_strides,
    equal_parts,
    is_pixelwise,
    refuse_unless_real_2d,
    share_among_many,
    share_blocks,
    share_panels,
    sum_error,
    window,
)
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import SumsDirectly
from fastconv.engine.rates import rates, ratios

# Blocks of output channels, used if two threads have too few positions to share; each gathers the image again.
_BLOCK_CHANNELS = 64


# Seconds to begin and end a tile and the blocks of a group, and to gather a value of an image that is split by a
# stride's phases: of the strides whose loops are compiled (`fill_strip` in kernels/simd/strip.h), and of all others.
_TILE_SECONDS, _GROUP_SECONDS, _PHASE_SECONDS, _ANY_PHASE_SECONDS = 1.5e-7, 1e-6, 3e-10, 1.2e-9

# How much longer the tile of a window takes if a stride splits its strip into phases.
_PHASES = 1.06

# Number of filters that a one-shot call packs at a time.
_PACKED_BYTES = 4 << 20


@functools.cache
def _most_steps(itemsize: int) -> int:
    """Steps of a panel of the right operand that takes three quarters of L1."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import NR

    return max(64, cache_bytes()[0] * 3 // 4 // (NR[itemsize] * itemsize))


def _steps(g: ConvGeometry, itemsize: int) -> int:
    """kc, for panels in L1 and about equal blocks; of whole channels if one fits, so that none is gathered twice."""
    most = _most_steps(itemsize)
    unit = g.taps if g.taps <= most else 1
    units = g.reduction // unit
    return unit * -(-units // -(-units // (most // unit)))


def _fits_l1(values: int, itemsize: int) -> bool:
    """Whether a strip fits L1 together with a panel of filters; then its rows are contiguous, and none is packed."""
    from fastconv.kernels.cpu import cache_bytes

    return values * itemsize <= cache_bytes()[0] * 3 // 4


def _block_positions(channels: int, nr: int, itemsize: int) -> int:
    """Output positions per block: as many as possible, so that rows and their halo are gathered seldom.

    Half of L2 must hold a strip of that many positions and `channels`, those of one kc block. Limited to 20 to 40
    panels: more and fewer measured slower.
    """
    from fastconv.kernels.cpu import cache_bytes

    return nr * min(40, max(20, cache_bytes()[1] // 2 // (channels * itemsize * nr)))


def _blocks_of_many(g: ConvGeometry, positions: int, nr: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Blocks of at most so many positions, with their number: some rows, or parts of a single one."""
    if g.ow <= positions:
        for rows in equal_parts(g.oh, positions // g.ow):
            yield g.n * g.g * -(-g.oh // rows), (rows, g.ow)
    for panels in equal_parts(-(-g.ow // nr), positions // nr):
        yield g.n * g.g * g.oh * -(-g.ow // (panels * nr)), (1, panels * nr)


def _tile_seconds(g: ConvGeometry, itemsize: int) -> Callable[[tuple[int, int], int], float]:
    """A function that says what a tile takes: a block of positions, and so many panels of output channels."""
    from fastconv.kernels.slots import MR, NR

    nr = NR[itemsize]
    # A panel of positions is packed in the time in which it is multiplied up to thrice, if it is not in L2; nor are
    # filters.
    product = 2 * MR * nr * g.reduction / rates().flops(itemsize)
    read = MR * g.reduction * itemsize / rates().l3
    gathered = 0 if is_pixelwise(g) else 3 * g.ic // g.g * itemsize / rates().l2

    def seconds(block: tuple[int, int], panels: int) -> float:
        rows, cols = block
        strip = ((rows - 1) * g.sh + (g.kh - 1) * g.dh + 1) * ((cols - 1) * g.sw + (g.kw - 1) * g.dw + 1)
        return -(-rows * cols // nr) * product * (panels + 3) + panels * read + strip * gathered

    return seconds


@functools.lru_cache(maxsize=REMEMBERED)
def _launch(
    g: ConvGeometry,
    dtype: np.dtype,
    threads: int,
    pointwise: bool,
    strides: tuple[int, int, int, int] = (0, 0, 0, 0),
    out_strides: tuple[int, int] = (0, 0),
    activation: int = 0,
) -> Launch:
    """The launch for images and planes of `out` with these strides: those of images in elements, of `out` in bytes."""
    from fastconv.kernels.slots import MOST_SHARING, MR, NR, arguments

    itemsize = dtype.itemsize
    nr = NR[itemsize]
    kc = _steps(g, itemsize)
    channels = min(g.ic // g.g, (kc - 2) // g.taps + 2) if kc % g.taps else kc // g.taps
    # With a stride, a position takes more values of a strip.
    positions = _block_positions(channels * min(g.sh, g.kh) * min(g.sw, g.kw), nr, itemsize)
    panels = -(-(g.oc // g.g) // MR)
    if threads > FEW_THREADS:
        blocks = _blocks_of_many(g, positions, nr)
        (rows, cols), block_panels = share_among_many(blocks, panels, threads, _tile_seconds(g, itemsize))
    else:
        if g.ow >= 2 * positions:
            rows, cols = 1, positions
        else:
            rows, cols = min(g.oh, max(1, round(positions / g.ow))), g.ow
        # Blocks of about equal height, at least one per thread if there are too few channels to share.
        shares = max(1, g.n * g.g * -(-g.ow // cols) * (panels * MR // _BLOCK_CHANNELS))
        down = max(-(-g.oh // rows), min(g.oh, -(-threads // shares)))
        beside, least = g.n * g.g * -(-g.ow // cols), _BLOCK_CHANNELS // MR
        if beside % threads:
            down = share_blocks(down, g.oh, panels, least, threads)
        rows = -(-g.oh // down)
        block_panels = share_panels(panels, least, beside * -(-g.oh // rows), threads)
    down, across = -(-g.oh // rows), -(-g.ow // cols)
    channel_blocks = -(-panels // block_panels)
    lines = min(g.kh * rows, g.sh * (rows + (g.kh - 1) * g.dh // g.sh))
    contiguous = not pointwise and _fits_l1(channels * lines * g.kw * cols, itemsize)
    # Right operands of few steps share L1, so that filters are read, and rows of output written, in longer runs.
    sharing = max(1, min(MOST_SHARING, _most_steps(itemsize) // kc))
    ints = arguments("implicit")(
        **window(g, strides),
        kc=kc,
        block_rows=rows,
        block_cols=cols,
        down=down,
        across=across,
        block_panels=block_panels,
        channel_blocks=channel_blocks,
        sharing=sharing,
        pointwise=pointwise,
        contiguous=contiguous,
        activation=activation,
        out_plane=out_strides[0] // itemsize,
        out_image=out_strides[1] // itemsize,
    )
    return Launch.of("implicit", dtype, ints, g.n * g.g * down * across * channel_blocks)


@functools.lru_cache(maxsize=REMEMBERED)
def _packing(g: ConvGeometry, dtype: np.dtype) -> Packing:
    """How filters are packed (`pack_left` in kernels/simd/gemm.h)."""
    from fastconv.kernels.slots import MR, arguments, packed

    rows = g.oc // g.g
    panels = -(-rows // MR)
    ints = arguments("pack_left")(M=rows, K=g.reduction, kc=_steps(g, dtype.itemsize), panels=panels)
    return Packing(Launch.of("pack_left", dtype, ints, g.g * panels), g.g * packed("pack_left", dtype, ints))


@functools.lru_cache(maxsize=REMEMBERED)
def transposed_packing(g: ConvGeometry, dtype: np.dtype, apart: int) -> Packing:
    """How filters are packed whose values for each channel are contiguous, `apart` values from the next channel's."""
    from fastconv.kernels.lowering import PANELS_TOGETHER
    from fastconv.kernels.slots import MR, arguments

    rows = _packing(g, dtype).launch.arguments
    ints = arguments("pack_transposed")(M=rows.M, K=rows.K, kc=rows.kc, panels=rows.panels, mr=MR, apart=apart)
    launch = Launch.of("pack_transposed", dtype, ints, g.g * rows.panels, grain=PANELS_TOGETHER)
    return Packing(launch, _packing(g, dtype).size)


class Implicit(SumsDirectly, PacksFilters):
    name = "implicit"
    packing = staticmethod(_packing)

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        from fastconv.kernels.slots import MR, NR

        g, relative = geometry, ratios()
        panels = -(-(g.oc // g.g) // MR)
        nr = NR[dtype.itemsize]
        # A tile packs a panel, which costs about as much as multiplying it once, and multiplies it `panels` times.
        tiles = g.n * g.g * -(-g.positions // nr)
        tile = _TILE_SECONDS * relative.transform_seconds() + 2 * MR * nr * g.reduction * (panels + 1) / rates().flops(
            dtype.itemsize
        )
        # Phases of a stride are gathered value by value.
        each = {1: 0.0, 2: _PHASE_SECONDS, 4: _PHASE_SECONDS}.get(max(g.stride), _ANY_PHASE_SECONDS)
        gathered = g.n * g.ic * g.ih * g.iw * each
        if g.taps > 1 and max(g.stride) > 1:
            tile *= _PHASES
        grouped = g.n * g.g * _GROUP_SECONDS * relative.transform_seconds()
        return 2e-6 + tiles * tile + grouped + gathered / relative.l2 * dtype.itemsize / 4

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return 3e-6 + geometry.oc * geometry.reduction * dtype.itemsize / rates().memory

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return sum_error(geometry, dtype, _steps(geometry, dtype.itemsize))

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return _launch(geometry, dtype, threads, False).workspace(threads) + _packing(geometry, dtype).size

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: np.ndarray,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
    ) -> None:
        multiply(geometry, x, prepared, out, epilogue, threads)

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
        """Packs as many filters at a time as fit the scratch memory that is kept between calls.

        Fresh pages for all of them took longer than the product of many weights with few positions: a half to two
        thirds of the call.
        """
        weight, packing = as_contiguous(weight), _packing(geometry, x.dtype)
        if packing.size <= _PACKED_BYTES:
            multiply(geometry, x, packing.packed(weight, threads), out, epilogue, threads)
            return
        for g, channels, filters in _parts(geometry, x.itemsize):
            packed = _packing(g, x.dtype).packed(weight[filters], threads)
            bias = None if epilogue.bias is None else epilogue.bias[filters]
            multiply(g, x[:, channels], packed, out[:, filters], replace(epilogue, bias=bias), threads)


def _parts(g: ConvGeometry, itemsize: int) -> Iterator[tuple[ConvGeometry, slice, slice]]:
    """Parts of a convolution, each with some filters of one group: its geometry, input channels, and filters."""
    from fastconv.kernels.slots import MR

    icg, ocg = g.ic // g.g, g.oc // g.g
    step = max(1, _PACKED_BYTES // (MR * g.reduction * itemsize)) * MR
    for first in range(0, g.oc, ocg):
        channels = slice(first // ocg * icg, (first // ocg + 1) * icg)
        for begin in range(first, first + ocg, step):
            filters = slice(begin, min(begin + step, first + ocg))
            yield replace(g, g=1, ic=icg, oc=filters.stop - begin), channels, filters


def is_pointwise(g: ConvGeometry, x: np.ndarray) -> bool:
    """Whether a 1×1 kernel at stride 1 can read the image itself, because its planes are contiguous."""
    return is_pixelwise(g) and x.strides[3] == x.itemsize and x.strides[2] == g.iw * x.itemsize


def multiply(
    g: ConvGeometry, x: np.ndarray, packed: np.ndarray, out: np.ndarray, epilogue: Epilogue, threads: int
) -> None:
    """Convolve with filters packed by `Implicit.prepare`.

    The planes of `out` are contiguous, at any distance from each other.
    """
    launch = _launch(
        g, x.dtype, threads, is_pointwise(g, x), element_strides(x), out.strides[1::-1], epilogue.activation
    )
    launch.run((x, packed, epilogue.bias, out), threads, (epilogue.parameter,))
