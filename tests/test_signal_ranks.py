"""Medians, order filters and Wiener's filter of `fastconv.signal` against SciPy."""

import warnings

import numpy as np
import pytest
import scipy.signal

from fastconv import signal


def both(name, *args, **kwargs):
    """fastconv's result and SciPy's, or the types of their exceptions."""
    results = []
    for module in (signal, scipy.signal):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.append(getattr(module, name)(*args, **kwargs))
        except Exception as error:
            results.append(type(error))
    return results


def assert_same(name, *args, **kwargs):
    actual, expected = both(name, *args, **kwargs)
    if isinstance(expected, type) or isinstance(actual, type):
        assert actual is expected
    else:
        np.testing.assert_array_equal(actual, expected, strict=True)


@pytest.mark.parametrize("dtype", "bBhHiIlLfd?e")
def test_medians(dtype):
    x = np.random.default_rng(1).integers(0, 90, (21, 34)).astype(dtype)
    for size in (None, 3, 5, (3, 7), 1, (1, 9), 13, 4):
        assert_same("medfilt", x, size)
        if size is not None:
            assert_same("medfilt2d", x, size)
    for size in (3, 5, 21):
        assert_same("medfilt", x[0], size)
    assert_same("medfilt", x.reshape(3, 7, 34), 3)
    assert_same("medfilt", x[::2, ::-3])


def test_windows_that_exceed_the_array():
    with pytest.warns(UserWarning, match="kernel_size exceeds volume extent"):
        result = signal.medfilt([1.0, 2.0, 3.0], 5)
    np.testing.assert_array_equal(result, [1, 1, 1])


@pytest.mark.parametrize("dtype", "Bhld")
def test_order_filter(dtype):
    x = np.random.default_rng(2).integers(0, 90, (12, 19)).astype(dtype)
    for domain in (np.ones((3, 3)), np.eye(5), [[0, 1, 0], [1, 1, 1], [0, 1, 0]]):
        for rank in (0, 1, 2, 4, -1, -2, 9):
            assert_same("order_filter", x, domain, rank)
    assert_same("order_filter", x, np.ones((2, 3)), 1)
    assert_same("order_filter", x, np.ones(3), 1)
    assert_same("order_filter", x + 1j, np.ones((3, 3)), 1)


@pytest.mark.parametrize("dtype", "fdB")
def test_wiener(dtype):
    """Of whole numbers, whose squares float32 holds: SciPy squares in the type of the input."""
    x = np.random.default_rng(3).integers(0, 12, (21, 34)).astype(dtype)
    for size, noise in ((None, None), (5, None), ((3, 4), 2.0), (2, 0.5)):
        with np.errstate(all="ignore"):
            actual, expected = signal.wiener(x, size, noise), scipy.signal.wiener(x.astype("d"), size, noise)
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9, strict=True)
    for size in (0, (3, 3, 3), 2.5):
        with pytest.raises(ValueError, match="mysize"):
            signal.wiener(x, size)


def test_errors_name_the_argument():
    for size in ((3, 3, 3), 2.5, "three", -3):
        with pytest.raises(ValueError, match="kernel_size"):
            signal.medfilt(np.ones((4, 4)), size)
    with pytest.raises(ValueError, match="expected 2 axes"):
        signal.medfilt2d(np.ones(4))


@pytest.mark.parametrize("dtype", "Bifd")
@pytest.mark.parametrize("noise", [None, 50.0])
def test_wiener_of_several_parts(dtype, noise):
    x = (np.random.default_rng(0).random((300, 170)) * 90).astype(dtype)
    np.testing.assert_allclose(signal.wiener(x, 5, noise), scipy.signal.wiener(x, 5, noise), rtol=1e-4, atol=1e-3)
