"""Names of layers, each with the descriptor that `fastconv.engine.geometry` parses.

`TABLES` holds every table by its name: mixed convolutions, filters of images and signals, pooling windows, gradients,
the other layers, and the convolutions of whole classical networks.
"""

from __future__ import annotations

from fastconv.networks import NETWORKS

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

# Gaussians with this many taps, which reach four standard deviations: as kernels that `convolve2d` recognises as
# separable, and as blurs.
GAUSSIANS = {
    f"{extent}x{extent} {kernel}x{kernel}": f"ic1 oc1 i{extent} k{kernel} p{kernel // 2}"
    for extent in (1024, 256)
    for kernel in (9, 17, 33)
}

# Maxima and means of windows.
WINDOWS = {
    f"{extent}x{extent} {kernel}x{kernel}": f"ic1 oc1 i{extent} k{kernel} p{kernel // 2}"
    for extent in (1024, 256)
    for kernel in (3, 7, 15, 31)
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

# Convolutions whose gradients and transposes are timed.
GRADIENTS = {
    name: CONVOLUTIONS[name]
    for name in (
        "VGG conv1_1",
        "VGG conv2_2",
        "VGG conv3_2",
        "VGG conv4_2",
        "VGG conv5",
        "3x3 s2 128-128 @56",
        "1x1 64-256 @56",
        "1x1 1024-256 @14",
        "depthwise 3x3 128 @56",
        "AlexNet conv1",
    )
}

# The other layers, with the extents of their input: maps of one image, its scores, and the scores of a batch; `linear`
# adds its number of outputs (AlexNet's and VGG's first, LeNet's last).
LAYERS = {
    f"{operation} {extents}": f"{operation} {extents}"
    for operations, shapes in (
        ("relu leaky_relu prelu gelu silu sigmoid tanh hardswish dropout", "1x64x56x56 1x1000 256x1000"),
        ("softmax log_softmax cross_entropy", "1x1000 256x1000"),
        ("batch_norm", "1x64x56x56 256x1000"),
        ("local_response_norm", "1x96x55x55 1x256x27x27"),
        ("linear", "1x9216-4096 64x9216-4096 1x25088-4096 64x25088-4096 1x84-10 64x84-10"),
    )
    for operation in operations.split()
    for extents in shapes.split()
}

# Those whose layers are measured; the others of their families repeat them.
MEASURED = ("lenet5", "alexnet", "zfnet", "vgg16", "googlenet", "resnet50")

# Every distinct convolution of these networks, by the first layer that computes it.
NETWORK_TABLES = {
    name: {names[0]: str(geometry) for geometry, names in NETWORKS[name]().convolutions.items()} for name in MEASURED
}

# How often a network repeats a layer, if more than once; for sums over all its convolutions.
REPEATS = {
    name: {names[0]: len(names) for names in NETWORKS[name]().convolutions.values() if len(names) > 1}
    for name in MEASURED
}

TABLES = {
    "conv": CONVOLUTIONS,
    "filters": FILTERS,
    "gaussians": GAUSSIANS,
    "blurs": GAUSSIANS,
    "windows": WINDOWS,
    "signals": SIGNALS,
    "pools": POOLS,
    "gradients": GRADIENTS,
    "layers": LAYERS,
    **NETWORK_TABLES,
}
