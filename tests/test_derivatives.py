"""Derivatives, and filters by the caller's functions, against SciPy."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from fastconv import ndimage
from test_ndimage import MODES, assert_close, assert_same, both, every_mode, integral


# SciPy stores other values than 0 and 1 in arrays of bool, and rounds uint64 that have wrapped around.
@every_mode
@pytest.mark.parametrize("dtype", "bBhHilfdFD")
@pytest.mark.parametrize("shape", [(7,), (6, 9), (3, 4, 5)])
def test_whole_numbers_in_every_type(mode, dtype, shape):
    """Integers wrap around as SciPy's; whole numbers in floating point are exact."""
    x = integral(shape, dtype)
    for name in ("sobel", "prewitt"):
        for axis in range(len(shape)):
            assert_same(name, x, axis, mode=mode, cval=3)
            assert_same(name, x, axis, mode=mode)
    assert_same("laplace", x, mode=mode, cval=3)
    assert_same("laplace", x, axes=len(shape) - 1, mode=mode)


@pytest.mark.parametrize("output", "bBhHiIlfd")
@pytest.mark.parametrize("dtype", "Bhlfd")
def test_every_output(dtype, output):
    x = integral((6, 9), dtype)
    if np.dtype(output).kind in "u" and x.dtype.kind == "f":  # C leaves open what negative values are there
        x = np.cumsum(np.cumsum(abs(x), 0), 1)
        assert_same("sobel", x, output=np.dtype(output), mode="nearest")
        return
    for name in ("sobel", "prewitt", "laplace"):
        assert_same(name, x, output=np.dtype(output))


@pytest.mark.parametrize("name", ["gaussian_laplace", "gaussian_gradient_magnitude"])
@every_mode
@pytest.mark.parametrize("dtype", "fdFD")
def test_gaussians(name, mode, dtype):
    x = integral((12, 9), dtype)
    if name == "gaussian_gradient_magnitude" and x.dtype.kind == "c":
        x = x.real
    assert_close(name, x, 1.5, mode=mode, cval=2)
    assert_close(name, x, (1.0, 2.0), mode=mode, truncate=3.0)
    assert_close(name, x, 1.0, axes=1, mode=mode)
    assert_close(name, x, 1.0, axes=(), mode=mode)


@pytest.mark.parametrize("dtype", "Bhl")
def test_gaussians_of_integers(dtype):
    x = integral((12, 9), dtype)
    for output in (None, "d"):
        assert_close("gaussian_laplace", x, 1.5, output)
        assert_close("gaussian_gradient_magnitude", x, 1.5, output or "d")


@pytest.mark.parametrize("name", ["sobel", "prewitt", "laplace"])
@pytest.mark.parametrize("dtype", "fd")
def test_values_that_are_not_finite_spread_as_scipy_s(name, dtype):
    x = integral((20, 30), dtype)
    x[3, 4], x[10, 20], x[15, 5] = np.inf, np.nan, -np.inf
    for axis in (0, 1) if name != "laplace" else (None, 0):
        actual, expected = both(name, x, **{"axes" if name == "laplace" else "axis": axis})
        np.testing.assert_array_equal(actual, expected)


@given(st.data())
def test_modes_and_axes(data):
    """One mode per axis, negative axes, and errors for those that do not exist."""
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    x = integral(shape, data.draw(st.sampled_from("Bhfd")))
    mode = data.draw(st.one_of(st.sampled_from(MODES), st.lists(st.sampled_from(MODES), min_size=1, max_size=3)))
    axis, cval = data.draw(st.integers(-4, 3)), data.draw(st.sampled_from([0, 2]))
    assert_same(data.draw(st.sampled_from(["sobel", "prewitt"])), x, axis, mode=mode, cval=cval)
    axes = data.draw(st.one_of(st.none(), st.lists(st.integers(-3, 3), max_size=3)))
    assert_same("laplace", x, mode=mode, cval=cval, axes=axes)


def test_derivatives_of_a_flat_image_are_zero():
    for dtype in "Bfd":
        x = np.full((40, 50), 77.7).astype(dtype)
        for result in (ndimage.sobel(x), ndimage.prewitt(x, 0), ndimage.laplace(x)):
            assert not result.any()


def _line(line, out):
    out[...] = line[1:-1] - line[:-2]


CALLABLES = {
    "generic_filter": ((np.ptp,), {"size": (3, 2)}),
    "generic_filter1d": ((_line, 3), {"axis": 0}),
    "generic_laplace": ((scipy.ndimage.sobel,), {}),
    "generic_gradient_magnitude": ((scipy.ndimage.prewitt,), {"axes": 1}),
}


@pytest.mark.parametrize("name", CALLABLES)
@pytest.mark.parametrize("dtype", "?Bhlfd")
def test_functions_of_the_caller(name, dtype):
    args, kwargs = CALLABLES[name]
    x = integral((6, 9), dtype)
    for options in ({}, {"mode": "constant", "cval": 2}, {"output": "d"}, {"mode": "none"}):
        if dtype != "?" or "laplace" not in name:
            assert_same(name, x, *args, **kwargs, **options)


def test_vectorized_filter():
    x = integral((6, 9), "d")
    for options in ({"size": 3}, {"footprint": np.eye(2), "mode": "valid"}, {"size": 2, "axes": 0}, {"size": -1}):
        assert_same("vectorized_filter", x, np.mean, **options)


def test_size_is_ignored_beside_a_footprint():
    x = integral((6, 9), "d")
    with pytest.warns(UserWarning, match="ignoring size because footprint is set"):
        result = ndimage.generic_filter(x, np.max, 5, np.eye(3))
    np.testing.assert_array_equal(result, scipy.ndimage.generic_filter(x, np.max, footprint=np.eye(3)))


@pytest.mark.parametrize("output", [np.int32, np.int8])
@pytest.mark.parametrize("dtype", "fd")
def test_sums_that_are_stored_in_integers_are_cast_after_each_axis(dtype, output):
    x = np.random.default_rng(0).standard_normal((9, 11)).astype(dtype) * 10
    assert_same("laplace", x, output=output)
