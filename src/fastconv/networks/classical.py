"""The networks of the classical papers, each as a walk through its layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fastconv.networks.writing import Writer


class Classical(NamedTuple):
    title: str
    extent: int
    channels: int
    write: Callable[[Any, Any], Any]
    """From a writer and the image to the scores of the classes, or to a tuple of them: the network's, then those of
    heads that only training uses."""


# LeCun et al. 1998, table I: which maps of S2 each map of C3 reads; those that read as many, in order.
_LENET5_CONNECTIONS = (
    ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    ((0, 1, 3, 4), (1, 2, 4, 5), (2, 3, 5, 0)),
    ((0, 1, 2, 3, 4, 5),),
)


def lenet5(net: Writer[Any], x: Any, *, partially_connected: bool = False) -> Any:
    """LeCun et al. 1998, but with ReLUs and a plain last layer, as in later practice.

    In the paper S2 is partially connected to C3, by four convolutions of overlapping groups.
    """
    x = net.conv("conv1", x, 6, 5, padding=2)
    x = net.pool("pool1", x, 2, 2)
    if partially_connected:
        parts = []
        for number, groups in enumerate(_LENET5_CONNECTIONS, 1):
            picked = net.pick(f"conv2 input {number}", x, [channel for group in groups for channel in group])
            parts.append(net.conv(f"conv2 part {number}", picked, len(groups), 5, groups=len(groups)))
        x = net.cat("conv2", parts)
    else:
        x = net.conv("conv2", x, 16, 5)
    x = net.pool("pool2", x, 2, 2)
    x = net.conv("conv3", x, 120, 5)
    x = net.full("fc4", x, 84)
    return net.full("fc5", x, 10, linear=True)


def alexnet(net: Writer[Any], x: Any) -> Any:
    """Krizhevsky et al. 2012, with its two groups."""
    x = net.conv("conv1", x, 96, 11, 4)
    x = net.pool("pool1", net.response_norm("norm1", x), 3, 2)
    x = net.conv("conv2", x, 256, 5, padding=2, groups=2)
    x = net.pool("pool2", net.response_norm("norm2", x), 3, 2)
    x = net.conv("conv3", x, 384, 3, padding=1)
    x = net.conv("conv4", x, 384, 3, padding=1, groups=2)
    x = net.conv("conv5", x, 256, 3, padding=1, groups=2)
    return _classifier(net, net.pool("pool5", x, 3, 2))


def zfnet(net: Writer[Any], x: Any) -> Any:
    """Zeiler and Fergus 2014."""
    x = net.conv("conv1", x, 96, 7, 2, 1)
    x = net.response_norm("norm1", net.pool("pool1", x, 3, 2, 1))
    x = net.conv("conv2", x, 256, 5, 2)
    x = net.response_norm("norm2", net.pool("pool2", x, 3, 2, 1))
    x = net.conv("conv3", x, 384, 3, padding=1)
    x = net.conv("conv4", x, 384, 3, padding=1)
    x = net.conv("conv5", x, 256, 3, padding=1)
    return _classifier(net, net.pool("pool5", x, 3, 2))


# Simonyan and Zisserman 2015, table 1: the kernels of each stage's convolutions.
_VGG = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}


def vgg(net: Writer[Any], x: Any, *, configuration: str, response_norm: bool = False) -> Any:
    """Simonyan and Zisserman 2015."""
    for stage, (width, kernels) in enumerate(zip((64, 128, 256, 512, 512), _VGG[configuration], strict=True), 1):
        for step, kernel in enumerate(kernels, 1):
            x = net.conv(f"conv{stage}_{step}", x, width, kernel, padding=kernel // 2)
        if response_norm and stage == 1:
            x = net.response_norm("norm1", x)
        x = net.pool(f"pool{stage}", x, 2, 2)
    return _classifier(net, x)


def _classifier(net: Writer[Any], x: Any) -> Any:
    """The three full connections at the end of AlexNet and its successors."""
    x = net.dropout(net.full("fc6", x, 4096))
    x = net.dropout(net.full("fc7", x, 4096))
    return net.full("fc8", x, 1000, linear=True)


# Szegedy et al. 2015, table 1: filters of 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection.
_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(net: Writer[Any], x: Any, *, auxiliary: bool = False) -> Any:
    """Szegedy et al. 2015, with or without the two auxiliary classifiers.

    In training their losses, times 0.3, are added to the network's; at test time they are left out.
    """
    heads = []
    x = net.conv("conv1", x, 64, 7, 2, 3)
    x = net.response_norm("norm1", net.pool("pool1", x, 3, 2, ceil=True))
    x = net.conv("conv2", net.conv("conv2 reduce", x, 64), 192, 3, padding=1)
    x = net.pool("pool2", net.response_norm("norm2", x), 3, 2, ceil=True)
    for module, (one, reduce3, three, reduce5, five, pool) in _INCEPTIONS.items():
        if module in ("4a", "5a"):
            x = net.pool(f"pool{int(module[0]) - 1}", x, 3, 2, ceil=True)
        branches = [net.conv(f"{module} 1x1", x, one)]
        branches.append(net.conv(f"{module} 3x3", net.conv(f"{module} 3x3 reduce", x, reduce3), three, 3, padding=1))
        branches.append(net.conv(f"{module} 5x5", net.conv(f"{module} 5x5 reduce", x, reduce5), five, 5, padding=2))
        branches.append(net.conv(f"{module} pool projection", net.pool(f"{module} pool", x, 3, 1, 1), pool))
        x = net.cat(module, branches)
        if auxiliary and module in ("4a", "4d"):
            heads.append(_auxiliary_classifier(net, f"auxiliary {module}", x))
    x = net.dropout(net.pool("pool5", x, 7, 7, mean=True), 0.4)
    scores = net.full("fc", x, 1000, linear=True)
    return (scores, *heads) if auxiliary else scores


def _auxiliary_classifier(net: Writer[Any], name: str, x: Any) -> Any:
    x = net.conv(f"{name} reduce", net.pool(f"{name} pool", x, 5, 3, mean=True), 128)
    x = net.dropout(net.full(f"{name} fc1", x, 1024), 0.7)
    return net.full(f"{name} fc2", x, 1000, linear=True)


def resnet(net: Writer[Any], x: Any, *, blocks: tuple[int, ...], bottleneck: bool) -> Any:
    """He et al. 2016, table 1, but with the stride in a bottleneck's 3×3, as in later practice."""
    x = net.pool("pool1", net.conv("conv1", x, 64, 7, 2, 3, norm=True), 3, 2, 1)
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 2):
        filters = 4 * width if bottleneck else width
        for block in range(count):
            name, stride = f"conv{stage}_{block + 1}", 2 if block == 0 and stage > 2 else 1
            if bottleneck:
                y = net.conv(f"{name} reduce", x, width, norm=True)
                y = net.conv(f"{name} 3x3", y, width, 3, stride, 1, norm=True)
                y = net.conv(f"{name} expand", y, filters, norm=True, linear=True)
            else:
                y = net.conv(f"{name} first", x, width, 3, stride, 1, norm=True)
                y = net.conv(f"{name} second", y, width, 3, 1, 1, norm=True, linear=True)
            if x.channels != filters or stride != 1:
                x = net.conv(f"{name} projection", x, filters, 1, stride, norm=True, linear=True)
            x = net.add(name, y, x)
    return net.full("fc", net.pool("pool5", x, 7, 7, mean=True), 1000, linear=True)


# Iandola et al. 2016, version 1.1: filters of squeeze, and of each of the two expansions.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def squeezenet(net: Writer[Any], x: Any) -> Any:
    """Iandola et al. 2016, in its version 1.1."""
    x = net.pool("pool1", net.conv("conv1", x, 64, 3, 2), 3, 2, ceil=True)
    for number, (squeeze, expand) in enumerate(_FIRES, 2):
        x = net.conv(f"fire{number} squeeze", x, squeeze)
        branches = net.conv(f"fire{number} 1x1", x, expand), net.conv(f"fire{number} 3x3", x, expand, 3, padding=1)
        x = net.cat(f"fire{number}", branches)
        if number in (3, 5):
            x = net.pool(f"pool{number}", x, 3, 2, ceil=True)
    x = net.conv("conv10", net.dropout(x), 1000)
    return net.flat(net.pool("pool10", x, x.extent, 1, mean=True))


# Sandler et al. 2018, table 2: expansion, filters, repeats and first stride of each stage.
_BOTTLENECKS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def mobilenet_v2(net: Writer[Any], x: Any) -> Any:
    """Sandler et al. 2018."""
    x = net.conv("conv1", x, 32, 3, 2, 1, norm=True, relu6=True)
    for stage, (factor, filters, count, first) in enumerate(_BOTTLENECKS, 2):
        for block in range(count):
            name, stride, width = f"conv{stage}_{block + 1}", first if block == 0 else 1, factor * x.channels
            y = net.conv(f"{name} expand", x, width, norm=True, relu6=True) if factor > 1 else x
            y = net.conv(f"{name} depthwise", y, width, 3, stride, 1, groups=width, norm=True, relu6=True)
            y = net.conv(f"{name} project", y, filters, norm=True, linear=True)
            x = net.add(name, y, x, linear=True) if stride == 1 and x.channels == filters else y
    x = net.conv("conv9", x, 1280, norm=True, relu6=True)
    x = net.pool("pool9", x, x.extent, 1, mean=True)
    return net.full("fc", net.dropout(x), 1000, linear=True)


CLASSICAL = {
    "lenet5": Classical("LeNet-5", 28, 1, lenet5),
    "lenet5_partial": Classical("LeNet-5, partially connected", 28, 1, partial(lenet5, partially_connected=True)),
    "alexnet": Classical("AlexNet", 227, 3, alexnet),
    "zfnet": Classical("ZFNet", 224, 3, zfnet),
    "vgg11": Classical("VGG-11 (A)", 224, 3, partial(vgg, configuration="A")),
    "vgg11_lrn": Classical("VGG-11 (A-LRN)", 224, 3, partial(vgg, configuration="A", response_norm=True)),
    "vgg13": Classical("VGG-13 (B)", 224, 3, partial(vgg, configuration="B")),
    "vgg16_c": Classical("VGG-16 (C)", 224, 3, partial(vgg, configuration="C")),
    "vgg16": Classical("VGG-16", 224, 3, partial(vgg, configuration="D")),
    "vgg19": Classical("VGG-19 (E)", 224, 3, partial(vgg, configuration="E")),
    "googlenet": Classical("GoogLeNet", 224, 3, googlenet),
    "googlenet_auxiliary": Classical(
        "GoogLeNet with auxiliary classifiers", 224, 3, partial(googlenet, auxiliary=True)
    ),
    "resnet18": Classical("ResNet-18", 224, 3, partial(resnet, blocks=(2, 2, 2, 2), bottleneck=False)),
    "resnet34": Classical("ResNet-34", 224, 3, partial(resnet, blocks=(3, 4, 6, 3), bottleneck=False)),
    "resnet50": Classical("ResNet-50", 224, 3, partial(resnet, blocks=(3, 4, 6, 3), bottleneck=True)),
    "resnet101": Classical("ResNet-101", 224, 3, partial(resnet, blocks=(3, 4, 23, 3), bottleneck=True)),
    "resnet152": Classical("ResNet-152", 224, 3, partial(resnet, blocks=(3, 8, 36, 3), bottleneck=True)),
    "squeezenet": Classical("SqueezeNet 1.1", 224, 3, squeezenet),
    "mobilenet_v2": Classical("MobileNetV2", 224, 3, mobilenet_v2),
}
