"""Filters between two rates, and polynomial filters, against SciPy and against their definitions."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import signal
from fastconv.engine.extension import EXTENSIONS, extension


def values(dtype, *shape):
    rng = np.random.default_rng(sum(shape))
    x = rng.standard_normal(shape) * 9
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def assert_close(actual, expected, sums):
    """Both err by a few roundings of sums of magnitudes, of up to as many products as the tests sum."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    eps = np.finfo(actual.dtype).eps
    assert (np.abs(actual - expected) <= 64 * eps * sums).all()


@st.composite
def filters(draw):
    """The arguments of `upfirdn`."""
    shape = tuple(draw(st.lists(st.integers(2, 20), min_size=1, max_size=3)))
    x = values(draw(st.sampled_from("fdFDhBe")), *shape)
    x = draw(st.sampled_from((x, x.T, x[::-1], x[..., ::2])))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    h = values(draw(st.sampled_from("fdFDl")), draw(st.integers(1, 70)))
    return h, x, draw(st.integers(1, 9)), draw(st.integers(1, 9)), axis, draw(st.sampled_from(EXTENSIONS))


@settings(max_examples=300)
@given(filters(), st.integers(0, 2))
def test_upfirdn(arguments, cval):
    h, x, *options = arguments
    if x.shape[options[2]] == 1 and options[3] not in ("constant", "edge", "wrap"):
        return  # SciPy divides by zero
    actual, expected = (module.upfirdn(h, x, *options, cval) for module in (signal, scipy.signal))
    # Slopes reach as far past the ends as the filter does.
    most = float(np.abs(x).max()) * (1 if options[3] in ("constant", "edge") else 2 + 2 * len(h)) + cval
    assert_close(actual, expected, np.abs(h.astype("D")).sum() * most)


def test_upfirdn_by_its_definition():
    """Whole numbers are exact, whatever computes them."""
    rng = np.random.default_rng(0)
    h, x = rng.integers(-9, 9, 23), rng.integers(-9, 9, 1000)
    for up, down in ((1, 1), (1, 3), (3, 1), (5, 2), (160, 147), (7, 23)):
        stuffed = np.zeros((len(x) - 1) * up + 1)
        stuffed[::up] = x
        np.testing.assert_array_equal(signal.upfirdn(h, x, up, down), np.convolve(stuffed, h)[::down])


@pytest.mark.parametrize("dtype", "fdFD")
def test_bits_do_not_depend_on_threads_or_on_other_lines(dtype):
    x = values(dtype, 5, 9000)
    results = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            results.append(signal.resample_poly(x, 3, 2, axis=-1))
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(results[0][3], signal.resample_poly(x[3], 3, 2))


@settings(max_examples=200)
@given(
    filters(),
    st.sampled_from((*EXTENSIONS, "mean", "median", "maximum", "minimum")),
    st.sampled_from((("kaiser", 5.0), "hamming", 7.0, "taps")),
)
def test_resample_poly(arguments, padtype, window):
    h, x, up, down, axis, _ = arguments
    if x.shape[axis] == 1 or x.dtype == np.float16:  # SciPy's filter is float16, too, where it designs one
        return
    window = h if isinstance(window, str) and window == "taps" else window
    actual, expected = (module.resample_poly(x, up, down, axis, window, padtype) for module in (signal, scipy.signal))
    if up == down:
        np.testing.assert_array_equal(actual, expected, strict=True)
        return
    taps = float(np.abs(h).sum()) * up if window is h else 4 * up
    assert_close(actual, expected, taps * float(np.abs(x).max()) * (2 + 2 * max(len(h), 10 * max(up, down))))


@pytest.mark.parametrize("dtype", "fdFDhe")
def test_decimate(dtype):
    x = values(dtype, 6, 97)
    for q, n, axis, zero_phase in ((2, None, -1, True), (3, 17, 1, False), (4, None, 0, True), (5, 8, -2, False)):
        actual, expected = (module.decimate(x, q, n, "fir", axis, zero_phase) for module in (signal, scipy.signal))
        assert_close(actual, expected, 2 * float(np.abs(x).max()))
    np.testing.assert_array_equal(signal.decimate(x, 3), scipy.signal.decimate(x, 3))


def test_unchanged_rates_copy():
    x = np.arange(5)
    result = signal.resample_poly(x, 3, 3)
    np.testing.assert_array_equal(result, x, strict=True)
    assert not np.may_share_memory(result, x)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_signals_continue_far_past_their_ends(name):
    """What a slope or a reflection gives is a whole number here, in one sample as in many."""
    for extent in (1, 2, 3, 7):
        x = np.arange(3, 3 + extent) ** 2 % 11 * 12.0
        actual = signal.upfirdn([0] * 20 + [1] + [0] * 20, x, mode=name, cval=2)
        if extent == 1 and name not in ("constant", "edge", "symmetric", "wrap", "antisymmetric"):
            expected = np.full(41, x[0])  # SciPy divides by zero
        else:
            expected = scipy.signal.upfirdn([0] * 20 + [1] + [0] * 20, x, mode=name, cval=2)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        extension(2, 3, 7, name).weights[0] = 0


def exact_weights(length, order, deriv, place):
    """Savitzky-Golay weights in rational numbers, by the normal equations."""
    powers = [[Fraction(t - place) ** k for t in range(length)] for k in range(order + 1)]
    rows = [[sum(a * b for a, b in zip(p, q, strict=True)) for q in powers] for p in powers]
    for k, row in enumerate(rows):
        row.append(Fraction(int(k == deriv)))
    for i in range(order + 1):
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(order + 1):
            if j != i:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    factor = np.prod(np.arange(1, deriv + 1, dtype=object), initial=1)
    solution = [row[-1] * factor for row in rows]
    return np.array([float(sum(c * p[t] for c, p in zip(solution, powers, strict=True))) for t in range(length)])


def test_weights_are_those_of_exact_arithmetic():
    for length, order, deriv in ((5, 2, 0), (7, 3, 1), (12, 4, 2), (31, 9, 0), (31, 9, 3), (9, 8, 0)):
        for place in (0, 1, length // 2, length - 1):
            expected = exact_weights(length, order, deriv, place)
            for use, ordered in (("dot", expected), ("conv", expected[::-1])):
                actual = signal.savgol_coeffs(length, order, deriv, pos=place, use=use)
                np.testing.assert_allclose(actual, ordered, rtol=0, atol=1e-11 * np.abs(expected).max())


@settings(max_examples=200)
@given(filters(), st.data())
def test_savgol_filter(arguments, data):
    _, x, _, _, axis, _ = arguments
    if x.dtype.kind == "c":
        x = x.real
    mode = data.draw(st.sampled_from(("interp", "mirror", "nearest", "wrap", "constant")))
    length = data.draw(st.integers(1, x.shape[axis] if mode == "interp" else 12))
    order, deriv = data.draw(st.integers(0, min(length - 1, 5))), data.draw(st.integers(0, 3))
    options = length, order, deriv, 0.5, axis, mode, 1.5
    actual = signal.savgol_filter(x, *options)
    # In float32, SciPy fits the ends by powers, and loses digits.
    expected = scipy.signal.savgol_filter(x.astype(np.float64), *options)
    assert actual.dtype == (np.float32 if x.dtype == np.float32 else np.float64)
    places = range(length) if mode == "interp" else [None]
    sums = max(np.abs(signal.savgol_coeffs(length, order, deriv, 0.5, place)).sum() for place in places)
    eps = np.finfo(actual.dtype).eps if actual.dtype == np.float32 else 1e-11  # SciPy's fit is as ill-conditioned
    np.testing.assert_allclose(actual, expected, rtol=0, atol=64 * eps * (sums + 1) * (float(np.abs(x).max()) + 1.5))


def test_savgol_filter_keeps_polynomials():
    t = np.linspace(-1, 1, 50)
    for dtype in "fd":
        x = np.stack([t**3 - t, 3 * t**2]).astype(dtype)
        for y, axis in ((signal.savgol_filter(x, 9, 3), 1), (signal.savgol_filter(x.T, 9, 3, axis=0).T, 0)):
            np.testing.assert_allclose(y, x, rtol=0, atol=64 * np.finfo(dtype).eps * 3, err_msg=str(axis))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: signal.upfirdn([], [1]), ValueError, "h must be 1-D"),
        (lambda: signal.upfirdn([[1]], [1]), ValueError, "h must be 1-D"),
        (lambda: signal.upfirdn([1], [1], 0), ValueError, "up=0"),
        (lambda: signal.upfirdn([1], [1], 1, -1), ValueError, "down=-1"),
        (lambda: signal.upfirdn([1], [1], mode="odd"), ValueError, "mode='odd'"),
        (lambda: signal.upfirdn([1], [1], axis=1), IndexError, "axis=1"),
        (lambda: signal.upfirdn([1], 1), IndexError, "0 axes"),
        (lambda: signal.upfirdn([1], [1.0], cval=1j), TypeError, "cval=1j"),
        (lambda: signal.upfirdn([1, 1], [], mode="edge"), ValueError, "expected samples"),
        (lambda: signal.upfirdn([1], np.ma.ones(3)), TypeError, "masked"),
        (lambda: signal.resample_poly([1, 2], 1.5, 1), ValueError, "up must be an integer"),
        (lambda: signal.resample_poly([1, 2], 1, 0), ValueError, "down=0"),
        (lambda: signal.resample_poly([1, 2], 2, 1, window=[[1]]), ValueError, "window must be 1-D"),
        (lambda: signal.resample_poly([1, 2], 2, 1, padtype="odd"), ValueError, "padtype='odd'"),
        (lambda: signal.resample_poly([1, 2], 2, 1, padtype="line", cval=2), ValueError, "cval=2"),
        (lambda: signal.resample_poly([1, 2], 2, 1, axis=3), IndexError, "axis=3"),
        (lambda: signal.decimate([1, 2], 2.5), TypeError, "integer"),
        (lambda: signal.decimate([1, 2], 2, ftype="odd"), ValueError, "ftype"),
        (lambda: signal.savgol_filter([1, 2], 3, 1), ValueError, "window_length=3"),
        (lambda: signal.savgol_filter([1, 2], 3, 3), ValueError, "polyorder=3"),
        (lambda: signal.savgol_filter([1, 2], 1, 0, mode="odd"), ValueError, "mode='odd'"),
        (lambda: signal.savgol_filter([1, 2], 1, 0, axis=1), IndexError, "axis=1"),
        (lambda: signal.savgol_coeffs(3, 1, -1), ValueError, "deriv=-1"),
        (lambda: signal.savgol_coeffs(3, 1, pos=3), ValueError, "pos=3"),
        (lambda: signal.savgol_coeffs(3, 1, use="odd"), ValueError, "use='odd'"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_nothing():
    np.testing.assert_array_equal(signal.upfirdn([1, 2], np.empty((0, 3)), axis=0, cval=2), np.full((1, 3), 6.0)[:1])
    assert signal.upfirdn([1, 2], np.empty((0, 3))).shape == (0, 4)
    assert signal.resample_poly(np.empty((3, 0)), 2, 1).shape == (6, 0)
    assert signal.savgol_filter(np.empty((0, 5)), 3, 1).shape == (0, 5)
