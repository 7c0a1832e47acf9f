"""Images with channels last: every strategy, as an argument and as a view, against the same problem in planes."""

import pickle

import numpy as np
import pytest

import fastconv
from fastconv.engine import planner
from fastconv.engine.arrays import is_channels_last
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.errors import GeometryError

PROBLEMS = (
    "n2 ic19 oc30 i5 k1",
    "n3 ic8 oc40 ih1 iw1 k1",
    "n2 ic6 oc5 ih9 iw12 k3 p1",
    "ic5 oc9 ih12 iw13 k3 s2 p1",
    "n2 g3 ic6 oc9 ih8 iw9 kh3 kw1",
    "g7 ic7 oc7 i10 k3 p1",
    "n2 ic4 oc6 i9 k3 s3",
    "ic1 oc3 i17 k5 p2",
    "n2 ic3 oc1 i9 k2 s2",
)


def channels_last(planes):
    """The same batch, as a view of memory with channels last."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(planes, 1, -1)), -1, 1)


def problem(descriptor, dtype=np.float32):
    g = ConvGeometry.parse(descriptor)
    rng = np.random.default_rng(len(descriptor))
    x, weight = rng.standard_normal(g.x_shape).astype(dtype), rng.standard_normal(g.weight_shape).astype(dtype)
    window = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.g}
    return g, x, weight, rng.standard_normal(g.oc).astype(dtype), window


def able(g, dtype=np.float32):
    """The strategies that compute a problem."""
    return [s.name for s in planner.CONVOLUTION.solvers if s.refuse(g, np.dtype(dtype)) is None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("descriptor", PROBLEMS)
def test_every_strategy_computes_the_bits_of_planes(descriptor, dtype):
    """A strategy sums in the same order in either layout, on any number of threads, prepared or not."""
    g, x, weight, bias, window = problem(descriptor, dtype)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for name in able(g, dtype):
        options = window | {"activation": "relu", "strategy": name}
        expected = fastconv.conv2d(x, weight, bias, **options)
        for threads in (1, 2):
            with fastconv.num_threads(threads):
                found = fastconv.conv2d(last, weight, bias, **options, layout="NHWC")
                prepared = fastconv.prepare_conv2d(weight, bias, **options, layout="NHWC")
                assert found.flags.c_contiguous
                assert found.shape == (g.n, *g.out_extent, g.oc)
                for result in (found, prepared(last)):
                    np.testing.assert_array_equal(np.moveaxis(result, -1, 1), expected, err_msg=name)
        np.testing.assert_array_equal(np.moveaxis(prepared(last[0]), -1, 0), expected[0], err_msg=name)


@pytest.mark.parametrize("descriptor", PROBLEMS)
def test_auto_is_accurate(descriptor):
    g, x, weight, bias, window = problem(descriptor)
    expected = convolve(g, x.astype(np.float64), weight.astype(np.float64), Epilogue(bias.astype(np.float64)))
    for layout, given in (("NCHW", x), ("NCHW", channels_last(x)), ("NHWC", np.moveaxis(x, 1, -1))):
        found = fastconv.conv2d(given, weight, bias, **window, layout=layout)
        found = found if layout == "NCHW" else np.moveaxis(found, -1, 1)
        assert abs(found - expected).max() <= 1e-5 * expected.std()


@pytest.mark.parametrize("descriptor", ["n2 ic19 oc30 i5 k1", "n2 ic6 oc5 ih9 iw12 k3 p1"])
def test_the_result_of_a_view_lies_as_the_view_does(descriptor):
    _, x, weight, bias, window = problem(descriptor)
    view = channels_last(x)
    prepared = fastconv.prepare_conv2d(weight, bias, **window)
    for call in (lambda: fastconv.conv2d(view, weight, bias, **window), lambda: prepared(view)):
        results = [call() for _ in range(4)]
        for result in results:
            assert result.transpose(0, 2, 3, 1).flags.c_contiguous
            np.testing.assert_array_equal(result, results[0])
    assert fastconv.conv2d(x, weight, bias, **window).flags.c_contiguous
    assert fastconv.conv2d(view[0], weight, bias, **window).flags.c_contiguous  # only batches are recognised


def test_a_crop_of_a_view():
    """Pixels at any distance, and rows with gaps between them."""
    g, x, weight, bias, _ = problem("n2 ic19 oc30 i9 k3")
    wide = channels_last(np.pad(x, ((0, 0), (0, 5), (2, 1), (3, 3)), constant_values=np.nan))
    view = wide[:, :19, 2:-1, 3:-3]
    assert is_channels_last(view)
    for name in able(g):
        found = fastconv.conv2d(view, weight, bias, strategy=name)
        np.testing.assert_array_equal(found, fastconv.conv2d(x, weight, bias, strategy=name), err_msg=name)


@pytest.mark.parametrize("strategy", ["auto", "im2row", "inner", "implicit"])
def test_out(strategy):
    _, x, weight, bias, _ = problem("n2 ic19 oc30 i5 k1")
    expected = fastconv.conv2d(x, weight, bias, strategy=strategy if strategy != "auto" else "im2row")
    view, last = channels_last(x), np.ascontiguousarray(np.moveaxis(x, 1, -1))
    cases = (
        (view, "NCHW", np.empty(expected.shape, np.float32)),
        (view, "NCHW", channels_last(np.empty(expected.shape, np.float32))),
        (x, "NCHW", channels_last(np.empty(expected.shape, np.float32))),
        (last, "NHWC", np.empty((2, 5, 5, 30), np.float32)),
        (last, "NHWC", np.empty((2, 30, 5, 5), np.float32).transpose(0, 2, 3, 1)),
        (last[:, ::-1], "NHWC", np.empty((2, 5, 5, 60), np.float32)[..., ::2]),
    )
    for given, layout, out in cases:
        for call in (
            lambda *a, **k: fastconv.conv2d(*a[:1], weight, bias, strategy=strategy, layout=k["layout"], out=k["out"]),
            lambda *a, **k: fastconv.prepare_conv2d(weight, bias, strategy=strategy, layout=k["layout"])(*a, k["out"]),
        ):
            out[...] = np.nan
            assert call(given, layout=layout, out=out) is out
            result = out if layout == "NCHW" else np.moveaxis(out, -1, 1)
            result = result[:, :, ::-1] if given.strides[1] < 0 else result
            np.testing.assert_allclose(result, expected, atol=1e-5 * expected.std())
    with pytest.raises(GeometryError, match=r"out of shape \(2, 30, 5, 5\): expected \(2, 5, 5, 30\)"):
        fastconv.conv2d(last, weight, bias, layout="NHWC", out=np.empty((2, 30, 5, 5), np.float32))


def test_bits_depend_neither_on_the_batch_nor_on_threads():
    for descriptor in ("n7 ic65 oc50 i7 k1", "n5 ic300 oc33 i1 k1", "n3 ic7 oc25 i9 k3 s2 p1"):
        _, x, weight, bias, window = problem(descriptor)
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        for strategy in ("auto", "im2row"):
            options = window | {"layout": "NHWC", "strategy": strategy}
            whole = fastconv.conv2d(last, weight, bias, **options, num_threads=2)
            each = [fastconv.conv2d(last[i : i + 1], weight, bias, **options, num_threads=1) for i in range(len(last))]
            np.testing.assert_array_equal(whole, np.concatenate(each))


def test_an_empty_batch():
    weight = np.ones((5, 3, 3, 3), np.float32)
    assert fastconv.conv2d(np.empty((0, 8, 9, 3), np.float32), weight, layout="NHWC").shape == (0, 6, 7, 5)


def test_plans_say_so():
    plan = fastconv.plan_conv2d((2, 9, 8, 6), (5, 6, 3, 3), layout="NHWC")
    assert plan.geometry.x_shape == (2, 6, 9, 8)
    assert str(plan.geometry).endswith("p0 nhwc")
    assert ConvGeometry.parse(str(plan.geometry)) == plan.geometry != plan.geometry.in_planes
    prepared = fastconv.prepare_conv2d(np.ones((5, 6, 3, 3)), layout="NHWC")
    assert prepared.plan((2, 9, 8, 6)).geometry == plan.geometry
    assert "layout='NHWC'" in repr(prepared)
    again = pickle.loads(pickle.dumps(prepared))
    assert again(np.ones((9, 8, 6))).shape == (7, 6, 5)


def test_turning_is_in_the_price():
    shapes = (1, 32, 32, 64), (64, 64, 3, 3)
    costs = {c.name: c.seconds for c in fastconv.plan_conv2d(*shapes, padding=1, layout="NHWC").candidates}
    planes = fastconv.plan_conv2d((1, 64, 32, 32), shapes[1], padding=1)
    for candidate in planes.candidates:
        if candidate.name in ("winograd4", "implicit"):
            assert costs[candidate.name] > candidate.seconds


def test_comparisons():
    comparison = fastconv.compare("n2 ic19 oc30 i5 k1 nhwc", repeats=1)
    assert all(m.measured_error < 1e-5 for m in comparison.measurements if m.measured_error is not None)


def test_bad_layouts():
    x, weight = np.ones((1, 5, 5, 3)), np.ones((2, 3, 3, 3))
    for call in (
        lambda layout: fastconv.conv2d(x, weight, layout=layout),
        lambda layout: fastconv.prepare_conv2d(weight, layout=layout),
        lambda layout: fastconv.plan_conv2d(x.shape, weight.shape, layout=layout),
    ):
        for layout in ("nhwc", "CHWN", None, 3):
            with pytest.raises(ValueError, match=r"layout=.*: expected 'NCHW' or 'NHWC'"):
                call(layout)
    with pytest.raises(GeometryError, match="expected x of 4 axes"):
        fastconv.conv2d(x[0, 0], weight, layout="NHWC")
    with pytest.raises(GeometryError, match="the weight expects 3 input channels"):
        fastconv.conv2d(np.ones((1, 3, 5, 5)), weight, layout="NHWC")


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), ((1, 2), 1, 0), (5, (3, 2), 2)])
@pytest.mark.parametrize("shape", [(2, 5, 9, 11), (1, 40, 6, 7), (3, 9, 8), (0, 3, 8, 8)])
def test_pools_of_channels_last_are_those_of_planes(shape, window):
    """Maxima and their positions to the bit, and means within the rounding of a window."""
    x = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    x.reshape(-1)[3:4] = np.nan
    last = np.ascontiguousarray(np.moveaxis(x, -3, -1))
    for ceil_mode in (False, True):
        maxima, positions = fastconv.max_pool2d(x, *window, 1, ceil_mode, True)
        found = fastconv.max_pool2d(last, *window, 1, ceil_mode, True, layout="NHWC")
        view = fastconv.max_pool2d(np.moveaxis(last, -1, -3), *window, ceil_mode=ceil_mode)
        np.testing.assert_array_equal(np.moveaxis(found[0], -1, -3), maxima)
        np.testing.assert_array_equal(np.moveaxis(found[1], -1, -3), positions)
        np.testing.assert_array_equal(view, maxima)
        assert found[0].flags.c_contiguous
        assert x.ndim == 3 or not x.size or is_channels_last(view)
        for count_include_pad in (False, True):
            expected = fastconv.avg_pool2d(x.astype(float), *window, ceil_mode, count_include_pad)
            means = fastconv.avg_pool2d(last, *window, ceil_mode, count_include_pad, layout="NHWC")
            # At most 25 values below 5 in a window, each addition and the division rounded once.
            np.testing.assert_allclose(np.moveaxis(means, -1, -3), expected, rtol=0, atol=26 * 5 * 2.0**-24)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("window", [(3, 2, 1), (2, 1, 1, 3), ((4, 1), (1, 3), (2, 0), (1, 2), True), (7, 1, 3)])
@pytest.mark.parametrize("channels", [16, 21, 67])
def test_maxima_of_pixels_are_exact(channels, window, dtype):
    """NaN stays, the first of two zeros is taken, and a window without a tap inside the image is the lowest value."""
    x = np.random.default_rng(channels).integers(-3, 1, (2, 7, 9, channels)).astype(dtype)
    x[x == -1], x[0, 3, 4, ::5], x[1, :3, :3], x[1, 6, 8] = -0.0, np.nan, -np.inf, np.inf
    found = fastconv.max_pool2d(x, *window, layout="NHWC")
    expected = np.moveaxis(fastconv.max_pool2d(np.ascontiguousarray(np.moveaxis(x, -1, 1)), *window), 1, -1)
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


@pytest.mark.per_isa
@pytest.mark.parametrize("options", [{}, {"count_include_pad": False}, {"divisor_override": -3}])
@pytest.mark.parametrize("channels", [16, 21, 67])
def test_means_of_pixels(channels, options):
    """Sums of whole numbers are exact, so that only the division rounds, wherever images and pixels lie."""
    x = np.random.default_rng(channels).integers(-9, 10, (4, 14, 9, 2 * channels)).astype(np.float32)
    views = (x, x[::2], x[:, ::-2], x[:, :, 1:-1], x[..., :channels], x[..., ::2], x[0])
    for view in views:
        for window in ((3, 2, 1), ((2, 5), 1, (1, 2), True)):
            planes = np.ascontiguousarray(np.moveaxis(view, -1, -3))
            expected = np.moveaxis(fastconv.avg_pool2d(planes, *window, **options), -3, -1)
            np.testing.assert_array_equal(fastconv.avg_pool2d(view, *window, **options, layout="NHWC"), expected)


def test_large_windows_of_pixels_err_as_those_of_planes():
    """Their means are left to a solver whose errors do not grow with the window."""
    x = np.random.default_rng(0).random((1, 80, 90, 16), dtype=np.float32)
    means = fastconv.avg_pool2d(x, (70, 80), 1, layout="NHWC")
    exact = fastconv.avg_pool2d(np.moveaxis(x, -1, 1).astype(np.float64), (70, 80), 1)
    np.testing.assert_allclose(np.moveaxis(means, -1, 1), exact, rtol=4 * 2.0**-24)


def test_pools_refuse_other_layouts():
    with pytest.raises(ValueError, match="layout='CHWN': expected 'NCHW' or 'NHWC'"):
        fastconv.max_pool2d(np.ones((2, 2, 2)), 2, layout="CHWN")
    with pytest.raises(GeometryError, match=r"x of shape \(1, 3, 8, 9\): .* larger than the padded input 8×9"):
        fastconv.avg_pool2d(np.ones((1, 8, 9, 3)), 20, layout="NHWC")
