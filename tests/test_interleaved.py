"""Convolution by vectors across channels, in both layouts of images and outputs."""

import numpy as np
import pytest

import fastconv
from fastconv.engine.convolution import BY_NAME
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import ConvGeometry

INTERLEAVED, REFERENCE = BY_NAME["interleaved"], BY_NAME["reference"]

# Channels that fill vectors and that do not, several filters and channels per group, planes of one and of many tiles.
DESCRIPTORS = [
    "n2 g16 ic16 oc16 i7 k3 p1",
    "n1 g19 ic19 oc19 i14 k5 s2 p2",
    "n2 g32 ic32 oc32 ih5 iw3 kh3 kw2 s3 p1",
    "n1 g6 ic6 oc18 i9 k3 d2 p2",
    "n1 g5 ic15 oc10 i9 k3 p1",
    "n1 ic3 oc17 i11 k3 s2 p1",
    "n1 g9 ic9 oc9 ih70 iw90 k3 p1",
    "n1 g8 ic8 oc8 ih1 iw3000 kh1 kw5 p0",
]


def integers(*shape):
    return np.random.default_rng(len(shape) + sum(shape)).integers(-9, 10, shape).astype(np.float32)


def channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def computed(g, x, weight, out):
    out.fill(np.nan)
    INTERLEAVED.run(g, x, INTERLEAVED.prepare(g, weight, 1), out, PLAIN, 1, 1 << 30)
    return out


@pytest.mark.per_isa
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_either_layout(descriptor, dtype):
    """Whole numbers are exact, wherever the channels of the image and of the output lie."""
    g = ConvGeometry.parse(descriptor)
    x, weight = integers(*g.x_shape).astype(dtype), integers(*g.weight_shape).astype(dtype)
    expected = np.empty(g.out_shape, dtype)
    REFERENCE.run(g, x, REFERENCE.prepare(g, weight, 1), expected, PLAIN, 1, 1 << 30)
    for image in (x, channels_last(x), np.flip(np.flip(x, 3).copy(), 3)):
        for out in (np.empty_like(expected), channels_last(expected)):
            np.testing.assert_array_equal(computed(g, image, weight, out), expected)


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_bits_depend_on_neither_layout_nor_threads(descriptor):
    g = ConvGeometry.parse(descriptor)
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.weight_shape))
    options = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.g}
    expected = fastconv.conv2d(x, weight, **options, strategy="interleaved", num_threads=1)
    again = fastconv.conv2d(channels_last(x), weight, **options, strategy="interleaved", num_threads=2)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(computed(g, x, weight, channels_last(expected)), expected)
