"""What pooling of volumes needs beside that of planes: sums of windows, divided by how many values each has."""

from libc.stdint cimport int64_t, intptr_t

ctypedef fused real:
    float
    double


cdef inline void divide(real *sums, const real *counts, const int64_t *ints, int64_t begin, int64_t end) noexcept nogil:
    cdef int64_t positions = ints[0], volume, i
    for volume in range(begin, end):
        for i in range(positions):
            sums[volume * positions + i] /= counts[i]


cdef void divide_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    divide(<float *> arrays[0], <const float *> arrays[1], ints, begin, end)


cdef void divide_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    divide(<double *> arrays[0], <const double *> arrays[1], ints, begin, end)


# Tile: a volume. `arrays`: its sums, which become means; the counts. `ints`: positions of a volume.
DIVIDE = {"f": <intptr_t> &divide_f32, "d": <intptr_t> &divide_f64}
