"""SciPy's own tests of convolution, correlation, ranks and resampling."""

import pytest
import scipy.signal
from replacements import Replacements

import fastconv

suite = pytest.importorskip("scipy.signal.tests.test_signaltools", reason="this SciPy was installed without its tests")

# Tests of `resample` alone, which transforms, and one that calls nothing for types that a platform lacks.
ABOUT_OTHERS = r"test_(rfft|input_domain|dc|resample_win_func|_resample_param_t|resample_nyquist|invalid_dtypes)$"

REPLACED = Replacements([scipy.signal], fastconv.signal, fastconv.signal.__all__, ABOUT_OTHERS)

TESTS = [
    "TestConvolve",
    "TestConvolve2d",
    "TestFFTConvolve",
    "TestOAConvolve",
    "TestAllFreqConvolves",
    "TestCorrelateReal",
    "TestCorrelate",
    "TestCorrelateComplex",
    "TestCorrelate2d",
    "TestMedFilt",
    "TestWiener",
    "TestResample",
    "TestOrderFilt",
    "TestDecimate",
    "TestChooseConvMethod",
    "test_choose_conv_method",
    "test_correlation_lags",
    "test_correlation_lags_invalid_mode",
]

globals().update(REPLACED.adopt(suite, [name for name in TESTS if hasattr(suite, name)]))

# Excluded tests, and why.
NOT_RUN = {
    "test_large_array": "allocates 4 GB",
    "test_fft_nan": "expects a warning that NaN spreads everywhere; in fastconv it reaches only outputs that see it",
}


@pytest.fixture(autouse=True)
def _in_the_place_of_scipy(request, monkeypatch):
    if "method" in request.fixturenames and request.getfixturevalue("method") == "fft":
        pytest.skip("of its methods, only polyphase filters are fastconv's")
    yield from REPLACED.patched(request, monkeypatch, suite, NOT_RUN)
