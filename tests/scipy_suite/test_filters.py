"""SciPy's own tests of the filters that fastconv has, and of those that SciPy builds from them."""

import pytest
import scipy.ndimage
from replacements import Replacements
from scipy.ndimage import _filters

import fastconv

suite = pytest.importorskip("scipy.ndimage.tests.test_filters", reason="this SciPy was installed without its tests")

# Tests of functions that SciPy runs, and of no filter at all.
ABOUT_OTHERS = r"generic_filter|vectorized|gh_22|gh_23|ticket_701|gaussian_kernel1d|size_footprint|valid_origins1"

REPLACED = Replacements([scipy.ndimage, _filters], fastconv.ndimage, fastconv.ndimage.__all__, ABOUT_OTHERS)

TESTS = ["TestNdimageFilters", "TestThreading", *(name for name in vars(suite) if name.startswith("test_"))]

globals().update(REPLACED.adopt(suite, TESTS))


@pytest.fixture(autouse=True)
def _in_the_place_of_scipy(request, monkeypatch):
    yield from REPLACED.patched(request, monkeypatch, suite)
