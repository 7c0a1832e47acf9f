"""The convolutions of networks that people deploy, written from their papers' tables.

A builder follows the data through a network and writes down what it meets. `Layers` counts the parameters and
multiplications on the way, which a test compares with published counts. Extents are those of the papers, or of the
implementation that a count was published for. The batch is one image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from math import ceil, prod
from typing import NamedTuple

from fastconv.engine.geometry import ConvGeometry, PoolGeometry
from fastconv.engine.geometry.axes import integers, same_padding
from fastconv.networks import NETWORKS as DESCRIBED

PerAxis = int | tuple[int, ...]

# Those that are taken from the package, where they are described.
CLASSICAL = ("lenet5", "alexnet", "zfnet", "vgg16", "googlenet", "resnet50")


class Map(NamedTuple):
    """What a layer reads or writes."""

    channels: int
    extent: tuple[int, ...]

    def pooled(self) -> Map:
        """Its means."""
        return Map(self.channels, (1,) * len(self.extent))

    def part(self, channels: int) -> Map:
        return Map(channels, self.extent)

    def enlarged(self, factor: int) -> Map:
        return Map(self.channels, tuple(factor * extent for extent in self.extent))


def joined(maps: Iterable[Map]) -> Map:
    """The concatenation of channels; maps that are larger are cropped."""
    channels, extents = zip(*maps, strict=True)
    return Map(sum(channels), min(extents))


class Layers:
    """The layers of a network.

    Attributes
    ----------
    convolutions : Counter of ConvGeometry
        How often each convolution occurs. Full connections are not among them, unless the network writes them as
        convolutions, as squeeze-and-excitation does.
    parameters : int
        Learnt values.
    multiplications : int
        Of the convolutions and full connections, by the direct algorithm.
    """

    def __init__(self, per_filter: int = 2) -> None:
        self.per_filter = per_filter
        self.convolutions: Counter[ConvGeometry] = Counter()
        self.parameters = self.multiplications = 0

    def conv(
        self,
        x: Map,
        filters: int,
        k: PerAxis = 1,
        s: PerAxis = 1,
        p: PerAxis | None = None,
        *,
        d: PerAxis = 1,
        g: int = 1,
        per_filter: int | None = None,
    ) -> Map:
        """A convolution, by default with the padding that keeps the extent at stride 1.

        Each filter learns `per_filter` values besides its weights: 2 with a batch normalisation, 1 with a bias.
        """
        ndim = len(x.extent)
        kernel, dilation = integers("k", k, ndim, 1), integers("d", d, ndim, 1)
        sides = same_padding(kernel, dilation) if p is None else [(side, side) for side in integers("p", p, ndim, 0)]
        weight_shape = (filters, x.channels // g, *kernel)
        geometry = ConvGeometry.from_shapes(
            (1, x.channels, *x.extent), weight_shape, stride=s, padding=sides, dilation=dilation, groups=g
        )
        self.convolutions[geometry] += 1
        self.parameters += prod(weight_shape) + filters * (self.per_filter if per_filter is None else per_filter)
        self.multiplications += geometry.flops // 2
        return Map(filters, geometry.out_extent)

    def depthwise(self, x: Map, k: PerAxis, s: PerAxis = 1, *, d: PerAxis = 1, per_filter: int | None = None) -> Map:
        return self.conv(x, x.channels, k, s, d=d, g=x.channels, per_filter=per_filter)

    def pool(self, x: Map, k: PerAxis, s: PerAxis, p: PerAxis = 0, *, ceil_mode: bool = False) -> Map:
        geometry = PoolGeometry.from_shapes(
            (1, x.channels, *x.extent), k, s, p, ndim=len(x.extent), ceil_mode=ceil_mode
        )
        return Map(x.channels, geometry.out_extent)

    def linear(self, features: int, outputs: int, rows: int = 1, *, bias: bool = True) -> None:
        """A full connection, used for `rows` vectors."""
        self.parameters += (features + bias) * outputs
        self.multiplications += features * outputs * rows

    def learn(self, parameters: int) -> None:
        """Other learnt values: normalisations, embeddings, and layers that only training uses."""
        self.parameters += parameters

    def transposed(self, x: Map, filters: int, k: int, s: int, *, per_filter: int | None = None) -> Map:
        """A transposed convolution that enlarges its input `s` times; it is not among `convolutions`."""
        weights = x.channels * k ** len(x.extent)
        self.parameters += (weights + (self.per_filter if per_filter is None else per_filter)) * filters
        self.multiplications += weights * filters * prod(x.extent)
        return Map(filters, x.extent).enlarged(s)


def divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple, but not more than a tenth below (Sandler et al. 2018)."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def _image(extent: int, channels: int = 3) -> Map:
    return Map(channels, (extent, extent))


def _excite(net: Layers, x: Map, squeezed: int) -> None:
    """Squeeze and excitation (Hu et al. 2018): two full connections on means, written as convolutions."""
    net.conv(net.conv(x.pooled(), squeezed, per_filter=1), x.channels, per_filter=1)


def _classical(name: str) -> Layers:
    net, network = Layers(), DESCRIBED[name]()
    net.convolutions.update({g: len(names) for g, names in network.convolutions.items()})
    net.parameters, net.multiplications = network.parameters, network.flops // 2
    return net


# Residual networks


def _residual_stages(
    net: Layers,
    x: Map,
    depths: Sequence[int],
    *,
    bottleneck: bool = True,
    groups: int = 1,
    width: int = 64,
    squeeze: int = 0,
    dilated: int = 0,
) -> Map:
    """He et al. 2016, table 1, with the stride in the 3×3; Xie et al. 2017 with groups of `width` channels.

    The last `dilated` stages keep their extent, and dilate instead (Chen et al. 2017).
    """
    x = net.pool(net.conv(x, 64, 7, 2), 3, 2, 1)
    dilation = 1
    for stage, depth in enumerate(depths):
        planes, outer = 64 << stage, (256 if bottleneck else 64) << stage
        for block in range(depth):
            stride, spread = 2 if stage and not block else 1, dilation
            if stride == 2 and stage >= len(depths) - dilated:
                stride, dilation = 1, 2 * dilation
            if bottleneck:
                inner = planes * width // 64 * groups
                y = net.conv(net.conv(x, inner), inner, 3, stride, d=spread, g=groups)
                y = net.conv(y, outer)
            else:
                y = net.conv(net.conv(x, outer, 3, stride), outer, 3)
            if squeeze:
                _excite(net, y, outer // squeeze)
            if y != x:
                net.conv(x, outer, 1, stride)
            x = y
    return x


def _resnet(depths: Sequence[int], **options: int) -> Layers:
    net = Layers()
    x = _residual_stages(net, _image(224), depths, **options)
    net.linear(x.channels, 1000)
    return net


def _regnet(depths: Sequence[int], widths: Sequence[int], group: int, squeeze: bool = False) -> Layers:
    """Radosavovic et al. 2020, tables of the best models."""
    net = Layers()
    x = net.conv(_image(224), 32, 3, 2)
    for depth, width in zip(depths, widths, strict=True):
        for block in range(depth):
            stride = 1 if block else 2
            y = net.conv(net.conv(x, width), width, 3, stride, g=width // group)
            if squeeze:
                _excite(net, y, round(x.channels / 4))
            y = net.conv(y, width)
            if y != x:
                net.conv(x, width, 1, stride)
            x = y
    net.linear(x.channels, 1000)
    return net


def densenet121() -> Layers:
    """Huang et al. 2017, table 1: normalisations come before convolutions."""
    growth, net = 32, Layers(per_filter=0)

    def normed(x: Map, filters: int, k: int = 1) -> Map:
        net.learn(2 * x.channels)
        return net.conv(x, filters, k)

    x = net.pool(net.conv(_image(224), 64, 7, 2, per_filter=2), 3, 2, 1)
    for depth in (6, 12, 24, 16):
        if x.extent != (56, 56) or x.channels > 64:
            x = net.pool(normed(x, x.channels // 2), 2, 2)
        for _ in range(depth):
            x = joined([x, normed(normed(x, 4 * growth), growth, 3)])
    net.learn(2 * x.channels)
    net.linear(x.channels, 1000)
    return net


# Inception and its relatives


def inception_v3() -> Layers:
    """Szegedy et al. 2016, with the auxiliary classifier's parameters."""
    net = Layers()
    conv = net.conv

    def chain(x: Map, *steps: tuple[int, PerAxis]) -> Map:
        for filters, k in steps:
            x = conv(x, filters, k)
        return x

    x = conv(conv(conv(_image(299), 32, 3, 2, 0), 32, 3, 1, 0), 64, 3)
    x = net.pool(conv(conv(net.pool(x, 3, 2), 80), 192, 3, 1, 0), 3, 2)
    for projected in (32, 64, 64):
        fives, threes = chain(x, (48, 1), (64, 5)), chain(x, (64, 1), (96, 3), (96, 3))
        x = joined([conv(x, 64), fives, threes, conv(x, projected)])
    reduced = conv(chain(x, (64, 1), (96, 3)), 96, 3, 2, 0)
    x = joined([conv(x, 384, 3, 2, 0), reduced, net.pool(x, 3, 2)])
    for n in (128, 160, 160, 192):
        once = chain(x, (n, 1), (n, (1, 7)), (192, (7, 1)))
        twice = chain(x, (n, 1), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7)))
        x = joined([conv(x, 192), once, twice, conv(x, 192)])
    net.learn(768 * 128 + 2 * 128 + 128 * 768 * 5 * 5 + 2 * 768 + 769 * 1000)
    threes = conv(conv(x, 192), 320, 3, 2, 0)
    sevens = conv(chain(x, (192, 1), (192, (1, 7)), (192, (7, 1))), 192, 3, 2, 0)
    x = joined([threes, sevens, net.pool(x, 3, 2)])
    for _ in range(2):
        once, twice = conv(x, 384), chain(x, (448, 1), (384, 3))
        crosses = [conv(y, 384, k) for y in (once, twice) for k in ((1, 3), (3, 1))]
        x = joined([conv(x, 320), *crosses, conv(x, 192)])
    net.linear(x.channels, 1000)
    return net


def xception() -> Layers:
    """Chollet 2017, figure 5."""
    net = Layers()

    def separable(x: Map, filters: int) -> Map:
        return net.conv(net.depthwise(x, 3, per_filter=0), filters)

    def halved(x: Map, inner: int, outer: int) -> Map:
        net.conv(x, outer, 1, 2)
        return net.pool(separable(separable(x, inner), outer), 3, 2, 1)

    x = net.conv(net.conv(_image(299), 32, 3, 2, 0), 64, 3, 1, 0)
    for width in (128, 256, 728):
        x = halved(x, width, width)
    for _ in range(8 * 3):
        x = separable(x, 728)
    x = halved(x, 728, 1024)
    x = separable(separable(x, 1536), 2048)
    net.linear(x.channels, 1000)
    return net


def squeezenet1_1() -> Layers:
    """Iandola et al. 2016, in the later version that pools earlier."""
    net = Layers(per_filter=1)
    x = net.conv(_image(224), 64, 3, 2, 0)
    for squeezed, pools in (
        (16, True),
        (16, False),
        (32, True),
        (32, False),
        (48, True),
        (48, False),
        (64, False),
        (64, False),
    ):
        if pools:
            x = net.pool(x, 3, 2, ceil_mode=True)
        y = net.conv(x, squeezed)
        x = joined([net.conv(y, 4 * squeezed), net.conv(y, 4 * squeezed, 3)])
    net.conv(x, 1000)
    return net


# Networks for telephones


def mobilenet_v1() -> Layers:
    """Howard et al. 2017, table 1."""
    net = Layers()
    x = net.conv(_image(224), 32, 3, 2)
    for width, stride in (
        *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
        *[(512, 1)] * 5,
        *((1024, 2), (1024, 1)),
    ):
        x = net.conv(net.depthwise(x, 3, stride), width)
    net.linear(x.channels, 1000)
    return net


def _inverted(
    net: Layers, x: Map, k: int, expanded: int, filters: int, stride: int, squeezed: int = 0, d: int = 1
) -> Map:
    """An inverted residual block: wide, depthwise, excited, narrow."""
    y = x if expanded == x.channels else net.conv(x, expanded)
    y = net.depthwise(y, k, stride, d=d)
    if squeezed:
        _excite(net, y, squeezed)
    return net.conv(y, filters)


def mobilenet_v2() -> Layers:
    """Sandler et al. 2018, table 2."""
    net = Layers()
    x = net.conv(_image(224), 32, 3, 2)
    for factor, width, depth, stride in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for block in range(depth):
            x = _inverted(net, x, 3, factor * x.channels, width, 1 if block else stride)
    x = net.conv(x, 1280)
    net.linear(x.channels, 1000)
    return net


def mnasnet() -> Layers:
    """Tan et al. 2019, the variant without excitation (B1)."""
    net = Layers()
    x = net.conv(net.depthwise(net.conv(_image(224), 32, 3, 2), 3), 16)
    for factor, k, width, depth, stride in (
        *((3, 3, 24, 3, 2), (3, 5, 40, 3, 2), (6, 5, 80, 3, 2)),
        *((6, 3, 96, 2, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1)),
    ):
        for block in range(depth):
            x = _inverted(net, x, k, factor * x.channels, width, 1 if block else stride)
    x = net.conv(x, 1280)
    net.linear(x.channels, 1000)
    return net


# Howard et al. 2019, tables 1 and 2: kernel, expanded channels, filters, excited, stride.
_V3_LARGE = (
    *((3, 16, 16, False, 1), (3, 64, 24, False, 2), (3, 72, 24, False, 1), (5, 72, 40, True, 2)),
    *((5, 120, 40, True, 1), (5, 120, 40, True, 1), (3, 240, 80, False, 2), (3, 200, 80, False, 1)),
    *((3, 184, 80, False, 1), (3, 184, 80, False, 1), (3, 480, 112, True, 1), (3, 672, 112, True, 1)),
    *((5, 672, 160, True, 2), (5, 960, 160, True, 1), (5, 960, 160, True, 1)),
)
_V3_SMALL = (
    *((3, 16, 16, True, 2), (3, 72, 24, False, 2), (3, 88, 24, False, 1), (5, 96, 40, True, 2)),
    *((5, 240, 40, True, 1), (5, 240, 40, True, 1), (5, 120, 48, True, 1), (5, 144, 48, True, 1)),
    *((5, 288, 96, True, 2), (5, 576, 96, True, 1), (5, 576, 96, True, 1)),
)


def _v3_maps(
    net: Layers, x: Map, blocks: Sequence[tuple[int, int, int, bool, int]], dilated: bool = False
) -> list[Map]:
    """The maps of MobileNetV3 after each block and the last convolution.

    `dilated` blocks of the last stage keep its extent.
    """
    maps = [net.conv(x, 16, 3, 2)]
    strides = [index for index, block in enumerate(blocks) if block[-1] == 2]
    for index, (k, expanded, filters, excited, stride) in enumerate(blocks):
        spread = 2 if dilated and index >= strides[-1] else 1
        squeezed = divisible(expanded // 4) if excited else 0
        maps.append(_inverted(net, maps[-1], k, expanded, filters, 1 if spread > 1 else stride, squeezed, spread))
    maps.append(net.conv(maps[-1], 6 * maps[-1].channels))
    return maps


def _mobilenet_v3(blocks: Sequence[tuple[int, int, int, bool, int]], features: int) -> Layers:
    net = Layers()
    x = _v3_maps(net, _image(224), blocks)[-1]
    net.linear(x.channels, features)
    net.linear(features, 1000)
    return net


def shufflenet_v1() -> Layers:
    """Zhang et al. 2018, table 1, with three groups."""
    net, groups = Layers(), 3
    x = net.pool(net.conv(_image(224), 24, 3, 2), 3, 2, 1)
    for width, depth in ((240, 4), (480, 8), (960, 4)):
        for block in range(depth):
            stride, filters = (1, width) if block else (2, width - x.channels)
            y = net.conv(x, width // 4, g=1 if x.channels == 24 else groups)
            y = net.conv(net.depthwise(y, 3, stride), filters, g=groups)
            x = y if block else joined([y, net.pool(x, 3, 2, 1)])
    net.linear(x.channels, 1000)
    return net


def shufflenet_v2() -> Layers:
    """Ma et al. 2018, table 5, of width 1."""
    net = Layers()
    x = net.pool(net.conv(_image(224), 24, 3, 2), 3, 2, 1)
    for width, depth in ((116, 4), (232, 8), (464, 4)):
        half = width // 2
        for block in range(depth):
            stride = 1 if block else 2
            kept = x.part(half) if block else net.conv(net.depthwise(x, 3, 2), half)
            y = net.conv(kept if block else x, half)
            x = joined([kept, net.conv(net.depthwise(y, 3, stride), half)])
    x = net.conv(x, 1024)
    net.linear(x.channels, 1000)
    return net


def _efficientnet(extent: int, width: float, depth: float) -> Layers:
    """Tan and Le 2019, table 1, scaled."""
    net = Layers()
    x = net.conv(_image(extent), divisible(32 * width), 3, 2)
    for factor, k, stride, filters, repeats in (
        *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)),
        *((6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)),
    ):
        for block in range(ceil(depth * repeats)):
            expanded, squeezed = factor * x.channels, x.channels // 4
            x = _inverted(net, x, k, expanded, divisible(width * filters), 1 if block else stride, squeezed)
    x = net.conv(x, 4 * x.channels)
    net.linear(x.channels, 1000)
    return net


def efficientnet_v2_s() -> Layers:
    """Tan and Le 2021, table 4."""
    net = Layers()
    x = net.conv(_image(384), 24, 3, 2)
    for fused, factor, stride, filters, depth in (
        *((True, 1, 1, 24, 2), (True, 4, 2, 48, 4), (True, 4, 2, 64, 4)),
        *((False, 4, 2, 128, 6), (False, 6, 1, 160, 9), (False, 6, 2, 256, 15)),
    ):
        for block in range(depth):
            step, expanded = 1 if block else stride, factor * x.channels
            if not fused:
                x = _inverted(net, x, 3, expanded, filters, step, x.channels // 4)
            elif factor == 1:
                x = net.conv(x, filters, 3, step)
            else:
                x = net.conv(net.conv(x, expanded, 3, step), filters)
    x = net.conv(x, 1280)
    net.linear(x.channels, 1000)
    return net


# Convolutions and transformers of patches


def _convnext(depths: Sequence[int], widths: Sequence[int]) -> Layers:
    """Liu et al. 2022; its full connections over channels are 1×1 convolutions."""
    net = Layers(per_filter=1)
    x = _image(224)
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        size = 2 if stage else 4
        x = net.conv(x, width, size, size, 0)
        net.learn(2 * (widths[stage - 1] if stage else width))  # a normalisation before it, or after the first
        for _ in range(depth):
            x = net.conv(net.conv(net.depthwise(x, 7), 4 * width), width)
            net.learn(3 * width)
    net.learn(2 * x.channels)
    net.linear(x.channels, 1000)
    return net


def _vit(patch: int, width: int = 768, depth: int = 12) -> Layers:
    """Dosovitskiy et al. 2021, table 1."""
    net = Layers(per_filter=1)
    x = net.conv(_image(224), width, patch, patch, 0)
    tokens = prod(x.extent) + 1
    net.learn((tokens + 1) * width)
    for _ in range(depth):
        for features, outputs in ((1, 3), (1, 1), (1, 4), (4, 1)):
            net.linear(features * width, outputs * width, tokens)
        net.learn(4 * width)
    net.learn(2 * width)
    net.linear(width, 1000)
    return net


def swin_t() -> Layers:
    """Liu et al. 2021, table 7."""
    net = Layers(per_filter=1)
    x = net.conv(_image(224), 96, 4, 4, 0)
    width, rows = x.channels, prod(x.extent)
    net.learn(2 * width)
    for stage, (depth, heads) in enumerate(((2, 3), (2, 6), (6, 12), (2, 24))):
        if stage:
            rows //= 4
            net.learn(2 * 4 * width)
            net.linear(4 * width, 2 * width, rows, bias=False)
            width *= 2
        for _ in range(depth):
            for features, outputs in ((1, 3), (1, 1), (1, 4), (4, 1)):
                net.linear(features * width, outputs * width, rows)
            net.learn(4 * width + 13 * 13 * heads)
    net.learn(2 * width)
    net.linear(width, 1000)
    return net


# Detection and segmentation


def yolov3() -> Layers:
    """Redmon and Farhadi 2018, table 1 and its three heads, for 80 classes."""
    net = Layers()
    x, maps = net.conv(_image(416), 32, 3), []
    for width, depth in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = net.conv(x, width, 3, 2)
        for _ in range(depth):
            x = net.conv(net.conv(x, width // 2), width, 3)
        maps.append(x)
    for width in (512, 256, 128):
        if width < 512:
            x = joined([net.conv(x, width).enlarged(2), maps[-1]])
        maps.pop()
        for _ in range(2):
            x = net.conv(net.conv(x, width), 2 * width, 3)
        x = net.conv(x, width)
        net.conv(net.conv(x, 2 * width, 3), 255, per_filter=1)
    return net


def yolov8n() -> Layers:
    """Jocher et al. 2023, the configuration of scale n, for 80 classes."""
    net = Layers()

    def c2f(x: Map, filters: int, depth: int) -> Map:
        half, parts = filters // 2, [net.conv(x, filters)]
        y = parts[0].part(half)
        for _ in range(depth):
            y = net.conv(net.conv(y, half, 3), half, 3)
            parts.append(y)
        return net.conv(joined(parts), filters)

    x, maps = net.conv(net.conv(_image(640), 16, 3, 2), 32, 3, 2), []
    x = c2f(x, 32, 1)
    for width, depth in ((64, 2), (128, 2), (256, 1)):
        x = c2f(net.conv(x, width, 3, 2), width, depth)
        maps.append(x)
    x = net.conv(joined([net.conv(x, 128)] * 4), 256)  # pooled at three sizes
    middle = c2f(joined([x.enlarged(2), maps[1]]), 128, 1)
    fine = c2f(joined([middle.enlarged(2), maps[0]]), 64, 1)
    middle = c2f(joined([net.conv(fine, 64, 3, 2), middle]), 128, 1)
    coarse = c2f(joined([net.conv(middle, 128, 3, 2), x]), 256, 1)
    for x in (fine, middle, coarse):
        for width in (64, 80):  # boxes and classes
            net.conv(net.conv(net.conv(x, width, 3), width, 3), width, per_filter=1)
    net.learn(16)
    return net


def deeplabv3_resnet50() -> Layers:
    """Chen et al. 2017, output stride 8, for 21 classes, with the auxiliary classifier."""
    net = Layers()
    x = _residual_stages(net, _image(520), (3, 4, 6, 3), dilated=2)
    net.conv(net.conv(x.part(1024), 256, 3), 21, per_filter=1)
    branches = [net.conv(x, 256), *(net.conv(x, 256, 3, d=d) for d in (12, 24, 36))]
    means = net.conv(x.pooled(), 256)
    x = net.conv(joined([*branches, Map(means.channels, x.extent)]), 256)
    net.conv(net.conv(x, 256, 3), 21, per_filter=1)
    return net


def lraspp_mobilenet_v3_large() -> Layers:
    """Howard et al. 2019, figure 10, for 21 classes."""
    net = Layers()
    maps = _v3_maps(net, _image(520), _V3_LARGE, dilated=True)
    low, high = maps[4], maps[-1]
    x = net.conv(high, 128)
    net.conv(high.pooled(), 128, per_filter=0)
    net.conv(low, 21, per_filter=1)
    net.conv(Map(x.channels, low.extent), 21, per_filter=1)
    return net


def _unet(net: Layers, x: Map, widths: Sequence[tuple[int, int]], up: Callable[[Map], Map], classes: int) -> Layers:
    """Two convolutions per level without padding, on the way down and, beside what was cropped, on the way up."""
    skipped = []
    for level, (first, second) in enumerate(widths):
        if level:
            x = net.pool(x, 2, 2)
        x = net.conv(net.conv(x, first, 3, 1, 0), second, 3, 1, 0)
        skipped.append(x)
    for skip in skipped[-2::-1]:
        x = joined([skip, up(x)])
        x = net.conv(net.conv(x, skip.channels, 3, 1, 0), skip.channels, 3, 1, 0)
    net.conv(x, classes, per_filter=1)
    return net


def unet() -> Layers:
    """Ronneberger et al. 2015, figure 1."""
    net = Layers(per_filter=1)
    widths = [(width, width) for width in (64, 128, 256, 512, 1024)]
    return _unet(net, _image(572, 1), widths, lambda x: net.transposed(x, x.channels // 2, 2, 2), 2)


def unet3d() -> Layers:
    """Çiçek et al. 2016, figure 2; the published count leaves normalisations out."""
    net = Layers(per_filter=1)
    widths = [(32, 64), (64, 128), (128, 256), (256, 512)]
    return _unet(net, Map(3, (116, 132, 132)), widths, lambda x: net.transposed(x, x.channels, 2, 2, per_filter=0), 3)


# Super-resolution, and sound


def srcnn() -> Layers:
    """Dong et al. 2016, the filters 9-5-5; the published count leaves biases out."""
    net = Layers(per_filter=0)
    net.conv(net.conv(net.conv(_image(256, 1), 64, 9), 32, 5), 1, 5)
    return net


def fsrcnn() -> Layers:
    """Dong et al. 2016, FSRCNN (56, 12, 4); the published count leaves biases out."""
    net = Layers(per_filter=0)
    x = net.conv(net.conv(Map(1, (180, 320)), 56, 5), 12)
    for _ in range(4):
        x = net.conv(x, 12, 3)
    net.transposed(net.conv(x, 56), 1, 9, 4)
    return net


def vdsr() -> Layers:
    """Kim et al. 2016: twenty layers; the published count leaves biases out."""
    net = Layers(per_filter=0)
    x = _image(256, 1)
    for _ in range(19):
        x = net.conv(x, 64, 3)
    net.conv(x, 1, 3)
    return net


def edsr_baseline() -> Layers:
    """Lim et al. 2017: sixteen blocks of 64 channels, and 4× by shuffled pixels, up to 720p."""
    net = Layers(per_filter=1)
    x = net.conv(Map(3, (180, 320)), 64, 3)
    for _ in range(2 * 16 + 1):
        x = net.conv(x, 64, 3)
    for _ in range(2):
        x = net.conv(x, 256, 3).enlarged(2).part(64)
    net.conv(x, 3, 3)
    return net


def wavenet() -> Layers:
    """Van den Oord et al. 2016, as a vocoder of four stacks; a quarter of a second at 16 kHz."""
    net = Layers(per_filter=2)  # a bias and the norm of the weight
    signal, spectrum = Map(1, (4000,)), Map(80, (4000,))
    x = net.conv(signal, 512)
    for layer in range(24):
        net.conv(x, 512, 3, d=2 ** (layer % 6))
        net.conv(spectrum, 512, per_filter=1)
        for filters in (512, 256):  # the next layer's input, and a share of the output
            net.conv(x.part(256), filters)
    net.conv(net.conv(x.part(256), 256), 30)
    return net


def hifigan() -> Layers:
    """Kong et al. 2020, V1: residual blocks of three kernels and three dilations after each transposed convolution."""
    net = Layers(per_filter=1)
    x = net.conv(Map(80, (32,)), 512, 7)
    for kernel, factor in ((16, 8), (16, 8), (4, 2), (4, 2)):
        x = net.transposed(x, x.channels // 2, kernel, factor)
        for k in (3, 7, 11):
            for d in (1, 3, 5):
                net.conv(net.conv(x, x.channels, k, d=d), x.channels, k)
    net.conv(x, 1, 7)
    return net


# Video


def c3d() -> Layers:
    """Tran et al. 2015, figure 3, for 101 classes."""
    net = Layers(per_filter=1)
    x = Map(3, (16, 112, 112))
    for stage, (width, depth) in enumerate(((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))):
        for _ in range(depth):
            x = net.conv(x, width, 3)
        size = 2 if stage else (1, 2, 2)
        x = net.pool(x, size, size, (0, 1, 1) if stage == 4 else 0)
    net.linear(x.channels * prod(x.extent), 4096)
    net.linear(4096, 4096)
    net.linear(4096, 101)
    return net


def _video_resnet(split: bool) -> Layers:
    """Tran et al. 2018, table 1, 18 layers: 3×3×3 kernels, or `split` into 1×3×3 and 3×1×1."""
    net = Layers()

    def conv(x: Map, filters: int, stride: int, planes: int) -> Map:
        if not split:
            return net.conv(x, filters, 3, stride)
        # As many channels between as keep the number of weights.
        between = 27 * planes * filters // (9 * planes + 3 * filters)
        return net.conv(net.conv(x, between, (1, 3, 3), (1, stride, stride)), filters, (3, 1, 1), (stride, 1, 1))

    x = Map(3, (16, 112, 112))
    if split:
        x = net.conv(net.conv(x, 45, (1, 7, 7), (1, 2, 2)), 64, (3, 1, 1))
    else:
        x = net.conv(x, 64, (3, 7, 7), (1, 2, 2))
    for stage in range(4):
        width = 64 << stage
        for block in range(2):
            stride, planes = 2 if stage and not block else 1, x.channels
            y = conv(conv(x, width, stride, planes), width, 1, planes)
            if y != x:
                net.conv(x, width, 1, stride)
            x = y
    net.linear(x.channels, 400)
    return net


NETWORKS: dict[str, Callable[[], Layers]] = {
    name: cache(build)
    for name, build in {
        **{name: partial(_classical, name) for name in CLASSICAL},
        "resnet18": partial(_resnet, (2, 2, 2, 2), bottleneck=False),
        "resnet34": partial(_resnet, (3, 4, 6, 3), bottleneck=False),
        "resnet101": partial(_resnet, (3, 4, 23, 3)),
        "wide_resnet50_2": partial(_resnet, (3, 4, 6, 3), width=128),
        "seresnet50": partial(_resnet, (3, 4, 6, 3), squeeze=16),
        "resnext50_32x4d": partial(_resnet, (3, 4, 6, 3), groups=32, width=4),
        "resnext101_32x8d": partial(_resnet, (3, 4, 23, 3), groups=32, width=8),
        "regnet_x_400mf": partial(_regnet, (1, 2, 7, 12), (32, 64, 160, 400), 16),
        "regnet_y_400mf": partial(_regnet, (1, 3, 6, 6), (48, 104, 208, 440), 8, squeeze=True),
        "regnet_y_4gf": partial(_regnet, (2, 6, 12, 2), (128, 192, 512, 1088), 64, squeeze=True),
        "densenet121": densenet121,
        "inception_v3": inception_v3,
        "xception": xception,
        "squeezenet1_1": squeezenet1_1,
        "mobilenet_v1": mobilenet_v1,
        "mobilenet_v2": mobilenet_v2,
        "mobilenet_v3_large": partial(_mobilenet_v3, _V3_LARGE, 1280),
        "mobilenet_v3_small": partial(_mobilenet_v3, _V3_SMALL, 1024),
        "mnasnet": mnasnet,
        "shufflenet_v1": shufflenet_v1,
        "shufflenet_v2": shufflenet_v2,
        "efficientnet_b0": partial(_efficientnet, 224, 1.0, 1.0),
        "efficientnet_b4": partial(_efficientnet, 380, 1.4, 1.8),
        "efficientnet_v2_s": efficientnet_v2_s,
        "convnext_tiny": partial(_convnext, (3, 3, 9, 3), (96, 192, 384, 768)),
        "convnext_base": partial(_convnext, (3, 3, 27, 3), (128, 256, 512, 1024)),
        "vit_b_16": partial(_vit, 16),
        "vit_b_32": partial(_vit, 32),
        "swin_t": swin_t,
        "yolov3": yolov3,
        "yolov8n": yolov8n,
        "deeplabv3_resnet50": deeplabv3_resnet50,
        "lraspp_mobilenet_v3_large": lraspp_mobilenet_v3_large,
        "unet": unet,
        "unet3d": unet3d,
        "srcnn": srcnn,
        "fsrcnn": fsrcnn,
        "vdsr": vdsr,
        "edsr_baseline": edsr_baseline,
        "wavenet": wavenet,
        "hifigan": hifigan,
        "c3d": c3d,
        "r3d_18": partial(_video_resnet, split=False),
        "r2plus1d_18": partial(_video_resnet, split=True),
    }.items()
}
