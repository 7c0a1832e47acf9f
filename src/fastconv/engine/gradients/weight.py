"""The gradient of a convolution with respect to its weight, which sums over the positions of all images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.arrays import as_contiguous
from fastconv.engine.convolution.base import element_strides, is_pixelwise, refuse_unless_real_2d, window
from fastconv.engine.convolution3d import ZEROS, Flat, refuse_unless_real_3d
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.patches import Places, Target, gather, place, places, targets
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned, Solver, SumsDirectly
from fastconv.engine.products import STEP_BYTES, block_steps, multiply_images
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant
from fastconv.engine.rounding import running_error
from fastconv.kernels import threads as team

# Multiply-adds per second of full vectors, relative to those on registers alone.
_PEAK_SHARE = 0.83

# Multiply-adds that take as long as packing a value, as measured for 1×1 kernels of 16 to 1024 channels.
_PACKED = 5

# Seconds to find the place of one tap's products of a filter and a channel.
_PLACE_SECONDS = 8e-9

# Strides do not change how much memory a kernel takes, nor its blocks.
_ANY_STRIDES = (0, 0, 0, 0)


class _ChannelLaunches(NamedTuple):
    """The launches of `Channels`, one after the other."""

    packing: Launch
    product: Launch
    packed: int
    """Bytes of the packed gradients of all images."""


@functools.lru_cache(maxsize=REMEMBERED)
def _channel_launches(
    g: ConvGeometry, dtype: np.dtype, threads: int, strides: tuple[int, int, int, int]
) -> _ChannelLaunches:
    """The launches for an image with these strides, in elements."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import LANES, MR, NR, arguments, packed

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
    packing = arguments("pack_left")(M=g.oc // g.g, K=g.positions, kc=kc, panels=panels)
    return _ChannelLaunches(
        packing=Launch.of("pack_left", dtype, packing, g.n * g.g * panels),
        product=Launch.of("weight_gradient", dtype, ints, tiles * filter_blocks),
        packed=g.n * g.g * packed("pack_left", dtype, packing),
    )


def _lanes_used(values: int, lanes: int) -> float:
    """The fraction of lanes in use when vectors hold `values`."""
    return values / (-(-values // lanes) * lanes)


@functools.lru_cache(maxsize=REMEMBERED)
def _position_launch(g: ConvGeometry, dtype: np.dtype, threads: int, strides: tuple[int, int, int, int]) -> Launch:
    """The launch for an image with these strides, in elements."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import LANES, MR, arguments

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
    tiles = g.g * filter_blocks
    return Launch.of("tap_gradient", dtype, ints, tiles, max(1, tiles // (16 * threads)))


class _Sums(SumsDirectly):
    """What the solvers with a kernel share: sums of products over the positions of two axes."""

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_2d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Products, one pass over the operands, and one over the result, which is scattered."""
        g, itemsize, speed = geometry, dtype.itemsize, rates()
        products = g.flops / (_PEAK_SHARE * speed.flops(itemsize) * self.share(g, itemsize))
        read = g.n * (g.ic * g.ih * g.iw + g.oc * g.positions) * itemsize
        written = 2 * g.oc * g.reduction * itemsize
        return 5e-6 + products + read / speed.l3 + written / speed.memory

    def share(self, geometry: ConvGeometry, itemsize: int) -> float:
        """The share of a kernel's multiply-adds that count: which solver is chosen depends on this alone."""
        raise NotImplementedError

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """That of a running sum over the positions of all images, in blocks."""
        products = max(1, geometry.n) * geometry.positions
        return running_error(products, dtype, min(products, self.steps(geometry, dtype)), self.lanes(dtype))

    def steps(self, geometry: ConvGeometry, dtype: np.dtype) -> int:
        """Products that are added up before their sum is added to others."""
        raise NotImplementedError

    def lanes(self, dtype: np.dtype) -> int:
        """Sums side by side that one value is the total of."""
        return 1

    def run(self, plan: Plan, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
        """Compute the gradient `out`, given the image and the gradient of the output, in the shapes of the geometry."""
        raise NotImplementedError


class Channels(_Sums):
    """A matrix product on the micro-kernel of gemm.h (kernels/simd/weight_gradient.h)."""

    name = "channels"

    def share(self, geometry: ConvGeometry, itemsize: int) -> float:
        """That of a register tile which is in use, where channels fill vectors, and filters rows; less the packing."""
        from fastconv.kernels.slots import LANES, MR

        g, channels, filters = geometry, geometry.ic // geometry.g, geometry.oc // geometry.g
        columns = channels * g.kw if g.dw == 1 and g.sw <= g.kw else channels
        packing = _PACKED * (1 / channels + 1 / filters) / g.taps
        return _lanes_used(columns, LANES[itemsize]) * _lanes_used(filters, MR) / (1 + packing)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        launches = _channel_launches(geometry, dtype, threads, _ANY_STRIDES)
        return launches.packed + threads * launches.product.scratch

    def steps(self, geometry: ConvGeometry, dtype: np.dtype) -> int:
        most: int = _channel_launches(geometry, dtype, 1, _ANY_STRIDES).product.arguments.most
        return most

    def run(self, plan: Plan, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
        launches = _channel_launches(plan.geometry, x.dtype, plan.threads, element_strides(x))
        packed = team.aligned_empty(launches.packed // x.itemsize, x.dtype)
        launches.packing.run((np.ascontiguousarray(grad), packed), plan.threads)
        launches.product.run((x, packed, out), plan.threads)


class Positions(_Sums):
    """Inner products of rows, for few channels (kernels/simd/tap_gradient.h)."""

    name = "positions"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        from fastconv.kernels.slots import NR

        refusal = super().refuse(geometry, dtype)
        if refusal is None and geometry.ic // geometry.g > NR[dtype.itemsize]:
            return f"computes up to {NR[dtype.itemsize]} channels per group, not {geometry.ic // geometry.g}"
        return refusal

    def share(self, geometry: ConvGeometry, itemsize: int) -> float:
        """That of the time which is spent on products.

        As measured, in vectors of products: a partial vector at the end of a row takes as long as three, and adding up
        the lanes, once per sum, as long as sixteen.
        """
        from fastconv.kernels.slots import LANES

        g, lanes = geometry, LANES[itemsize]
        vectors = g.oh * (g.ow // lanes + (3 if g.ow % lanes else 0)) + 16
        return g.positions / lanes / vectors

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return threads * _position_launch(geometry, dtype, threads, _ANY_STRIDES).scratch

    def steps(self, geometry: ConvGeometry, dtype: np.dtype) -> int:
        """Those of one lane in a block of positions."""
        from fastconv.kernels.slots import LANES

        block = _position_launch(geometry, dtype, 1, _ANY_STRIDES).arguments
        positions: int = block.block_rows * block.block_cols
        return -(-positions // LANES[dtype.itemsize])

    def lanes(self, dtype: np.dtype) -> int:
        from fastconv.kernels.slots import LANES

        lanes: int = LANES[dtype.itemsize]
        return lanes

    def run(self, plan: Plan, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
        launch = _position_launch(plan.geometry, x.dtype, plan.threads, element_strides(x))
        launch.run((x, np.ascontiguousarray(grad), out), plan.threads)


class Inner(_Sums):
    """Inner products of rows of pixels where they lie, for 1×1 kernels (kernels/simd/inner.h)."""

    name = "inner"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        refusal = super().refuse(geometry, dtype)
        if refusal is None and (geometry.g > 1 or not is_pixelwise(geometry)):
            return "needs a 1×1 kernel at stride 1 without padding, and a single group"
        return refusal

    def share(self, geometry: ConvGeometry, itemsize: int) -> float:
        """That of full vectors, less what adding up the lanes of a block takes: as long as five steps, as measured."""
        from fastconv.kernels.slots import LANES

        positions, lanes = geometry.positions, LANES[itemsize]
        blocks = -(-positions * itemsize // STEP_BYTES)
        return _lanes_used(positions, lanes) * positions / (positions + 5 * lanes * blocks)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return 0

    def steps(self, geometry: ConvGeometry, dtype: np.dtype) -> int:
        return min(block_steps(dtype), geometry.positions)

    def run(self, plan: Plan, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
        g: ConvGeometry = plan.geometry
        if not g.n:
            out[...] = 0
            return
        rows = as_contiguous(grad).reshape(g.n, g.oc, g.positions)
        multiply_images(rows, as_contiguous(x).reshape(g.n, g.ic, g.positions), out.reshape(g.oc, g.ic), plan.threads)


class FlatSums(Flat):
    """As `Flat`; the operands are the input and the gradient of the output."""

    def run(self, plan: Plan, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:  # type: ignore[override]
        super().run(plan, x, grad, PLAIN, out)


class _Planes(NamedTuple):
    """The planes that a depth tap multiplies, numbered through all channels of all images."""

    read: Places
    """Those of the input."""
    at: Places
    """Those of the gradient of the output."""
    target: np.ndarray
    """Where the products belong (see `place`)."""


@remembered(REMEMBERED)
def _planes(g: ConvGeometry, tap: int) -> _Planes:
    outputs, read = g.seen_by(tap)
    positions = prod(g.kernel[1:])
    return _Planes(
        _plane_rows(g.n, g.ic, g.extent[0], read),
        _plane_rows(g.n, g.oc, g.out_extent[0], outputs),
        targets([Target(0, (1, 1, positions), (tap, 0, 0), 0)]),
    )


def _plane_rows(n: int, channels: int, depths: int, chosen: slice) -> Places:
    """The planes of these depths: image by image, depth by depth, and channel by channel."""
    numbers = np.arange(n * channels * depths).reshape(n, channels, depths)[:, :, chosen]
    return Places(constant(numbers.swapaxes(1, 2).ravel()), 0, 0)


class Depths(Composite):
    """One 2-D problem per depth tap, whose images are the planes that the tap reads."""

    name = "depths"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_3d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Copying the planes of more than one image, and those of the gradient; and placing the results."""
        g = geometry
        values = prod(g.out_shape) + (prod(g.x_shape) if g.n > 1 else 0)
        placed = prod(g.weight_shape[:3]) * _PLACE_SECONDS + 2 * prod(g.weight_shape) * dtype.itemsize / rates().memory
        return 2e-6 * g.kernel[0] + 2 * g.kernel[0] * values * dtype.itemsize / rates().memory + placed

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g = geometry
        values = prod(g.out_shape) + (prod(g.x_shape) if g.n > 1 else 0) + prod(g.weight_shape) // g.kernel[0]
        return values * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        g, taps = geometry, geometry.kernel[0]
        # As if every tap lay inside the input at all depths: the choice does not depend on the number of images.
        plane = replace(g.one_depth, ic=g.ic, n=g.n * g.out_extent[0])
        return (Part(f"each of {taps} depth taps" if taps > 1 else "the depth tap", planned(plane), taps),)

    def run(self, plan: Plan, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
        g: ConvGeometry = plan.geometry
        taps, of = g.kernel[0], plan.parts[0].plan
        shape = of.geometry.weight_shape
        made = out.reshape(shape) if taps == 1 else team.aligned_empty(prod(shape), out.dtype).reshape(shape)
        for tap in range(taps):
            planes, (outputs, read) = _planes(g, tap), g.seen_by(tap)
            count = outputs.stop - outputs.start
            if count:
                images = _gathered(x, planes.read) if g.n > 1 else x[0, :, read].swapaxes(0, 1)
                part = of if count == g.out_extent[0] else replace(of, geometry=replace(of.geometry, n=g.n * count))
                part.run_once(images, _gathered(grad, planes.at), PLAIN, made)
            else:
                _clear(made.reshape(g.oc, -1))
            if taps > 1:
                channels, extent = g.oc * g.ic // g.g, (taps, 1, prod(g.kernel[1:]))
                place(made, out, planes.target, channels, extent, (1, 1, 1), plan.threads)


class Slabs(Composite):
    """One 2-D problem with a channel per channel and depth tap: each depth is an image, of the planes that it sees.

    Its result is the gradient as it is; but planes are copied for every tap.
    """

    name = "slabs"

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real_3d(geometry, dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Copying the planes of the input, and those of the gradient."""
        g = geometry
        values = prod(g.out_shape) + prod(g.x_shape) // g.extent[0] * g.out_extent[0] * g.kernel[0]
        return 2e-6 + 2 * values * dtype.itemsize / rates().memory

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g = geometry
        slab = g.ic * g.kernel[0] * prod(g.extent[1:])
        return g.n * (g.out_extent[0] * slab + prod(g.out_shape[1:])) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        g = geometry
        return (Part("all depths", planned(replace(g.one_depth, n=g.n * g.out_extent[0]))),)

    def run(self, plan: Plan, x: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
        g: ConvGeometry = plan.geometry
        read, at = _slab_planes(g)
        part = plan.parts[0].plan
        images = _gathered(x, read).reshape(part.geometry.x_shape)
        part.run_once(images, _gathered(grad, at), PLAIN, out.reshape(part.geometry.weight_shape))


@remembered(REMEMBERED)
def _slab_planes(g: ConvGeometry) -> tuple[Places, Places]:
    """The planes of the input, depth by depth of the output, and those of the gradient."""
    depths, taps = np.arange(g.out_extent[0])[:, np.newaxis, np.newaxis], np.arange(g.kernel[0])
    read = depths * g.stride[0] - g.padding[0][0] + taps * g.dilation[0]
    channels = np.arange(g.n * g.ic).reshape(g.n, 1, g.ic, 1) * g.extent[0]
    rows = np.where((read >= 0) & (read < g.extent[0]), channels + read, -1)
    return Places(constant(rows.ravel()), 0, 0), _plane_rows(g.n, g.oc, g.out_extent[0], slice(None))


def _clear(rows: np.ndarray) -> None:
    """Write zeros by a kernel, so that the call can be repeated."""
    nothing, columns = Places(constant(np.full(len(rows), -1)), 0, 0), places(0, rows.shape[1], 1, "constant")
    gather(rows, rows, nothing, columns, fill=ZEROS)


def _gathered(volumes: np.ndarray, planes: Places) -> np.ndarray:
    """Planes of (n, channels, depths, rows, columns), one after another, as a batch of images in scratch memory."""
    _, channels, _, *shape = volumes.shape
    positions, count = prod(shape), len(planes.indices)
    rows = team.aligned_empty(count * positions, volumes.dtype).reshape(count, positions)
    columns = places(0, positions, positions, "constant")
    gather(as_contiguous(volumes).reshape(-1, positions), rows, planes, columns, fill=ZEROS)
    return rows.reshape(-1, channels, *shape)


class WeightGradient(Kind):
    """Its operands are the input, and the gradient with respect to the output."""

    name = "weight_gradient"
    title = "the weight's gradient of"
    solvers: Sequence[Solver] = (Channels(), Positions(), Inner(), FlatSums(), Depths(), Slabs())
    limits_workspace = False  # the other solvers would not do with less

    def parse(self, descriptor: str) -> ConvGeometry:
        return ConvGeometry.parse(descriptor, continues=False).as_2d()

    def one_image(self, geometry: ConvGeometry) -> ConvGeometry:
        return geometry  # the choice does not depend on the batch

    def operations(self, geometry: ConvGeometry) -> int:
        return geometry.flops

    def shapes(self, geometry: ConvGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.x_shape, geometry.out_shape, geometry.weight_shape

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        plan.strategy.run(plan, x, weight, out)


WEIGHT_GRADIENT = WeightGradient()
