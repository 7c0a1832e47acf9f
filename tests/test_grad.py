"""Gradients and transposed convolutions, against naive sums over taps, finite differences, and torch where it is."""

import functools
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from cases import CASES, DTYPES, geometries, integers, window
from fastconv import GeometryError, grad
from fastconv.engine.convolution.base import sum_error
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry

F4, F8 = np.float32, np.float64

VOLUMES = {
    "plain": "n2 ic2 oc3 id4 ih5 iw6 k3 p1",
    "stride_dilation_groups": "n1 g2 ic4 oc2 id7 ih6 iw9 kd2 kh1 kw3 sd2 sh1 sw2 dd3 dh1 dw2 pf3 pk1 pt0 pb0 pl1 pr2",
    "depth_past_volume": "n1 ic1 oc2 id1 ih3 iw3 kd5 kh3 kw3 dd2 dh1 dw1 pf7 pk7 pt1 pb1 pl1 pr1",
}
ALL = CASES | {f"volume_{name}": ConvGeometry.parse(descriptor) for name, descriptor in VOLUMES.items()}

# What the tests above are too small for: several blocks of channels, filters, positions and steps.
LARGE = (
    "n2 ic53 oc9 ih34 iw40 k3 p1",
    "n1 ic30 oc70 ih9 iw1500 kh1 kw3 pt0 pb0 pl1 pr1",
    "n1 ic2 oc5 ih61 iw63 kh9 kw11 s2 d2 p8",
    "n1 ic17 oc3 ih90 iw90 k3 s2 p1",
    "n3 ic26 oc300 ih6 iw6 k5 p2",
    "n2 g3 ic3 oc15 ih5 iw7000 k3 p1",
    "n2 g40 ic40 oc40 i61 k5 s2 d2 p4",
    "n3 g7 ic7 oc7 i5 k3 p1",
    "ic2 oc130 i64 k3 p1",
)


# Every phase of every kernel is one more kernel for Numba to compile.
FEW = settings(max_examples=15)


def conv(g):
    """`conv1d`, `conv2d` or `conv3d`."""
    return getattr(fastconv, f"conv{g.ndim}d")


def by_input(g, weight, grad_output, **arguments):
    return getattr(grad, f"conv{g.ndim}d_input")(g.x_shape, weight, grad_output, **window(g), **arguments)


def by_weight(g, x, grad_output, **arguments):
    return getattr(grad, f"conv{g.ndim}d_weight")(x, g.weight_shape, grad_output, **window(g), **arguments)


def naive(g, x, weight, grad_output):
    """Both gradients in float64, tap by tap: each tap's products, the one way and the other."""
    pads = [(begin, end + s) for (begin, end), s in zip(g.padding, g.stride, strict=True)]
    image = np.pad(x.astype(F8), ((0, 0), (0, 0), *pads))
    back = np.zeros_like(image)
    by_w = np.zeros(g.weight_shape)
    m, c = g.oc // g.g, g.ic // g.g
    for group in range(g.g):
        filters, channels = slice(group * m, (group + 1) * m), slice(group * c, (group + 1) * c)
        out = grad_output[:, filters].astype(F8)
        for tap in product(*map(range, g.kernel)):
            seen = tuple(
                slice(k * d, k * d + (o - 1) * s + 1, s)
                for k, d, o, s in zip(tap, g.dilation, g.out_extent, g.stride, strict=True)
            )
            read = image[:, channels, *seen]
            by_w[filters, :, *tap] = np.einsum(
                "nmp,ncp->mc", *(a.reshape(*a.shape[:2], g.positions) for a in (out, read))
            )
            back[:, channels, *seen] += np.einsum("nm...,mc->nc...", out, weight[filters, :, *tap].astype(F8))
    inside = tuple(slice(begin, begin + i) for (begin, _), i in zip(g.padding, g.extent, strict=True))
    return back[:, :, *inside], by_w


def problem(g, dtype, seed=0):
    """Image, weight and gradient of the output: small integers, whose sums are exact in every order."""
    grad_output = np.random.default_rng(seed + 1).integers(-4, 5, g.out_shape).astype(dtype)
    return *integers(g, dtype, seed), grad_output


def check_exact(g, dtype, **arguments):
    x, weight, grad_output = problem(g, dtype)
    expected_x, expected_weight = naive(g, x, weight, grad_output)
    for result, expected in (
        (by_input(g, weight, grad_output, tolerance=0, **arguments), expected_x),
        (by_weight(g, x, grad_output, **arguments), expected_weight),
    ):
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALL)
def test_gradients_are_exact_on_integers(name, dtype):
    check_exact(ALL[name], dtype)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descriptor", LARGE)
def test_gradients_of_many_blocks(descriptor, dtype):
    g = ConvGeometry.parse(descriptor)
    assert 8 * 4 * g.n * g.positions < 2**24 * (1 if dtype == "float32" else 2**20)
    check_exact(g, dtype, num_threads=3)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@FEW
@given(data=st.data())
def test_gradients_of_any_geometry(ndim, data):
    check_exact(data.draw(geometries(ndim, max_extent=9)), "float64")


@pytest.mark.parametrize("ndim", [1, 2, 3])
@FEW
@given(data=st.data())
def test_adjoint_identity(ndim, data):
    """<conv(x, w), y> is linear in x and in w, so it equals <x, dx> and <w, dw>: exact on integers."""
    g = data.draw(geometries(ndim, max_extent=9))
    x, weight, y = problem(g, "float64", seed=2)
    product_ = np.vdot(conv(g)(x, weight, **window(g), tolerance=0), y)
    assert np.vdot(x, by_input(g, weight, y, tolerance=0)) == product_
    assert np.vdot(weight, by_weight(g, x, y)) == product_


@FEW
@given(geometries(max_extent=9))
def test_gradients_of_normal_data_are_within_the_tolerance(g):
    rng = np.random.default_rng(0)
    x, weight, y = (rng.standard_normal(shape).astype(F4) for shape in (g.x_shape, g.weight_shape, g.out_shape))
    expected_x, expected_weight = naive(g, x, weight, y)
    # A sum of K products of deviation 1 has that of sqrt(K).
    over_filters = g.oc // g.g * g.taps
    np.testing.assert_allclose(by_input(g, weight, y), expected_x, rtol=0, atol=1e-5 * np.sqrt(over_filters))
    positions = ConvGeometry.parse(f"ic{g.n * g.positions} oc1 i1 k1")
    atol = sum_error(positions, np.dtype(F4)) * np.sqrt(g.n * g.positions)
    np.testing.assert_allclose(by_weight(g, x, y), expected_weight, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["batch", "stride_2", "groups_stride_dilation", "signal", "volume_plain"])
def test_gradients_of_one_image_and_of_any_strides(name):
    g = ALL[name]
    x, weight, y = problem(g, "float32")
    expected = by_input(g, weight, y), by_weight(g, x, y)

    def strided(a):
        view = np.zeros((*a.shape, 2), a.dtype)[..., ::-1, 0].swapaxes(0, 1).copy().swapaxes(0, 1)[..., ::-1]
        view[...] = a
        return view

    assert not strided(x).flags.c_contiguous
    np.testing.assert_array_equal(by_input(g, strided(weight), strided(y)), expected[0])
    np.testing.assert_array_equal(by_weight(g, strided(x), strided(y)), expected[1])
    first = ConvGeometry.parse(str(g).replace(f"n{g.n} ", "n1 ", 1))
    np.testing.assert_array_equal(
        getattr(grad, f"conv{g.ndim}d_input")(g.x_shape[1:], weight, y[0], **window(g)), expected[0][0]
    )
    np.testing.assert_array_equal(
        getattr(grad, f"conv{g.ndim}d_weight")(x[0], g.weight_shape, y[0], **window(g)), by_weight(first, x[:1], y[:1])
    )


def test_results_do_not_depend_on_threads():
    rng = np.random.default_rng(0)
    for descriptor in ("n3 ic40 oc36 i30 k3 p1", "n2 g2 ic6 oc10 i40 k5 s2 p2", "ic26 oc1 ih5 iw3000 k1"):
        g = ConvGeometry.parse(descriptor)
        x, weight, y = (rng.standard_normal(shape).astype(F4) for shape in (g.x_shape, g.weight_shape, g.out_shape))
        for result in (lambda t: by_input(g, weight, y, num_threads=t), lambda t: by_weight(g, x, y, num_threads=t)):  # noqa: B023
            assert len({result(threads).tobytes() for threads in (1, 2, 3, 7)}) == 1


def test_a_nan_stays_where_it_is_seen():
    g = ConvGeometry.parse("ic30 oc5 i9 k3 s2")
    x, weight, y = problem(g, "float32")
    x[0, 7, 2, 2] = y[0, 3, 1, 2] = np.nan
    by_w = by_weight(g, x, y)
    expected = np.zeros(g.weight_shape, bool)
    expected[:, 7, ::2, ::2] = expected[3] = True
    np.testing.assert_array_equal(np.isnan(by_w), expected)
    seen = np.zeros(g.x_shape, bool)
    seen[:, :, 2:5, 4:7] = True
    np.testing.assert_array_equal(np.isnan(by_input(g, weight, y, tolerance=0)), seen)


@pytest.mark.parametrize("extent", [5, 9, 23])
def test_a_nan_stays_in_its_channel_and_taps(extent):
    """Rows end within vectors, which hold what follows them."""
    g = ConvGeometry.parse(f"n2 g3 ic3 oc3 i{extent} k3 p1")
    x, _, y = problem(g, "float32")
    x[1, 1, 1, extent - 1] = y[0, 2, 1, 0] = np.nan  # no output has its left tap there
    expected = np.zeros(g.weight_shape, bool)
    expected[1, :, :, 1:] = expected[2] = True
    np.testing.assert_array_equal(np.isnan(by_weight(g, x, y)), expected)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_the_bias(ndim, dtype):
    y = np.random.default_rng(0).standard_normal((3, 4, *(5, 6, 7)[:ndim])).astype(dtype)
    result = grad.conv_bias(y)
    assert result.dtype == dtype
    np.testing.assert_allclose(
        result, [y[:, m].sum(dtype=F8) for m in range(4)], rtol=1e-6 if dtype == "float32" else 1e-12
    )


# 3-D convolution


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VOLUMES)
def test_conv3d(name, dtype):
    g = ALL[f"volume_{name}"]
    x, weight = integers(g, dtype)
    bias = np.arange(g.oc).astype(dtype)
    expected = convolve(g, x, weight, Epilogue(bias, 1))
    for strategy in ("auto", "reference", "im2col"):
        result = fastconv.conv3d(x, weight, bias, **window(g), activation="relu", strategy=strategy, tolerance=0)
        np.testing.assert_array_equal(result, expected)
    out = np.empty(g.out_shape[1:][::-1], dtype).T
    single = fastconv.conv3d(x[0], weight, bias, **window(g), activation="relu", out=out, tolerance=0)
    assert single is out
    np.testing.assert_array_equal(out, expected[0])


@FEW
@given(geometries(3, max_extent=9))
def test_conv3d_of_any_geometry(g):
    x, weight = integers(g, "float64")
    np.testing.assert_array_equal(fastconv.conv3d(x, weight, **window(g)), convolve(g, x, weight, Epilogue()))


# Transposed convolution


def naive_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation):
    """Every input adds its kernel, tap by tap, to a canvas that is then cut; in float64."""
    kernel, channels = weight.shape[2:], weight.shape[1]
    reach = [
        (i - 1) * s + d * (k - 1) + extra + 1
        for i, s, d, k, extra in zip(x.shape[2:], stride, dilation, kernel, output_padding, strict=True)
    ]
    canvas = np.zeros((len(x), groups, channels, *reach))
    images = x.astype(F8).reshape(len(x), groups, -1, *x.shape[2:])
    filters = weight.astype(F8).reshape(groups, -1, channels, *kernel)
    for tap in product(*map(range, kernel)):
        at = tuple(
            slice(k * d, k * d + (i - 1) * s + 1, s)
            for k, d, i, s in zip(tap, dilation, x.shape[2:], stride, strict=True)
        )
        canvas[:, :, :, *at] += np.einsum("ngm...,gmc->ngc...", images, filters[:, :, :, *tap])
    cut = canvas[:, :, :, *(slice(p, r - p) for p, r in zip(padding, reach, strict=True))]
    cut = cut.reshape(len(x), groups * channels, *cut.shape[3:])
    return cut if bias is None else cut + bias.reshape(-1, *(1,) * len(kernel))


@st.composite
def transpositions(draw, ndim):
    """Arguments of `conv_transpose1d` and its kin, that fit together."""
    kernel = draw(st.sampled_from({1: ((1,), (5,)), 2: ((1, 1), (3, 3), (2, 4)), 3: ((3, 3, 3), (2, 1, 3))}[ndim]))
    stride, dilation = (tuple(draw(st.integers(1, 3)) for _ in kernel) for _ in range(2))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    groups = draw(st.integers(1, 2))
    extent = tuple(draw(st.integers(1, 6)) for _ in kernel)
    padding = tuple(
        draw(st.integers(0, ((i - 1) * s + d * (k - 1) + e) // 2))
        for i, k, s, d, e in zip(extent, kernel, stride, dilation, extra, strict=True)
    )
    x_shape = (draw(st.integers(1, 2)), groups * draw(st.integers(1, 3)), *extent)
    weight_shape = (x_shape[1], draw(st.integers(1, 3)), *kernel)
    return x_shape, weight_shape, (stride, padding, extra, groups, dilation)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@FEW
@given(data=st.data())
def test_conv_transpose(ndim, data):
    x_shape, weight_shape, arguments = data.draw(transpositions(ndim))
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-8, 9, shape).astype(F8) for shape in (x_shape, weight_shape))
    bias = rng.integers(-8, 9, weight_shape[1] * arguments[3]).astype(F8)
    function = getattr(fastconv, f"conv_transpose{ndim}d")
    expected = naive_transposed(x, weight, bias, *arguments)
    np.testing.assert_array_equal(function(x, weight, bias, *arguments), expected)
    np.testing.assert_array_equal(
        function(x[0], weight, bias, *arguments, activation="relu"), np.maximum(expected[0], 0)
    )


def test_conv_transpose_into_out():
    x, weight = np.arange(18.0, dtype=F4).reshape(2, 1, 3, 3), np.ones((1, 2, 3, 3), F4)
    expected = fastconv.conv_transpose2d(x, weight, stride=2)
    out = np.full((7, 7, 2, 2), np.nan, F4).T
    assert fastconv.conv_transpose2d(x, weight, stride=2, out=out) is out
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(GeometryError, match=r"out of shape \(2, 2, 8, 7\): expected \(2, 2, 7, 7\)"):
        fastconv.conv_transpose2d(x, weight, stride=2, out=np.empty((2, 2, 8, 7), F4))


# Pooling

POOLS = (
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 4},
)


def difference_quotients(function, x, y, step=1e-6):
    """The gradient of ``<function(x), y>`` by central differences."""
    result = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        moved = x.copy()
        moved[at] = x[at] + step
        above = np.vdot(function(moved), y)
        moved[at] = x[at] - step
        result[at] = (above - np.vdot(function(moved), y)) / (2 * step)
    return result


def check_pool(forward, backward, x):
    y = np.random.default_rng(1).standard_normal(forward(x).shape)
    np.testing.assert_allclose(backward(y, x), difference_quotients(forward, x, y), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(backward(y[0], x[0]), backward(y, x)[0], rtol=1e-12)
    assert backward(y.astype(F4), x.astype(F4)).dtype == F4


X = np.random.default_rng(0).permutation(2 * 2 * 7 * 8).reshape(2, 2, 7, 8) / 16 + 1.0


@pytest.mark.parametrize("pool", [*POOLS, {"kernel_size": 3, "dilation": 2, "padding": 1}], ids=str)
def test_max_pool2d(pool):
    check_pool(functools.partial(fastconv.max_pool2d, **pool), lambda y, x: grad.max_pool2d(y, x, **pool), X)


@pytest.mark.parametrize("more", [{}, {"count_include_pad": False}, {"divisor_override": 5}], ids=str)
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_avg_pool2d(pool, more):
    check_pool(
        functools.partial(fastconv.avg_pool2d, **pool, **more),
        lambda y, x: grad.avg_pool2d(y, x.shape, **pool, **more),
        X,
    )


@pytest.mark.parametrize("norm", [1, 2, 3, 2.5])
@pytest.mark.parametrize("pool", [pool for pool in POOLS if "padding" not in pool], ids=str)
def test_lp_pool2d(pool, norm):
    taps = np.prod(np.broadcast_to(pool["kernel_size"], 2))
    check_pool(
        lambda x: (fastconv.avg_pool2d(x**norm, **pool) * taps) ** (1 / norm),
        lambda y, x: grad.lp_pool2d(y, x, norm, **pool),
        X,
    )


@pytest.mark.parametrize("ndim", [1, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_pools_of_signals_and_volumes(ndim, padding):
    x = np.random.default_rng(0).standard_normal((2, 3, *(7, 6, 5)[:ndim]))
    window = {"kernel_size": 3, "stride": 2, "padding": padding, "ceil_mode": True}
    for name, more in (("max", {}), ("avg", {"count_include_pad": False}), ("avg", {})):
        forward, backward = (getattr(module, f"{name}_pool{ndim}d") for module in (fastconv, grad))
        check_pool(
            functools.partial(forward, **window, **more),
            lambda y, x, backward=backward, name=name, more=more: backward(
                y, x if name == "max" else x.shape, **window, **more
            ),
            x,
        )


@pytest.mark.parametrize("output_size", [1, 2, (3, 4), (None, 1), (9, 9)])
def test_adaptive_pools(output_size):
    check_pool(
        lambda x: fastconv.adaptive_max_pool2d(x, output_size),
        lambda y, x: grad.adaptive_max_pool2d(y, x, output_size),
        X,
    )
    check_pool(
        lambda x: fastconv.adaptive_avg_pool2d(x, output_size),
        lambda y, x: grad.adaptive_avg_pool2d(y, x.shape, output_size),
        X,
    )


@pytest.mark.parametrize("output_size", [1, 3, 7])
def test_adaptive_pools_of_signals(output_size):
    signals = X[:, :, 0]
    check_pool(
        lambda x: fastconv.adaptive_max_pool1d(x, output_size),
        lambda y, x: grad.adaptive_max_pool1d(y, x, output_size),
        signals,
    )
    check_pool(
        lambda x: fastconv.adaptive_avg_pool1d(x, output_size),
        lambda y, x: grad.adaptive_avg_pool1d(y, x.shape, output_size),
        signals,
    )


def test_global_pools():
    check_pool(fastconv.global_max_pool2d, grad.global_max_pool2d, X)
    check_pool(fastconv.global_avg_pool2d, lambda y, x: grad.global_avg_pool2d(y, x.shape), X)


def test_pools_where_there_is_no_derivative():
    x = np.array([[[1.0, 1.0, np.nan, 2.0]]])
    np.testing.assert_array_equal(grad.max_pool2d([[[3.0, 4.0]]], x, (1, 2)), [[[3, 0, 4, 0]]])
    np.testing.assert_array_equal(
        grad.lp_pool2d(np.ones((1, 1, 2)), np.zeros((1, 1, 4)), 2, (1, 2)), np.zeros((1, 1, 4))
    )
    # A dilated window that misses the image altogether.
    out = fastconv.max_pool2d(np.ones((1, 1, 1)), 2, padding=1, dilation=2)
    np.testing.assert_array_equal(
        grad.max_pool2d(np.ones_like(out), np.ones((1, 1, 1)), 2, padding=1, dilation=2), [[[0]]]
    )


# Bad input

Y = np.ones((1, 1, 3, 3), F4)
W = np.ones((1, 1, 3, 3), F4)
IMAGE = np.ones((1, 1, 5, 5), F4)
HUGE = 2**31


@pytest.mark.parametrize(
    ("call", "error", "fault"),
    [
        (
            lambda: grad.conv2d_input((1, 1, 6, 5), W, Y),
            GeometryError,
            r"grad_output of shape .*expected \(1, 1, 4, 3\)",
        ),
        (lambda: grad.conv2d_input((1, 5, 5), W, Y), GeometryError, r"grad_output of shape .*expected \(1, 3, 3\)"),
        (lambda: grad.conv2d_input((1, 1, 5, 5.0), W, Y), GeometryError, "input_size=.*ints"),
        (lambda: grad.conv2d_input((1, 1, 2, 2), W, Y), GeometryError, "output would be 0×0"),
        (lambda: grad.conv2d_input((1, 2, 5, 5), W, Y), GeometryError, "expects 1 input channels"),
        (lambda: grad.conv2d_input((1, 1, HUGE, HUGE), W, Y), GeometryError, "addresses"),
        (lambda: grad.conv2d_input((1, 1, 5, 5), W[0], Y), GeometryError, r"weight of shape \(1, 3, 3\)"),
        (lambda: grad.conv2d_input((1, 1, 5, 5), W, Y, stride=0), GeometryError, "stride=0"),
        (lambda: grad.conv2d_input((1, 1, 5, 5), W, Y, num_threads=0), ValueError, "num_threads=0"),
        (lambda: grad.conv2d_input((1, 1, 5, 5), W, Y, tolerance=-1), ValueError, "tolerance=-1"),
        (lambda: grad.conv2d_input((1, 1, 5, 5), W, Y.astype("c8")), TypeError, "grad_output complex64"),
        (lambda: grad.conv2d_weight(IMAGE, (1, 1, 3, 3), Y[0]), GeometryError, "grad_output of shape"),
        (lambda: grad.conv2d_weight(IMAGE, (1, 1, 3), Y), GeometryError, r"weight of shape \(1, 1, 3\)"),
        (lambda: grad.conv2d_weight(IMAGE, (1, 0, 3, 3), Y), GeometryError, "empty"),
        (lambda: grad.conv2d_weight(IMAGE, "size", Y), GeometryError, "weight_size='size'"),
        (lambda: grad.conv3d_weight(IMAGE, (1, 1, 3, 3), Y), GeometryError, "expected 5 axes"),
        (lambda: grad.conv_bias(Y[0, 0]), GeometryError, r"grad_output of shape \(3, 3\)"),
        (lambda: grad.max_pool2d(Y, IMAGE, 2), GeometryError, r"grad_output of shape .*expected \(1, 1, 2, 2\)"),
        (lambda: grad.max_pool2d(Y, IMAGE, 0), GeometryError, "kernel_size=0"),
        (lambda: grad.avg_pool2d(Y, (1, 1, 5, 5), 2), GeometryError, r"grad_output of shape .*expected \(1, 1, 2, 2\)"),
        (lambda: grad.avg_pool2d(Y, (1, 1, 5, 5), 3, 1, divisor_override=0), GeometryError, "divisor_override=0"),
        (lambda: grad.lp_pool2d(Y, IMAGE, 0, 3, 1), ValueError, "norm_type=0"),
        (lambda: grad.lp_pool2d(Y, IMAGE, float("nan"), 3, 1), ValueError, "norm_type=nan"),
        (lambda: grad.lp_pool2d(Y, IMAGE, 2, 2), GeometryError, "grad_output of shape"),
        (lambda: fastconv.conv_transpose2d(Y, np.ones((2, 1, 3, 3))), GeometryError, "expects 2 input channels"),
        (lambda: fastconv.conv_transpose2d(Y, W, groups=2), GeometryError, "groups=2.*multiple of groups"),
        (
            lambda: fastconv.conv_transpose2d(Y, W, output_padding=1),
            GeometryError,
            "output_padding=1.*less than stride",
        ),
        (lambda: fastconv.conv_transpose2d(Y, W, output_padding=-1), GeometryError, "output_padding=-1"),
        (lambda: fastconv.conv_transpose2d(Y, W, padding=3), GeometryError, "output would be -1×-1"),
        (lambda: fastconv.conv_transpose2d(Y, W, padding="same"), GeometryError, "padding='same'"),
        (lambda: fastconv.conv_transpose2d(Y, W, stride=2**62), GeometryError, "addresses"),
        (lambda: fastconv.conv_transpose2d(Y, W, [1.0, 2.0]), GeometryError, r"bias of shape \(2,\): expected \(1,\)"),
        (lambda: fastconv.conv_transpose2d(Y[0, 0], W), GeometryError, r"x of shape \(3, 3\)"),
        (lambda: fastconv.conv_transpose1d(Y, W), GeometryError, "expected 3 axes"),
        (lambda: fastconv.conv_transpose2d(np.zeros((1, 0, 3, 3)), np.zeros((0, 1, 3, 3))), GeometryError, "empty"),
        (lambda: fastconv.conv3d(Y, W), GeometryError, "expected 5 axes"),
        (lambda: fastconv.conv3d(Y[None], W[None], strategy="magic"), ValueError, "strategy='magic'"),
    ],
)
def test_bad_input(call, error, fault):
    with pytest.raises(error, match=fault):
        call()


def test_strides_far_past_the_kernel():
    """Neither a phase nor a pixel for each of the stride's positions."""
    y = np.ones((1, 1, 2, 2), F4)
    result = grad.conv2d_weight(np.broadcast_to(F4(1), (1, 1, 2**28, 2**28)), (1, 1, 3, 3), y, stride=2**27)
    np.testing.assert_array_equal(result, np.full((1, 1, 3, 3), 4))
    result = fastconv.conv_transpose1d(np.ones((1, 2), F4), np.ones((1, 1, 3), F4), stride=2**20)
    assert result.shape == (1, 2**20 + 3)
    assert np.flatnonzero(result).tolist() == [0, 1, 2, 2**20, 2**20 + 1, 2**20 + 2]


# torch


@pytest.mark.parametrize("name", ALL)
def test_convolutions_agree_with_torch(name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    g = ALL[name]
    if any(begin != end for begin, end in g.padding) or g.n == 0:
        pytest.skip("torch pads both sides alike, and takes no empty batch here")
    x, weight, y = problem(g, "float64")
    arguments = (g.stride, tuple(begin for begin, _ in g.padding), g.dilation, g.g)
    X, WEIGHT, GRAD = map(torch.from_numpy, (x, weight, y))
    by_x = getattr(torch.nn.grad, f"conv{g.ndim}d_input")(g.x_shape, WEIGHT, GRAD, *arguments)
    by_w = getattr(torch.nn.grad, f"conv{g.ndim}d_weight")(X, g.weight_shape, GRAD, *arguments)
    np.testing.assert_allclose(getattr(grad, f"conv{g.ndim}d_input")(g.x_shape, weight, y, *arguments), by_x, atol=1e-9)
    np.testing.assert_allclose(
        getattr(grad, f"conv{g.ndim}d_weight")(x, g.weight_shape, y, *arguments), by_w, atol=1e-9
    )


@pytest.mark.parametrize("ndim", [1, 2, 3])
@FEW
@given(data=st.data())
def test_conv_transpose_agrees_with_torch(ndim, data):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x_shape, weight_shape, arguments = data.draw(transpositions(ndim))
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape) for shape in (x_shape, weight_shape))
    expected = getattr(torch.nn.functional, f"conv_transpose{ndim}d")(
        torch.from_numpy(x), torch.from_numpy(weight), None, *arguments
    )
    result = getattr(fastconv, f"conv_transpose{ndim}d")(x, weight, None, *arguments)
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_pools_agree_with_torch(pool):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    functions = torch.nn.functional
    x = torch.tensor(X, requires_grad=True)

    def expected(forward, *arguments, **named):
        out = forward(x, *arguments, **named)
        y = np.random.default_rng(1).standard_normal(out.shape)
        return y, torch.autograd.grad(out, x, torch.from_numpy(y))[0].numpy()

    y, of_max = expected(functions.max_pool2d, **pool)
    np.testing.assert_allclose(grad.max_pool2d(y, X, **pool), of_max, rtol=1e-12)
    y, of_mean = expected(functions.avg_pool2d, **pool, count_include_pad=False)
    np.testing.assert_allclose(grad.avg_pool2d(y, X.shape, **pool, count_include_pad=False), of_mean, rtol=1e-12)
    if "padding" not in pool:
        y, of_norm = expected(functions.lp_pool2d, 2, **pool)
        np.testing.assert_allclose(grad.lp_pool2d(y, X, 2, **pool), of_norm, rtol=1e-9, atol=1e-12)
