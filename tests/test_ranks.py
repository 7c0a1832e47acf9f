"""Ranks of windows, by every kernel, against SciPy and against sorting."""

from itertools import product

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import fastconv
from fastconv import ndimage
from fastconv.engine import ranks
from fastconv.engine.boundary import NAMES, continued
from fastconv.engine.selection import network_of_box, network_of_taps
from test_ndimage import MODES, ORDERED, assert_same, both, every_mode, integral


@pytest.fixture(params=["networks", "histograms"])
def forced(request, monkeypatch):
    """One of the methods computes all windows of planes."""
    most = {"networks": 10**6, "histograms": 0}[request.param]
    monkeypatch.setattr(ranks, "_MOST_TAPS", dict.fromkeys((1, 2, 4, 8), most))
    ranks._launch.cache_clear()
    yield
    ranks._launch.cache_clear()


def by_sorting(x, footprint, rank, mode, begins):
    """The value of that rank of each window, NaN last."""
    shape = [n + k - 1 for n, k in zip(x.shape, footprint.shape, strict=True)]
    windows = sliding_window_view(continued(x, [-b for b in begins], shape, mode, 7), footprint.shape)
    return np.sort(windows[..., footprint], -1)[..., rank]


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", ORDERED)
@pytest.mark.usefixtures("forced")
def test_every_type(dtype):
    x = integral((21, 70), dtype) * (np.dtype(dtype).type(3) if dtype != "?" else True)
    for mode, size in product(("reflect", "constant"), (2, 3, (5, 4), (1, 5), (6, 1), 7)):
        assert_same("median_filter", x, size, mode=mode, cval=1)
        assert_same("rank_filter", x, 1, size, mode=mode)
        assert_same("percentile_filter", x, -20, size, mode=mode)


@every_mode
@pytest.mark.usefixtures("forced")
def test_every_mode_and_extent(mode):
    for shape in ((1, 1), (2, 7), (40, 33), (3, 300), (300, 3)):
        x = integral(shape, "h")
        for size in (3, 5, (2, 9)):
            assert_same("median_filter", x, size, mode=mode, cval=2)
        assert_same("rank_filter", x, 3, footprint=[[0, 1, 1, 0], [1, 0, 1, 1], [0, 0, 1, 0]], mode=mode, cval=2)


@pytest.mark.parametrize(("lines", "columns"), [(1, 3), (2, 2), (3, 3), (3, 4), (5, 5), (4, 7), (9, 3), (1, 8), (6, 9)])
def test_networks_find_every_rank_of_zeros_and_ones(lines, columns):
    """By the principle of zeros and ones, a network that is right for these is right for all values."""
    x = np.random.default_rng(lines).integers(0, 2, (lines, 600)).astype(np.uint8)
    footprint = np.ones((lines, columns), bool)
    for rank in range(lines * columns):
        ranked = ranks.Ranked(rank, footprint.shape, (0, 0), ("nearest", "nearest"))
        out = np.empty_like(x)
        ranks._run(ranked, x, np.zeros((), np.uint8), out)
        np.testing.assert_array_equal(out, by_sorting(x, footprint, rank, "nearest", (0, 0)))


@pytest.mark.per_isa
@pytest.mark.parametrize("size", [3, 5])
def test_medians_of_zeros_and_ones(size):
    """Medians that share what their windows have in common are right for all values if they are right for these."""
    rng = np.random.default_rng(size)
    footprint = np.ones((size, size), bool)
    for rows, columns in ((1, 1), (3, 2), (4, 33), (9, 4100), (70, 260)):
        for share in (0.3, 0.5, 0.7):
            x = (rng.random((rows, columns)) < share).astype(np.uint8)
            expected = by_sorting(x, footprint, size * size // 2, "mirror", (size // 2, size // 2))
            np.testing.assert_array_equal(ndimage.median_filter(x, size, mode="mirror"), expected)
    every = (np.arange(1 << size * 2)[:, None] >> np.arange(size * 2) & 1).astype(np.uint8)
    tiled = np.ascontiguousarray(every[: 1 << 12].reshape(-1, 64 * size))
    expected = by_sorting(tiled, footprint, size * size // 2, "wrap", (size // 2, size // 2))
    np.testing.assert_array_equal(ndimage.median_filter(tiled, size, mode="wrap"), expected)


@pytest.mark.parametrize("dtype", ["B", "h", "f", "d"])
def test_images_with_channels_last(dtype):
    """Medians whose neighbours along a row are channels apart, and windows that slide along planes of a channel."""
    for shape, axes in (((9, 71, 3), (0, 1)), ((2, 6, 5, 4), (1, 2)), ((3, 1, 2, 2), (0, 1)), ((4, 3, 2800), (0, 1))):
        x = integral(shape, dtype)
        for mode in ("reflect", "constant"):
            assert_same("median_filter", x, 3, axes=axes, mode=mode, cval=7, origin=(1, -1))
            assert_same("median_filter", x, 5, axes=axes, mode=mode, cval=7)
        assert_same("rank_filter", x, 4, (2, 7), axes=axes)
        assert_same("maximum_filter", x, footprint=np.tri(3, 4), axes=axes)
    image = np.ones((8, 9, 3), dtype)
    if image.dtype.kind == "f":
        image[4, 4, 1] = np.nan
        assert np.isfinite(ndimage.median_filter(image, 3, axes=(0, 1))).all()


@given(st.data())
def test_extremes_of_footprints_in_planes(data):
    """Runs of any lengths, in images smaller and larger than a tile, and NaN wherever it is seen."""
    shape = data.draw(st.sampled_from([(1, 1), (5, 7), (40, 9), (9, 700), (3, 9000)]))
    kh, kw = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 30))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    footprint = rng.random((kh, kw)) < data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    footprint[rng.integers(kh), rng.integers(kw)] = True
    dtype = data.draw(st.sampled_from("bBhHilfd"))
    x = rng.integers(-9, 99, shape).astype(dtype)
    options = {"footprint": footprint, "mode": data.draw(st.sampled_from(MODES)), "cval": 3}
    for name in ("maximum_filter", "minimum_filter"):
        assert_same(name, x, **options)
    if dtype in "fd":
        x[rng.integers(shape[0]), rng.integers(shape[1])] = np.nan
        seen = ndimage.maximum_filter(np.isnan(x), **{**options, "cval": 0})
        expected = ndimage.maximum_filter(np.where(np.isnan(x), -99, x), **options)
        np.testing.assert_array_equal(ndimage.maximum_filter(x, **options), np.where(seen, np.nan, expected))


def test_networks_share_what_windows_have_in_common():
    """The median of 25 values takes fewer steps if columns are sorted once, and none is left that is not needed."""
    assert network_of_box(5, 5, 11).steps < 0.6 * network_of_taps(25, 11).steps
    assert network_of_box(5, 5, 1).steps < network_of_box(5, 5, 12).steps
    assert network_of_box(7, 7, 24, True).steps < 1.5 * network_of_box(7, 7, 24).steps


@given(st.data())
@pytest.mark.usefixtures("forced")
def test_footprints_origins_and_axes(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    x = integral(shape, data.draw(st.sampled_from("Bhfd")), data.draw(st.integers(0, 9)))
    footprint = np.array(data.draw(st.lists(st.booleans(), min_size=12, max_size=12))).reshape(3, 4)
    options = {"mode": data.draw(st.sampled_from(MODES)), "cval": data.draw(st.sampled_from([0, 3]))}
    options["origin"] = data.draw(st.sampled_from([0, 1, -1]))
    rank = data.draw(st.integers(-13, 12))
    if x.ndim == 2:
        assert_same("rank_filter", x, rank, footprint=footprint, **options)
        assert_same("median_filter", x, footprint=footprint, **options)
    options["axes"] = data.draw(st.one_of(st.none(), st.lists(st.integers(-3, 2), min_size=1, max_size=2)))
    size = data.draw(st.one_of(st.integers(0, 4), st.lists(st.integers(1, 5), min_size=1, max_size=2)))
    if x.ndim > 1:  # along a line, SciPy does not check all that it does otherwise
        assert_same("percentile_filter", x, data.draw(st.sampled_from([0, 10, -50, 77.5, 100, 101])), size, **options)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.usefixtures("forced")
def test_nan_is_higher_than_numbers(dtype):
    x = integral((30, 40), dtype)
    x[3, 4], x[5, 5], x[20] = np.nan, -np.inf, np.nan
    for size, rank in ((3, 4), (3, 7), (5, 12)):
        expected = by_sorting(x, np.ones((size, size), bool), rank, "reflect", (size // 2, size // 2))
        np.testing.assert_array_equal(ndimage.rank_filter(x, rank, size), expected)
    constant = ndimage.median_filter(np.zeros((4, 4), dtype), 3, mode="constant", cval=np.nan)
    assert np.isnan(constant[0, 0])
    assert not constant[1:3, 1:3].any()


def test_constants_that_the_type_does_not_hold():
    """They are numbers, not pixels."""
    for dtype, cval in (("B", 300), ("B", -1), ("h", 0.5), ("f", 0.1), ("l", 2.5)):
        x = integral((9, 9), dtype)
        for output in ("d", "l"):
            actual = ndimage.median_filter(x, 3, mode="constant", cval=cval, output=output)
            expected = scipy.ndimage.median_filter(x.astype("d"), 3, mode="constant", cval=cval, output=output)
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", NAMES)
def test_volumes(name):
    x = integral((4, 5, 6), "f")
    for size in (2, 3, (1, 3, 3), (3, 1, 1), 9):
        assert_same("median_filter", x, size, mode=name)
    assert_same("median_filter", integral((3, 9, 20, 30), "B"), 13, axes=(2, 3), mode=name)


@pytest.mark.parametrize("dtype", "Bf")
@pytest.mark.usefixtures("forced")
def test_threads_change_nothing(dtype):
    x = np.random.default_rng(1).integers(0, 200, (300, 200)).astype(dtype)
    for size in (3, 5, 13):
        with fastconv.num_threads(1):
            expected = ndimage.median_filter(x, size)
        with fastconv.num_threads(3):
            np.testing.assert_array_equal(ndimage.median_filter(x, size), expected)


def test_large_windows():
    x = np.random.default_rng(2).integers(0, 1000, (90, 130))
    disk = np.hypot(*np.ogrid[-9:10, -9:10]) < 9.5
    for dtype in "BHfd":
        y = x.astype(dtype)
        assert_same("median_filter", y, (31, 17))
        assert_same("rank_filter", y, 40, footprint=disk, mode="wrap")


def test_windows_far_larger_than_the_array():
    x = integral((3, 4), "B")
    assert_same("median_filter", x, 41, mode="mirror")
    assert_same("median_filter", x.astype("d"), 41, mode="nearest")
    with pytest.raises(MemoryError, match="a window of 1000000000 × 3"):
        ndimage.median_filter(x, (10**9, 3))


def test_errors_are_scipy_s():
    x = integral((5, 6), "d")
    for args, kwargs in (
        ((), {}),
        ((0,), {}),
        ((-1,), {}),
        ((3.5,), {}),
        (((3, 3, 3),), {}),
        ((3,), {"mode": "none"}),
        ((3,), {"mode": ["reflect", "wrap"]}),
        ((3,), {"origin": 2}),
        ((), {"footprint": np.zeros((3, 3))}),
        ((), {"footprint": np.ones(3)}),
    ):
        actual, expected = both("median_filter", x, *args, **kwargs)
        assert actual is expected, (args, kwargs)
    assert both("rank_filter", x, 9, 3)[0] is RuntimeError
    assert both("median_filter", x + 1j, 3)[0] is TypeError
    with pytest.warns(UserWarning, match="ignoring size because footprint is set"):
        ndimage.median_filter(x, 9, np.ones((3, 3)))
