from libc.stdint cimport int64_t

cimport numpy as cnp

cdef extern from "region.h" nogil:
    enum:
        MAX_ARRAYS
        MAX_INTS
        MAX_SCALARS
        MAX_WORKERS

    ctypedef void tile_kernel "tile_function"(void **, const int64_t *, const double *,
                                              int64_t, int64_t, int64_t) noexcept

    ctypedef struct Region:
        tile_kernel *kernel
        void *arrays[MAX_ARRAYS]
        int64_t ints[MAX_INTS]
        double scalars[MAX_SCALARS]
        int64_t tiles
        int64_t grain
        int (*check_signals)() noexcept

cdef enum:
    CACHE_LINE = 64


cdef class Memory:
    cdef cnp.ndarray buffer  # None where there was no memory for it
    cdef cnp.npy_intp size
    cdef int64_t number  # in order of birth
    cdef char *start

cdef class Flags(Memory):
    pass

cdef class Piece:
    cdef readonly int64_t number
    cdef readonly cnp.npy_intp size, offset
    cdef readonly bint are_flags

cdef int fill_region(Region *region, kernel, tuple arrays, tuple ints, tuple scalars,
                     int64_t tiles, int64_t grain) except -1
cdef int run(Region *region, int64_t threads) except -1
cdef int available_threads() noexcept
cdef int64_t memory_bytes_so_far() noexcept
cdef void add_memory_bytes(int64_t size) noexcept

cdef list recorded()
cdef void record(list launches) noexcept
