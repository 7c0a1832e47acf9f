"""Calls that repeat others are played from recordings, and compute what the functions themselves compute."""

import functools
import gc
import inspect
import os
import re
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from calls import FAMILIES, call
from fastconv import GeometryError, grad, ndimage, nn, signal
from fastconv.engine.launch import Launch
from fastconv.engine.replay import repeatable, repeated, unrepeatable
from fastconv.kernels.slots import arguments
from fastconv.nn import activations, dropping, normalisation, standardising
from fastconv.nn.arguments import launched

SEEDS = 12  # those of test_guards.py, so that both need the same kernels


def public_functions():
    """The modules that have repeated functions, and the names of these."""
    modules = fastconv, nn, grad, signal, ndimage
    pairs = [(module, name) for module in modules for name in dir(module)]
    return [(m, name) for m, name in pairs if getattr(getattr(m, name), "repeats", None)]


def arrays_of(args, kwargs):
    return [value for value in (*args, *kwargs.values()) if isinstance(value, np.ndarray)]


def as_bytes(result):
    parts = result if isinstance(result, tuple) else (result,)
    return [(np.asarray(part).shape, np.asarray(part).dtype, np.asarray(part).tobytes()) for part in parts]


def spoil(array, rng):
    """Other values of the same type, some of them special."""
    if array.dtype.kind in "fc":
        array[...] = rng.standard_normal(array.shape) * rng.choice([1e-3, 1, 1e3])
        special = rng.random(array.shape) < rng.choice([0, 0, 0.02])
        array[special] = rng.choice([np.nan, np.inf, -np.inf, 0, np.finfo(array.real.dtype).max])
    elif array.dtype.kind in "iu":
        array[...] = rng.permutation(array, axis=-1)  # of classes, only some are


def checking(function, rng):
    """`function`, whose calls are repeated, with the same values and with others, and compared with the plain one's."""

    @functools.wraps(function)
    def check(*args, **kwargs):
        arrays = arrays_of(args, kwargs)
        given = [array.copy() for array in arrays]

        def result_of(f, values):
            for array, value in zip(arrays, values, strict=True):
                if array.flags.writeable:
                    array[...] = value
            try:
                return as_bytes(f(*args, **kwargs))
            except GeometryError as error:  # spoilt positions may lie outside their planes
                return str(error)

        plain = function.__wrapped__
        expected = result_of(plain, given)
        for _ in range(3):
            assert result_of(function, given) == expected
        others = [value.copy() for value in given]
        names = dict(zip(inspect.unwrap(plain).__code__.co_varnames, args, strict=False))
        fixed = [value for name, value in {**names, **kwargs}.items() if name not in function.repeats.operands]
        for array, other in zip(arrays, others, strict=True):
            if not any(array is value for value in fixed):
                spoil(other, rng)
        assert result_of(function, others) == result_of(plain, others)
        for array, value in zip(arrays, given, strict=True):
            if array.flags.writeable:
                array[...] = value
        return plain(*args, **kwargs)

    return check


@pytest.mark.parametrize("family", FAMILIES)
def test_a_repeated_call_computes_what_the_function_computes(family, monkeypatch):
    rng = np.random.default_rng(len(family))
    for module, name in public_functions():
        monkeypatch.setattr(module, name, checking(getattr(module, name), rng))
    for seed in range(SEEDS):
        with np.errstate(all="ignore"):
            call(family, seed)


def floats(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


X, PLANE, LINE, SMALL, SCORES = floats(1, 3, 8, 8), floats(16, 16), floats(200), floats(3, 3), floats(8, 10)
FILTERS, STATISTICS = floats(4, 3, 3, 3), np.abs(floats(4, 3)) + 1
VOLUMES, TAPS = floats(2, 2, 4, 5, 6), floats(2, 3, 3, 3, 3)
BYTES = (np.abs(PLANE) * 40).astype(np.uint8)
CALLS = {
    "relu": lambda: nn.relu(X),
    "gelu": lambda: nn.gelu(X),
    "prelu": lambda: nn.prelu(X, floats(3)),
    "softmax": lambda: nn.softmax(X, 1),
    "linear": lambda: nn.linear(SCORES, SCORES.copy()),
    "batch_norm": lambda: nn.batch_norm(X, *STATISTICS),
    "training": lambda: nn.batch_norm(X, *map(np.copy, STATISTICS[:2]), training=True),
    "layer_norm": lambda: nn.layer_norm(X, X.shape[-1]),
    "instance_norm": lambda: nn.instance_norm(X),
    "dropout": lambda: nn.dropout(X, 0.3, rng=0),
    "rrelu": lambda: nn.rrelu(X, training=True, rng=0),
    "cross_entropy": lambda: nn.cross_entropy(SCORES, np.arange(8)),
    "conv2d": lambda: fastconv.conv2d(X, FILTERS, padding=1),
    "conv1d": lambda: fastconv.conv1d(X[0], floats(4, 8, 3)),
    "conv_transpose2d": lambda: fastconv.conv_transpose2d(X, FILTERS[:3], stride=2),
    "max_pool2d": lambda: fastconv.max_pool2d(X, 2, return_indices=True),
    "avg_pool2d": lambda: fastconv.avg_pool2d(X, 3, padding=1),
    "adaptive_avg_pool2d": lambda: fastconv.adaptive_avg_pool2d(X, 3),
    "global_avg_pool2d": lambda: fastconv.global_avg_pool2d(X),
    "conv2d_input": lambda: grad.conv2d_input(X.shape, FILTERS, floats(1, 4, 6, 6)),
    "conv2d_weight": lambda: grad.conv2d_weight(X, FILTERS.shape, floats(1, 4, 6, 6)),
    "binary_dilation": lambda: ndimage.binary_dilation(PLANE > 0, iterations=3),
    "binary_opening": lambda: ndimage.binary_opening(BYTES, np.ones((3, 3))),
    "conv3d": lambda: fastconv.conv3d(floats(2, 3, 4, 5, 6), TAPS, padding=1),
    "conv_transpose3d": lambda: fastconv.conv_transpose3d(VOLUMES, TAPS, floats(3), stride=2),
    "conv3d_input": lambda: grad.conv3d_input((2, 3, 5, 5, 5), TAPS, floats(2, 2, 2, 2, 2), stride=2, padding=0),
    "conv3d_weight": lambda: grad.conv3d_weight(floats(2, 3, 4, 5, 6), TAPS.shape, VOLUMES, padding=1),
    "max_pool3d": lambda: fastconv.max_pool3d(VOLUMES, 2, return_indices=True),
    "max_unpool2d": lambda: fastconv.max_unpool2d(floats(2, 2, 2), np.arange(8).reshape(2, 2, 2), 2),
    "lp_pool2d": lambda: fastconv.lp_pool2d(X, 2.0, 2),
    "fractional_max_pool2d": lambda: fastconv.fractional_max_pool2d(X, 2, 5, _random_samples=np.full((1, 3, 2), 0.4)),
    "convolve2d": lambda: signal.convolve2d(PLANE, SMALL, "same", "symm"),
    "correlate2d": lambda: signal.correlate2d(PLANE, [[1.0, 2.0]]),
    "upfirdn": lambda: signal.upfirdn([1.0, 2.0, 1.0], PLANE, 2, 3, mode="line"),
    "resample_poly": lambda: signal.resample_poly(LINE, 3, 2),
    "decimate": lambda: signal.decimate(LINE, 2, ftype="fir"),
    "savgol_filter": lambda: signal.savgol_filter(PLANE, 5, 2, axis=0),
    "correlate": lambda: ndimage.correlate(PLANE, SMALL),
    "convolve": lambda: ndimage.convolve(BYTES, [[1, 2, 1]], mode="constant", cval=3),
    "correlate1d": lambda: ndimage.correlate1d(PLANE, [1, 2, 1]),
    "uniform_filter": lambda: ndimage.uniform_filter(BYTES, 3),
    "uniform_filter1d": lambda: ndimage.uniform_filter1d(LINE, 5),
    "gaussian_filter": lambda: ndimage.gaussian_filter(PLANE, 1.0),
    "maximum_filter": lambda: ndimage.maximum_filter(BYTES, 3),
    "median_filter": lambda: ndimage.median_filter(PLANE, 3),
    "rank_filter": lambda: ndimage.rank_filter(BYTES, 2, 13),
    "percentile_filter": lambda: ndimage.percentile_filter(LINE, 20, 5),
    "grey_erosion": lambda: ndimage.grey_erosion(BYTES, footprint=[[1, 0], [1, 1]]),
    "grey_dilation": lambda: ndimage.grey_dilation(PLANE.T, structure=np.eye(3)),
    "grey_opening": lambda: ndimage.grey_opening(BYTES, 3),
    "grey_closing": lambda: ndimage.grey_closing(PLANE, footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]]),
    "sobel": lambda: ndimage.sobel(PLANE),
    "laplace": lambda: ndimage.laplace(BYTES),
    "minimum_filter1d": lambda: ndimage.minimum_filter1d(PLANE, 3),
}


# What is repeated of functions that draw keys or move running statistics themselves.
PARTS = {
    "batch_norm": normalisation._normalised,
    "training": normalisation._normalised_by_batch,
    "instance_norm": standardising._by_instances,
    "dropout": dropping._repeatedly_dropped,
    "rrelu": activations._randomly_sloped,
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_recorded(name):
    """One of each kind of function is played the third time."""
    names = CALLS[name].__code__.co_names
    function = PARTS.get(name) or next(
        getattr(m, n) for m, n in public_functions() if n == name and m.__name__.split(".")[-1] in names
    )
    with np.errstate(all="ignore"):
        results = [as_bytes(CALLS[name]()) for _ in range(4)]
    assert function.repeats.recordings > 0
    assert results[1:] == results[:-1]


# What must not be played


def test_training_moves_its_statistics_every_time():
    x, mean, var = floats(4, 3, 5), np.zeros(3), np.ones(3)
    for step in range(1, 6):
        nn.batch_norm(x, mean, var, training=True, momentum=0.5)
        np.testing.assert_allclose(mean, x.mean((0, 2), np.float64) * (1 - 0.5**step), rtol=1e-12)


def test_weights_that_change_in_place_count():
    kernel, image = np.ones((3, 3)), np.ones((9, 9))
    for factor in range(1, 6):
        kernel[...] = factor
        assert signal.convolve2d(image, kernel, "valid")[0, 0] == 9 * factor
        assert ndimage.correlate(image, kernel)[0, 0] == 9 * factor
        assert nn.prelu(-image, kernel[0, :1])[0, 0] == -factor


def test_kernels_that_are_not_contiguous_are_told_apart_by_their_values():
    image, kernel = floats(9, 9), floats(6, 6)
    before = ndimage.correlate.repeats.recordings
    for view in (kernel[::2, ::2], kernel[:3, :3][::-1, ::-1], kernel[:3, :3].T):
        for factor in (1, 1, 1, 2, 2, 2):
            kernel *= factor
            expected = ndimage.correlate(image, view.copy())
            assert ndimage.correlate(image, view).tobytes() == expected.tobytes()
    assert ndimage.correlate.repeats.recordings >= before + 3


@pytest.mark.parametrize(("given", "stored"), [("f", "f"), ("d", "d"), ("B", "h"), ("H", "i"), ("H", "f")])
def test_calls_with_an_output_are_played(given, stored):
    image, out, kernel = np.arange(221 * 97).reshape(221, 97).astype(given), np.zeros((221, 97), stored), np.eye(3)
    for function, operands in ((ndimage.correlate, (image, kernel)), (ndimage.laplace, (image,))):
        before = function.repeats.recordings
        for _ in range(3):
            assert function(*operands, output=out) is out
        assert function.repeats.recordings == before + 1
        np.testing.assert_array_equal(out, function(*operands, output=stored))


@pytest.mark.parametrize(
    ("size", "types"), [(2, (np.float64, np.float32)), (3, (np.dtype("f8"), np.dtype("f4"))), (4, (float, int))]
)
def test_types_tell_calls_apart(size, types):
    image = np.arange(12.0).reshape(3, 4)
    before = ndimage.maximum_filter.repeats.recordings
    for output in types * 3:
        assert ndimage.maximum_filter(image, size, output=output).dtype == np.dtype(output)
    assert ndimage.maximum_filter.repeats.recordings > before


def test_sizes_and_axes_may_be_arrays():
    image, size = floats(9, 9), np.array([1, 3])
    for call_number in range(8):
        size[...] = (1, 3) if call_number % 2 else (3, 1)
        expected = ndimage.uniform_filter(image, tuple(size.tolist()))
        assert (ndimage.uniform_filter(image, size) == expected).all()
        expected = ndimage.maximum_filter(image, tuple(size.tolist()))
        assert (ndimage.maximum_filter(image, size=size) == expected).all()


def test_weights_of_a_kind_are_read_at_every_call():
    x = np.ones((1, 1, 4, 4))
    for factor in range(1, 6):
        assert fastconv.conv2d(x, np.full((1, 1, 4, 4), float(factor))) == 16 * factor


def test_an_output_that_overlaps_its_input_is_no_repetition():
    """The same shapes, strides and types, apart and overlapping."""
    memory = np.arange(40.0)
    expected = np.maximum(memory[:32], 0)
    for _ in range(4):
        assert (nn.relu(memory[:32], out=np.empty(32)) == expected).all()
    shifted = memory.copy()
    nn.relu(shifted[:32], out=shifted[8:])
    np.testing.assert_array_equal(shifted[8:], expected)


def test_a_class_out_of_range_is_found_at_every_call():
    scores, target = floats(4, 5), np.arange(4)
    for _ in range(4):
        nn.cross_entropy(scores, target)
    target[2] = 5
    with pytest.raises(ValueError, match="target=5: expected a class from 0 to 4"):
        nn.cross_entropy(scores, target)


def test_infinity_in_a_repeated_call():
    image, kernel = floats(12, 12), np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
    expected = ndimage.correlate(image, kernel)
    for _ in range(4):
        ndimage.correlate(image, kernel)
    image[5, 5] = np.inf
    found = ndimage.correlate(image, kernel)
    assert np.isinf(found).sum() == 5
    assert np.array_equal(found[np.isfinite(found)], expected[np.isfinite(found)])


def test_types_that_compare_equal_are_kept_apart():
    x = floats(1, 1, 6, 6)
    for _ in range(4):
        fastconv.conv2d(x, x[..., :3, :3], stride=1)
    with pytest.raises(fastconv.GeometryError, match="stride"):
        fastconv.conv2d(x, x[..., :3, :3], stride=1.0)


def test_a_prepared_convolution_is_freed_at_once():
    prepared = fastconv.prepare_conv2d(FILTERS, padding=1)
    for _ in range(4):
        prepared(X)
    gc.disable()
    try:
        gone = weakref.ref(prepared._weight)
        del prepared
        assert gone() is None
    finally:
        gc.enable()


# The mechanism


@pytest.fixture
def scaled():
    """A function that doubles by a kernel, and counts how often Python runs it."""
    runs = []

    @repeated()
    def double(x, how="kernel", out=None):
        runs.append(how)
        out = np.empty_like(x) if out is None else out
        if how == "copy":
            x = x.copy()
        ints = arguments("activation")(values=x.size, tile_values=64, activation=0)
        launched(Launch.of("activation", x.dtype, ints, -(-x.size // 64)), x, out, scalars=(0.0,))
        if how == "more":
            out += 1
        if how == "looks":
            unrepeatable()
        return repeatable(out)

    return double, runs


@pytest.mark.parametrize(("how", "played"), [("kernel", True), ("copy", False), ("more", False), ("looks", False)])
def test_what_is_played(scaled, how, played):
    """Launches alone; no copies, nothing that is done to the result, and nothing that looked at values."""
    double, runs = scaled
    for value in range(8):
        x = np.full(100, value, np.float32)
        assert (double(x, how) == x + (how == "more")).all()
    assert len(runs) == (2 if played else 8)
    assert double.repeats.recordings == played


def test_kinds_are_forgotten(scaled):
    """So many that no memory would hold all; the oldest go first."""
    double, runs = scaled
    for size in range(1, 800):
        double(np.zeros(size, np.float32))
    assert len(runs) == 799
    double(np.zeros(799, np.float32))
    double(np.zeros(799, np.float32))
    assert double.repeats.recordings == 1


def test_threads_may_share_recordings():
    x = floats(1, 8, 30, 30)
    expected = fastconv.conv2d(x, floats(8, 8, 3, 3))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fastconv.conv2d(x, floats(8, 8, 3, 3)), range(200)))
    assert all((result == expected).all() for result in results)


def test_calls_say_what_computes_them():
    """One line for each call, on stderr, if the environment asks for it."""
    code = """
import numpy as np, fastconv
x = np.ones((1, 1, 8, 8), np.float32)
for _ in range(3):
    fastconv.conv2d(x, x[..., :3, :3].copy(), padding=1)
fastconv.ndimage.uniform_filter(np.ones((9, 9)), 3)
fastconv.nn.relu(x)
fastconv.avg_pool2d(x, 3, 2, 1)
image, box = np.ones((200, 200), np.float32), np.ones((21, 21), np.float32)
fastconv.conv2d(image[None, None], box[None, None], strategy="separable")
fastconv.signal.convolve2d(image, box)
fastconv.ndimage.correlate1d(image, box[0])
fastconv.signal.sepfir2d(image, box[0], box[0, :5].copy())
"""
    environment = os.environ | {"FASTCONV_VERBOSE": "1", "FASTCONV_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    lines = [re.sub(r"; \d+ bytes of scratch; [\d.]+ µs$", "", line) for line in done.stderr.splitlines()]
    conv = "fastconv: conv2d: convolution n1 ic1 oc1 ih8 iw8 kh3 kw3 s1 p1, float32, by direct on 1 thread"
    assert lines == [
        *(conv, conv, f"{conv}; played"),
        "fastconv: uniform_filter: window mean ih9 iw9 kh3 kw3 reflect, float64, by sweep on 1 thread",
        "fastconv: relu: (1, 1, 8, 8), float32",
        "fastconv: avg_pool2d: avg_pool n1 c1 ih8 iw8 kh3 kw3 s2 p1, float32, by direct on 1 thread",
        "fastconv: conv2d: convolution n1 ic1 oc1 ih200 iw200 kh21 kw21 s1 p0, float32, by separable on 1 thread",
        "fastconv: convolve2d: correlation ih200 iw200 kh21 kw21 p20, float32, by separable on 1 thread",
        "fastconv: correlate1d: passes ih200 iw200 kw21 reflect, float32, by sweep on 1 thread",
        "fastconv: sepfir2d: correlation with (5, 21) taps over (200, 200), float32, by separable on 1 thread",
    ]


def test_infinity_in_the_recorded_call_does_not_count_for_ever():
    image, kernel = floats(14, 14), np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
    before = ndimage.correlate.repeats.recordings
    for call_number in range(5):
        image[5, 5] = np.inf if call_number == 1 else 0
        ndimage.correlate(image, kernel)
    assert ndimage.correlate.repeats.recordings == before + 1
