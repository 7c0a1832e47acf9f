"""The adjoints of a convolution, which is linear in its image and in its weight: its gradients.

`input_adjoint` is the gradient with respect to the input, which is also the transposed convolution. A stride divides
the input into phases that different taps reach. Each phase is a convolution of stride 1 with those taps, reversed, and
with the channels swapped. No zeros are inserted, and the planner chooses a strategy for each (Dumoulin and Visin, A
guide to convolution arithmetic for deep learning, 2016, chapter 4).

`weight_adjoint` is the gradient with respect to the weight: a matrix product that sums over positions, on the
micro-kernel of gemm.h (kernels/simd/weight_gradient.h), or, for few channels, inner products of rows
(kernels/simd/tap_gradient.h).
"""

from __future__ import annotations

import functools
import itertools
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv.engine import planner, volume
from fastconv.engine.convolution.base import element_strides, window
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry, Phase
from fastconv.engine.launch import BYTE
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, note, unrepeatable
from fastconv.kernels import threads as team

# A second thread is worth waking for some 20 µs of copying, or of multiplying.
_BYTES_A_THREAD = 256 << 10
_FLOPS_A_THREAD = 2e6

# Memory per phase, with its geometry and slices: large strides have many phases.
_PHASE_BYTES = 2 << 10


class _Phases(NamedTuple):
    """The phases of an adjoint, and tables for making all their weights together."""

    phases: tuple[Phase, ...]
    covered: bool
    """Whether the phases cover the whole input."""
    kept: np.ndarray
    """The number of taps of each phase."""
    taps: np.ndarray
    """The taps, one phase after another."""
    starts: tuple[int, ...]
    """Offsets at which the results of each phase begin, and the end of the last."""
    places: np.ndarray
    """Positions of the results along the input's last two axes (see PLACE in kernels/lowering.pyx)."""

    @property
    def nbytes(self) -> int:
        return len(self.phases) * _PHASE_BYTES + self.kept.nbytes + self.taps.nbytes + self.places.nbytes


@remembered(REMEMBERED)
def _phases(g: ConvGeometry) -> _Phases:
    phases = g.adjoint()
    numbers = np.arange(g.taps).reshape(g.kernel)
    taps = [numbers[phase.taps].ravel() for phase in phases]
    starts = (0, *itertools.accumulate(prod(phase.geometry.out_shape) for phase in phases))
    places = [
        (start, *phase.geometry.out_extent[-2:], *(side.start for side in phase.target[-2:]))
        for start, phase in zip(starts, phases, strict=False)
    ]
    return _Phases(
        phases=phases,
        covered=sum(phase.geometry.positions for phase in phases) == prod(g.extent),
        kept=constant(np.array([len(kept) for kept in taps], np.int64)),
        taps=constant(np.concatenate([*taps, []]).astype(np.int64)),
        starts=starts,
        places=constant(np.array(places, np.int64)),
    )


def input_adjoint(
    g: ConvGeometry,
    grad: np.ndarray,
    weight: np.ndarray,
    epilogue: Epilogue,
    out: np.ndarray,
    tolerance: float | None,
    threads: int,
) -> None:
    """Apply the adjoint of the 2-D or 3-D convolution `g` to `grad`, which has its output's shape, into `out`."""
    of = _phases(g)
    alone = len(of.phases) == 1 and of.covered
    if not of.covered:
        unrepeatable()
        out[...] = 0
    weights = _swapped(g, of, np.ascontiguousarray(weight), threads)
    results = None if alone else team.aligned_empty(of.starts[-1], out.dtype)
    for phase, start, end in zip(of.phases, of.starts, of.starts[1:], strict=False):
        values = prod(phase.geometry.weight_shape)
        swapped, weights = weights[:values].reshape(phase.geometry.weight_shape), weights[values:]
        target = out if results is None else results[start:end].reshape(phase.geometry.out_shape)
        seen = grad[:, :, *phase.seen]
        _convolve(phase.geometry, seen, swapped, epilogue if of.covered else PLAIN, target, tolerance, threads)
    if results is not None:
        _place(g, of, results, out, threads)
    if epilogue and not of.covered:
        from fastconv.kernels.epilogue import PLANES, arguments

        ints = arguments(values=prod(g.extent), channels=g.ic, activation=epilogue.activation)
        team.run_tiles(PLANES[out.dtype.name], (out, epilogue.bias), ints, (epilogue.parameter,), g.n * g.ic, threads)


def _swapped(g: ConvGeometry, of: _Phases, weight: np.ndarray, threads: int) -> np.ndarray:
    """The weights of all phases, one after another: reversed taps, with channels swapped within groups."""
    from fastconv.kernels.lowering import SWAP_FILTERS, SWAPPED_CHANNELS, swap_arguments

    swapped = team.aligned_empty(g.oc * (g.ic // g.g) * len(of.taps), weight.dtype)
    team.run_tiles(
        SWAP_FILTERS[weight.dtype.name],
        (weight, swapped, of.kept, of.taps),
        swap_arguments(groups=g.g, M=g.oc // g.g, C=g.ic // g.g, taps=g.taps, phases=len(of.phases)),
        (),
        g.g * -(-(g.ic // g.g) // SWAPPED_CHANNELS),
        min(threads, 1 + swapped.nbytes // _BYTES_A_THREAD),
    )
    return swapped


def _place(g: ConvGeometry, of: _Phases, results: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Write the results of all phases to their positions in the input."""
    from fastconv.kernels.lowering import PLACE, place_arguments

    if g.ndim == 3:
        unrepeatable()
        for phase, start, end in zip(of.phases, of.starts, of.starts[1:], strict=False):
            out[:, :, *phase.target] = results[start:end].reshape(phase.geometry.out_shape)
        return
    team.run_tiles(
        PLACE[out.dtype.name],
        (results, out, of.places),
        place_arguments(phases=len(of.phases), height=g.ih, width=g.iw, sh=g.sh, sw=g.sw),
        (),
        g.n * g.ic,
        min(threads, 1 + results.nbytes // _BYTES_A_THREAD),
        8,
    )


def _convolve(
    g: ConvGeometry,
    x: np.ndarray,
    weight: np.ndarray,
    epilogue: Epilogue,
    out: np.ndarray,
    tolerance: float | None,
    threads: int,
) -> None:
    if g.ndim == 3:
        volume.convolve(g, x, weight, epilogue, out, tolerance=tolerance, threads=threads)
        return
    plan = planner.plan(g, x.dtype, tolerance=tolerance, threads=threads)
    note(g, ", ", plan.dtype, ", by ", plan.strategy.name, threads=plan.threads)
    plan.strategy.run_once(g, x, weight, out, epilogue, plan.threads, plan.max_workspace)


class _Launch(NamedTuple):
    """The kernel's arguments for a geometry (see kernels/simd/weight_gradient.h)."""

    kernel: int
    arguments: Any
    panels: int
    tiles: int
    scratch: int
    """Bytes of each worker."""


@functools.lru_cache(maxsize=REMEMBERED)
def _launch(g: ConvGeometry, dtype: np.dtype, threads: int, strides: tuple[int, int, int, int]) -> _Launch:
    """The launch for an image with these strides, in elements."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import LANES, MR, NR, arguments, kernel, scratch

    itemsize = dtype.itemsize
    lanes, nr = LANES[itemsize], NR[itemsize]
    l1, l2, _ = (size // itemsize for size in cache_bytes())
    icg, panels = g.ic // g.g, -(-(g.oc // g.g) // MR)
    channel_blocks = -(-icg // nr)
    joined = channel_blocks == 1 and g.dw == 1 and g.sw <= g.kw
    most = max(64, l1 * 3 // 4 // nr)
    channels = min(icg, nr)
    # The pixels of a block take a quarter of L2. The number of threads affects who sums, but not what is summed.
    kc = max(lanes, l2 // 4 // (channels * min(g.sh, g.kh) * min(g.sw, g.kw)))
    kc = min(kc // g.ow * g.ow or kc, g.positions)
    units, columns = (g.kh, g.kw * icg) if joined else (g.taps, channels)
    block_units = min(units, max(1, l2 // 2 // (MR * columns)))
    tap_blocks = -(-units // block_units)
    most_panels = max(1, l2 // 2 // (block_units * columns * MR))
    filter_blocks = -(-panels // most_panels)
    tiles = g.g * channel_blocks * tap_blocks
    if tiles * filter_blocks < 2 * threads:
        filter_blocks = min(panels, -(-2 * threads // tiles))
    block_panels = -(-panels // filter_blocks)
    filter_blocks = -(-panels // block_panels)
    ints = arguments("weight_gradient")(
        **window(g, strides),
        kc=kc,
        most=most,
        joined=joined,
        tap_blocks=tap_blocks,
        block_units=block_units,
        channel_blocks=channel_blocks,
        filter_blocks=filter_blocks,
        block_panels=block_panels,
    )
    size = scratch("weight_gradient", dtype, ints)
    return _Launch(kernel("weight_gradient", dtype), ints, panels, tiles * filter_blocks, size)


def _lanes_used(values: int, lanes: int) -> float:
    """The fraction of lanes in use when vectors hold `values`."""
    return values / (-(-values // lanes) * lanes)


def _sums_along_positions(g: ConvGeometry, itemsize: int) -> bool:
    """Whether positions fill vectors better than the few channels do, and few filters fill tiles."""
    from fastconv.kernels.slots import LANES, MR, NR

    icg, lanes = g.ic // g.g, LANES[itemsize]
    if icg > NR[itemsize]:
        return False
    columns = icg * g.kw if g.dw == 1 and g.sw <= g.kw else icg
    by_channels = _lanes_used(columns, lanes) * _lanes_used(g.oc // g.g, MR)
    # Costs in vectors of products, as measured: a partial vector at the end of a row takes as long as three, and adding
    # up the lanes, once per sum, as long as sixteen.
    vectors = g.oh * (g.ow // lanes + (3 if g.ow % lanes else 0)) + 16
    return g.positions / lanes / vectors > by_channels


class _TapLaunch(NamedTuple):
    """The arguments of the kernel for few channels (see kernels/simd/tap_gradient.h)."""

    kernel: int
    arguments: Any
    tiles: int
    scratch: int
    """Bytes of each worker."""


@functools.lru_cache(maxsize=REMEMBERED)
def _tap_launch(g: ConvGeometry, dtype: np.dtype, threads: int, strides: tuple[int, int, int, int]) -> _TapLaunch:
    """The launch for an image with these strides, in elements."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import LANES, MR, arguments, kernel, scratch

    itemsize = dtype.itemsize
    lanes = LANES[itemsize]
    l1, l2, _ = (size // itemsize for size in cache_bytes())
    icg, ocg = g.ic // g.g, g.oc // g.g
    # The gradients of a register tile stay in L1 for all taps; the strip, more of whose values are used together, stays
    # in L2. The sums of a block's filters take half of L2.
    strip = icg * min(g.sh, g.kh) * min(g.sw, g.kw)
    positions = max(8 * lanes, min(l1 * 3 // 4 // (min(MR, ocg) + 1), l2 // 4 // strip))
    rows, cols = max(1, min(g.oh, positions // g.ow)), min(g.ow, positions)
    rows = -(-g.oh // -(-g.oh // rows))
    panels = -(-ocg // MR)
    most = max(1, l2 // 2 // (g.reduction * lanes * MR))
    # The number of threads affects who sums, but not what is summed.
    filter_blocks = max(-(-panels // most), min(panels, -(-2 * threads // g.g)))
    block_filters = -(-panels // filter_blocks) * MR
    filter_blocks = -(-ocg // block_filters)
    ints = arguments("tap_gradient")(
        **window(g, strides),
        block_rows=rows,
        block_cols=cols,
        filter_blocks=filter_blocks,
        block_filters=block_filters,
    )
    return _TapLaunch(kernel("tap_gradient", dtype), ints, g.g * filter_blocks, scratch("tap_gradient", dtype, ints))


def weight_adjoint(g: ConvGeometry, x: np.ndarray, grad: np.ndarray, out: np.ndarray, threads: int) -> None:
    """The gradient of the 2-D or 3-D convolution `g` of `x` with respect to its weight, from that of its output."""
    if g.ndim == 3:
        _weight_adjoint_3d(g, x, grad, out, threads)
        return
    from fastconv.kernels.slots import MR, arguments, kernel

    threads = min(threads, 1 + int(g.flops / _FLOPS_A_THREAD))
    grad = np.ascontiguousarray(grad)
    by_taps = _sums_along_positions(g, x.itemsize)
    note(g, ", ", x.dtype, ", by ", "tap_gradient" if by_taps else "weight_gradient", threads=threads)
    if by_taps:
        launch = _tap_launch(g, x.dtype, threads, element_strides(x))
        team.run_tiles(
            launch.kernel,
            (x, grad, out, team.aligned_empty(threads * launch.scratch, BYTE)),
            launch.arguments,
            (),
            launch.tiles,
            threads,
            max(1, launch.tiles // (16 * threads)),
        )
        return
    launch = _launch(g, x.dtype, threads, element_strides(x))
    packed = team.aligned_empty(g.n * g.g * launch.panels * MR * g.positions, x.dtype)
    packing = arguments("pack_left")(M=g.oc // g.g, K=g.positions, kc=launch.arguments.kc, panels=launch.panels)
    tiles = g.n * g.g * launch.panels
    team.run_tiles(kernel("pack_left", x.dtype), (grad, packed), packing, (), tiles, threads)
    team.run_tiles(
        launch.kernel,
        (x, packed, out, team.aligned_empty(threads * launch.scratch, BYTE)),
        launch.arguments,
        (),
        launch.tiles,
        threads,
    )


def _weight_adjoint_3d(g: ConvGeometry, x: np.ndarray, grad: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Sum over output depths, each of which is a 2-D problem (volume.py)."""
    plane = g.one_depth()
    unrepeatable()
    part = np.empty(plane.weight_shape, x.dtype)
    out[...] = 0
    for z, slab in enumerate(volume.slabs(g, x)):
        weight_adjoint(plane, slab, grad[:, :, z], part, threads)
        out += part.reshape(out.shape)
