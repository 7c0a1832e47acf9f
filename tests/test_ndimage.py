"""`fastconv.ndimage` against SciPy, whose names, results and errors it takes over."""

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import ndimage

MODES = ["reflect", "constant", "nearest", "mirror", "wrap", "grid-mirror", "grid-constant", "grid-wrap"]
DTYPES = "?bBhHiIlLqQfdFD"
ORDERED = "?bBhHiIlLqQfd"

every_mode = pytest.mark.parametrize("mode", MODES)


def integral(shape, dtype, seed=0):
    """Random small integers in a type; unsigned and bool ones are not negative."""
    dtype, rng = np.dtype(dtype), np.random.default_rng([seed, *shape])
    values = rng.integers(-20 if dtype.kind in "ifc" else 0, 2 if dtype.kind == "b" else 20, (2, *shape))
    return (values[0] + 1j * values[1] if dtype.kind == "c" else values[0]).astype(dtype)


def both(name, *args, **kwargs):
    """fastconv's result and SciPy's, or the types of their exceptions."""
    results = []
    for module in (ndimage, scipy.ndimage):
        try:
            results.append(getattr(module, name)(*args, **kwargs))
        except Exception as error:
            results.append(type(error))
    return results


def assert_same(name, *args, **kwargs):
    """The same type, shape and values, or the same exception."""
    actual, expected = both(name, *args, **kwargs)
    if isinstance(expected, type) or isinstance(actual, type):
        assert actual is expected
    else:
        np.testing.assert_array_equal(actual, expected, strict=True)


def assert_close(name, x, *args, units=64, **kwargs):
    """Equal but for roundings of the type in which fastconv computes."""
    actual, expected = both(name, x, *args, **kwargs)
    assert actual.dtype == expected.dtype
    unit = np.finfo("f" if x.dtype.char == actual.dtype.char and x.dtype.char in "fF" else "d").eps / 2
    np.testing.assert_allclose(actual, expected, rtol=0, atol=units * unit * max(1.0, float(np.abs(x).max())))


@every_mode
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type(mode, dtype):
    """Integers under integers are exact in every type."""
    x, weights = integral((6, 9), dtype), integral((3, 4), "l")
    for cval in (0, 3):
        assert_same("correlate", x, weights, mode=mode, cval=cval)
        assert_same("convolve", x, weights, mode=mode, cval=cval)
        assert_same("correlate1d", x, weights[0], 0, mode=mode, cval=cval)
        assert_same("convolve1d", x, weights[0], mode=mode, cval=cval)
        assert_same("maximum_filter", x, (3, 4), mode=mode, cval=cval)
        assert_same("minimum_filter", x, footprint=[[0, 1, 1], [1, 1, 0]], mode=mode, cval=cval)
        (assert_close if x.dtype.kind in "fc" else assert_same)("uniform_filter", x, (3, 4), mode=mode, cval=cval)


@pytest.mark.parametrize("output", ORDERED)
@pytest.mark.parametrize("dtype", "Blfd")
def test_every_output(dtype, output):
    x, weights = integral((6, 9), dtype), integral((3, 4), "l")
    if np.dtype(output).kind in "bu":  # C leaves open what negative values are there
        x, weights = abs(x), abs(weights)
    assert_same("correlate", x, weights, output=np.dtype(output))
    assert_same("correlate1d", x, weights[0], output=np.dtype(output))
    assert_same("maximum_filter", x, 3, output=np.dtype(output))
    into = np.ones((9, 6), output).T
    assert ndimage.correlate(x, weights, output=into) is into
    np.testing.assert_array_equal(into, scipy.ndimage.correlate(x, weights, output=np.dtype(output)))


@every_mode
@pytest.mark.parametrize("shape", [(1,), (5,), (1, 1), (2, 7), (40, 33), (3, 4, 5), (2, 3, 4, 5)])
def test_every_extent(mode, shape):
    """Windows that are larger than the array too, so that it repeats several times."""
    x = integral(shape, "d")
    for extent in (1, 2, 5, 12):
        assert_same("correlate", x, integral((extent,) * len(shape), "l"), mode=mode, cval=2)
        assert_same("maximum_filter", x, extent, mode=mode, cval=2)
        for axis in range(len(shape)):
            assert_same("correlate1d", x, integral((extent,), "l"), axis, mode=mode, cval=2)
            assert_same("minimum_filter1d", x, extent, axis, mode=mode, cval=2)
            assert_close("uniform_filter1d", x, extent, axis, mode=mode, cval=2)


@every_mode
@pytest.mark.parametrize("dtype", "fd")
def test_large_arrays(mode, dtype):
    """Large enough for several tiles, patches along the edges, and separable and fused passes."""
    rng = np.random.default_rng(1)
    x, weights = rng.standard_normal((300, 260)).astype(dtype), rng.standard_normal((7, 4)).astype(dtype)
    assert_close("correlate", x, weights, mode=mode, cval=1.5)
    assert_close("gaussian_filter", x, (2.0, 3.0), mode=mode, cval=1.5)
    assert_close("gaussian_filter", x, 1.5, (1, 2), mode=mode)
    assert_close("uniform_filter", x, (5, 70), mode=mode, cval=1.5)
    assert_same("maximum_filter", x, (70, 5), mode=mode, cval=1.5)
    assert_same("minimum_filter", x, footprint=np.eye(4), mode=mode, cval=1.5)


@pytest.mark.per_isa
@pytest.mark.parametrize("size", range(1, 36))
@pytest.mark.parametrize("axis", [0, 1])
def test_every_window(size, axis):
    """Every pattern of bits of a window's size."""
    x = np.random.default_rng(size).standard_normal((50, 41))
    assert_same("maximum_filter1d", x, size, axis)
    assert_same("minimum_filter1d", x, size, axis, origin=(size - 1) // 2)
    assert_close("uniform_filter1d", x, size, axis, origin=-(size // 2))


def test_means_of_long_lines_do_not_drift():
    """A running sum that has seen 1e16 would not be 0.1 again."""
    x = np.full(10_000, 0.1)
    x[0] = 1e16
    np.testing.assert_allclose(ndimage.uniform_filter1d(x, 8)[100:-100], 0.1, rtol=1e-15)


@pytest.mark.parametrize("name", ["correlate", "convolve"])
def test_origins_and_axes(name):
    x = integral((5, 6, 7), "d")
    for axes in (None, 0, (1,), (0, 2), (2, 0), (-1, -2), (0, 0), (3,), 1.5):
        for origin in (0, 1, (0, 1), (-1, 0), 2):
            weights = integral((3,) * (3 if axes is None else np.size(axes)), "l")
            assert_same(name, x, weights, origin=origin, axes=axes)
            assert_same("maximum_filter", x, 3, origin=origin, axes=axes)
            footprint = np.ones(weights.shape, bool)
            footprint.flat[0] = False
            assert_same("minimum_filter", x, footprint=footprint, origin=origin, axes=axes)
            assert_same("uniform_filter", x.astype("l"), 3, origin=origin, axes=axes)


@pytest.mark.parametrize("shape2", [(3, 1, 3), (1, 3, 3), (3, 3, 1), (1, 1, 5), (3, 3, 3)])
def test_planes_of_many(shape2):
    """Weights that extend along some axes only are run plane by plane, if these are large."""
    x = integral((70, 3, 80), "d")
    for mode in ("wrap", "constant"):
        assert_same("correlate", x, integral(shape2, "l"), mode=mode, cval=1)
        assert_same("correlate", np.moveaxis(x, 0, 1), integral(shape2, "l"), mode=mode, cval=1)


@pytest.mark.parametrize("dtype", "FD")
@pytest.mark.parametrize("weight_type", "dD")
def test_complex(dtype, weight_type):
    x, weights = integral((5, 8), dtype), integral((3, 2), weight_type)
    for cval in (0, 2 - 1j):
        for name in ("correlate", "convolve"):
            assert_same(name, x, weights, mode="constant", cval=cval)
            assert_same(f"{name}1d", x, weights[:, 0], mode="constant", cval=cval)
    assert_same("correlate", x.real, weights, cval=1)
    assert_same("correlate", x.real, weights, mode="constant", cval=1j)
    assert_close("uniform_filter", x, 3)
    for function in (ndimage.maximum_filter, ndimage.minimum_filter):
        with pytest.raises(TypeError, match="Complex type not supported"):
            function(x, 3)


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("order", [0, 1, 2, 3, (0, 2)])
def test_gaussians(dtype, order):
    x = np.random.default_rng(0).standard_normal((30, 41)).astype(dtype)
    for options in ({"sigma": 1}, {"sigma": (0, 2.5)}, {"sigma": 3, "truncate": 1.5}, {"sigma": 1, "radius": (2, 3)}):
        assert_close("gaussian_filter", x, order=order, **options)
    assert_close("gaussian_filter1d", x, 2, 0, 1)


def test_gaussians_in_float32_keep_the_brightness():
    """Rounded weights add up to one within 2**-26, and along each axis the mean changes by no more."""
    x = np.random.default_rng(0).uniform(900, 1100, (256, 256)).astype(np.float32)
    for sigma in (0.7, 1, 2, 5):
        mean = x.mean(dtype="d")
        assert abs(ndimage.gaussian_filter(x, sigma).mean(dtype="d") - mean) < 2 * 2**-26 * mean


def test_gaussians_do_not_prefer_a_side():
    x = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    turned = ndimage.gaussian_filter(x[::-1, ::-1], 2)[::-1, ::-1]
    np.testing.assert_allclose(turned, ndimage.gaussian_filter(x, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", "fd")
def test_not_finite(value, dtype):
    """It reaches the windows that see it; a NaN is the largest and the smallest of them (SciPy: it depends)."""
    x = integral((20, 30), dtype)
    x[7, 9] = value
    seen = np.zeros(x.shape, bool)
    seen[6:9, 7:12] = True
    weights = np.ones((3, 5))
    np.testing.assert_array_equal(np.isfinite(ndimage.correlate(x, weights)), ~seen)
    np.testing.assert_array_equal(np.isfinite(ndimage.uniform_filter(x, (3, 5))), ~seen)
    blurred = np.isfinite(ndimage.gaussian_filter(x, 1, radius=(1, 2)))
    np.testing.assert_array_equal(blurred, ~seen)
    if np.isnan(value):
        for function in (ndimage.maximum_filter, ndimage.minimum_filter):
            np.testing.assert_array_equal(np.isnan(function(x, (3, 5))), seen)
            cross = np.isnan(function(x, footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]]))
            assert cross.sum() == 5
    else:
        assert_same("maximum_filter", x, (3, 5))


@pytest.mark.parametrize("cval", [300, -3.7, 77.9, 1e20, np.nan, -np.inf])
@pytest.mark.parametrize("dtype", "Bbifd")
def test_constants_are_cast_as_by_scipy(dtype, cval):
    x = integral((4, 5), dtype)
    if np.dtype(dtype).kind in "iu" and not abs(cval) < 1e10:
        ndimage.maximum_filter(x, 3, mode="constant", cval=cval)  # what C leaves open
        return
    actual, expected = both("maximum_filter", x, 3, mode="constant", cval=cval)
    if not np.isnan(cval):
        np.testing.assert_array_equal(actual, expected, strict=True)


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("correlate", (np.ones((4, 3)), np.ones((0, 2))), {}),
        ("correlate", (np.ones((4, 3)), np.ones(2)), {}),
        ("correlate", (np.ones(3), [1]), {"mode": "spam"}),
        ("correlate", (np.ones(3), [1]), {"mode": ["reflect"]}),
        ("correlate", (np.ones(3), [1, 2]), {"origin": 1}),
        ("correlate", (np.ones(3), [1, 2]), {"origin": (0, 0)}),
        ("correlate", (np.ones(3), [1, 2]), {"output": np.ones(4)}),
        ("correlate", (np.ones(3, "e"), [1]), {}),
        ("correlate", (np.ones(3, "g"), [1]), {}),
        ("correlate", (np.array([None]), [1]), {}),
        ("correlate", (5.0, 3.0), {}),
        ("correlate1d", ([1.0, 2.0], []), {}),
        ("correlate1d", ([1.0, 2.0], [[1.0]]), {}),
        ("correlate1d", ([1.0, 2.0], [1.0], 1), {}),
        ("convolve1d", ([1.0, 2.0], [1.0, 2.0]), {"origin": 2}),
        ("maximum_filter", ([1, 2],), {}),
        ("maximum_filter", ([1, 2], 0), {}),
        ("maximum_filter", ([1, 2], (2, 2)), {}),
        ("maximum_filter", ([1, 2],), {"footprint": [0, 0]}),
        ("maximum_filter", ([1, 2],), {"footprint": [1, 0], "origin": 5}),
        ("maximum_filter", ([1, 2],), {"footprint": [[1, 0]]}),
        ("maximum_filter", (5.0, 3), {}),
        ("maximum_filter1d", ([1, 2], 0), {}),
        ("maximum_filter1d", ([1, 2], 2), {"origin": 1}),
        ("minimum_filter", ([1, 2], 2.5), {}),
        ("uniform_filter1d", ([1, 2], 0), {}),
        ("uniform_filter", ([1.0, 2.0], 0), {}),
        ("gaussian_filter", ([1.0, 2.0], -1), {}),
        ("gaussian_filter", ([1.0, 2.0], 1), {"order": -1}),
        ("gaussian_filter", ([1.0, 2.0], 1), {"radius": -1}),
        ("gaussian_filter", ([1.0, 2.0], 1), {"radius": 1.5}),
        ("gaussian_filter", ([1.0, 2.0], (1, 1)), {}),
        *((name, (np.ones((0, 3)), 2), {}) for name in ("maximum_filter", "uniform_filter", "gaussian_filter")),
        ("correlate", (np.ones((0, 3)), np.ones((2, 2))), {}),
    ],
)
def test_odd_input(name, args, options):
    assert_same(name, *args, **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, out: ndimage.correlate(x, np.ones((3, 3)), output=out),
        lambda x, out: ndimage.correlate1d(x, np.ones(3), output=out),
        lambda x, out: ndimage.gaussian_filter(x, 1, output=out),
        lambda x, out: ndimage.uniform_filter(x, 3, output=out),
        lambda x, out: ndimage.maximum_filter(x, 3, output=out),
        lambda x, out: ndimage.minimum_filter(x, footprint=[[1, 0, 1]], output=out),
    ],
)
@pytest.mark.parametrize("dtype", "Bfd")
def test_the_output_may_be_the_input(call, dtype):
    x = integral((20, 30), dtype)
    expected = call(x, None)
    into = x.copy()
    call(into, into)
    np.testing.assert_array_equal(into, expected)
    into = x.copy()
    call(into, into[::-1])
    np.testing.assert_array_equal(into[::-1], expected)


@pytest.mark.parametrize("dtype", "Bfd")
def test_layouts(dtype):
    x = integral((20, 30), dtype)
    spread = np.zeros((60, 60), dtype)
    spread[::3, ::2] = x
    views = [np.asfortranarray(x), x[::-1, ::-1].copy()[::-1, ::-1], spread[::3, ::2], x.astype(x.dtype.newbyteorder())]
    for view in views:
        for name, args in (("correlate", (np.ones((3, 3)),)), ("gaussian_filter", (1,)), ("maximum_filter", (3,))):
            expected = getattr(ndimage, name)(x, *args)
            actual = getattr(ndimage, name)(view, *args)
            np.testing.assert_array_equal(actual, expected, strict=True)


def test_masked_arrays_are_refused():
    with pytest.raises(TypeError, match="input is a masked array"):
        ndimage.gaussian_filter(np.ma.masked_equal([1.0, 2.0], 2), 1)


def test_threads_do_not_change_the_result():
    x = np.random.default_rng(0).standard_normal((700, 600)).astype(np.float32)
    calls = [
        lambda: ndimage.gaussian_filter(x, 2),
        lambda: ndimage.uniform_filter(x, 9),
        lambda: ndimage.maximum_filter(x, 9),
        lambda: ndimage.minimum_filter(x, footprint=np.eye(3)),
    ]
    for call in calls:
        with fastconv.num_threads(1):
            expected = call()
        with fastconv.num_threads(3):
            np.testing.assert_array_equal(call(), expected)


shapes = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)


@given(shapes, st.sampled_from(MODES), st.integers(1, 11), st.data())
def test_an_extreme_is_the_extreme_of_what_is_seen(shape, mode, size, data):
    """By definition, from the continuation of `numpy.pad`."""
    x = integral(shape, "l", data.draw(st.integers(0, 99)))
    axis = data.draw(st.integers(0, x.ndim - 1))
    origin = data.draw(st.integers(-(size // 2), (size - 1) // 2))
    name = {"reflect": "symmetric", "mirror": "reflect", "nearest": "edge"}.get(
        mode.replace("grid-mirror", "reflect"), mode
    )
    width = [(0, 0)] * x.ndim
    width[axis] = (size // 2 + origin, size - 1 - size // 2 - origin)
    padded = np.pad(x, width, mode=name.replace("grid-", ""))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis)
    np.testing.assert_array_equal(ndimage.maximum_filter1d(x, size, axis, mode=mode, origin=origin), windows.max(-1))


@given(shapes, st.sampled_from(["reflect", "wrap", "nearest", "mirror"]), st.integers(0, 99))
def test_minimum_is_minus_the_maximum_of_minus(shape, mode, seed):
    x = integral(shape, "l", seed)
    np.testing.assert_array_equal(ndimage.minimum_filter(x, 3, mode=mode), -ndimage.maximum_filter(-x, 3, mode=mode))


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", "bBhHiIlLfd")
@pytest.mark.parametrize("shape", [(5, 700), (300, 40), (40, 30, 3), (4, 6, 5, 20)])
def test_extremes_of_lines_long_and_short(shape, dtype):
    """Lines longer than a tile, bands, channels; the whole range of every type, and vectors' ends."""
    rng, info = np.random.default_rng(0), np.iinfo(dtype if dtype in "bBhHiIlL" else "l")
    x = rng.integers(max(info.min, -(2**53)), min(info.max, 2**53), shape).astype(dtype)  # SciPy takes them as float64
    for mode, size, origin in (("wrap", 3, 1), ("constant", 24, 5), ("reflect", 2, -1)):
        for name in ("maximum_filter", "minimum_filter"):
            assert_same(name, x, size, mode=mode, cval=3, origin=origin)
    assert_same("maximum_filter", x, (9, 4), axes=(1, 0))


@pytest.mark.per_isa
@given(st.integers(1, 70), st.integers(1, 33), st.sampled_from(MODES), st.sampled_from("fd"), st.integers(0, 99))
def test_a_nan_reaches_every_window_that_sees_it(extent, size, mode, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((6, extent)).astype(dtype)
    x[rng.random(x.shape) < 0.02] = np.nan
    seen = ndimage.maximum_filter(np.isnan(x), (3, size), mode=mode)
    for name in ("maximum_filter", "minimum_filter"):
        np.testing.assert_array_equal(np.isnan(getattr(ndimage, name)(x, (3, size), mode=mode)), seen)


@pytest.mark.per_isa
@given(st.integers(1, 40), st.integers(1, 90), st.sampled_from("fd"), st.floats(-1e3, 1e3))
def test_means_of_what_is_flat_are_flat(size, extent, dtype, value):
    """Sums of every window are added up in the same order, wherever it lies."""
    x = np.full((extent, 7), value, dtype)
    means = ndimage.uniform_filter(x, size)
    assert np.unique(means).size == 1
    units = 2 * size.bit_length() * 2  # of rounding, of as many additions, along either axis
    limits = np.finfo(dtype)
    # Below normal numbers, each of seven products with the share of a sample is rounded to a multiple of the smallest.
    np.testing.assert_allclose(means, x, rtol=units * limits.eps / 2, atol=8 * float(limits.smallest_subnormal))


@pytest.mark.parametrize("dtype", "fd")
def test_two_axes_are_folded_as_one_after_the_other(dtype):
    x = np.random.default_rng(0).standard_normal((60, 1100)).astype(dtype)
    for mode in MODES:
        for name, size in (("uniform_filter", 5), ("uniform_filter", 14), ("maximum_filter", 31)):
            options = {"mode": mode, "cval": 0.5}
            expected = x
            for axis in (0, 1):
                expected = getattr(ndimage, f"{name}1d")(expected, size, axis, **options)
            np.testing.assert_array_equal(getattr(ndimage, name)(x, size, **options), expected)


def test_threads_do_not_change_windows():
    x = np.random.default_rng(0).standard_normal((500, 900)).astype(np.float32)
    for mode in ("wrap", "constant"):
        for name, size in (("uniform_filter", 21), ("minimum_filter", (40, 3)), ("maximum_filter1d", 100)):
            results = []
            for count in (1, 2, 5):
                with fastconv.num_threads(count):
                    results.append(getattr(ndimage, name)(x, size, mode=mode))
            for result in results[1:]:
                np.testing.assert_array_equal(result, results[0])


# The arguments of each filter that are integers, and what it filters by otherwise.
INTEGERS = {
    **{f"{name}_filter1d": ("size", "axis", "origin") for name in ("uniform", "maximum", "minimum")},
    **{f"{name}_filter": ("origin", "axes") for name in ("uniform", "maximum", "minimum")},
    **{f"{name}1d": ("axis", "origin") for name in ("correlate", "convolve")},
    **dict.fromkeys(("correlate", "convolve"), ("origin", "axes")),
    "gaussian_filter1d": ("axis", "order", "radius"),
    "gaussian_filter": ("order", "radius", "axes"),
}
FIRST = {"c": ("weights", [1.0, 2.0, 4.0]), "g": ("sigma", 0.8)}
VALUES = {"size": 3, "axis": 0, "origin": 1, "order": 1, "radius": 2, "axes": (0,)}


@pytest.mark.parametrize(("name", "argument"), [(name, a) for name, arguments in INTEGERS.items() for a in arguments])
def test_integers_of_any_kind(name, argument):
    """Fractions are refused, and what was refused is forgotten; NumPy's integers are as good as Python's."""
    x, value = integral((6, 7), "d"), VALUES[argument]
    given, by = FIRST.get(name[0], ("size", 3))
    options = {given: by, **({"axis": 0} if name.endswith("1d") else {"axes": (0,)})}

    def run(value):
        return getattr(ndimage, name)(x, **{**options, argument: value})

    if argument == "axes":
        kinds, wrong = [(np.int64(0),), (np.array(0),), np.array([0]), [0]], [(0.0,), 0.5, ("0",)]
    else:
        kinds = [np.int64(value), np.uint8(value), np.array(value)]
        wrong = [float(value), value + 0.5, np.float32(value), str(value), object()]
    for value_of_another_kind in wrong:
        with pytest.raises((TypeError, ValueError)):
            run(value_of_another_kind)
    expected = run(value)
    for same in kinds:
        np.testing.assert_array_equal(run(same), expected)


def test_integers_of_numpy_in_a_geometry_that_is_new():
    np.testing.assert_array_equal(ndimage.convolve(np.ones((5, 23)), np.ones((1, 1)), origin=(np.int64(0),) * 2), 1)


@pytest.mark.parametrize("cval", ["1", None, [1.0], np.array([1.0]), 1j, np.array("1")])
def test_a_constant_is_a_number(cval):
    for name, by in (("uniform_filter1d", 3), ("maximum_filter", 3), ("correlate1d", [1, 2]), ("correlate", [1, 2])):
        with pytest.raises((TypeError, ValueError), match="cval"):
            getattr(ndimage, name)(np.arange(4.0), by, cval=cval)
    with pytest.raises(TypeError, match="cval"):
        ndimage.gaussian_filter(np.arange(4.0), 1, cval=cval)


def weights_that_act(function, extent, dtype, *args, **options):
    """Response to each sample of an extent in turn, which is not continued."""
    response = function(np.eye(extent, dtype=dtype), *args, axis=0, mode="constant", **options)
    return response[extent // 2].astype("d")


@given(st.lists(st.floats(-1e30, 1e30, width=64), min_size=1, max_size=9))
def test_weights_are_what_the_caller_gave(weights):
    """In float32 each is the nearest number, whatever its neighbours are."""
    extent = 2 * len(weights) + 1
    acting = weights_that_act(ndimage.correlate1d, extent, "f", weights)
    with np.errstate(over="ignore", under="ignore"):
        expected = np.zeros(extent, "f")
        begin = extent // 2 - len(weights) // 2
        expected[begin : begin + len(weights)] = weights
    np.testing.assert_array_equal(acting, expected)


@pytest.mark.parametrize("radius", [None, 2, 6])
@pytest.mark.parametrize("sigma", [0.15, 0.18, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 3])
def test_gaussians_in_float32_have_the_weights_of_float64(sigma, radius):
    wide = weights_that_act(ndimage.gaussian_filter1d, 41, "d", sigma, radius=radius)
    seen = wide > np.finfo("f").tiny
    acting = weights_that_act(ndimage.gaussian_filter1d, 41, "f", sigma, radius=radius)
    np.testing.assert_allclose(acting[seen], wide[seen], rtol=2**-23)


@pytest.mark.parametrize("shape", [(33,), (40, 50), (7, 9, 11), (130, 131)])
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("mode", MODES[:5])
def test_a_mirrored_image_has_the_mirrored_result(shape, dtype, mode):
    """Bit for bit, where weights are symmetric or antisymmetric."""
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    every = (slice(None, None, -1),) * x.ndim
    for sigma, order in ((0.7, 0), (1.5, 1), (2, 2), (1, 3)):
        expected = ndimage.gaussian_filter(x, sigma, order, mode=mode, cval=0.3)
        sign = (-1) ** (order * x.ndim) if mode != "constant" or order % 2 == 0 else None
        if sign:
            mirrored = ndimage.gaussian_filter(x[every].copy(), sigma, order, mode=mode, cval=0.3)[every]
            np.testing.assert_array_equal(sign * mirrored, expected)
    for weights in ([1, 3, 0.1, 3, 1], [0.3, 0.7, 0.7, 0.3]):
        expected = ndimage.correlate1d(x, weights, 0, mode=mode, origin=-(len(weights) % 2 == 0))
        np.testing.assert_array_equal(ndimage.correlate1d(x[::-1], weights, 0, mode=mode)[::-1], expected)


@pytest.mark.parametrize("value", [0.1, -3e38, 1e30, 1 / 3])
@pytest.mark.parametrize("dtype", "fd")
def test_derivatives_of_what_is_flat_are_zero(dtype, value):
    x = np.full((40, 50), value, dtype)
    for order in ((0, 1), (1, 0), (3, 0), (1, 1), (2, 1)):
        for sigma in (0.5, 1, 3):
            assert not ndimage.gaussian_filter(x, sigma, order).any()
    for weights in ([-1, 0, 1], [0.1, -0.1], [0.3, 0.7, 0.5, -0.7, -0.3]):
        np.testing.assert_array_equal(ndimage.correlate1d(x, weights), 0.5 * x if 0.5 in weights else 0)


CONSTANTS = [300, -1, 2.5, -3.7, 70_000, 1e10, -1e30, 1e300, np.inf, -np.inf, np.nan, 2**63, -(2**64)]


def continued(x, window, mode, cval):
    """All windows of the extents of another array, by `numpy.pad`."""
    widths = [(k // 2, k - 1 - k // 2) for k in window.shape]
    kind = {"reflect": "symmetric", "mirror": "reflect", "nearest": "edge"}.get(mode, mode)
    padded = np.pad(x, widths, mode=kind, **({"constant_values": cval} if kind == "constant" else {}))
    if x.dtype == object:  # NumPy pads by integers of its own
        padded = np.array([int(value) for value in padded.flat], object).reshape(padded.shape)
    return np.lib.stride_tricks.sliding_window_view(padded, window.shape)


def extremes_by_definition(fold, x, footprint, cval, mode="constant"):
    """In float64; NaN if one is seen."""
    return getattr(np, fold)(continued(x.astype("d"), footprint, mode, cval)[..., footprint], axis=-1)


@pytest.mark.parametrize("cval", CONSTANTS)
@pytest.mark.parametrize("dtype", ORDERED)
def test_a_constant_takes_part_in_extremes_as_it_is(dtype, cval):
    """It is a number and no pixel, whatever the type of the image holds; only the result is cast."""
    x, cval = integral((4, 6), dtype), cval if abs(cval) < 2**63 else float(cval)
    for footprint in (np.ones((3, 4)), np.array([[1, 0, 1, 1]]), np.array([[0, 0, 0, 0], [1, 0, 0, 1]])):
        kinds = [{"footprint": footprint}] + ([{"size": footprint.shape}] if footprint.all() else [])
        for name, fold in (("maximum_filter", "max"), ("minimum_filter", "min")):
            expected = extremes_by_definition(fold, x, footprint.astype(bool), float(cval))
            for kind in kinds:
                for output in ("f", "d"):
                    actual = getattr(ndimage, name)(x, **kind, mode="constant", cval=cval, output=output)
                    with np.errstate(over="ignore"):
                        np.testing.assert_array_equal(actual, expected.astype(output))
                assert_same(name, x, **kind, mode="wrap", cval=cval)
                # SciPy casts the constants of footprints, and C leaves open what an integer type does not hold.
                fits = np.dtype(dtype).kind == "f" or (abs(cval) < 2**31 and (cval >= 0 or dtype in "bhilq"))
                if "size" in kind and fits and not np.isnan(cval):
                    assert_same(name, x, **kind, mode="constant", cval=cval)


@pytest.mark.parametrize("cval", CONSTANTS)
@pytest.mark.parametrize("dtype", ORDERED)
def test_a_constant_is_summed_as_it_is(dtype, cval):
    x, weights = integral((4, 6), dtype), np.array([[1, 2, 3], [2, 0, 1]])
    calls = [("correlate", weights), ("convolve", weights), ("correlate1d", weights[0]), ("convolve1d", weights[0])]
    cval = cval if abs(cval) < 2**63 else float(cval)
    if np.isfinite(cval):  # otherwise SciPy's running sums carry it along the line
        calls += [("uniform_filter", 3), ("uniform_filter1d", 3)]
    scale = abs(float(cval)) if np.isfinite(cval) else 1.0
    for name, by in calls:
        for mode in ("constant", "mirror"):
            actual, expected = both(name, x, by, mode=mode, cval=cval, output="d")
            atol = 8 * 2**-53 * (scale if mode == "constant" else 20)
            np.testing.assert_allclose(actual, expected, rtol=1e-14, atol=atol)
    if abs(cval) < 2**24 and float(cval).is_integer():
        assert_same("correlate", x, weights, mode="constant", cval=cval)


def exact_correlation(x, weights, mode="reflect", cval=0):
    """By Python's integers, which know no bounds."""
    products = continued(x.astype(object), weights, mode, cval) * weights.astype(object)
    return products.reshape(*x.shape, -1).sum(axis=-1)


@pytest.mark.parametrize("shape", [(9,), (5, 6), (3, 4, 5), (70, 80)])
@pytest.mark.parametrize("dtype", "lL")
@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "wrap", "constant"])
def test_integers_beyond_float64_are_exact(shape, dtype, mode):
    """Wherever the exact result fits: sums on the way may not."""
    rng = np.random.default_rng(0)
    x = rng.integers(2**61, 2**62, shape).astype(dtype)
    weights = np.zeros((3,) * len(shape), "l")
    weights.flat[0], weights.flat[-1], weights.flat[4 % weights.size] = 7, -7, 1
    for cval in (2**61 + 1, -3):
        expected = exact_correlation(x, weights, mode, cval)
        limits = np.iinfo(dtype)
        fits = (limits.min <= expected) & (expected <= limits.max)
        actual = ndimage.correlate(x, weights, mode=mode, cval=cval)
        assert fits.any()
        np.testing.assert_array_equal(actual[fits], expected[fits].astype(dtype))
        along = ndimage.correlate1d(x, [-1, 2, 1], 0, mode=mode, cval=cval)
        taps = np.array([-1, 2, 1]).reshape(3, *[1] * (len(shape) - 1))
        expected = exact_correlation(x, taps, mode, cval)
        fits = (limits.min <= expected) & (expected <= limits.max)
        np.testing.assert_array_equal(along[fits], expected[fits].astype(dtype))


@pytest.mark.parametrize("cval", [0.5, 1e30, np.nan])
def test_constants_that_are_no_integers_round_nothing_else(cval):
    x = np.full((5, 7), 2**62 + 1)
    actual = ndimage.correlate(x, [[0, 1, 0], [0, 1, -1], [0, 0, 0]], mode="constant", cval=cval)
    np.testing.assert_array_equal(actual[1:, :-1], 2**62 + 1)
    np.testing.assert_array_equal(actual[1:, 0], 2**62 + 1)


@pytest.mark.parametrize("dtype", "BhIlL")
@pytest.mark.parametrize("largest", [1, 2**20, 2**31 - 1, 2**40, 2**62])
@pytest.mark.parametrize("shape", [(40,), (9, 30), (3, 4, 5)])
def test_integer_sums_that_become_float64_never_wrap(dtype, largest, shape):
    x = np.full(shape, np.iinfo(dtype).max, dtype)
    weights = np.full((3,) * len(shape), largest)
    expected = exact_correlation(x, weights).astype("d")
    np.testing.assert_allclose(ndimage.correlate(x, weights, output="d"), expected, rtol=1e-14)
    np.testing.assert_allclose(ndimage.correlate(-x.astype("d"), -weights, output="d"), expected, rtol=1e-14)
    if expected.max() < 2**63:
        np.testing.assert_array_equal(ndimage.correlate(x, weights, output="d"), expected)
    line = exact_correlation(x, weights[(slice(1),) * (len(shape) - 1)]).astype("d")
    np.testing.assert_allclose(ndimage.correlate1d(x, weights.ravel()[:3], output="d"), line, rtol=1e-14)


def test_the_smallest_weight_has_no_absolute_value():
    actual = ndimage.correlate(np.arange(5, dtype="B"), [-(2**63)], output="d")
    np.testing.assert_array_equal(actual, np.arange(5) * -(2.0**63))
    assert_same("correlate", np.array([0, 1, 0]), [-(2**63)])


@given(st.integers(1, 3), st.sampled_from(MODES), st.sampled_from("fd"), st.integers(0, 9999))
def test_zero_weights_are_left_out(ndim, mode, dtype, seed):
    """Of any number of axes, as in SciPy; the constant past the edges too. Along one axis zero times NaN is NaN."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 9, rng.integers(1, 40 // ndim**2 + 3, ndim)).astype(dtype)
    weights = (rng.integers(-3, 4, rng.integers(1, 6, ndim)) * (rng.random() < rng.random())).astype("d")
    weights *= rng.random(weights.shape) < 0.6
    x[rng.random(x.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    options = {"mode": mode, "cval": rng.choice([0, 2.0, np.nan, np.inf])}
    assert_same("correlate", x, weights, **options)
    assert_same("convolve", x, weights, **options)
    line = weights.reshape(-1)[:7]
    assert_same("correlate1d", x, line, int(rng.integers(ndim)), **options)
    if dtype == "f" and np.isfinite(x).any():
        assert_same("correlate", np.where(np.isfinite(x), x, 1).astype("b"), weights, **options, output="d")


@pytest.mark.parametrize("mode", MODES)
def test_infinity_under_a_zero_that_is_folded_into_other_weights(mode):
    """An axis shorter than the weights: past its edges, several of them see the same sample."""
    x = np.array([[np.inf, 0], [-5, -6]], "f")
    for weights in ([0, -3, -2, -1, -1, -2, -1], [1, 2, 3, 1, 0, 2], [0, 0, 0, 0, 1]):
        assert_same("correlate1d", x, weights, 1, mode=mode)
        assert_same("convolve1d", x, weights, 1, mode=mode)


@pytest.mark.parametrize("shape", [(80, 90), (12, 70, 80)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_crosses_and_disks_spread_nothing_over_their_corners(shape, value):
    y, x = np.mgrid[-6:7, -6:7]
    for kernel in ((abs(x) + abs(y) <= 1) * 1.0, (x * x + y * y <= 36) * 0.25, np.outer([1, 0, -1], [1, 0, 1])):
        image = np.zeros(shape, "f")
        image[..., 40, 41] = value
        weights = kernel.reshape(*[1] * (len(shape) - 2), *kernel.shape)
        actual = ndimage.correlate(image, weights)
        assert (~np.isfinite(actual)).sum() == (kernel != 0).sum() * image[..., 0, 0].size
        assert np.isnan(actual).any() == np.isnan(value)


@pytest.mark.parametrize("dtype", "fdF")
@pytest.mark.parametrize("share", [1, -1, 0.6])
def test_means_of_the_largest_numbers_are_none_larger(dtype, share):
    """Sums overflow where means do not; NaN elsewhere changes nothing."""
    largest = np.finfo(dtype).max * np.finfo(dtype).dtype.type(share)
    x = np.full((40, 45), largest, dtype)
    for size in (2, 3, 5, 15, (1, 3), (4, 1), *([200] if dtype != "d" or share == 0.6 else [])):
        for mode in MODES[:5]:
            means = ndimage.uniform_filter(x, size, mode=mode, cval=largest)
            assert np.unique(means).size == 1 or mode == "constant"  # which an axis's means may differ from by a unit
            np.testing.assert_allclose(means, x, rtol=1e-6 if dtype != "d" else 1e-14)
    if dtype != "d" or share == 0.6:
        for sigma in (0.5, 1, 3):
            np.testing.assert_allclose(ndimage.gaussian_filter(x, sigma), x, rtol=1e-6)
    expected = ndimage.uniform_filter(x, 3)
    x[20, 20] = np.nan
    actual = ndimage.uniform_filter(x, 3)
    assert np.isnan(actual).sum() == 9
    np.testing.assert_array_equal(actual[:19], expected[:19])


@given(st.integers(1, 3), st.integers(1, 60), st.sampled_from(MODES), st.sampled_from("fdl"), st.integers(0, 9999))
def test_windows_past_the_image(ndim, size, mode, dtype, seed):
    """However much larger they are, and wherever they lie."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-99, 99, rng.integers(1, 7, ndim)).astype(dtype)
    origin = int(rng.integers(-(size // 2), (size - 1) // 2 + 1))
    axis, options = int(rng.integers(ndim)), {"mode": mode, "cval": 3.0}
    weights = rng.integers(-9, 9, size)
    assert_same("correlate1d", x, weights, axis, **options, origin=origin)
    assert_same("maximum_filter1d", x, size, axis, **options, origin=origin)
    assert_same("minimum_filter", x, size, axes=axis, **options, origin=origin)
    means, expected = both("uniform_filter1d", x.astype("d"), size, axis, **options, origin=origin)
    np.testing.assert_allclose(means, expected, rtol=1e-12, atol=1e-11)
    assert_close("uniform_filter", x.astype("f"), size, **options)
    assert_close("gaussian_filter", x.astype("d"), size / 3, **options)


@given(st.integers(1, 3), st.sampled_from(["reflect", "mirror", "nearest", "wrap", "constant"]), st.integers(0, 9999))
def test_windows_of_several_axes_past_the_image(ndim, mode, seed):
    """By definition: where an axis is reflected many times, SciPy reads the wrong sample."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-99, 99, rng.integers(1, 5, ndim))
    extents = tuple(int(k) for k in rng.integers(1, 3 + 20 // ndim, ndim))
    weights = rng.integers(-9, 9, extents)
    expected = exact_correlation(x, weights, mode, 3).astype("l")
    for dtype in "ldf":
        actual = ndimage.correlate(x.astype(dtype), weights, mode=mode, cval=3)
        np.testing.assert_array_equal(actual, expected.astype(dtype))
    footprint = rng.random(extents) < 0.2
    footprint.flat[0] = True
    for name, fold in (("maximum_filter", "max"), ("minimum_filter", "min")):
        expected = extremes_by_definition(fold, x, footprint, 3, mode)
        np.testing.assert_array_equal(getattr(ndimage, name)(x, footprint=footprint, mode=mode, cval=3), expected)


@given(st.integers(1, 9), st.integers(1, 200), st.sampled_from(MODES[:5]), st.floats(-1e3, 1e3))
def test_means_of_what_is_flat_are_flat_past_the_image(extent, size, mode, value):
    means = ndimage.uniform_filter1d(np.full((3, extent), value), size, mode=mode, cval=value)
    assert np.unique(means).size == 1
    np.testing.assert_allclose(means, value, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("mode", MODES[:5])
def test_windows_past_the_image_take_its_memory(mode):
    """Arrays of the extent of the window would be refused."""
    tracemalloc.start()
    x, size = np.random.default_rng(0).random((60, 70)).astype("f"), 10**15 + 1
    for call in (
        lambda: ndimage.uniform_filter(x, size, mode=mode),
        lambda: ndimage.maximum_filter(x, size, mode=mode),
        lambda: ndimage.minimum_filter1d(x, size, 0, mode=mode),
        lambda: ndimage.gaussian_filter(x, 10.0, mode=mode, radius=20_000),
        lambda: ndimage.correlate1d(x, np.ones(100_001), mode=mode),
    ):
        tracemalloc.reset_peak()
        call()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("mode", MODES[:5])
@pytest.mark.parametrize("dtype", "fd")
def test_infinity_past_the_image_is_no_number_that_weights_share(mode, dtype):
    """Weights of either sign that see one infinite sample give NaN, even where they add up to a number or zero."""
    x = np.array([1, np.inf, 2, 3], dtype)
    for weights in ([1, -1] * 15, [2.0, -1, 0] * 11, [1.0] * 41):
        assert_same("correlate1d", x, weights, mode=mode, cval=2.0)
        if mode != "reflect":  # which SciPy reads wrongly so far out
            assert_same("correlate", x, weights, mode=mode, cval=2.0)


@pytest.mark.parametrize("mode", MODES[:5])
@pytest.mark.parametrize("dtype", "FD")
def test_parts_of_complex_numbers_have_their_own_constants(mode, dtype):
    x = integral((5, 6, 7), dtype)
    for axes in (None, (0, 2)):
        weights = integral((3, 2) if axes else (3, 2, 3), "d")
        for _ in range(3):
            assert_same("correlate", x, weights, mode=mode, cval=2 - 3j, axes=axes)
            assert_same("convolve", x[::2, ::-1].T, weights, mode=mode, cval=2 - 3j, axes=axes)
    assert_same("correlate1d", x, [1, -2, 3], 1, mode=mode, cval=2 - 3j)
    assert_same("laplace", x[0], mode=mode, cval=2 - 3j)


@pytest.mark.parametrize("extent", [3, 5])
def test_volumes_of_float32_are_as_accurate_as_scipys(extent):
    """Sums in float64 are rounded once, like SciPy's; before that, only the weights are."""
    rng = np.random.default_rng(extent)
    x, weights = rng.standard_normal((20, 21, 22)).astype("f"), rng.standard_normal((extent,) * 3)
    exact = scipy.ndimage.correlate(x.astype("d"), weights)
    ours, theirs = (np.abs(m.correlate(x, weights) - exact).max() for m in (ndimage, scipy.ndimage))
    assert ours <= 4 * theirs


@given(st.data())
def test_views_of_any_strides(data):
    """Small ones are copied by a kernel."""
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    x = integral([2 * n for n in shape], data.draw(st.sampled_from(ORDERED)))
    steps = tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1, -2]))) for _ in shape)
    view = x[steps].transpose(data.draw(st.permutations(range(len(shape)))))
    assert_same("maximum_filter", view, 2)
    assert_same("maximum_filter1d", np.broadcast_to(view[:1], view.shape), 2)


def test_kernels_larger_than_the_image_repeat():
    x, weights = integral((8, 8), "d"), integral((11, 11), "d")
    before = ndimage.correlate.repeats.recordings
    for _ in range(3):
        assert_same("correlate", x, weights)
    assert ndimage.correlate.repeats.recordings == before + 1
