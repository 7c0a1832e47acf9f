"""The Fourier transforms of simd/fft.h, and the tiles that engine/convolution/fft.py makes of them."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv.engine.convolution import fft
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.kernels.slots import LANES

# Every product of 16 and of 2, 3 and 5 up to here has its own order of passes.
EXTENTS = sorted({fft._next_fast(extent) for extent in range(1, 641)})

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def assert_rounded(found, expected, dtype):
    """In the root of the mean square a transform errs by 0.6 ε sqrt(log2 n) of its result (Schatzman 1996)."""
    allowed = 0.6 * np.finfo(dtype).eps * np.log2(expected.size) ** 0.5
    assert np.linalg.norm(found - expected) <= allowed * np.linalg.norm(expected)


def spectrum(geometry, tiling, taps):
    """What `_transform_weight` makes of one filter, as rows of frequencies in digit-reversed order."""
    values = fft._transform_weight(geometry, tiling, taps, np.zeros(len(taps), np.int64), 1)
    height, width = tiling.extents
    lanes = LANES[taps.itemsize]
    real, imaginary = values.reshape(height // lanes, width, 2, lanes).transpose(2, 0, 3, 1).reshape(2, height, width)
    return (real + 1j * imaginary) * prod(tiling.extents)


@pytest.mark.per_isa
@DTYPES
@pytest.mark.parametrize("extent", EXTENTS)
def test_spectra_of_planes(extent, dtype):
    """The conjugates of NumPy's, down a plane and across it."""
    other = 48
    for height, width in ((extent, other), (other, extent)):
        geometry = ConvGeometry.parse(f"n1 ic1 oc1 ih{height} iw{width} kh9 kw13")
        taps = np.random.default_rng(0).standard_normal((1, 1, 9, 13)).astype(dtype)
        found = spectrum(geometry, fft._Tiling((height, width), (1, 1), (1, 1), False), taps)
        expected = np.fft.fft2(taps[0, 0].astype(np.longdouble), (height, width)).conj()
        expected = expected[np.ix_(fft.digit_reversed(height), fft.digit_reversed(width))]
        assert_rounded(found, expected, dtype)


@pytest.mark.per_isa
@DTYPES
@pytest.mark.parametrize("points", [256, 1000, 3000, 20000])
def test_spectra_of_lines(points, dtype):
    """A plane that holds one line: the frequency of entry (k, n) is k + height · n, both in digit-reversed order."""
    height, width = extents = fft._next_fast_line(points)
    geometry = ConvGeometry.parse(f"n1 ic1 oc1 ih1 iw{points} kh1 kw101")
    taps = np.random.default_rng(0).standard_normal((1, 1, 1, 101)).astype(dtype)
    found = spectrum(geometry, fft._Tiling(extents, (1, 1), (1, 1), True), taps)
    places = fft.digit_reversed(height)[:, np.newaxis] + height * fft.digit_reversed(width)
    expected = np.fft.fft(taps[0, 0, 0].astype(np.longdouble), height * width).conj()[places]
    assert_rounded(found, expected, dtype)


@given(st.integers(1, 10**6))
def test_fast_extents_have_passes(extent):
    """No less than asked for, less than twice as much, and a product of the radices that there are."""
    fast = fft._next_fast(extent)
    assert extent <= fast < 2 * extent + fft._UNIT
    assert fast % fft._UNIT == 0
    assert set(radices := fft._radices(fast)) <= {3, 4, 5, 8}
    assert prod(radices) == fast


@pytest.mark.per_isa
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_tiling_gives_the_same_outputs(data):
    """Any cut into tiles is right, as far as rounding goes; one is chosen only for its cost."""
    kh, kw = data.draw(st.tuples(st.integers(2, 9), st.integers(1, 9)))
    ih, iw = data.draw(st.tuples(st.integers(kh, 60), st.integers(kw, 60)))
    channels, filters, stride = (data.draw(st.integers(1, 3)) for _ in range(3))
    g = ConvGeometry.parse(f"n2 ic{channels} oc{filters} ih{ih} iw{iw} kh{kh} kw{kw} s{stride} p{min(kh, kw) // 2}")
    extents = tuple(data.draw(st.sampled_from([e for e in EXTENTS if k < e < 100])) for k in (kh, kw))
    steps = tuple(data.draw(st.integers(1, e - k + 1)) for e, k in zip(extents, g.kernel, strict=True))
    dense = ((o - 1) * g.sh + 1 for o in g.out_extent)
    tiling = fft._Tiling(extents, steps, tuple(-(-d // s) for d, s in zip(dense, steps, strict=True)), False)
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape) for shape in (g.x_shape, g.weight_shape))
    found, chosen = np.empty(g.out_shape), np.empty(g.out_shape)
    exponents = np.zeros(filters, np.int64)
    spectra = fft._transform_weight(g, tiling, weight, exponents, 1)
    fft._run_filters(g, tiling, x, weight, exponents, spectra, found, Epilogue(), 1)
    fft.Fft().run_once(g, x, weight, chosen, Epilogue(), 1, DEFAULT_MAX_WORKSPACE)
    np.testing.assert_allclose(found, chosen, rtol=0, atol=1e-12 * (kh * kw * channels) ** 0.5)


def test_prepared_filters_keep_spectra_of_the_last_tilings():
    """Not of all: a program that sweeps image sizes must not fill the memory."""
    strategy, sizes = fft.Fft(), range(40, 400, 40)
    weight = np.ones((1, 1, 9, 9))
    prepared = strategy.prepare(ConvGeometry.parse("n1 ic1 oc1 ih40 iw40 kh9 kw9"), weight, 1)
    tilings, held = set(), []
    for size in sizes:
        g = ConvGeometry.parse(f"n1 ic1 oc1 ih{size} iw{size} kh9 kw9")
        tilings.add(fft._tiling(g, 8))
        strategy.run(g, np.ones(g.x_shape), prepared, np.empty(g.out_shape), Epilogue(), 1, DEFAULT_MAX_WORKSPACE)
        held.append(len(prepared._spectra))
    assert max(held) == fft._MOST_KEPT < len(tilings)
