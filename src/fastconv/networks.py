"""Classical networks, layer by layer, as descriptors: their convolutions, pooling and full connections.

The batch is one image. A full connection is written as the convolution it is, with a kernel as large as the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from fastconv.engine.geometry import ConvGeometry, PoolGeometry
from fastconv.receptive import Layer, Network, chain


def _geometry(descriptor: str) -> ConvGeometry | PoolGeometry:
    kind = ConvGeometry if "ic" in descriptor else PoolGeometry
    return kind.parse(descriptor)


def _sequence(title: str, layers: dict[str, str]) -> Network:
    return chain(title, ((name, _geometry(descriptor)) for name, descriptor in layers.items()))


def lenet5() -> Network:
    """LeCun et al. 1998, but with S2 fully connected to C3 and a plain last layer, as in later practice."""
    return _sequence(
        "LeNet-5",
        {
            "conv1": "ic1 oc6 i28 k5 p2",
            "pool1": "c6 i28 k2 s2",
            "conv2": "ic6 oc16 i14 k5",
            "pool2": "c16 i10 k2 s2",
            "conv3": "ic16 oc120 i5 k5",
            "fc4": "ic120 oc84 i1 k1",
            "fc5": "ic84 oc10 i1 k1",
        },
    )


def alexnet() -> Network:
    """Krizhevsky et al. 2012, with its two groups."""
    return _sequence(
        "AlexNet",
        {
            "conv1": "ic3 oc96 i227 k11 s4",
            "pool1": "c96 i55 k3 s2",
            "conv2": "g2 ic96 oc256 i27 k5 p2",
            "pool2": "c256 i27 k3 s2",
            "conv3": "ic256 oc384 i13 k3 p1",
            "conv4": "g2 ic384 oc384 i13 k3 p1",
            "conv5": "g2 ic384 oc256 i13 k3 p1",
            "pool5": "c256 i13 k3 s2",
            **_classifier(256, 6),
        },
    )


def zfnet() -> Network:
    """Zeiler and Fergus 2014."""
    return _sequence(
        "ZFNet",
        {
            "conv1": "ic3 oc96 i224 k7 s2 p1",
            "pool1": "c96 i110 k3 s2 p1",
            "conv2": "ic96 oc256 i55 k5 s2",
            "pool2": "c256 i26 k3 s2 p1",
            "conv3": "ic256 oc384 i13 k3 p1",
            "conv4": "ic384 oc384 i13 k3 p1",
            "conv5": "ic384 oc256 i13 k3 p1",
            "pool5": "c256 i13 k3 s2",
            **_classifier(256, 6),
        },
    )


def vgg16() -> Network:
    """Simonyan and Zisserman 2015, configuration D."""
    layers, channels, extent = {}, 3, 224
    for stage, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for step in range(1, depth + 1):
            layers[f"conv{stage}_{step}"] = f"ic{channels} oc{width} i{extent} k3 p1"
            channels = width
        layers[f"pool{stage}"] = f"c{width} i{extent} k2 s2"
        extent //= 2
    return _sequence("VGG-16", layers | _classifier(512, 7))


def _classifier(channels: int, extent: int) -> dict[str, str]:
    """The three full connections at the end of AlexNet and its successors."""
    return {
        "fc6": f"ic{channels} oc4096 i{extent} k{extent}",
        "fc7": "ic4096 oc4096 i1 k1",
        "fc8": "ic4096 oc1000 i1 k1",
    }


# Szegedy et al. 2015, table 1: extent; filters of 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection.
_INCEPTIONS = {
    "3a": (28, 64, 96, 128, 16, 32, 32),
    "3b": (28, 128, 128, 192, 32, 96, 64),
    "4a": (14, 192, 96, 208, 16, 48, 64),
    "4b": (14, 160, 112, 224, 24, 64, 64),
    "4c": (14, 128, 128, 256, 24, 64, 64),
    "4d": (14, 112, 144, 288, 32, 64, 64),
    "4e": (14, 256, 160, 320, 32, 128, 128),
    "5a": (7, 256, 160, 320, 32, 128, 128),
    "5b": (7, 384, 192, 384, 48, 128, 128),
}


def googlenet() -> Network:
    """Szegedy et al. 2015, without the auxiliary classifiers."""
    layers: list[Layer] = []

    def add(name: str, descriptor: str, after: Sequence[str]) -> None:
        layers.append(Layer(name, _geometry(descriptor), tuple(after)))

    add("conv1", "ic3 oc64 i224 k7 s2 p3", ())
    add("pool1", "c64 i112 k3 s2 ceil", ["conv1"])
    add("conv2 reduce", "ic64 oc64 i56 k1", ["pool1"])
    add("conv2", "ic64 oc192 i56 k3 p1", ["conv2 reduce"])
    add("pool2", "c192 i56 k3 s2 ceil", ["conv2"])
    sources, channels = ["pool2"], 192
    for module, (extent, one, reduce3, three, reduce5, five, pool) in _INCEPTIONS.items():
        if layers[-1].geometry.out_extent[0] > extent:
            add(f"pool{int(module[0]) - 1}", f"c{channels} i{2 * extent} k3 s2 ceil", sources)
            sources = [layers[-1].name]
        add(f"{module} 1x1", f"ic{channels} oc{one} i{extent} k1", sources)
        add(f"{module} 3x3 reduce", f"ic{channels} oc{reduce3} i{extent} k1", sources)
        add(f"{module} 3x3", f"ic{reduce3} oc{three} i{extent} k3 p1", [f"{module} 3x3 reduce"])
        add(f"{module} 5x5 reduce", f"ic{channels} oc{reduce5} i{extent} k1", sources)
        add(f"{module} 5x5", f"ic{reduce5} oc{five} i{extent} k5 p2", [f"{module} 5x5 reduce"])
        add(f"{module} pool", f"c{channels} i{extent} k3 p1", sources)
        add(f"{module} pool projection", f"ic{channels} oc{pool} i{extent} k1", [f"{module} pool"])
        sources = [f"{module} {part}" for part in ("1x1", "3x3", "5x5", "pool projection")]
        channels = one + three + five + pool
    add("pool5", "c1024 i7 k7", sources)
    add("fc", "ic1024 oc1000 i1 k1", ["pool5"])
    return Network("GoogLeNet", layers)


def resnet50() -> Network:
    """He et al. 2016, table 1, but with the stride in a bottleneck's 3×3, as in later practice."""
    layers: list[Layer] = []

    def add(name: str, descriptor: str, after: Sequence[str], learnt_per_filter: int = 2) -> None:
        layers.append(Layer(name, _geometry(descriptor), tuple(after), learnt_per_filter))

    add("conv1", "ic3 oc64 i224 k7 s2 p3", ())
    add("pool1", "c64 i112 k3 s2 p1", ["conv1"])
    sources, channels, extent = ["pool1"], 64, 56
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block, letter in enumerate("abcdef"[:blocks]):
            name, stride = f"conv{stage}{letter}", 2 if block == 0 and stage > 2 else 1
            add(f"{name} reduce", f"ic{channels} oc{width} i{extent} k1", sources)
            add(f"{name} 3x3", f"ic{width} oc{width} i{extent} k3 s{stride} p1", [f"{name} reduce"])
            add(f"{name} expand", f"ic{width} oc{4 * width} i{extent // stride} k1", [f"{name} 3x3"])
            if block == 0:
                add(f"{name} projection", f"ic{channels} oc{4 * width} i{extent} k1 s{stride}", sources)
                sources = [f"{name} projection"]
            # The next block reads the sum of both; its shortcut carries everything that came before.
            sources, channels, extent = [f"{name} expand", *sources], 4 * width, extent // stride
    add("pool5", "c2048 i7 k7", sources)
    add("fc", "ic2048 oc1000 i1 k1", ["pool5"], 1)
    return Network("ResNet-50", layers)


NETWORKS: dict[str, Callable[[], Network]] = {
    build.__name__: cache(build) for build in (lenet5, alexnet, zfnet, vgg16, googlenet, resnet50)
}
