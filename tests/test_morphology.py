"""Morphology of grey and binary images, against SciPy."""

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from fastconv import ndimage
from test_ndimage import MODES, assert_same, both, every_mode, integral

GREY = (
    "grey_erosion",
    "grey_dilation",
    "grey_opening",
    "grey_closing",
    "morphological_gradient",
    "morphological_laplace",
    "white_tophat",
    "black_tophat",
)
BINARY = ("binary_erosion", "binary_dilation", "binary_opening", "binary_closing")
DISK = np.hypot(*np.ogrid[-4:5, -4:5]) < 4.5


@pytest.mark.parametrize("name", GREY)
@pytest.mark.parametrize("dtype", "bBhHiIlLqQfd")
def test_grey_types_and_modes(name, dtype):
    x = integral((12, 17), dtype)
    heights = np.array([[0.5, 1, 0], [2, 3, -1]])
    for mode in MODES:
        assert_same(name, x, (3, 4), mode=mode, cval=2)
        assert_same(name, x, footprint=DISK, mode=mode, cval=2)
    if dtype not in "LQ" or "dil" not in name:
        assert_same(name, x.astype("d"), structure=heights, mode="nearest")
    assert_same(name, x, footprint=DISK, structure=np.zeros(DISK.shape))


@pytest.mark.parametrize("name", GREY)
def test_grey_values(name):
    x = integral((12, 17), "h")
    heights = np.arange(12).reshape(3, 4)
    for mode in ("reflect", "wrap", "constant"):
        assert_same(name, x, structure=heights, mode=mode, cval=1)
        assert_same(name, x, footprint=heights % 3 > 0, structure=heights, mode=mode, cval=1)
    assert_same(name, x, footprint=[[1]], structure=[[5]])
    assert_same(name, integral((4, 5, 6), "d"), structure=np.arange(8).reshape(2, 2, 2))


@given(st.data())
def test_grey_origins_and_axes(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    x, name = integral(shape, data.draw(st.sampled_from("Bhd"))), data.draw(st.sampled_from(GREY))
    options = {"mode": data.draw(st.sampled_from(MODES)), "origin": data.draw(st.sampled_from([0, 1, -1]))}
    options["axes"] = data.draw(st.one_of(st.none(), st.lists(st.integers(-3, 2), min_size=1, max_size=2)))
    size = data.draw(st.one_of(st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=2)))
    if both(name, x, size, **options)[1] is not IndexError:  # what SciPy says of too few sizes
        assert_same(name, x, size, **options)
    if x.ndim == 2:
        options["axes"] = None
        assert_same(name, x, footprint=np.tri(3, 4), **options)


@pytest.mark.parametrize("name", GREY)
def test_grey_arguments(name):
    x = integral((5, 6), "d")
    for args, kwargs in (
        ((), {}),
        ((), {"structure": np.ones(3)}),
        ((3,), {"mode": "none"}),
        ((3,), {"origin": 5}),
        ((), {"footprint": np.zeros((3, 3))}),
    ):
        actual, expected = both(name, x, *args, **kwargs)
        assert actual is (RuntimeError if expected is IndexError else expected), (args, kwargs)
    assert both(name, x + 1j, 3)[0] is TypeError
    out = np.empty((5, 6))
    assert getattr(ndimage, name)(x, 3, output=out) is out
    np.testing.assert_array_equal(out, getattr(scipy.ndimage, name)(x, 3))
    with pytest.warns(UserWarning, match="ignoring size because footprint is set"):
        getattr(ndimage, name)(x, 5, np.ones((3, 3)))


def test_bool_images():
    x = integral((9, 11), "?")
    for name in ("grey_erosion", "grey_dilation", "white_tophat", "black_tophat"):
        assert_same(name, x, 3)


@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_binary(name, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.integers(0, 3, shape).astype(data.draw(st.sampled_from("?Bd")))
    structure = None
    if data.draw(st.booleans()):
        structure = rng.random(tuple(data.draw(st.integers(1, 4)) for _ in shape)) < data.draw(
            st.sampled_from([0.3, 2])
        )
    mask = data.draw(st.sampled_from([None, rng.random(shape) < 0.7]))
    iterations = data.draw(st.sampled_from([1, 1, 2, 3]))
    origins = [0, 1, -1] if structure is None else [0]  # SciPy does not check all, and would read other memory
    options = {"border_value": data.draw(st.integers(0, 1)), "origin": data.draw(st.sampled_from(origins))}
    actual, expected = both(name, x, structure, iterations=iterations, mask=mask, **options, brute_force=True)
    np.testing.assert_array_equal(actual, expected, strict=True)


@pytest.mark.parametrize("dtype", "?bBhHiIlLqQfdHfd")
@pytest.mark.parametrize("layout", ["C", "F"])
def test_binary_images_are_what_is_not_zero(dtype, layout):
    """Whatever a cast to a byte would make of it; boxes are folded along one axis after another."""
    x = np.array([[0, 256, 0, 0], [0, 0.25, 512, 1], [0, 0, 0, 3]], "d").astype(dtype, layout)
    for structure in (None, np.ones((2, 2)), np.eye(3)):
        for _ in range(3):
            assert_same("binary_dilation", x, structure)
            assert_same("binary_closing", x, structure, border_value=1)


@pytest.mark.parametrize("name", ["binary_erosion", "binary_dilation"])
@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("dtype", "?B")
def test_binary_images_are_not_copied(name, iterations, dtype):
    x = (np.random.default_rng(0).random((2000, 1500)) < 0.9).astype(dtype)
    function = getattr(ndimage, name)
    function(x[:9, :9], iterations=iterations)
    tracemalloc.start()
    try:
        out = function(x, iterations=iterations)
        taken = tracemalloc.get_traced_memory()[1] - out.nbytes
    finally:
        tracemalloc.stop()
    assert taken < (out.nbytes if iterations > 1 else 0) + (1 << 20)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("structure", [None, np.ones((5, 4)), np.eye(6)])
def test_binary_images_of_several_bands(name, structure):
    x = np.random.default_rng(0).integers(0, 4, (1100, 900)).astype("h")
    origin = 0 if structure is None else (1, -1)
    assert_same(name, x, structure, border_value=1, origin=origin)


@given(data=st.data())
def test_structures_with_values(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    extent = tuple(data.draw(st.integers(1, 4)) for _ in shape)
    x = rng.integers(5, 90, shape).astype(data.draw(st.sampled_from("bhHfd")))
    structure, footprint = rng.integers(0, 4, extent), rng.random(extent) < 0.7
    footprint.flat[0] = True
    options = {"mode": data.draw(st.sampled_from(["reflect", "constant", "nearest", "wrap", "mirror"])), "cval": 7}
    for name in ("grey_erosion", "grey_dilation", "grey_closing"):
        for _ in range(3):
            assert_same(name, x, footprint=footprint, structure=structure, **options)


@pytest.mark.parametrize("name", BINARY)
def test_binary_arguments(name):
    x = integral((20, 30), "?")
    assert_same(name, x, iterations=0, mask=x)
    assert_same(name, x, axes=1)
    assert_same(name, x, np.ones((3, 1)), axes=(0, 1), iterations=4)
    for kwargs in (
        {"iterations": 1.5},
        {"structure": np.ones((3, 3, 3))},
        {"structure": np.ones((0, 3))},
        {"mask": np.ones(3)},
        {"output": np.empty((20, 30), "D")},
        {"output": np.empty((20, 31))},
        {"axes": (0, 0)},
    ):
        actual, expected = both(name, x, **kwargs)
        assert actual is expected, kwargs
    for dtype in "?Bhfd":
        out = np.empty((30, 20), dtype).T
        assert getattr(ndimage, name)(x, output=out) is out
        np.testing.assert_array_equal(out, getattr(scipy.ndimage, name)(x))
    own = x.copy()
    getattr(ndimage, name)(own, output=own)
    np.testing.assert_array_equal(own, getattr(scipy.ndimage, name)(x))


@every_mode
@pytest.mark.parametrize("dtype", "?Bhfd")
def test_extremes_of_footprints(mode, dtype):
    """Rows of a footprint are covered by runs."""
    x = integral((23, 70), dtype)
    rng = np.random.default_rng(3)
    for footprint in (DISK, np.eye(5), rng.random((4, 9)) < 0.6, np.tri(2, 3), [[1, 1, 1, 0, 1, 1, 1, 1, 1]]):
        for name in ("maximum_filter", "minimum_filter"):
            assert_same(name, x, footprint=footprint, mode=mode, cval=1)


def test_nan_is_the_extreme_of_a_footprint():
    x = integral((9, 9), "f")
    x[4, 4] = np.nan
    cross = np.sum(np.abs(np.indices((3, 3)) - 1), axis=0) <= 1
    for name in ("maximum_filter", "minimum_filter"):
        result = getattr(ndimage, name)(x, footprint=cross)
        np.testing.assert_array_equal(np.isnan(result), scipy.ndimage.binary_dilation(np.isnan(x)))
