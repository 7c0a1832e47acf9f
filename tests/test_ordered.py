"""Filters of integers: bit for bit what SciPy stores, whatever the order of addition decides."""

import platform

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import ndimage

pytestmark = [
    pytest.mark.per_isa,
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="SciPy's compiler fuses products there"),
]

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4")
MODES = ("reflect", "mirror", "nearest", "wrap", "constant")


def image(draw, char, shape):
    """Noise, or a flat image, whose every sum is a whole number but for rounding."""
    limits = np.iinfo(char)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    flat = draw(st.booleans())
    low, high = max(limits.min, -1000), min(limits.max, 1000)
    return np.full(shape, rng.integers(low, high), char) if flat else rng.integers(low, high, shape).astype(char)


def weights(draw, *shape):
    """Weights whose sums are whole numbers in exact arithmetic but not in binary, in every symmetry; or noise."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = rng.integers(-3, 4, shape) / 3.0 if draw(st.booleans()) else rng.standard_normal(shape) / 2
    parity = draw(st.sampled_from([0, 1, -1]))
    return (values + parity * np.flip(values)) / 2 if parity else values


@given(st.data())
def test_passes_are_scipys(data):
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    x = image(draw, draw(st.sampled_from(TYPES)), shape)
    mode, cval = draw(st.sampled_from(MODES)), draw(st.sampled_from([0.0, 3.0, -0.5]))
    axis = draw(st.integers(0, x.ndim - 1))
    taps = weights(draw, draw(st.integers(1, 9)))
    origin = draw(st.integers(-((len(taps) - 1) // 2), len(taps) // 2)) if len(taps) > 1 else 0
    origin = max(-(len(taps) // 2), min(origin, (len(taps) - 1) // 2))
    arguments = (axis, None, mode, cval, origin)
    np.testing.assert_array_equal(
        ndimage.correlate1d(x, taps, *arguments), scipy.ndimage.correlate1d(x, taps, *arguments)
    )
    sigma = draw(st.floats(0.3, 3))
    order = draw(st.sampled_from([0, 0, 1, 2]))
    np.testing.assert_array_equal(
        ndimage.gaussian_filter(x, sigma, order, mode=mode, cval=cval),
        scipy.ndimage.gaussian_filter(x, sigma, order, mode=mode, cval=cval),
    )


@given(st.data())
def test_gaussians_of_bytes_are_scipys(data):
    """Noise, flat areas, whose sums are next to whole numbers, and ramps, whose sums in the middle are, too."""
    char, sigma = data.draw(st.sampled_from(["u1", "i1"])), data.draw(st.sampled_from([0.5, 1.0, 2.3, (4, 1)]))
    rows, columns = data.draw(st.sampled_from([(1, 1), (3, 70), (40, 190), (17, 600)]))
    limits, rng = np.iinfo(char), np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(limits.min, limits.max, (rows, columns), endpoint=True)
    ramp = np.add.outer(np.arange(rows), np.arange(columns)) // data.draw(st.integers(1, 4)) + limits.min
    x[:, columns // 3 :] = np.clip(ramp, limits.min, limits.max)[:, columns // 3 :]
    x[:, columns // 2 :] = rng.integers(limits.min, limits.max)
    x = x.astype(char)
    options = {"mode": data.draw(st.sampled_from(MODES)), "cval": data.draw(st.sampled_from([0, 100, 0.3, -999]))}
    options["order"] = data.draw(st.sampled_from([0, 0, 1, 2]))
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            actual = ndimage.gaussian_filter(x, sigma, **options)
        np.testing.assert_array_equal(actual, scipy.ndimage.gaussian_filter(x, sigma, **options))


@given(st.data())
def test_correlations_are_scipys(data):
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(6, 30), min_size=1, max_size=3)))
    x = image(draw, draw(st.sampled_from(TYPES)), shape)
    long = draw(st.integers(0, len(shape) - 1))
    kernel = weights(draw, *[draw(st.integers(1, 5)) if axis - long in (0, 1) else 1 for axis in range(len(shape))])
    mode, cval = draw(st.sampled_from(MODES)), draw(st.sampled_from([0.0, 2.0, 0.25]))
    output = draw(st.sampled_from([None, "i2", "i4", "u1"]))
    # Beyond the type of the output, C leaves the result to the compiler.
    expected = scipy.ndimage.correlate(x, kernel, np.float64, mode, cval)
    limits = np.iinfo(output or x.dtype)
    fits = (expected > limits.min - 1) & (expected < limits.max + 1)
    ours = ndimage.correlate(x, kernel, output, mode, cval)
    np.testing.assert_array_equal(ours[fits], scipy.ndimage.correlate(x, kernel, output, mode, cval)[fits])


@given(st.data())
def test_correlations_of_bytes_are_scipys(data):
    """Sums in float32 decide where they can: also those of many taps, and of weights whose sums are often whole."""
    draw = data.draw
    char, seed = draw(st.sampled_from(["u1", "i1"])), draw(st.integers(0, 999))
    limits, rng = np.iinfo(char), np.random.default_rng(seed)
    extent = draw(st.integers(1, 15)), draw(st.integers(1, 15))
    unit = draw(st.sampled_from([None, 1 / 16, 1 / 3, 0.1, np.float32(1 / 9), 1 / 1000]))
    kernel = rng.standard_normal(extent) if unit is None else rng.integers(-4, 5, extent) * unit
    kernel /= draw(st.sampled_from([1, 8, max(1.0, np.abs(kernel).sum())]))
    x = rng.integers(limits.min, limits.max, (31, draw(st.sampled_from([16, 70, 200]))), endpoint=True).astype(char)
    x[:, x.shape[1] // 2 :] = rng.integers(limits.min, limits.max)
    mode, cval = draw(st.sampled_from(MODES)), draw(st.sampled_from([0.0, 2.0, 0.25, -999.0]))
    expected = scipy.ndimage.correlate(x, kernel, np.float64, mode, cval)
    fits = (expected > limits.min - 1) & (expected < limits.max + 1)
    ours = ndimage.correlate(x, kernel, None, mode, cval)
    np.testing.assert_array_equal(ours[fits], scipy.ndimage.correlate(x, kernel, None, mode, cval)[fits])


@given(st.data())
def test_means_are_scipys(data):
    draw = data.draw
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    x = image(draw, draw(st.sampled_from(TYPES)), shape)
    size = [draw(st.integers(1, 20)) for _ in shape]
    mode, cval = draw(st.sampled_from(MODES)), draw(st.sampled_from([0.0, 2.0, -1.0, 0.25]))
    if cval % 1 or cval < 0:  # no value of the type: what a window sees again is then summed once, in float64
        size = [min(k, n) for k, n in zip(size, shape, strict=True)]
    np.testing.assert_array_equal(
        ndimage.uniform_filter(x, size, mode=mode, cval=cval),
        scipy.ndimage.uniform_filter(x, size, mode=mode, cval=cval),
    )


@pytest.mark.parametrize("size", [2, 3, 7, 64, 100, 126, 127, 128, 129, 257, 1000])
@pytest.mark.parametrize("char", ["u1", "i1", "u2", "i2"])
def test_means_of_any_sum(char, size):
    """Every sum of a window, from the smallest to the largest, is rounded as SciPy rounds it."""
    limits = np.iinfo(char)
    x = np.full(size * 6, limits.max, char)
    x[: size * 3] = limits.min
    x[::7] = np.arange(len(x[::7])).astype(char)
    np.testing.assert_array_equal(ndimage.uniform_filter1d(x, size), scipy.ndimage.uniform_filter1d(x, size))


def test_every_mean_of_bytes():
    """Quotients of every sum that bytes can have, by every extent that 16 bits hold."""
    for size in range(2, 128):
        x = np.zeros((256, size), np.uint8)
        x[:, 0] = np.arange(256)
        x[:, 1:] = np.arange(256)[:, np.newaxis] * (np.arange(1, size) % 2)
        x[128:, 1:] |= 129
        middle = ndimage.uniform_filter1d(x, size, 1, mode="wrap")[:, 0]
        np.testing.assert_array_equal(middle, x.astype(int).sum(1) // size)


@pytest.mark.parametrize("char", TYPES)
def test_sums_beyond_32_bits(char):
    """Of a constant past the edges, or of large weights."""
    x = np.arange(60, dtype=char).reshape(6, 10)
    huge = np.iinfo(char).max // 2 if char in ("i4", "u4") else 100
    y = np.full((6, 10), huge, char)
    weights = np.array([0.25, 0.5, 0.25])
    for cval in (1e10, -3e9, 5e4):
        ours = ndimage.correlate1d(x, weights, mode="constant", cval=cval)
        np.testing.assert_array_equal(ours[:, 1:-1], scipy.ndimage.correlate1d(x, weights)[:, 1:-1])
    np.testing.assert_array_equal(ndimage.correlate1d(y, weights), scipy.ndimage.correlate1d(y, weights))


@pytest.mark.parametrize("channels", [1, 3, 4, 17])
def test_channels_last(channels):
    x = np.random.default_rng(channels).integers(0, 256, (40, 35, channels), np.uint8)
    for ours, theirs in (
        (ndimage.gaussian_filter, scipy.ndimage.gaussian_filter),
        (ndimage.uniform_filter, scipy.ndimage.uniform_filter),
    ):
        np.testing.assert_array_equal(ours(x, 3, axes=(0, 1)), theirs(x, 3, axes=(0, 1)))


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("channels", [2, 4, 16, 17])
def test_channels_last_of_reals(dtype, channels):
    x = np.random.default_rng(channels).standard_normal((80, 150, channels)).astype(dtype)
    for mode, cval in (("reflect", 0), ("constant", 2)):
        options = {"sigma": 1.5, "axes": (0, 1), "mode": mode, "cval": cval}
        expected = scipy.ndimage.gaussian_filter(x.astype("d"), **options)
        ours = ndimage.gaussian_filter(x, **options)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=20 * np.finfo(dtype).eps)
        ndimage.gaussian_filter(in_place := x.copy(), output=in_place, **options)
        np.testing.assert_array_equal(in_place, ours)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(threads):
    x = np.random.default_rng(0).integers(0, 256, (257, 190), np.uint8)
    kernel = np.random.default_rng(1).standard_normal((5, 4)) / 3
    filters = [
        lambda: ndimage.gaussian_filter(x, 2),
        lambda: ndimage.uniform_filter(x, 7),
        lambda: ndimage.correlate(x, kernel, mode="mirror"),
    ]
    with fastconv.num_threads(1):
        expected = [of() for of in filters]
    with fastconv.num_threads(threads):
        for of, result in zip(filters, expected, strict=True):
            np.testing.assert_array_equal(of(), result)


def test_views_swapped_bytes_and_results_in_place():
    x = np.random.default_rng(0).integers(0, 1000, (60, 50)).astype(np.int16)
    expected = scipy.ndimage.gaussian_filter(x, 1.5)
    np.testing.assert_array_equal(ndimage.gaussian_filter(x[::-1, ::-1], 1.5), expected[::-1, ::-1])
    np.testing.assert_array_equal(ndimage.gaussian_filter(x.T, 1.5), scipy.ndimage.gaussian_filter(x.T, 1.5))
    np.testing.assert_array_equal(ndimage.gaussian_filter(x.astype(">i2"), 1.5), expected)
    third = np.ones((3, 3)) / 9
    np.testing.assert_array_equal(ndimage.correlate(x.astype(">i2"), third), scipy.ndimage.correlate(x, third))
    np.testing.assert_array_equal(ndimage.correlate(x[::2, ::-2], third), scipy.ndimage.correlate(x[::2, ::-2], third))
    in_place = x.copy()
    ndimage.gaussian_filter(in_place, 1.5, output=in_place)
    np.testing.assert_array_equal(in_place, expected)
    ndimage.uniform_filter(x, 3, output=(strided := np.zeros((60, 100), np.int16))[:, ::2])
    np.testing.assert_array_equal(strided[:, ::2], scipy.ndimage.uniform_filter(x, 3))
