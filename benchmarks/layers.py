"""Names of layers, each with the descriptor that `fastconv.geometry` parses.

`TABLES` holds every table by its name: the mixed convolutions, filters of images and signals, and the pooling windows
that are compared by default, and the convolutions of whole classical networks.
"""

from __future__ import annotations

CONVOLUTIONS = {
    "VGG conv1_1": "ic3 oc64 i224 k3 p1",
    "VGG conv1_2": "ic64 oc64 i224 k3 p1",
    "VGG conv2_1": "ic64 oc128 i112 k3 p1",
    "VGG conv2_2": "ic128 oc128 i112 k3 p1",
    "VGG conv3_1": "ic128 oc256 i56 k3 p1",
    "VGG conv3_2": "ic256 oc256 i56 k3 p1",
    "VGG conv4_1": "ic256 oc512 i28 k3 p1",
    "VGG conv4_2": "ic512 oc512 i28 k3 p1",
    "VGG conv5": "ic512 oc512 i14 k3 p1",
    "AlexNet conv1": "ic3 oc96 i227 k11 s4",
    "ZFNet conv1": "ic3 oc96 i224 k7 s2 p1",
    "ResNet conv1": "ic3 oc64 i224 k7 s2 p3",
    "1x1 64-256 @56": "ic64 oc256 i56 k1",
    "1x1 1024-256 @14": "ic1024 oc256 i14 k1",
    "3x3 s2 128-128 @56": "ic128 oc128 i56 k3 s2 p1",
    "GoogLeNet 5x5 32-96 @28": "ic32 oc96 i28 k5 p2",
    "depthwise 3x3 128 @56": "g128 ic128 oc128 i56 k3 p1",
    "depthwise 3x3 s2 256 @56": "g256 ic256 oc256 i56 k3 s2 p1",
    "LeNet conv1 batch 64": "n64 ic1 oc6 i28 k5 p2",
}

FILTERS = {
    f"{extent}x{extent} {kernel}x{kernel}": f"ic1 oc1 i{extent} k{kernel} p{kernel // 2}"
    for extent in (1024, 256)
    for kernel in (3, 5, 7, 11, 15, 31, 63)
}

# Gaussians of so many taps, which reach four standard deviations: as kernels that `convolve2d` finds separable, and
# blurs.
GAUSSIANS = {
    f"{extent}x{extent} {kernel}x{kernel}": f"ic1 oc1 i{extent} k{kernel} p{kernel // 2}"
    for extent in (1024, 256)
    for kernel in (9, 17, 33)
}

SIGNALS = {
    f"{samples} x {taps}": f"ic1 oc1 iw{samples} kw{taps} p{taps // 2}"
    for samples, taps in ((1_000_000, 65), (1_000_000, 2001), (100_000, 65), (1000, 9))
}

POOLS = {
    "64@224 2x2 s2": "c64 i224 k2 s2",
    "256@56 2x2 s2": "c256 i56 k2 s2",
    "64@112 3x3 s2 p1": "c64 i112 k3 s2 p1",
    "192@28 3x3 s1 p1": "c192 i28 k3 p1",
    "32@112 13x13 s1 p6": "c32 i112 k13 p6",
}

# LeCun et al. 1998, with the full connection of S2 to C3 that later practice uses.
LENET5 = {
    "conv1": "n64 ic1 oc6 i28 k5 p2",
    "conv2": "n64 ic6 oc16 i14 k5",
    "conv3": "n64 ic16 oc120 i5 k5",
}

# Krizhevsky et al. 2012, in its two groups.
ALEXNET = {
    "conv1": "ic3 oc96 i227 k11 s4",
    "conv2": "g2 ic96 oc256 i27 k5 p2",
    "conv3": "ic256 oc384 i13 k3 p1",
    "conv4": "g2 ic384 oc384 i13 k3 p1",
    "conv5": "g2 ic384 oc256 i13 k3 p1",
}

# Zeiler and Fergus 2014.
ZFNET = {
    "conv1": "ic3 oc96 i224 k7 s2 p1",
    "conv2": "ic96 oc256 i55 k5 s2",
    "conv3": "ic256 oc384 i13 k3 p1",
    "conv4": "ic384 oc384 i13 k3 p1",
    "conv5": "ic384 oc256 i13 k3 p1",
}

# Simonyan and Zisserman 2015, configuration D; conv5_1 to conv5_3 are equal.
VGG16 = {name.removeprefix("VGG "): descriptor for name, descriptor in CONVOLUTIONS.items() if name.startswith("VGG ")}

# How often a network repeats a layer, if more than once, for sums over all its convolutions.
REPEATS = {"vgg16": {"conv3_2": 2, "conv4_2": 2, "conv5": 3}}

# Szegedy et al. 2015, table 1: input channels, extent; filters of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool proj.
_INCEPTIONS = {
    "3a": (192, 28, 64, 96, 128, 16, 32, 32),
    "3b": (256, 28, 128, 128, 192, 32, 96, 64),
    "4a": (480, 14, 192, 96, 208, 16, 48, 64),
    "4b": (512, 14, 160, 112, 224, 24, 64, 64),
    "4c": (512, 14, 128, 128, 256, 24, 64, 64),
    "4d": (512, 14, 112, 144, 288, 32, 64, 64),
    "4e": (528, 14, 256, 160, 320, 32, 128, 128),
    "5a": (832, 7, 256, 160, 320, 32, 128, 128),
    "5b": (832, 7, 384, 192, 384, 48, 128, 128),
}

GOOGLENET = {
    "conv1": "ic3 oc64 i224 k7 s2 p3",
    "conv2 reduce": "ic64 oc64 i56 k1",
    "conv2": "ic64 oc192 i56 k3 p1",
} | {
    f"{module} {part}": f"ic{ic} oc{oc} i{extent} k{kernel} p{kernel // 2}"
    for module, (channels, extent, one, reduce3, three, reduce5, five, pool) in _INCEPTIONS.items()
    for part, ic, oc, kernel in (
        ("1x1", channels, one, 1),
        ("3x3 reduce", channels, reduce3, 1),
        ("3x3", reduce3, three, 3),
        ("5x5 reduce", channels, reduce5, 1),
        ("5x5", reduce5, five, 5),
        ("pool projection", channels, pool, 1),
    )
}

# He et al. 2016, table 1, the bottlenecks of ResNet-50 with the stride in their 3x3: name, width, extent.
RESNET50 = {"conv1": "ic3 oc64 i224 k7 s2 p3"} | {
    f"{stage} {part}": descriptor
    for stage, width, extent in (("conv2", 64, 56), ("conv3", 128, 28), ("conv4", 256, 14), ("conv5", 512, 7))
    for part, descriptor in (
        ("reduce", f"ic{4 * width} oc{width} i{extent} k1"),
        ("3x3", f"ic{width} oc{width} i{extent} k3 p1"),
        ("expand", f"ic{width} oc{4 * width} i{extent} k1"),
    )
}

TABLES = {
    "conv": CONVOLUTIONS,
    "filters": FILTERS,
    "gaussians": GAUSSIANS,
    "blurs": GAUSSIANS,
    "signals": SIGNALS,
    "pools": POOLS,
    "lenet5": LENET5,
    "alexnet": ALEXNET,
    "zfnet": ZFNET,
    "vgg16": VGG16,
    "googlenet": GOOGLENET,
    "resnet50": RESNET50,
}
