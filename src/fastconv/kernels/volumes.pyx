"""What pooling of volumes needs in addition to that of planes: sums of windows, divided by their numbers of values."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t

from fastconv.kernels.slots import Slot

ctypedef fused real:
    float
    double


cdef struct Volumes:
    int64_t positions  # per volume

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Volumes no_volumes


cdef inline void divide(real *sums, const real *counts, const int64_t *ints, int64_t begin, int64_t end) noexcept nogil:
    cdef int64_t positions = (<const Volumes *> ints).positions, volume, i
    for volume in range(begin, end):
        for i in range(positions):
            sums[volume * positions + i] /= counts[i]


cdef void divide_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    divide(<float *> arrays[0], <const float *> arrays[1], ints, begin, end)


cdef void divide_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    divide(<double *> arrays[0], <const double *> arrays[1], ints, begin, end)


KERNELS = {
    # Tile: a volume. `arrays`: its sums, which become means; the counts.
    "divide": Slot(namedtuple("Volumes", no_volumes), {"f4": <intptr_t> &divide_f32, "f8": <intptr_t> &divide_f64}),
}
