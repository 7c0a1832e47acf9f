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

# Every kernel of channels-last images: kernels that are compiled for their extent and any other, few and many positions
# and channels, padding on all sides.
DEPTHWISE = [
    f"n2 g{channels} ic{channels} oc{channels} ih{high} iw{wide} {window}"
    for window in (
        "k3 p1",
        "k3 s2 p1",
        "k5 p2",
        "k5 s2 p3",
        "k7 p3",
        "kh2 kw3 s3 p1",
        "k3 d2 p3",
        "kh11 kw1 p0",
        "k1 s2 p1",
    )
    for channels, high, wide in ((16, 11, 12), (19, 12, 11), (67, 14, 25), (160, 11, 13), (512, 11, 4))
]


def randoms(g):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.weight_shape, g.oc))
    return x, weight, bias, {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.g}


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
    x, weight, _, options = randoms(g)
    expected = fastconv.conv2d(x, weight, **options, strategy="interleaved", num_threads=1)
    again = fastconv.conv2d(channels_last(x), weight, **options, strategy="interleaved", num_threads=2)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(computed(g, x, weight, channels_last(expected)), expected)


@pytest.mark.per_isa
@pytest.mark.parametrize("descriptor", DEPTHWISE)
def test_images_read_where_they_lie(descriptor):
    """Layouts are computed by different kernels, to the same bits, with bias and any kind of activation."""
    g = ConvGeometry.parse(descriptor)
    x, weight, bias, options = randoms(g)
    for activation in (None, "relu", ("leaky_relu", 0.1), "silu"):
        options |= {"strategy": "interleaved", "activation": activation}
        expected = fastconv.conv2d(x, weight, bias, **options)
        prepared = fastconv.prepare_conv2d(weight, bias, **options, layout="NHWC")
        np.testing.assert_array_equal(prepared(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), expected)
        images = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(prepared(images).transpose(0, 3, 1, 2), expected)


def test_weights_that_are_not_finite_meet_the_padding():
    """Zeros around the image take part in the sums: a tap that is infinite makes NaN of them."""
    g = ConvGeometry.parse("n1 g24 ic24 oc24 i9 k3 p1")
    x, weight, options = integers(*g.x_shape), integers(*g.weight_shape), randoms(g)[-1]
    weight[5, 0, 0, 2], weight[23, 0, 2, 1] = np.inf, np.nan
    images = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    out = fastconv.conv2d(images, weight, **options, strategy="interleaved", layout="NHWC").transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(out, fastconv.conv2d(x, weight, **options, strategy="reference"))
    for unseen in (out[0, 5, 0], out[0, 5, :, -1], out[0, 23]):
        assert np.isnan(unseen).all()
