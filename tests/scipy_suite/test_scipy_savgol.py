"""SciPy's own tests of polynomial filters."""

import pytest
import scipy.signal
from replacements import Replacements

import fastconv

suite = pytest.importorskip(
    "scipy.signal.tests.test_savitzky_golay", reason="this SciPy was installed without its tests"
)

REPLACED = Replacements([scipy.signal], fastconv.signal, ["savgol_coeffs", "savgol_filter"], about_others="polyder")

TESTS = [name for name in vars(suite) if name.startswith("test_")]

globals().update(REPLACED.adopt(suite, TESTS))


@pytest.fixture(autouse=True)
def _in_the_place_of_scipy(request, monkeypatch):
    yield from REPLACED.patched(request, monkeypatch, suite)
