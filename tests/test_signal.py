"""`fastconv.signal` against SciPy, whose names, results and errors it takes over."""

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from numpy.exceptions import ComplexWarning

import fastconv
from fastconv.engine import correlation
from fastconv.engine.correlation import Past
from fastconv.engine.correlation.integers import working_type
from fastconv.engine.geometry import mode_padding
from fastconv.signal import convolve, convolve2d, correlate2d, sepfir2d

FUNCTIONS = [(convolve2d, scipy.signal.convolve2d), (correlate2d, scipy.signal.correlate2d)]
MODES = ["full", "same", "valid"]
BOUNDARIES = ["fill", "wrap", "symm"]
INTEGERS = "bBhHiIlLqQ"
FLOATS = "fdgFDG"

both = pytest.mark.parametrize(("ours", "scipys"), FUNCTIONS, ids=["convolve2d", "correlate2d"])
every_mode = pytest.mark.parametrize("mode", MODES)
every_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def integral(shape, dtype, seed=0):
    """Random integers, the same for the same arguments: any of an integer type, few enough for exact float sums."""
    dtype, rng = np.dtype(dtype), np.random.default_rng([seed, *shape])
    if dtype.kind in "iu":
        return np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)
    values = rng.integers(-50, 50, (2, *shape))
    return (values[0] + 1j * values[1] if dtype.kind == "c" else values[0]).astype(dtype)


def outcome(function, *args, **kwargs):
    """The result, or the type of the exception."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return type(error)


def assert_same(actual, expected):
    """The same type, shape and values, or the same exception."""
    if isinstance(expected, type):
        assert actual is expected
        return
    assert isinstance(actual, np.ndarray), actual
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected, strict=True)


@both
@every_mode
@every_boundary
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_every_type(ours, scipys, mode, boundary, dtype):
    image, kernel = integral((6, 7), dtype), integral((2, 3), dtype)
    for fillvalue in (0, 3):
        expected = scipys(image, kernel, mode, boundary, fillvalue)
        assert_same(ours(image, kernel, mode, boundary, fillvalue), expected)
        assert_same(ours(image, kernel, mode=mode, boundary=boundary, fillvalue=fillvalue), expected)


@both
@pytest.mark.parametrize("shape2", [(1, 1), (2, 3), (3, 3), (2, 4), (8, 9), (7, 20)])
@pytest.mark.parametrize("shape1", [(6, 7), (2, 3), (1, 1), (9, 24), (1, 10)])
def test_every_extent(ours, scipys, shape1, shape2):
    """Even and odd kernels, larger than the image too, so that it repeats several times."""
    in1, in2 = integral(shape1, "d"), integral(shape2, "d")
    for mode, boundary, fillvalue in itertools.product(MODES, BOUNDARIES, (0, -2.5)):
        call = (in1, in2, mode, boundary, fillvalue)
        assert_same(outcome(ours, *call), outcome(scipys, *call))


@pytest.mark.parametrize("dtype", "bilfdgFDG")
def test_valid_swaps_the_inputs(dtype):
    small, large = integral((2, 3), dtype), integral((6, 7), dtype)
    assert_same(convolve2d(small, large, "valid"), scipy.signal.convolve2d(small, large, "valid"))
    # scipy.signal.correlate2d conjugates the wrong input here; scipy.signal.correlate the right one.
    expected = scipy.signal.correlate(small, large, "valid", method="direct")
    assert_same(correlate2d(small, large, "valid"), expected)
    assert_same(correlate2d(small, large, "valid"), np.conj(correlate2d(large, small, "valid"))[::-1, ::-1])


@pytest.mark.parametrize("dtype", "ifdD")
def test_same_differs_from_correlate_by_one_index_for_even_kernels(dtype):
    image, kernel = integral((8, 9), dtype), integral((2, 3), dtype)
    full = correlate2d(image, kernel)
    assert_same(correlate2d(image, kernel, "same"), full[1:9, 1:10])
    assert_same(scipy.signal.correlate(image, kernel, "same", method="direct"), full[0:8, 1:10])
    assert_same(convolve2d(image, kernel, "same"), convolve2d(image, kernel)[0:8, 1:10])


@both
@pytest.mark.parametrize("char1", "?" + INTEGERS + "e" + FLOATS + "O")
def test_types_meet_as_in_scipy(ours, scipys, char1):
    for char2 in "?" + INTEGERS + "e" + FLOATS + "O":
        call = (np.ones((6, 7), char1), np.ones((2, 3), char2))
        assert_same(outcome(ours, *call), outcome(scipys, *call))


@pytest.mark.parametrize("dtype", ["S1", "U1", "M8[s]", "m8[s]", "V4", "i4,i4"])
def test_types_that_are_no_numbers(dtype):
    array = np.zeros((2, 3), dtype)
    with pytest.raises(ValueError, match="in1"):
        convolve2d(array, array)
    with pytest.raises(ValueError, match="in1"):
        convolve2d(array, np.ones((2, 3)))


FILL_VALUES = [
    *(1.5, np.float64(1.5), np.array(1.5), np.array([1.5]), np.array([[1]]), True, 2, np.int64(300), np.array(300)),
    *(np.array(3), np.int8(3), np.array([3], np.uint64), 256, -1, -0.0, 2**70, 10**400, 2.0**1000, np.nan, np.inf),
    *(1j, np.complex64(1j), np.array(1j), np.complex128(2), np.longdouble(2), np.array(2, np.longdouble)),
    *(None, "1", "abc", b"3", [], [1, 2], [2.5], [[2]], {}, object(), np.array([None])),
]


@both
@pytest.mark.parametrize("dtype", "BlfdD")
@pytest.mark.parametrize("fillvalue", FILL_VALUES, ids=lambda value: f"{type(value).__name__}-{value!r:.12}")
def test_fill_values(ours, scipys, dtype, fillvalue):
    image, kernel = np.arange(42).reshape(6, 7).astype(dtype), np.arange(1, 7).reshape(2, 3).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ComplexWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # 2**1000 in float32
        for mode in MODES:
            call = (image, kernel, mode, "fill", fillvalue)
            assert_same(outcome(ours, *call), outcome(scipys, *call))
            assert_same(ours(image, kernel, mode, "wrap", fillvalue), scipys(image, kernel, mode, "wrap"))


@both
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([1], [[1]]), "in1 of shape"),
        ((3, 4), "in1 of shape"),
        (([[[3]]], [[[4]]]), "in1 of shape"),
        ((None, [[1]]), "in1 of shape"),
        (([[1, 2], [3]], [[1]]), "inhomogeneous"),
        ((np.ones((2, 3)), np.ones((3, 2)), "valid"), "in1 of shape"),
        ((np.ones((2, 3)), np.ones((3, 2)), "valid", "wrap"), "in1 of shape"),
        (([[1]], [[1]], "spam"), "mode='spam'"),
        (([[1]], [[1]], 1), "mode=1"),
        (([[1]], [[1]], None), "mode=None"),
        (([[1]], [[1]], []), "mode"),
        (([[1]], [[1]], np.array("full")), "mode"),
        (([[1]], [[1]], "full", "spam"), "boundary='spam'"),
        (([[1]], [[1]], "full", "reflect"), "boundary='reflect'"),
        (([[1]], [[1]], "full", []), "boundary"),
        (([[True]], [[True]]), "in1 of bool"),
        ((np.ones((2, 2), np.float16), np.ones((2, 2), np.float16)), "in1 of float16"),
        (([[object()]], [[1]]), "in1 of object"),
        (([[1]], [[1]], "full", "fill", "abc"), "fillvalue='abc'"),
        (([[1]], [[1]], "full", "fill", {}), "fillvalue={}"),
        (([[1]], [[1]], "full", "fill", [1, 2]), "fillvalue="),
        (([[1]], [[1]], "full", "fill", []), "fillvalue="),
    ],
)
def test_errors_are_of_scipys_type_and_name_the_argument(ours, scipys, args, message):
    expected = outcome(scipys, *args)
    with pytest.raises(expected, match=message):
        ours(*args)


@both
@every_mode
@every_boundary
def test_results_past_memory(ours, scipys, mode, boundary):
    image = np.broadcast_to(np.int8(1), (1879048192, 1879048192))
    with pytest.raises((ValueError, MemoryError), match="1879048"):
        ours(image, np.ones((2, 3), np.int8), mode, boundary)


@both
@pytest.mark.parametrize(
    ("alias", "boundary"), [("pad", "fill"), ("circular", "wrap"), ("symmetric", "symm"), (np.str_("wrap"), "wrap")]
)
def test_other_names_of_boundaries(ours, scipys, alias, boundary):
    image, kernel = integral((6, 7), "d"), integral((2, 3), "d")
    assert_same(ours(image, kernel, "same", alias), scipys(image, kernel, "same", alias))
    assert_same(ours(image, kernel, "same", alias), ours(image, kernel, "same", boundary))


@both
@every_mode
@pytest.mark.parametrize("dtype", "idgD")
@pytest.mark.parametrize(
    "shapes",
    [
        *itertools.combinations_with_replacement([(0, 3), (2, 3), (0, 0), (3, 0)], 2),
        *itertools.permutations([(0, 3), (2, 3), (0, 0), (3, 0)], 2),
        ((0, 5), (1, 2)),
    ],
    ids=str,
)
def test_empty_inputs(ours, scipys, mode, dtype, shapes):
    in1, in2 = (np.ones(shape, dtype) for shape in shapes)
    for fillvalue in (0, 7):
        call = (in1, in2, mode, "fill", fillvalue)
        assert_same(outcome(ours, *call), outcome(scipys, *call))


@both
@pytest.mark.parametrize("boundary", ["wrap", "symm"])
def test_an_empty_image_cannot_be_continued(ours, scipys, boundary):
    """SciPy divides by the extent here, and the process dies."""
    with pytest.raises(ValueError, match=f"in1 of shape .*boundary='{boundary}'"):
        ours(np.ones((0, 3)), np.ones((2, 2)), "full", boundary)
    assert_same(ours(np.ones((0, 3)), np.ones((2, 2)), "same", boundary), np.zeros((0, 3)))
    assert_same(ours(np.ones((2, 2)), np.ones((0, 3)), "full", boundary), np.zeros((1, 4)))


@both
@every_mode
@every_boundary
@pytest.mark.parametrize("dtype", "fdg")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(ours, scipys, mode, boundary, dtype, value):
    """NaN and infinity reach exactly the outputs that they reach in SciPy, those past the edges included."""
    image, kernel = integral((6, 7), dtype), integral((2, 3), dtype)
    image[2, 0] = value
    assert_same(ours(image, kernel, mode, boundary), scipys(image, kernel, mode, boundary))
    image[2, 0], kernel[0, 0] = 1, value
    assert_same(ours(image, kernel, mode, boundary), scipys(image, kernel, mode, boundary))


@both
@pytest.mark.parametrize("where", ["image", "kernel"])
def test_not_finite_where_the_fft_is_cheapest(ours, scipys, where):
    image, kernel = integral((120, 120), "f"), integral((31, 31), "f")
    assert np.isfinite(ours(image, kernel, "same")).all()
    (image if where == "image" else kernel)[7, 9] = np.nan
    np.testing.assert_array_equal(np.isnan(ours(image, kernel, "same")), np.isnan(scipys(image, kernel, "same")))


@both
def test_large_values_in_the_kernel(ours, scipys):
    image, kernel = np.ones((6, 7)), np.full((2, 3), 1e200)
    np.testing.assert_allclose(ours(image, kernel), scipys(image, kernel), rtol=1e-15)


@both
@pytest.mark.parametrize("shape2", [(1, 1), (2, 3), (3, 3), (8, 9), (7, 20)])
@pytest.mark.parametrize("shape1", [(6, 7), (1, 1), (9, 24), (24, 9), (1, 10), (10, 1)])
def test_boundaries_of_any_extents(ours, scipys, shape1, shape2):
    """Images that are smaller than the kernel, or have a single row or column, are continued over and over."""
    in1, in2 = integral(shape1, "d"), integral(shape2, "d")
    for mode, (boundary, fillvalue) in itertools.product(MODES, [("fill", 2), ("wrap", 0), ("symm", 0)]):
        call = (in1, in2, mode, boundary, fillvalue)
        assert_same(outcome(ours, *call), outcome(scipys, *call))


@both
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("extent", [3, 31])
def test_rounding(ours, scipys, dtype, extent):
    """A sum of n products is off by n units of the sum of their sizes (Higham 2002, section 3.1), an FFT by 1e-5 σ."""
    rng = np.random.default_rng(extent)
    image, kernel = (rng.standard_normal(shape).astype(dtype) for shape in ((150, 140), (extent, extent)))
    expected = scipys(image.astype(np.longdouble), kernel.astype(np.longdouble), "same")
    limit = extent**2 * np.finfo(dtype).epsneg * scipys(np.abs(image).astype("d"), np.abs(kernel).astype("d"), "same")
    if dtype == "f" and extent == 31:
        limit = 1e-5 * expected.std()
    assert (np.abs(ours(image, kernel, "same") - expected) <= limit).all()


def misaligned(array):
    raw = np.empty(array.nbytes + 1, np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def field(array):
    """With strides that are no multiples of the item size."""
    records = np.zeros(array.shape, [("number", array.dtype), ("flag", np.bool_)])
    records["number"] = array
    return records["number"]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def spread(array):
    wide = np.zeros((3 * array.shape[0], 2 * array.shape[1]), array.dtype)
    wide[::3, ::2] = array
    return wide[::3, ::2]


LAYOUTS = {
    "column-major": np.asfortranarray,
    "every other": spread,
    "reversed": lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "misaligned": misaligned,
    "field of records": field,
    "read-only": read_only,
    "list": lambda array: array.tolist(),
    "matrix": np.asmatrix,
}


@both
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", "ld")
def test_layouts(ours, scipys, layout, dtype):
    image, kernel = integral((6, 7), dtype), integral((2, 3), dtype)
    odd_image, odd_kernel = LAYOUTS[layout](image), LAYOUTS[layout](kernel)
    for mode, boundary in itertools.product(MODES, BOUNDARIES):
        actual = ours(odd_image, odd_kernel, mode, boundary)
        assert type(actual) is np.ndarray
        assert actual.dtype.isnative
        assert_same(actual, scipys(image, kernel, mode, boundary))


@both
@every_boundary
def test_broadcast_arrays(ours, scipys, boundary):
    row, column = np.arange(7.0), np.arange(1.0, 7.0)[:, None]
    for image in (np.broadcast_to(row, (6, 7)), np.broadcast_to(column, (6, 7)), np.broadcast_to(2.0, (6, 7))):
        for kernel in (np.broadcast_to([1.0, 2.0, 4.0], (2, 3)), np.broadcast_to(3.0, (2, 3))):
            assert_same(ours(image, kernel, "same", boundary), scipys(image, kernel, "same", boundary))


@both
def test_memory_mapped_arrays(ours, scipys, tmp_path):
    path = tmp_path / "image"
    integral((6, 7), "d").tofile(path)
    image = np.memmap(path, "d", "r", shape=(6, 7))
    actual = ours(image, [[1.0, 2.0, 4.0], [3.0, 5.0, 7.0]])
    assert type(actual) is np.ndarray
    assert_same(actual, scipys(image, [[1.0, 2.0, 4.0], [3.0, 5.0, 7.0]]))


@both
def test_masked_arrays_are_refused(ours, scipys):
    masked, plain = np.ma.masked_equal([[1, 2], [3, 4]], 3), np.ones((2, 2))
    with pytest.raises(TypeError, match="in1 is a masked array"):
        ours(masked, plain)
    with pytest.raises(TypeError, match="in2 is a masked array"):
        ours(plain, masked)


@both
@every_mode
@every_boundary
def test_inputs_stay_as_they_are(ours, scipys, mode, boundary):
    image, kernel = integral((6, 7), "D"), integral((2, 3), "D")
    out = ours(image, kernel, mode, boundary, 2)
    out[...] = 0
    np.testing.assert_array_equal(image, integral((6, 7), "D"))
    np.testing.assert_array_equal(kernel, integral((2, 3), "D"))


@pytest.mark.parametrize("shapes", [((3000, 1), (1, 3000)), ((1, 3000), (3000, 1))], ids=["column", "row"])
@pytest.mark.parametrize("boundary", [("fill", 2), ("wrap", 0), ("symm", 0)])
def test_continuing_the_image_takes_bounded_memory(shapes, boundary):
    """Continued past its edges in one piece, the image would fill 72 MB."""
    image, kernel = (integral(shape, "d") for shape in shapes)
    expected = scipy.signal.convolve2d(image, kernel, "same", *boundary)
    convolve2d(image, kernel, "same", *boundary)
    tracemalloc.start()
    try:
        actual = convolve2d(image, kernel, "same", *boundary)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_same(actual, expected)
    assert peak < 40e6


@every_mode
@every_boundary
def test_threads_do_not_change_the_result(mode, boundary):
    rng = np.random.default_rng(0)
    image, kernel = rng.standard_normal((700, 300)), rng.standard_normal((3, 3))
    with fastconv.num_threads(1):
        expected = convolve2d(image, kernel, mode, boundary)
    with fastconv.num_threads(2):
        np.testing.assert_array_equal(convolve2d(image, kernel, mode, boundary), expected)


def test_correlation_is_what_conv2d_computes():
    rng = np.random.default_rng(1)
    image, kernel = rng.standard_normal((20, 30)), rng.standard_normal((3, 3))
    expected = fastconv.conv2d(image[None], kernel[None, None], padding=1)[0]
    np.testing.assert_array_equal(correlate2d(image, kernel, "same"), expected)


def test_scipys_names_may_be_replaced(monkeypatch):
    """The long types, which SciPy computes, do not come back to the caller's replacement."""
    expected = scipy.signal.correlate2d(integral((6, 7), "G"), integral((2, 3), "G"))
    monkeypatch.setattr(scipy.signal, "convolve2d", convolve2d)
    monkeypatch.setattr(scipy.signal, "correlate2d", correlate2d)
    assert_same(scipy.signal.correlate2d(integral((6, 7), "G"), integral((2, 3), "G")), expected)


# Few extents, because every kernel of at most 49 taps is compiled for itself.
extents = st.sampled_from([(1, 1), (2, 3), (3, 3), (2, 4), (8, 9), (5, 11)])
images = st.tuples(st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**32 - 1)
modes, boundaries = st.sampled_from(MODES), st.sampled_from(BOUNDARIES)
functions = st.sampled_from([convolve2d, correlate2d])


@given(extents, extents, seeds)
def test_full_convolution_commutes(shape1, shape2, seed):
    in1, in2 = integral(shape1, "l", seed), integral(shape2, "l", seed + 1)
    assert_same(convolve2d(in1, in2), convolve2d(in2, in1))


@given(functions, images, extents, modes, boundaries, seeds)
def test_linear_in_both_inputs(function, shape1, shape2, mode, boundary, seed):
    if mode == "valid" and not (shape1[0] >= shape2[0] and shape1[1] >= shape2[1]):
        mode = "same"
    a, b = integral(shape1, "l", seed), integral(shape1, "l", seed + 1)
    k, m = integral(shape2, "l", seed + 2), integral(shape2, "l", seed + 3)
    # Modulo 2**64 the ring's laws hold exactly.
    expected = function(a, k, mode, boundary) + 3 * function(b, k, mode, boundary)
    assert_same(function(a + 3 * b, k, mode, boundary), expected)
    expected = function(a, k, mode, boundary) + 3 * function(a, m, mode, boundary)
    assert_same(function(a, k + 3 * m, mode, boundary), expected)


@given(functions, images, extents, seeds, st.integers(-15, 15), st.integers(-15, 15))
def test_wrapped_convolution_moves_with_the_image(function, shape1, shape2, seed, down, right):
    image, kernel = integral(shape1, "l", seed), integral(shape2, "l", seed + 1)
    moved = function(np.roll(image, (down, right), (0, 1)), kernel, "same", "wrap")
    assert_same(moved, np.roll(function(image, kernel, "same", "wrap"), (down, right), (0, 1)))


@given(images, extents, seeds, st.data())
def test_an_impulse_shows_the_kernel(shape1, shape2, seed, data):
    row, column = (data.draw(st.integers(0, extent - 1)) for extent in shape1)
    image, kernel = np.zeros(shape1, np.int64), integral(shape2, "l", seed)
    image[row, column] = 1
    for function, shown in ((convolve2d, kernel), (correlate2d, kernel[::-1, ::-1])):
        out = function(image, kernel)
        np.testing.assert_array_equal(out[row : row + shape2[0], column : column + shape2[1]], shown)
        assert np.count_nonzero(out) == np.count_nonzero(kernel)


@given(images, extents, boundaries, seeds)
def test_a_symmetric_kernel_correlates_as_it_convolves(shape1, shape2, boundary, seed):
    image, kernel = integral(shape1, "l", seed), integral(shape2, "l", seed + 1)
    kernel = kernel + kernel[::-1, ::-1]
    assert_same(correlate2d(image, kernel, "full", boundary), convolve2d(image, kernel, "full", boundary))


# Arrays of any number of axes.

SHAPES = [
    ((7,), (3,)),
    ((3,), (7,)),
    ((8,), (4,)),
    ((1,), (5,)),
    ((6, 7), (3, 2)),
    ((3, 2), (6, 7)),
    ((3, 9), (5, 4)),
    ((5, 1), (1, 4)),
    ((1, 6), (4, 1)),
    ((4, 5, 6), (2, 3, 2)),
    ((2, 3, 2), (4, 5, 6)),
    ((2, 3, 4, 3), (2, 2, 2, 2)),
]
PAIRS = [(fastconv.signal.convolve, scipy.signal.convolve), (fastconv.signal.correlate, scipy.signal.correlate)]
either = pytest.mark.parametrize(("ours", "scipys"), PAIRS, ids=["convolve", "correlate"])


def small(shape, dtype, seed=0):
    """Integers whose convolutions stay exact in every type but the smallest, where they wrap around alike."""
    dtype, rng = np.dtype(dtype), np.random.default_rng([seed, *shape])
    values = rng.integers(-9 if dtype.kind in "ifc" else 0, 9, (2, *shape))
    return (values[0] + 1j * values[1] if dtype.kind == "c" else values[0]).astype(dtype)


@either
@every_mode
@pytest.mark.parametrize("method", ["auto", "direct", "fft"])
@pytest.mark.parametrize("dtype", "bBilLfdgFD")
def test_arrays_of_any_axes(ours, scipys, mode, method, dtype):
    for shape1, shape2 in SHAPES:
        in1, in2 = small(shape1, dtype), small(shape2, dtype, 1)
        actual, expected = (outcome(f, in1, in2, mode, method) for f in (ours, scipys))
        if isinstance(expected, type):
            assert actual is expected
        elif method == "fft":
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-3)
        else:
            assert_same(actual, scipys(in1, in2, mode, "direct"))


@either
def test_types_of_arrays_meet_as_in_scipy(ours, scipys):
    for char1, char2 in itertools.product("?" + INTEGERS + "e" + FLOATS + "O", repeat=2):
        call = (np.ones(6, char1), np.ones(3, char2))
        if char1 == char2 == "?":
            continue  # SciPy's own methods disagree
        actual, expected = outcome(ours, *call), outcome(scipys, *call)
        if isinstance(expected, type):
            assert actual is expected
        else:
            assert actual.dtype == expected.dtype
            np.testing.assert_array_equal(actual.astype(complex).round(2), expected.astype(complex).round(2))


@pytest.mark.parametrize("shape", [(9,), (4, 5), (3, 4, 5)])
def test_bool_is_any_of(shape):
    in1, in2 = (small(shape, "l", seed) > 5 for seed in (2, 3))
    expected = scipy.signal.convolve(in1.astype("l"), in2.astype("l")) > 0
    for method in ("auto", "direct", "fft"):
        assert_same(fastconv.signal.convolve(in1, in2, method=method), expected)


@pytest.mark.parametrize("dtype", "BhilL")
def test_large_integers_wrap_and_small_ones_are_exact_in_float(dtype):
    """Through floating point where that is exact, and not where it is not."""
    image = integral((80, 90), dtype)
    for kernel in (small((5, 4), dtype), integral((5, 4), dtype)):
        for mode in MODES:
            expected = scipy.signal.convolve2d(image, kernel, mode)
            assert_same(convolve2d(image, kernel, mode), expected)
            assert_same(fastconv.signal.convolve(image, kernel, mode), expected)


@pytest.mark.parametrize("dtype", list("bBhHiI"))
@pytest.mark.parametrize("taps", [(5, 5), (7, 8), (9, 11), (1, 60)])
@pytest.mark.parametrize("separable", [False, True])
def test_integers_wrap_as_in_scipy_whatever_type_they_are_summed_in(dtype, taps, separable):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    x = rng.integers(limits.min, limits.max, (70, 90), dtype, endpoint=True)
    small = rng.integers(max(limits.min, -3), 3, taps, dtype)
    large = rng.integers(limits.min, limits.max, taps, dtype, endpoint=True)
    for weights in (small, large):
        weights = np.multiply.outer(weights[:, 0], weights[0]) if separable else weights
        for boundary in ("fill", "symm"):
            expected = scipy.signal.convolve2d(x, weights, "same", boundary)
            assert_same(convolve2d(x, weights, "same", boundary), expected)


@pytest.mark.parametrize(
    ("dtype", "taps", "expected"),
    [
        ("uint8", (5, 5), "uint8"),
        ("uint8", (9, 9), "int16"),
        ("int16", (15, 15), "int16"),
        ("int32", (5, 5), "int32"),
        ("int32", (9, 9), "float32"),
        ("int64", (3, 3), "float32"),
    ],
)
def test_integers_are_summed_in_the_fastest_type(dtype, taps, expected):
    image, kernel = np.ones((200, 200), dtype), np.ones(taps, dtype)
    kernel[0, 0] = 2
    padding = mode_padding("full", taps, True)
    plan = correlation.plan_for(image.shape, taps, kernel.dtype.char, padding, "zeros", 0.0, "auto", 1)
    assert working_type(plan, image, kernel, Past("constant", 0)) == expected
    if dtype == "uint8" and taps == (9, 9):
        assert working_type(plan, image, np.ones_like(kernel), Past("constant", 0)) == "float32"


def test_long_integer_signals_are_exact():
    """Long enough for the FFT, which may round to whole numbers only where its error is less than a half."""
    rng = np.random.default_rng(0)
    for bound in (5, 2**20, 2**40):
        in1, in2 = rng.integers(-bound, bound, 5000), rng.integers(-bound, bound, 3000)
        np.testing.assert_array_equal(fastconv.signal.convolve(in1, in2), np.convolve(in1, in2))


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize(
    "shapes", [((4000,), (65,)), ((3000,), (2000,)), ((70, 80), (31, 33)), ((20, 30, 40), (5, 6, 7))]
)
def test_auto_rounds_as_promised(dtype, shapes):
    rng = np.random.default_rng(0)
    in1, in2 = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    wide = [array.astype(np.clongdouble if dtype in "FD" else np.longdouble) for array in (in1, in2)]
    expected = scipy.signal.convolve(*wide, method="direct")
    for function in (fastconv.signal.convolve, fastconv.signal.fftconvolve, fastconv.signal.oaconvolve):
        error = np.abs(function(in1, in2) - expected).max() / expected.std()
        assert error < (1e-5 if dtype in "fF" else 1e-12)


def test_outer_products_are_products():
    column, row = small((50, 1), "d"), small((1, 60), "d")
    assert_same(fastconv.signal.convolve(column, row), column * row)
    assert_same(fastconv.signal.correlate(column, row), column * row[:, ::-1])


@pytest.mark.parametrize("function", [fastconv.signal.convolve, fastconv.signal.fftconvolve])
def test_nan_is_seen_where_it_is(function):
    rng = np.random.default_rng(0)
    in1, in2 = rng.standard_normal(20_000), rng.standard_normal(3000)
    in1[7000] = np.nan
    seen = np.zeros(22_999, bool)
    seen[7000:10_000] = True
    np.testing.assert_array_equal(np.isnan(function(in1, in2)), seen)


@either
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([1], 2), "dimensionality"),
        (([1], [[2]]), "dimensionality"),
        (([1], [2], "spam"), "mode='spam'"),
        (([1], [2], "full", "spam"), "method='spam'"),
        ((np.ones((2, 3)), np.ones((3, 2)), "valid"), "in1 of shape"),
    ],
)
def test_errors_of_arrays(ours, scipys, args, message):
    expected = outcome(scipys, *args)
    with pytest.raises(expected, match=message):
        ours(*args)


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
@pytest.mark.parametrize("axes", [None, 0, 1, (0, 1), -1])
def test_axes_of_fft(name, axes):
    in1 = small((9, 8), "d")
    in2 = small((5, 8) if axes == 0 else (9, 3) if axes in (1, -1) else (5, 3), "d")
    for mode in MODES:
        actual, expected = (getattr(module, name)(in1, in2, mode, axes) for module in (fastconv.signal, scipy.signal))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)


def test_choosing_a_method():
    choose = fastconv.signal.choose_conv_method
    assert choose(np.ones(10**5), np.ones(5 * 10**4)) == "fft"
    assert choose(np.ones(1000), np.ones(5)) == "direct"
    assert choose(np.ones((60, 60, 60)), np.ones((3, 3, 3))) == "direct"
    assert choose(np.ones((60, 60, 60)), np.ones((30, 30, 30))) == "fft"
    assert choose(np.full(10**5, 2**40), np.full(10**4, 2**20)) == "direct"
    method, times = choose(np.ones(500), np.ones(50), measure=True)
    assert method == min(times, key=times.get)
    assert set(times) == {"direct", "fft"}


@pytest.mark.parametrize("dtype", "?bhilefdgFDO")
@pytest.mark.parametrize("filter_type", "lfdD")
def test_separable_filters(dtype, filter_type):
    image = np.abs(small((6, 9), "l")).astype(dtype)
    for row, column in ((3, 5), (1, 3), (3, 1), (1, 1)):
        call = (image, small((row,), filter_type), small((column,), filter_type))
        actual, expected = (outcome(module.sepfir2d, *call) for module in (fastconv.signal, scipy.signal))
        if isinstance(expected, type):
            assert isinstance(actual, type), actual
            assert issubclass(actual, (ValueError, TypeError))
        else:
            assert_same(actual, expected)


def test_separable_filters_longer_than_the_image():
    """SciPy reads past the image here."""
    image, taps = small((3, 4), "d"), small((9,), "d")
    expected = scipy.ndimage.convolve1d(scipy.ndimage.convolve1d(image, taps, 0), taps, 1)
    assert_same(fastconv.signal.sepfir2d(image, taps, taps), expected)
    with pytest.raises(ValueError, match="odd"):
        fastconv.signal.sepfir2d(image, taps[1:], taps)
    with pytest.raises(ValueError, match="expected two axes"):
        fastconv.signal.sepfir2d(image[0], taps, taps)


@pytest.mark.parametrize("shape", [(3, 4), (90, 80)])
@pytest.mark.parametrize("fill", [300, -1, -70_000, 2**40])
@pytest.mark.parametrize(("image", "kernel"), ["Bl", "bi", "Hl", "hq", "IL", "il", "Bf", "Id", "?l"])
def test_fill_values_are_of_the_type_of_the_result(image, kernel, fill, shape):
    """And so are sums, whatever the smaller type of the image holds."""
    dtype = np.result_type(image, kernel)
    if dtype.kind != "f" and not np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max:
        with pytest.raises(ValueError, match="fillvalue"):
            convolve2d(np.ones(shape, image), np.ones((2, 3), kernel), fillvalue=fill)
        return
    x = np.ones(shape, image)
    weights = np.arange(6, dtype=kernel).reshape(2, 3)
    for name in ("convolve2d", "correlate2d"):
        actual = getattr(fastconv.signal, name)(x, weights, fillvalue=fill)
        padded = np.pad(x.astype(dtype), ((1, 1), (2, 2)), constant_values=dtype.type(fill))
        taps = weights if name == "correlate2d" else weights[::-1, ::-1]
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3))
        np.testing.assert_allclose(actual, (windows * taps.astype(dtype)).sum((-1, -2)), rtol=1e-6)
        assert actual.dtype == dtype


@pytest.mark.parametrize("taps", [[1, 2, 1], (1.0, 0.5, -2), [True, False, True], np.array([1, 2, 3], "h")])
@pytest.mark.parametrize(
    "image", [np.eye(4), np.eye(4, dtype="f"), np.eye(4, dtype="l"), np.eye(4).tolist(), np.eye(4, dtype="F")]
)
def test_sepfir2d_takes_lists(image, taps):
    for hrow, hcol in ((taps, [1]), ([1.0], taps), (taps, taps)):
        actual, expected = fastconv.signal.sepfir2d(image, hrow, hcol), scipy.signal.sepfir2d(image, hrow, hcol)
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_sepfir2d_casts_arrays_safely():
    for taps in ([1j, 2, 1], np.array([1, 2, 1]), np.array([1.0, 2, 1]), ["1", "2", "1"]):
        with pytest.raises(TypeError, match="hcol"):
            fastconv.signal.sepfir2d(np.eye(4, dtype="f"), [1, 2, 1], taps)


@pytest.mark.parametrize("dtype", "Bhil")
@pytest.mark.parametrize("extent", [(9, 9), (15, 15), (40, 33)])
def test_integers_are_exact_by_sums_or_by_transforms(dtype, extent):
    image, kernel = integral((70, 61), dtype), integral(extent, dtype)
    expected = scipy.signal.convolve(image, kernel, method="direct")
    for _ in range(3):
        assert_same(convolve(image, kernel), expected)


def test_few_complex_numbers_are_filtered_separably():
    image, taps = integral((12, 14), "D"), integral((3,), "D")
    np.testing.assert_allclose(sepfir2d(image, taps, taps), scipy.signal.sepfir2d(image, taps, taps))
