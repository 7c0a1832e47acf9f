"""Memory that arrays leave behind, for those that come next."""

import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.kernels.reuse import Pool

LARGE = 1 << 16


def address(array):
    return array.ctypes.data


def test_arrays_take_the_memory_of_earlier_ones():
    pool = Pool()
    with pool:
        one, two = np.empty(LARGE), np.ones(LARGE + 99)
        places = {address(one), address(two)}
        assert len(places) == 2
        assert all(place % 64 == 0 for place in places)
        del one, two
        assert pool.kept_bytes >= 2 * 8 * LARGE
        again = np.zeros(LARGE), np.full(LARGE + 99, 2.0)
        assert {address(array) for array in again} == places
        assert not again[0].any()
        assert pool.kept_bytes == 0


def test_outside_nothing_changes():
    pool = Pool()
    with pool:
        place = address(np.empty(LARGE))
    outside = [np.empty(LARGE) for _ in range(3)]
    assert place not in map(address, outside)
    assert pool.kept_bytes == 8 * LARGE


def test_no_more_is_kept_than_was_used():
    pool = Pool()
    with pool:
        for size in (LARGE, 2 * LARGE, 3 * LARGE, LARGE // 2, 7 * LARGE):
            np.empty(size)
            assert pool.kept_bytes <= pool.most_bytes
        assert pool.kept_bytes == pool.most_bytes == 7 * 8 * LARGE
        small = [np.empty(9) for _ in range(100)]
        del small
        assert pool.kept_bytes <= 7 * 8 * LARGE


def test_arrays_outlive_their_pool():
    with Pool():
        array = np.arange(LARGE)
    gc.collect()
    np.testing.assert_array_equal(array, np.arange(LARGE))
    view = array[::2]
    del array
    assert view[-1] == LARGE - 2


def test_arrays_grow_and_shrink():
    with Pool():
        array = np.arange(LARGE)
        array.resize(3 * LARGE, refcheck=False)
        np.testing.assert_array_equal(array[:LARGE], np.arange(LARGE))
        array.resize(10, refcheck=False)
        np.testing.assert_array_equal(array, np.arange(10))


def test_pools_within_pools():
    outer, inner = Pool(), Pool()
    with outer:
        with inner:
            np.empty(LARGE)
        np.empty(2 * LARGE)
    assert inner.kept_bytes == 8 * LARGE
    assert outer.kept_bytes == 16 * LARGE


def test_other_threads_have_their_own_allocator():
    pool, kept = Pool(), []

    def run():
        np.empty(LARGE)
        kept.append(pool.kept_bytes)

    with pool:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert kept == [0]


def test_sizes_that_no_memory_has():
    with Pool(), pytest.raises(MemoryError):
        np.zeros(1 << 60, np.uint8)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 40_000)), max_size=60))
def test_values_stay_apart(steps):
    """Arrays come and go in any order, and none of those that live share memory."""
    pool, live = Pool(), {}
    with pool:
        for number, (slot, size) in enumerate(steps):
            live[slot] = np.full(size, number), number
            for array, value in live.values():
                assert (array == value).all()
