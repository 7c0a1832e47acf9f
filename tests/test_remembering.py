"""Caches that hold arrays are bounded by bytes: the mechanism, and that what grows with a problem uses it."""

import contextlib
import functools
import gc
import sys
import threading
import tracemalloc
import types
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import grad, ndimage, signal
from fastconv.engine.passes import Pass
from fastconv.engine.remembering import MOST_BYTES, held_bytes, remembered
from fastconv.kernels import threads as team


def test_a_repeated_call_returns_the_value_of_the_first():
    calls = []

    @remembered(10)
    def function(*arguments):
        """What it does."""
        calls.append(arguments)
        return None if arguments == ("none",) else [*arguments]

    assert function(1, "a") is function(1, "a")
    assert function("none") is function("none") is None
    assert calls == [(1, "a"), ("none",)]
    assert function.__doc__ == "What it does."
    assert function.__wrapped__(1, "a") == [1, "a"]
    function.cache_clear()
    function(1, "a")
    assert len(calls) == 4


def test_nothing_that_failed_is_remembered():
    outcomes = iter([ValueError("no"), KeyError("no"), "yes"])

    @remembered(10)
    def function(key):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    for error in (ValueError, KeyError):
        with pytest.raises(error):
            function(0)
    assert function(0) == function(0) == "yes"
    with pytest.raises(TypeError, match="unhashable"):
        function([])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50)), max_size=60), st.integers(1, 5), st.integers(0, 60))
def test_neither_bound_is_passed(keys, most, most_bytes):
    made = []

    @remembered(most, most_bytes)
    def function(key, size):
        made.append(weakref.ref(array := np.zeros(size, np.uint8)))
        return array, key

    for key in keys:
        assert function(*key)[0].size == key[1]
        alive = [array.nbytes for array in (ref() for ref in made) if array is not None]
        assert len(alive) <= most
        assert sum(alive) <= most_bytes
        if key[1] <= most_bytes:
            assert function(*key) is function(*key)


def test_bytes_are_counted_of_whatever_holds_them():
    array = np.zeros(3)
    assert held_bytes(array) == held_bytes((1, (array, "text"), None)) == 24
    assert held_bytes((b"twelve bytes", array[:1])) == 20
    assert held_bytes(Pass(0, b"12345678", "wrap", 0)) == 8


def test_arguments_count():
    calls = []
    function = remembered(10, 100)(calls.append)
    for _ in range(3):
        function(bytes(101))
        function(bytes(100))
    assert [len(key) for key in calls] == [101, 100, 101, 101]


def test_threads_share_a_cache():
    function = remembered(20, 2000)(lambda size: np.full(size, size, np.uint8))
    wrong = []

    def call(seed):
        for size in np.random.default_rng(seed).integers(0, 200, 2000).tolist():
            if function(size).tolist() != [size] * size:
                wrong.append(size)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


F4 = np.float32

# Each would leave megabytes, if what it makes of kernels and extents were kept.
LARGE = {
    "gaussian_filter1d": lambda n: ndimage.gaussian_filter1d(np.ones(50), 1e5 + n),
    "uniform_filter1d": lambda n: ndimage.uniform_filter1d(np.ones(200_000 + n, F4), 450_001),
    "maximum_filter1d": lambda n: ndimage.maximum_filter1d(np.ones(200_000 + n, F4), 400_001),
    "avg_pool1d": lambda n: fastconv.avg_pool1d(np.ones((1, 1, 400_000 + n)), 2, 1),
    "conv1d": lambda n: fastconv.conv1d(np.ones((1, 1, 400_000)), np.ones((1, 1, 399_990 + n)), strategy="direct"),
    "conv_transpose1d": lambda n: fastconv.conv_transpose1d(np.ones((1, 1, 9)), np.ones((1, 1, 400_000 + n))),
    "conv1d_input": lambda n: grad.conv1d_input((1, 1, 9000 + n), np.ones((1, 1, 2)), np.ones((1, 1, 2)), 8998 + n),
    "convolve2d": lambda n: signal.convolve2d(np.ones((600, 600)), np.ones((590, 590 + n)), "valid", tolerance=1e-5),
}


@pytest.mark.parametrize("name", LARGE)
def test_no_call_leaves_much_behind(name):
    LARGE[name](0)
    team.release_scratch()
    tracemalloc.start()
    try:
        for n in range(1, 4):
            for _ in range(3):  # from the second on, calls may be recorded
                LARGE[name](n)
        team.release_scratch()
        assert tracemalloc.get_traced_memory()[0] < 2 * MOST_BYTES + (1 << 20)
    finally:
        tracemalloc.stop()


# Winograd's coefficients, as many as it has tiles, and the seed of a generator.
OF_FIXED_SIZE = {"fastconv.engine.convolution.winograd", "fastconv.nn.dropping"}


def test_what_is_remembered_by_count_holds_no_arrays():
    image, weight = np.ones((1, 2, 20, 21), F4), np.ones((2, 2, 3, 3), F4)
    for strategy in fastconv.strategies():
        with contextlib.suppress(fastconv.UnsupportedError):
            fastconv.conv2d(image, weight, padding=3, strategy=strategy)
    fastconv.conv2d(image, weight[..., :1, :1], strategy="inner")
    fastconv.conv_transpose2d(image, weight, stride=2)
    grad.conv2d_weight(image, weight.shape, image, padding=1)
    for mode in ("max", "avg"):
        getattr(fastconv, f"{mode}_pool2d")(image, 3, padding=1)
        getattr(fastconv, f"adaptive_{mode}_pool2d")(image, 7)
    fastconv.max_pool2d(image, 3, return_indices=True)
    for boundary in ("fill", "symm"):
        signal.convolve2d(image[0, 0], weight[0, 0], "same", boundary, tolerance=1e-5)
        signal.fftconvolve(image[0, 0], weight[0, 0])
    for filter_ in (ndimage.gaussian_filter, ndimage.uniform_filter, ndimage.maximum_filter):
        filter_(image, 3)
    ndimage.binary_opening(image > 0)
    caches = [
        cache
        for name, module in sys.modules.items()
        if name.startswith("fastconv.")
        for cache in vars(module).values()
        if isinstance(cache, functools._lru_cache_wrapper)
    ]
    assert len(caches) > 10
    for cache in caches:
        found = []
        objects, seen = [cache], set()
        while objects:
            held = objects.pop()
            if id(held) in seen or isinstance(held, type | types.ModuleType | types.FunctionType):
                continue
            seen.add(id(held))
            if isinstance(held, np.ndarray | bytes):
                found.append(held)
            elif held is cache or not isinstance(held, functools._lru_cache_wrapper):
                objects += gc.get_referents(held)
        assert not found or cache.__module__ in OF_FIXED_SIZE, (cache, found)
