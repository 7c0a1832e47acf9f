"""What functions that SciPy sums directly promise: each output is as accurate as a sum of its own products."""

import functools
import itertools

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import ndimage, signal
from fastconv.engine import correlation, planner
from fastconv.engine.convolution import BY_NAME, STRATEGIES, fft
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.convolution.separable import outer_product
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import ConvGeometry
from fastconv.errors import UnsupportedError

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# Each correlates or convolves an image past whose edges lie zeros, into its own extents.
FUNCTIONS = {
    "ndimage.correlate": lambda x, k: ndimage.correlate(x, k[::-1, ::-1], mode="constant"),
    "ndimage.convolve": lambda x, k: ndimage.convolve(x, k, mode="constant"),
    "ndimage.convolve of planes": lambda x, k: ndimage.convolve(np.stack([x, x]), k[None], mode="constant")[1],
    "convolve2d": lambda x, k: signal.convolve2d(x, k, "same"),
    "correlate2d": lambda x, k: signal.correlate2d(x, k[::-1, ::-1], "same"),
    "convolve direct": lambda x, k: signal.convolve(x, k, "same", "direct"),
    "correlate direct": lambda x, k: signal.correlate(x, k[::-1, ::-1], "same", "direct"),
    "convolve complex": lambda x, k: signal.convolve(x.astype(np.result_type(x, "F")), k, "same", "direct").real,
}
EACH = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)

rows, cols = np.mgrid[-15:16, -15:16]
binomial = np.array([1, 4, 6, 4, 1])
WHOLE = {
    "box": np.ones((21, 21)),
    "ring": np.pad(np.zeros((1, 1)), 7, constant_values=1),
    "disk": (rows**2 + cols**2 <= 225) * 1.0,
    "outer": np.outer(np.convolve(binomial, binomial), [-3, 0, 2, 0, 5, 7, 0, 0, 1, 1, 2]) * 1.0,
    "row": np.ones((1, 41)),
    "column": np.arange(41.0)[:, None],
    "eighths": np.outer([1, 3, 1, 3, 5, 3, 1, 3, 1, 1, 1], np.arange(-5, 6)) / 8,
}


INTEGERS = np.random.default_rng(0).integers(-2, 3, (140, 150))
POINTS = np.zeros((140, 150), int)
POINTS[[50, 120, 100], [60, 33, 130]] = 1
NORMALS = np.random.default_rng(0).standard_normal((140, 150))


@functools.cache
def of_integers(name):
    return scipy.signal.convolve2d(INTEGERS, WHOLE[name], "same")


@functools.cache
def of_points(name):
    return scipy.signal.convolve2d(POINTS, WHOLE[name], "same")


@functools.cache
def of_magnitudes(name):
    return scipy.signal.convolve2d(abs(NORMALS), abs(WHOLE[name]), "same")


@EACH
@DTYPES
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_stay_whole(function, dtype, name):
    np.testing.assert_array_equal(function(INTEGERS.astype(dtype), WHOLE[name].astype(dtype)), of_integers(name))


@EACH
@DTYPES
@pytest.mark.parametrize("name", ["disk", "box"])
def test_outputs_that_see_zeros_are_zeros(function, dtype, name):
    """So a dilation by ``result > 0`` marks what it should, and nothing non-negative turns negative."""
    out = function((np.pi * POINTS).astype(dtype), WHOLE[name].astype(dtype))
    np.testing.assert_array_equal(out != 0, of_points(name) > 0)
    assert out.min() == 0


def kernels(extent=15):
    rng = np.random.default_rng(extent)
    x = np.linspace(-2.5, 2.5, extent)
    gaussian = np.exp(-(x**2))
    return {
        "random": rng.standard_normal((extent, extent)),
        "gaussian": np.outer(gaussian, gaussian) / gaussian.sum() ** 2,
        "gaussian of distances": np.exp(-(x[:, None] ** 2 + x**2)),
        "derivative": np.outer(x, gaussian),
        "random outer": np.outer(rng.standard_normal(extent), rng.standard_normal(extent)),
        "of rank 2": (x[:, None] ** 2 + x**2 - 2) * np.exp(-(x[:, None] ** 2) - x**2),
        "mean": np.full((extent, extent), 1 / extent**2),
    }


@EACH
@DTYPES
@pytest.mark.parametrize("kernel", kernels().values(), ids=kernels())
def test_each_output_errs_as_its_own_products_allow(function, dtype, kernel):
    """At most γ_n times the sum of the absolute products (Higham 2002, section 3.1), n additions and taps' roundings.

    Pixels of all magnitudes tell this from an error of the output as a whole.
    """
    rng = np.random.default_rng(1)
    image = (np.exp(6 * rng.standard_normal((90, 100))) * rng.choice([-1, 1], (90, 100))).astype(dtype)
    kernel = kernel.astype(dtype)
    exact = np.longdouble if dtype == np.float64 else np.float64
    geometry = ConvGeometry.from_shapes((1, 1, 90, 100), (1, 1, 15, 15), padding=7)
    x, w = image.astype(exact)[None, None], kernel[::-1, ::-1].astype(exact)[None, None]
    expected, sizes = (convolve(geometry, *operands, PLAIN)[0, 0] for operands in ((x, w), (abs(x), abs(w))))
    bound = (kernel.size + 2 * sum(kernel.shape)) * np.finfo(dtype).eps / 2 * sizes
    assert (abs(function(image, kernel) - expected) <= 1.01 * bound).all()


@EACH
@DTYPES
@pytest.mark.parametrize("value", [1e20, np.inf, np.nan])
@pytest.mark.parametrize("name", ["disk", "box"])
def test_a_pixel_changes_nothing_that_does_not_see_it(function, dtype, value, name):
    image, kernel = NORMALS.astype(dtype), WHOLE[name].astype(dtype)
    before = function(image, kernel)
    image[80, 90] = value
    far = np.ones(image.shape, bool)
    reach = [k // 2 for k in kernel.shape]
    far[80 - reach[0] : 81 + reach[0], 90 - reach[1] : 91 + reach[1]] = False
    # By whichever strategy: both are sums of the same products.
    limit = 2 * kernel.size * np.finfo(dtype).eps * of_magnitudes(name)
    assert (abs(function(image, kernel) - before) <= limit)[far].all()


WITH_TOLERANCE = {
    "ndimage.correlate": lambda x, k, t: ndimage.correlate(x, k[::-1, ::-1], mode="constant", tolerance=t),
    "ndimage.convolve": lambda x, k, t: ndimage.convolve(x, k, mode="constant", tolerance=t),
    "convolve2d": lambda x, k, t: signal.convolve2d(x, k, "same", tolerance=t),
    "correlate2d": lambda x, k, t: signal.correlate2d(x, k[::-1, ::-1], "same", tolerance=t),
    "convolve": lambda x, k, t: signal.convolve(x, k, "same", tolerance=t),
    "correlate": lambda x, k, t: signal.correlate(x, k[::-1, ::-1], "same", tolerance=t),
    "convolve direct": lambda x, k, t: signal.convolve(x, k, "same", "direct", tolerance=t),
}
EACH_WITH_TOLERANCE = pytest.mark.parametrize("function", WITH_TOLERANCE.values(), ids=WITH_TOLERANCE)


@EACH_WITH_TOLERANCE
def test_a_tolerance_bounds_the_error_of_the_output(function, monkeypatch):
    rng = np.random.default_rng(0)
    image, kernel = rng.standard_normal((300, 310)).astype(np.float32), rng.standard_normal((63, 63)).astype(np.float32)
    taken = []
    run = fft.Fft.run
    monkeypatch.setattr(fft.Fft, "run", lambda *arguments: taken.append(1) or run(*arguments))
    expected = scipy.signal.fftconvolve(image.astype(np.float64), kernel.astype(np.float64), "same")
    for tolerance in (0, 1e-5):
        error = np.abs(function(image, kernel, tolerance) - expected).max() / expected.std()
        assert error < 5e-5 if tolerance == 0 else error < 1e-5
        assert bool(taken) == (tolerance > 0)


@EACH_WITH_TOLERANCE
@pytest.mark.parametrize("tolerance", [-1, np.nan, "1e-5", 1j, [0.1]])
def test_tolerances_that_bound_nothing(function, tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        function(np.ones((4, 4)), np.ones((2, 2)), tolerance)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_auto_transforms_only_where_scipys_does(mode):
    lengths = (3, 8, 21, 64, 200, 501, 1000, 3000, 12000, 100000)
    shapes = [((a,), (b,)) for a, b in itertools.product(lengths, lengths)]
    squares = (2, 5, 12, 33, 100, 400)
    shapes += [((a, a + 1), (b, b + 1)) for a, b in itertools.product(squares, squares)]
    shapes += [((a, a, a), (b, b, b)) for a, b in itertools.product(squares[:4], squares[:4])]
    for shape1, shape2 in shapes:
        if mode == "valid" and shape2 > shape1:
            continue
        arrays = (np.broadcast_to(0.0, shape) for shape in (shape1, shape2))
        expected = scipy.signal.choose_conv_method(*arrays, mode) == "fft"
        assert signal.arrays._scipy_transforms(shape1, shape2, mode) == expected, (shape1, shape2)


# Outer products


def vectors(elements):
    return st.lists(elements, min_size=1, max_size=9).map(np.array)


@given(vectors(st.integers(-50, 50)), vectors(st.integers(-50, 50)), st.integers(-60, 60), st.sampled_from("fd"))
def test_whole_outer_products_have_whole_factors(column, row, exponent, dtype):
    """However many powers of two they are of."""
    kernel = np.ldexp(np.outer(column, row), exponent).astype(dtype)
    u, v = outer_product(kernel)
    np.testing.assert_array_equal(np.outer(u, v), kernel)
    np.testing.assert_array_equal(u, np.rint(u))
    assert (u == u.astype(dtype)).all()
    assert (v == v.astype(dtype)).all()
    if exponent >= 0:
        np.testing.assert_array_equal(v, np.rint(v))


@given(
    st.integers(2, 9), st.integers(2, 9), st.integers(0, 99), st.sampled_from("fd"), st.sampled_from([1e-25, 1, 1e25])
)
def test_factors_give_every_tap(kh, kw, seed, dtype, scale):
    rng = np.random.default_rng(seed)
    u, v = (np.exp(3 * rng.standard_normal(n)) * rng.choice([-1, 1], n) for n in (kh, kw))
    kernel = (np.outer(u, v) * scale).astype(dtype)
    found = outer_product(kernel)
    assert found is not None
    column, row = (array.astype(dtype).astype(np.float64) for array in found)
    limit = (kh + kw) * np.finfo(dtype).eps * abs(kernel.astype(np.float64))
    assert (abs(np.outer(column, row) - kernel) <= limit).all()
    i, j = rng.integers(kh), rng.integers(kw)
    for other in (0, kernel[i, j] * (1 + 99 * np.finfo(dtype).eps), np.nan, np.inf):
        changed = kernel.copy()
        changed[i, j] = other
        assert outer_product(changed) is None


def test_kernels_of_whole_numbers_are_met_exactly_or_not_at_all():
    """Few roundings of a large whole number are another one."""
    kernel = np.outer([2**11, 2**11 + 1], [2**12, 2**12 - 1]).astype(np.float32)
    kernel[1, 1] += 1
    assert outer_product(kernel) is None
    assert outer_product(kernel * 0.3) is not None


@pytest.mark.parametrize(
    "kernel", [np.zeros((3, 3)), np.full((2, 3), 5e-324), np.full((3, 2), 1e308), np.diag([1.0, 1e-300])]
)
def test_outer_products_at_the_ends_of_the_range(kernel):
    found = outer_product(kernel)
    assert found is None if np.linalg.matrix_rank(kernel > 0) > 1 else np.array_equal(np.outer(*found), kernel)


def test_sums_of_separable_passes_overflow_no_sooner_than_products():
    """Nor do pixels that are infinite meet their negatives between the passes."""
    image = np.full((200, 200), 3e38, np.float32)
    image[::2] *= -1
    kernel = np.outer(np.full(12, 1e-3), np.full(11, 0.4)).astype(np.float32)
    out = signal.convolve2d(image, kernel, "valid")
    assert (abs(out) < 3e38).all()
    image[100, 100] = np.inf
    assert not np.isnan(signal.convolve2d(image, kernel, "valid")).any()


# Kernels that are not finite


def overlaps(x, kernel):
    """The definition of "full", which sums only what overlaps."""
    shape = tuple(a + b - 1 for a, b in zip(x.shape, kernel.shape, strict=True))
    out = np.zeros(shape, np.result_type(x, kernel))
    with np.errstate(invalid="ignore"):
        for at in np.ndindex(kernel.shape):
            out[tuple(slice(a, a + n) for a, n in zip(at, x.shape, strict=True))] += kernel[at] * x
    return out


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5), (60, 70)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("method", ["direct", "auto", "fft"])
def test_taps_that_are_not_finite_count_where_they_overlap(shape, dtype, method):
    if method == "fft" and (len(shape) > 2 or dtype == np.complex128):
        return  # SciPy's own FFT, which spreads NaN
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, shape).astype(dtype)
    for values in ([np.nan], [np.inf], [-np.inf, np.inf], [np.nan, -np.inf]):
        kernel = rng.integers(1, 4, (3,) * len(shape)).astype(dtype)
        kernel.flat[rng.choice(kernel.size, len(values), replace=False)] = values
        image = x.copy()
        for pixel in (1, np.inf, np.nan):
            image.flat[2] = pixel
            expected = overlaps(image, kernel)
            for found in (
                signal.convolve(image, kernel, method=method),
                signal.convolve(kernel, image, method=method),
                signal.correlate(image, kernel[(slice(None, None, -1),) * x.ndim].conj(), method=method),
            ):
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


# Axes of one sample


ONES = [
    ((1, 90, 80), (1, 9, 7)),
    ((90, 1, 80), (9, 1, 7)),
    ((1, 1, 300), (1, 1, 21)),
    ((1, 90, 1, 80), (1, 9, 1, 7)),
    ((3, 90, 80), (1, 9, 7)),
    ((90, 80, 3), (9, 7, 1)),
    ((1, 90, 80), (4, 9, 7)),
    ((2, 1, 90, 80), (1, 3, 9, 7)),
    ((2, 5000, 1), (1, 9, 3)),
    ((1, 9), (1, 3)),
]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("shape1", "shape2"), ONES, ids=str)
def test_axes_of_one_sample(shape1, shape2, mode):
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64, np.complex64, np.int16):
        x, k = (rng.integers(-9, 10, shape).astype(dtype) for shape in (shape1, shape2))
        for name, arguments in (
            ("convolve", (mode,)),
            ("convolve", (mode, "direct")),
            ("correlate", (mode,)),
            ("correlate", (mode, "fft")),
            ("fftconvolve", (mode,)),
            ("oaconvolve", (mode,)),
        ):
            try:
                expected = getattr(scipy.signal, name)(x, k, *arguments)
            except ValueError:
                with pytest.raises(ValueError, match="valid"):
                    getattr(signal, name)(x, k, *arguments)
                continue
            found = getattr(signal, name)(x, k, *arguments)
            assert found.shape == expected.shape
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-2 if found.dtype.char in "fF" else 1e-9)


def test_an_axis_of_one_sample_changes_no_bit():
    rng = np.random.default_rng(0)
    x, k = rng.standard_normal((300, 310)), rng.standard_normal((41, 41))
    for function in (signal.convolve, signal.correlate, signal.fftconvolve, signal.oaconvolve):
        assert function(x[None], k[None]).tobytes() == function(x, k).tobytes()


# FFT


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
@pytest.mark.parametrize("shapes", [((90, 100), (45, 50)), ((900,), (333,)), ((64, 64), (64, 64))], ids=str)
def test_transforms_take_the_workspace_that_they_need(name, shapes, monkeypatch):
    """As SciPy's do: nothing is refused for a limit that the function does not have."""
    monkeypatch.setattr(correlation, "DEFAULT_MAX_WORKSPACE", 1)
    correlation.plan_for.cache_clear()
    x, k = (np.random.default_rng(0).standard_normal(shape) for shape in shapes)
    for mode in ("full", "same", "valid"):
        expected = getattr(scipy.signal, name)(x, k, mode)
        np.testing.assert_allclose(getattr(signal, name)(x, k, mode), expected, atol=1e-11)
    correlation.plan_for.cache_clear()


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_auto_transforms_large_kernels_whatever_that_takes(mode):
    for extents in ((9000, 4000), (4000, 2500), (30_000_000, 20_000_000)):
        ndim = 1 if extents[0] > 1e5 else 2
        arrays = (np.broadcast_to(0.0, (extent,) * ndim) for extent in extents)
        assert signal.choose_conv_method(*arrays, mode) == "fft"


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 40000), st.integers(1, 40000)), min_size=1, max_size=2), st.integers(1, 64))
def test_that_workspace_is_never_more_than_the_bound(pairs, threads):
    image, kernel = (tuple(max(pair) for pair in pairs), tuple(min(pair) for pair in pairs))
    padding = tuple((k - 1, k - 1) for k in kernel)
    plan = correlation.plan_for(image, kernel, "d", padding, "zeros", None, "fft", threads).parts[0].plan
    workspace = next(c.workspace_bytes for c in plan.candidates if c.name == "fft")
    assert workspace <= plan.max_workspace


@pytest.mark.per_isa
@pytest.mark.parametrize(
    "descriptor", ["n1 ic1 oc1 i128 k31 p15", "n1 ic2 oc3 ih1 iw900 kh1 kw99", "n2 g2 ic4 oc6 i40 k9 p4"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_of_two_cost_no_digits(descriptor, dtype):
    """Neither of the image nor of the filters: outputs are those of ordinary operands, to the bit or nearly."""
    g = ConvGeometry.parse(descriptor)
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(dtype) for shape in (g.x_shape, g.weight_shape))
    ordinary = fastconv.conv2d(x, weight, padding=g.padding, groups=g.g, strategy="fft").astype(np.float64)
    limit = 4 * BY_NAME["fft"].error(g, np.dtype(dtype)) * ordinary.std()
    most = np.finfo(dtype).maxexp
    for of_x, of_weight in ((100, -120), (-110, 125), (-130, 100), (most - 20, 0), (-most + 30, most - 20), (90, -90)):
        if dtype == "float64":
            of_x, of_weight = (
                8 * of_x if abs(of_x) < 500 else of_x,
                7 * of_weight if abs(of_weight) < 500 else of_weight,
            )
        scaled = np.ldexp(x, of_x), np.ldexp(weight, of_weight)
        rounded = [np.ldexp(a.astype(np.longdouble), -e) for a, e in zip(scaled, (of_x, of_weight), strict=True)]
        out = fastconv.conv2d(*scaled, padding=g.padding, groups=g.g, strategy="fft")
        if abs(of_x + of_weight) > most - 25:
            continue  # out of range themselves
        expected = convolve(g, *rounded, PLAIN)
        error = np.abs(np.ldexp(out.astype(np.longdouble), -of_x - of_weight) - expected)
        assert error.max() <= limit, (of_x, of_weight)


def test_filters_of_different_magnitudes_keep_their_digits():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 1, 60, 60)).astype(np.float32), rng.standard_normal((3, 1, 9, 9))
    weight = (weight * np.array([1e-36, 1, 1e30]).reshape(3, 1, 1, 1)).astype(np.float32)
    out = fastconv.conv2d(x, weight, strategy="fft").astype(np.float64)
    expected = fastconv.conv2d(x.astype(np.float64), weight.astype(np.float64), strategy="reference")
    error = np.abs(out - expected).max(axis=(0, 2, 3)) / expected.std(axis=(0, 2, 3))
    assert (error < 1e-5).all()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_outputs_that_see_only_padding_are_exact_under_fft(data):
    i, k, stride, dilation = (data.draw(st.integers(1, n)) for n in (6, 4, 3, 7))
    padding = data.draw(st.tuples(st.integers(0, 14), st.integers(0, 14)))
    if i + sum(padding) < dilation * (k - 1) + 1:
        return
    window = {"stride": stride, "dilation": dilation, "padding": (padding, padding)}
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 2, i, i)), rng.standard_normal((3, 2, k, k))
    bias = np.array([0.0, 1.5, -2.0])
    out = fastconv.conv2d(x, weight, bias, **window, activation="relu", strategy="fft")
    blind = fastconv.conv2d(np.ones((1, 1, i, i)), np.ones((1, 1, k, k)), **window, strategy="reference")[0, 0] == 0
    assert (out[0][:, blind] == np.maximum(bias, 0)[:, None]).all()
    g = ConvGeometry.from_shapes((1, 1, i, i), (1, 1, k, k), **window)
    assert blind[g.blind_outputs(0)].all()
    assert blind[:, g.blind_outputs(1)].all()


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
@pytest.mark.parametrize("extent", [3, 5])
@DTYPES
def test_outputs_that_see_only_padding_are_exact(strategy, extent, dtype):
    """Tiles reach from the image far into its padding."""
    g = ConvGeometry.parse(f"n2 ic4 oc5 ih5 iw6 k{extent} p9")
    if strategy.refuse(g, np.dtype(dtype)) is not None:
        return
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(g.x_shape).astype(dtype), rng.standard_normal(g.weight_shape).astype(dtype)
    out = fastconv.conv2d(x, weight, padding=9, strategy=strategy.name)
    assert not out[:, :, g.blind_outputs(0)].any()
    assert not out[:, :, :, g.blind_outputs(1)].any()
    assert len(g.blind_outputs(0)) == 2 * (9 - extent + 1)
    assert out[:, :, 9:-9, 9:-9].any()


# Planning


def test_planning_sums_does_not_search_for_transforms(monkeypatch):
    def search(*arguments):
        raise AssertionError("a tiling was searched for")

    monkeypatch.setattr(fft, "_tiling", search)
    rng = np.random.default_rng(0)
    for extent in (37, 133, 211):
        image = rng.standard_normal((extent, extent + 7)).astype(np.float32)
        ndimage.correlate(image, rng.standard_normal((5, 5)))
        signal.convolve2d(image, rng.standard_normal((5, 5)), boundary="symm")
    g = ConvGeometry.parse("n1 ic1 oc1 i1234 k31")
    assert BY_NAME["fft"].error(g, np.dtype(np.float32)) > 0


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.name)
def test_plans_say_which_promise_holds(strategy):
    g = ConvGeometry.parse("n1 ic1 oc1 i40 k3 p1")
    if strategy.refuse(g, np.dtype(np.float32)) is not None:
        return
    try:
        plan = planner.plan(g, "float32", strategy=strategy.name)
    except UnsupportedError:
        return
    assert plan.componentwise == strategy.componentwise(g)
    assert ("componentwise" in repr(plan).splitlines()[1]) == plan.componentwise
    listed = {c.name: (c.componentwise, c.local) for c in plan.candidates}
    assert listed[strategy.name] == (strategy.componentwise(g), strategy.local)
    assert plan.max_workspace == DEFAULT_MAX_WORKSPACE
