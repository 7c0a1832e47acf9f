"""Convolution by tiles of positions and filters that read images where they lie, in both layouts."""

import numpy as np
import pytest

import fastconv
from fastconv.engine import rates
from fastconv.engine.convolution import BY_NAME
from fastconv.engine.convolution.indirect import _in_place, _regions
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import ConvGeometry

INDIRECT, REFERENCE = BY_NAME["indirect"], BY_NAME["reference"]


@pytest.fixture(autouse=True)
def _rates():
    """Images are read in place by their cost: at the rates of AVX-512, fewer of these small ones would be."""
    with rates.substituted(rates.REFERENCE):
        yield


# Filters that fill vectors and panels and that do not; few positions and several blocks of them, down and across; steps
# that make one block of the reduction, blocks of rows of taps, of taps, and parts of a tap; some channels at a time;
# single positions, whose panels are summed together, and one that no stride of its kernel sees whole; patches, whose
# blocks are larger; lines of nothing but padding.
DESCRIPTORS = [
    "n2 g4 ic16 oc16 i7 k3 p1",
    "n1 g3 ic24 oc36 i14 k5 s2 p2",
    "n2 g2 ic32 oc64 ih5 iw3 kh3 kw2 s3 p1",
    "n1 g6 ic6 oc18 i9 k3 d2 p2",
    "n1 g5 ic15 oc10 i9 k3 p1",
    "n1 g2 ic20 oc6 i12 k3",
    "n1 g2 ic400 oc40 i6 k3 p1",
    "n1 ic700 oc60 i6 k1",
    "n1 ic500 oc9 i7 k7 p3",
    "n1 ic1200 oc9 i6 k2 s2",
    "n1 g3 ic48 oc120 ih70 iw90 k3 p1",
    "n1 g2 ic64 oc16 ih1 iw3000 kh1 kw5 p0",
    "n1 ic9 oc130 i1 k1",
    "n1 ic5 oc7 i1 k3 s3 p1",
    "n3 g2 ic34 oc400 i1 k1",
    "n1 ic700 oc270 i1 k1",
    "n2 ic5 oc104 i4 k4",
    "n2 g2 ic16 oc48 ih5 iw3 kh1 kw1",
    "n1 ic128 oc40 ih24 iw40 k8 s8",
    "n1 g2 ic6 oc10 ih5 iw4 k3 s2 pt7 pb4 pl6 pr9",
    "n2 ic9 oc13 i70 k3 s2 p1",
    "n1 ic40 oc24 ih70 iw50 k3 p1",
    "n1 ic3 oc16 ih160 iw90 kh5 kw7 s3 pt2 pb1 pl3 pr9",
    "n1 ic19 oc16 ih44 iw33 k3 d5 p4",
]


def integers(*shape):
    return np.random.default_rng(len(shape) + sum(shape)).integers(-9, 10, shape).astype(np.float32)


def channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def computed(g, x, weight, out):
    out.fill(np.nan)
    INDIRECT.run(g, x, INDIRECT.prepare(g, weight, 1), out, PLAIN, 1, 1 << 30)
    return out


@pytest.mark.per_isa
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_layout(descriptor, dtype):
    """Whole numbers are exact, wherever the channels of the image and of the output lie."""
    g = ConvGeometry.parse(descriptor)
    x, weight = integers(*g.x_shape).astype(dtype), integers(*g.weight_shape).astype(dtype)
    expected = np.empty(g.out_shape, dtype)
    REFERENCE.run(g, x, REFERENCE.prepare(g, weight, 1), expected, PLAIN, 1, 1 << 30)
    for image in (x, channels_last(x), np.flip(np.flip(x, 3).copy(), 3)):
        for out in (
            np.empty_like(expected),
            channels_last(expected),
            expected.transpose(0, 1, 3, 2).copy().swapaxes(2, 3),
        ):
            np.testing.assert_array_equal(computed(g, image, weight, out), expected)


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_bits_depend_on_neither_layout_nor_threads(descriptor):
    g = ConvGeometry.parse(descriptor)
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.weight_shape))
    options = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.g}
    expected = fastconv.conv2d(x, weight, **options, strategy="indirect", num_threads=1)
    again = fastconv.conv2d(channels_last(x), weight, **options, strategy="indirect", num_threads=2)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(computed(g, x, weight, channels_last(expected)), expected)


@pytest.mark.per_isa
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid"])
@pytest.mark.parametrize("oc", [6, 16, 60])
def test_bias_and_activation(oc, activation):
    """They are those of the sums, in either layout, whether filters fill vectors or not."""
    x, weight, bias = integers(2, 8, 7, 7) / 8, integers(oc, 4, 3, 3) / 8, integers(oc)
    options = {"padding": 1, "groups": 2, "strategy": "indirect"}
    plain = fastconv.conv2d(x, weight, bias, **options)
    expected = getattr(fastconv.nn, activation)(plain)
    np.testing.assert_allclose(fastconv.conv2d(x, weight, bias, **options, activation=activation), expected, rtol=1e-6)
    last = fastconv.conv2d(np.moveaxis(x, 1, -1).copy(), weight, bias, **options, activation=activation, layout="NHWC")
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), expected, rtol=1e-6)


@pytest.mark.per_isa
@pytest.mark.parametrize("oc", [20, 72, 130])
def test_bias_and_activation_of_single_pixels(oc):
    x, weight, bias = integers(1, 9, 1, 1), integers(oc, 9, 1, 1), integers(oc)
    result = fastconv.conv2d(x, weight, bias, strategy="indirect", activation="relu")
    np.testing.assert_array_equal(result[0, :, 0, 0], np.maximum(weight[:, :, 0, 0] @ x[0, :, 0, 0] + bias, 0))


@pytest.mark.parametrize("extent", [1, 3])
@pytest.mark.parametrize("step", [1, 2])
def test_pixels_of_a_batch(extent, step):
    """Images get the same bits in a batch as alone, with or without gaps between pixels and images."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5 * step, extent * step, extent * step, 21), dtype=np.float32)[::step, ::step, ::step]
    prepared = fastconv.prepare_conv2d(
        rng.standard_normal((107, 21, 1, 1), dtype=np.float32), strategy="indirect", layout="NHWC"
    )
    expected = np.concatenate([prepared(image[None].copy()) for image in x])
    np.testing.assert_array_equal(prepared(x), expected)
    assert prepared(x[:0]).shape == (0, extent, extent, 107)


def test_descriptors_have_all_kinds_of_blocks():
    """Several of them down and across; and edges on all sides of positions that see no padding."""
    geometries = [ConvGeometry.parse(descriptor) for descriptor in DESCRIPTORS]
    regions = [_regions(g, 4, _in_place(g, 4, channels_last=True)) for g in geometries]
    assert any(main.down > 1 for main, *_ in regions)
    assert any(main.across > 1 for main, *_ in regions)
    assert {len(each) for each in regions} >= {1, 3, 5}


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("in_place", [False, True])
def test_regions_are_a_partition(descriptor, in_place):
    g = ConvGeometry.parse(descriptor)
    seen = np.zeros((g.oh, g.ow), int)
    for region in _regions(g, 4, in_place):
        seen[region.row : region.past_row, region.col : region.past_col] += 1
    assert (seen == 1).all()
