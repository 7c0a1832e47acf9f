"""SciPy's own tests of convolve2d and correlate2d, with fastconv's functions in the place of SciPy's.

Every test must call fastconv at least once, or it would say nothing.
"""

import functools

import pytest
import scipy.signal

import fastconv

suite = pytest.importorskip("scipy.signal.tests.test_signaltools", reason="this SciPy was installed without its tests")

NAMES = ("convolve2d", "correlate2d")

# In these classes, but about `correlate` alone.
ABOUT_OTHERS = {"test_consistency_correlate_funcs"}

# Test: why it is not run.
NOT_RUN = {"test_large_array": "allocates 4 GB"}

calls = 0


def counted(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        global calls
        calls += 1
        return function(*args, **kwargs)

    return call


REPLACEMENTS = {getattr(scipy.signal, name): counted(getattr(fastconv.signal, name)) for name in NAMES}


def replace_parameters(cls):
    """Parametrisations hold functions by value, where no patch of a name reaches them."""
    for test in vars(cls).values():
        for mark in getattr(test, "pytestmark", ()):
            if mark.name == "parametrize":
                mark.args[1][:] = [REPLACEMENTS[value] if callable(value) else value for value in mark.args[1]]
    return cls


TestConvolve2d = replace_parameters(suite.TestConvolve2d)
TestCorrelate2d = replace_parameters(suite.TestCorrelate2d)


@pytest.fixture(autouse=True)
def _in_the_place_of_scipy(request, monkeypatch):
    name = request.node.originalname
    if name in NOT_RUN:
        pytest.skip(NOT_RUN[name])
    for module in (suite, scipy.signal):
        for function in NAMES:
            monkeypatch.setattr(module, function, REPLACEMENTS[getattr(module, function)])
    before = calls
    yield
    assert (calls > before) != (name in ABOUT_OTHERS), f"{calls - before} calls of fastconv"
