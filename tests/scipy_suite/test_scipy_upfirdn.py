"""SciPy's own tests of polyphase filters."""

import pytest
import scipy.signal
from replacements import Replacements

import fastconv

suite = pytest.importorskip("scipy.signal.tests.test_upfirdn", reason="this SciPy was installed without its tests")

REPLACED = Replacements([scipy.signal], fastconv.signal, ["upfirdn"], about_others="extensions")

globals().update(REPLACED.adopt(suite, ["TestUpfirdn"]))


@pytest.fixture(autouse=True)
def _in_the_place_of_scipy(request, monkeypatch):
    yield from REPLACED.patched(request, monkeypatch, suite)
