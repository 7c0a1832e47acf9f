# cython: language_level=3, boundscheck=False, wraparound=False
"""The only module that opens parallel regions, for compiled and Numba kernels alike.

A *tile kernel* is a native function of one signature, whoever compiled it::

    void kernel(void **arrays, const int64_t *ints, const double *scalars,
                int64_t begin, int64_t end, int64_t worker)

It computes the tiles ``begin <= tile < end``, serially, into memory that no other tile writes; `worker`
numbers the calling thread, so that it may own a part of a workspace. Tiles are handed out from an atomic
counter, so their results cannot depend on how many threads there are.

OpenMP is the pool: a team answers within microseconds (Python's own pools take 40 to 90 µs) and
threadpoolctl sees and limits it.
"""

import contextlib
import os

from cython.parallel cimport parallel
from libc.stdint cimport int64_t, intptr_t

cimport numpy as cnp
cimport openmp

cnp.import_array()

cdef extern from *:
    """
    #include <stdint.h>
    static inline int64_t fetch_add(int64_t *counter, int64_t step)
    { return __atomic_fetch_add(counter, step, __ATOMIC_RELAXED); }
    static inline int try_acquire(int *flag)
    { return !__atomic_exchange_n(flag, 1, __ATOMIC_ACQUIRE); }
    static inline void release(int *flag)
    { __atomic_store_n(flag, 0, __ATOMIC_RELEASE); }
    static inline void set_flag(int *flag)
    { __atomic_store_n(flag, 1, __ATOMIC_RELAXED); }
    static inline int is_set(int *flag)
    { return __atomic_load_n(flag, __ATOMIC_RELAXED); }
    """
    int64_t fetch_add(int64_t *counter, int64_t step) noexcept nogil
    int try_acquire(int *flag) noexcept nogil
    void release(int *flag) noexcept nogil
    void set_flag(int *flag) noexcept nogil
    int is_set(int *flag) noexcept nogil

cdef extern from "Python.h":
    # cpython.exc declares it as raising, and Cython would swallow the exception where `check_signals` may not raise.
    int PyErr_CheckSignals() noexcept

ctypedef void (*tile_kernel)(void **, const int64_t *, const double *, int64_t, int64_t, int64_t) noexcept nogil

cdef enum:
    MAX_ARRAYS = 12
    MAX_INTS = 64
    MAX_SCALARS = 4

cdef double SIGNAL_CHECK_SECONDS = 0.05

cdef struct Region:
    tile_kernel kernel
    void *arrays[MAX_ARRAYS]
    int64_t ints[MAX_INTS]
    double scalars[MAX_SCALARS]
    int64_t tiles
    int64_t grain
    int64_t next_tile
    int interrupted

# One team at a time: a second Python thread that calls meanwhile works alone, so that callers together
# never run more than one thread each beside the team.
cdef int team_taken = 0

# libgomp's team does not survive a fork: a child that asked for it would wait for ever, so it works alone.
cdef bint forked_child = False

cdef int default_openmp_threads = openmp.omp_get_max_threads()
cdef int default_threads = default_openmp_threads
cdef int chosen_threads = 0


cdef int check_signals() noexcept with gil:
    """Nonzero, with the exception set on this thread, if a signal handler raised (Ctrl-C)."""
    return PyErr_CheckSignals()


cdef void work(Region *region, int64_t worker) noexcept nogil:
    cdef int64_t begin
    cdef double checked = openmp.omp_get_wtime()
    while not is_set(&region.interrupted):
        begin = fetch_add(&region.next_tile, region.grain)
        if begin >= region.tiles:
            return
        region.kernel(region.arrays, region.ints, region.scalars,
                      begin, min(begin + region.grain, region.tiles), worker)
        if worker == 0 and openmp.omp_get_wtime() - checked > SIGNAL_CHECK_SECONDS:
            if check_signals():
                set_flag(&region.interrupted)
            checked = openmp.omp_get_wtime()


cdef int run_region(Region *region, int threads) except -1 nogil:
    if threads > 1 and not forked_child and try_acquire(&team_taken):
        with parallel(num_threads=threads):
            work(region, openmp.omp_get_thread_num())
        release(&team_taken)
    else:
        work(region, 0)
    return -1 if region.interrupted else 0


def run_tiles(kernel, tuple arrays, tuple ints, tuple scalars, int64_t tiles, int64_t threads, int64_t grain=1):
    """Run the tile kernel at address `kernel` over `tiles` tiles on at most `threads` threads.

    `arrays` holds ndarrays, addresses and ``None`` (a null pointer); the caller keeps them alive. `grain`
    tiles are handed out at a time. Raises ``KeyboardInterrupt`` between tiles.
    """
    cdef Region region
    cdef Py_ssize_t i
    if len(arrays) > MAX_ARRAYS or len(ints) > MAX_INTS or len(scalars) > MAX_SCALARS:
        raise OverflowError("a tile kernel takes fewer arguments")
    for i, array in enumerate(arrays):
        if array is None:
            region.arrays[i] = NULL
        elif isinstance(array, cnp.ndarray):
            region.arrays[i] = cnp.PyArray_DATA(<cnp.ndarray> array)
        else:
            region.arrays[i] = <void *> <intptr_t> array
    for i, integer in enumerate(ints):
        region.ints[i] = integer
    for i, scalar in enumerate(scalars):
        region.scalars[i] = scalar
    region.kernel = <tile_kernel> <intptr_t> kernel
    region.tiles = tiles
    region.grain = grain
    region.next_tile = 0
    region.interrupted = 0
    threads = min(threads, (tiles + grain - 1) // grain)
    with nogil:
        run_region(&region, threads)


def set_num_threads(n):
    """Use at most `n` threads in every later call; ``None`` returns to the default.

    The default is ``FASTCONV_NUM_THREADS``, or else as many threads as OpenMP offers (the cores that this
    process may use, or ``OMP_NUM_THREADS``). Results do not depend on the number of threads.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_num_threads(1)
    >>> fastconv.get_num_threads()
    1
    >>> fastconv.set_num_threads(None)
    """
    global chosen_threads
    chosen_threads = 0 if n is None else checked_threads(n)


def checked_threads(n, name="num_threads"):
    """`n` as a thread count, or the error that says what would be right."""
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= 1024:
        raise ValueError(f"{name}={n!r}: expected an int from 1 to 1024")
    return n


def get_num_threads():
    """The number of threads that a call may use now.

    A limit that was put on OpenMP since import (by threadpoolctl, say) is respected.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_num_threads() >= 1
    True
    """
    cdef int limit = openmp.omp_get_max_threads()
    cdef int threads = chosen_threads or default_threads
    return threads if limit == default_openmp_threads else min(threads, limit)


@contextlib.contextmanager
def num_threads(n):
    """Use at most `n` threads inside a ``with`` block.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.num_threads(1):
    ...     fastconv.get_num_threads()
    1
    """
    global chosen_threads
    before = chosen_threads
    set_num_threads(n)
    try:
        yield
    finally:
        chosen_threads = before


def _after_fork():
    global forked_child
    forked_child = True


def _threads_from_environment():
    value = os.environ.get("FASTCONV_NUM_THREADS")
    if not value:
        return default_openmp_threads
    return checked_threads(int(value) if value.isdecimal() else value, "FASTCONV_NUM_THREADS")


default_threads = _threads_from_environment()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
