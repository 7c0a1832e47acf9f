# cython: language_level=3, boundscheck=False, wraparound=False
"""The only module that opens parallel regions, for compiled and Numba kernels alike.

A *tile kernel* is a native function with this signature, whichever compiler made it::

    void kernel(void **arrays, const int64_t *ints, const double *scalars,
                int64_t begin, int64_t end, int64_t worker)

It computes the tiles ``begin <= tile < end`` serially, into memory that no other tile writes. `worker` numbers the
calling thread, so that it can own a part of a workspace. Tiles are handed out by an atomic counter, so results cannot
depend on the number of threads.

The threads are those of team.h. Their number comes from OpenMP, which knows the cores that this process may use and
``OMP_NUM_THREADS``, and whose limit threadpoolctl can set.
"""

import contextlib
import operator
import os

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, intptr_t
from libc.string cimport memset

cimport numpy as cnp
cimport openmp

cnp.import_array()

cdef extern from "Python.h":
    # Declared by cpython.exc as raising, but Cython would swallow the exception, since `check_signals` may not raise.
    int PyErr_CheckSignals() noexcept
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from *:
    """
    /* The launches of the call that this thread records, a list, or NULL. */
    static _Thread_local PyObject *recorded_launches;
    /* The number of the first memory that may be its scratch memory. */
    static _Thread_local int64_t recorded_from;
    """
    PyObject *recorded_launches
    int64_t recorded_from

cdef enum:
    MOST_KEPT = 6
    MOST_KEPT_BYTES = 64 << 20

cdef extern from "team.h" nogil:
    int found_team()
    int run_region(Region *region, int threads) except -1

# The caller and its helpers.
MOST_THREADS = MAX_WORKERS + 1

cdef int default_openmp_threads = openmp.omp_get_max_threads()
cdef int default_threads = min(default_openmp_threads, MOST_THREADS)
cdef int chosen_threads = 0


cdef int check_signals() noexcept with gil:
    """Nonzero, with the exception set on this thread, if a signal handler raised (Ctrl-C)."""
    return PyErr_CheckSignals()


def run_tiles(kernel, tuple arrays, ints, tuple scalars, int64_t tiles, int64_t threads, int64_t grain=1):
    """Run the tile kernel at address `kernel` over `tiles` tiles on at most `threads` threads.

    `arrays` holds ndarrays, addresses and ``None`` (a null pointer); the caller keeps them alive. `grain` tiles are
    handed out at a time. Raises ``KeyboardInterrupt`` between tiles, or within tiles of kernels that check for it
    (`stops` in kernels/simd/simd.h); results are then incomplete.
    """
    cdef Region region
    cdef tuple integers = tuple(ints)  # which may have names
    if recorded_launches is not NULL:
        (<list> recorded_launches).append((kernel, recordable(arrays), integers, scalars, tiles, threads, grain))
    fill_region(&region, kernel, arrays, integers, scalars, tiles, grain)
    run(&region, threads)


cdef int fill_region(Region *region, kernel, tuple arrays, tuple ints, tuple scalars,
                     int64_t tiles, int64_t grain) except -1:
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
    region.kernel = <tile_kernel *> <intptr_t> kernel
    region.tiles = tiles
    region.grain = grain
    return 0


cdef int run(Region *region, int64_t threads) except -1:
    """Run a region on at most `threads` threads."""
    region.check_signals = check_signals
    threads = min(threads, (region.tiles + region.grain - 1) // region.grain, MAX_WORKERS + 1)
    with nogil:
        run_region(region, threads)
    return 0


cdef list recorded():
    """The list to which this thread adds what it launches, or ``None``."""
    return None if recorded_launches is NULL else <list> recorded_launches


cdef void record(list launches) noexcept:
    """Have this thread add what it launches to `launches`, which the caller keeps alive, or to nothing."""
    global recorded_launches, recorded_from
    recorded_launches = NULL if launches is None else <PyObject *> launches
    recorded_from = memories


# Scratch memory kept from earlier calls for later ones. Memory that is returned to the system must be cleared and
# mapped again, page by page, at the next request, which takes longer than some convolutions.
cdef list kept = []
cdef int64_t memories = 0, memory_bytes = 0


cdef cnp.dtype FLAG = cnp.dtype("int64")


cdef class Memory:
    """A buffer that is kept for the next request once nothing refers to it."""

    def __cinit__(self, cnp.npy_intp size):
        """At least `size` bytes from `start`, which is on a cache line."""
        cdef Py_ssize_t at
        global memories, memory_bytes
        self.size = size
        self.number = memories
        memories += 1
        memory_bytes += size
        size += CACHE_LINE
        at = kept_from(size)
        if at < len(kept):
            self.buffer = kept.pop(at)
        else:
            if kept:
                kept.pop()  # too small now
            self.buffer = cnp.PyArray_EMPTY(1, &size, cnp.NPY_UINT8, 0)
        self.start = cnp.PyArray_BYTES(self.buffer)
        self.start += -<intptr_t> self.start & (CACHE_LINE - 1)

    def __del__(self):
        if self.buffer is None or cnp.PyArray_SIZE(self.buffer) > MOST_KEPT_BYTES:
            return
        try:
            kept.insert(kept_from(cnp.PyArray_SIZE(self.buffer)), self.buffer)
        except MemoryError:
            return  # the buffer is not kept
        while len(kept) > MOST_KEPT or kept_bytes() > MOST_KEPT_BYTES:
            del kept[0]


cdef int64_t memory_bytes_so_far() noexcept:
    return memory_bytes


cdef void add_memory_bytes(int64_t size) noexcept:
    """Count scratch memory that is not in a buffer."""
    global memory_bytes
    memory_bytes += size


cdef class Flags(Memory):
    """Flags that are zero before a call's kernels run, and stay zero unless the call has more to do."""


cdef int64_t kept_bytes():
    cdef int64_t total = 0
    for buffer in kept:
        total += cnp.PyArray_SIZE(<cnp.ndarray> buffer)
    return total


cdef Py_ssize_t kept_from(cnp.npy_intp size):
    """The index in `kept`, which is sorted by size, of the first buffer with at least `size` bytes."""
    cdef Py_ssize_t at
    for at in range(len(kept)):
        if cnp.PyArray_SIZE(<cnp.ndarray> kept[at]) >= size:
            return at
    return len(kept)


cdef class Piece:
    """Where an array of a launch lies in scratch memory."""

    def __cinit__(self, cnp.ndarray array, Memory memory):
        self.number, self.size, self.are_flags = memory.number, memory.size, isinstance(memory, Flags)
        self.offset = cnp.PyArray_BYTES(array) - memory.start


cdef tuple recordable(tuple arrays):
    """The arrays of a launch, with a `Piece` for scratch memory of the call: it serves later launches meanwhile."""
    return tuple([piece_or_array(array) for array in arrays])


cdef object piece_or_array(array):
    owner = array
    while isinstance(owner, cnp.ndarray):
        owner = cnp.get_array_base(<cnp.ndarray> owner)
    if isinstance(owner, Memory) and (<Memory> owner).number >= recorded_from:
        return Piece(array, owner)
    return array


def release_scratch():
    """Free the scratch memory that is kept for later calls."""
    kept.clear()


def aligned_empty(Py_ssize_t count, cnp.dtype dtype):
    """An uninitialised array that starts on a cache line: scratch memory for workers."""
    if count > (PY_SSIZE_T_MAX - CACHE_LINE) // dtype.itemsize:
        raise MemoryError(f"no address space for {count} values of {dtype}")
    return array_in(Memory(count * dtype.itemsize), count, dtype)


def flags(Py_ssize_t count):
    """`count` zero integers, which kernels set if the caller has more to do than launch them."""
    cdef Flags memory = Flags(count * sizeof(int64_t))
    memset(memory.start, 0, count * sizeof(int64_t))
    return array_in(memory, count, FLAG)


cdef cnp.ndarray array_in(Memory memory, cnp.npy_intp count, cnp.dtype dtype):
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(1, &count, dtype.num, memory.start)
    cnp.set_array_base(array, memory)
    return array


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
    """`n` as a number of threads, after checks."""
    try:
        number = 0 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        number = 0
    if not 1 <= number <= MOST_THREADS:
        raise ValueError(f"{name}={n!r}: expected an int from 1 to {MOST_THREADS}")
    return number


def get_num_threads():
    """The number of threads that a call may currently use.

    A limit that was set on OpenMP since import (by threadpoolctl, for example) is respected.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_num_threads() >= 1
    True
    """
    return available_threads()


cdef int available_threads() noexcept:
    return limited(chosen_threads or default_threads)


cpdef int limited(int threads) noexcept:
    """`threads`, or fewer if a limit was set on OpenMP since import."""
    cdef int limit = openmp.omp_get_max_threads()
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


def _threads_from_environment(name):
    value = os.environ.get(name)
    if not value:
        return default_threads
    # Python refuses to convert more than a few thousand digits.
    return checked_threads(int(value) if value.isdecimal() and len(value) < 20 else value, name)


default_threads = _threads_from_environment("FASTCONV_NUM_THREADS")
if found_team() != 0:
    raise MemoryError("no memory for a fork handler")
