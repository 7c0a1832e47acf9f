"""The adjoint of picking values from a plane: each value is added at the position it came from."""

from libc.stdint cimport int64_t, intptr_t
from libc.string cimport memset

from fastconv.kernels.cpu cimport stops

ctypedef fused real:
    float
    double


cdef void scatter(const real *values, const int64_t *places, real *planes, const int64_t *ints,
                  int64_t begin, int64_t end, void **arrays, int64_t worker) noexcept nogil:
    """Tile: a plane. Places are positions in the plane, or negative. ints: values per plane, positions per plane."""
    cdef int64_t count = ints[0], positions = ints[1], plane, i
    cdef real *target
    for plane in range(begin, end):
        target = planes + plane * positions
        memset(target, 0, positions * sizeof(real))
        for i in range(plane * count, (plane + 1) * count):
            if i % 65536 == 0 and stops(arrays, worker):
                return
            if places[i] >= 0:
                target[places[i]] += values[i]


cdef void scatter_f32(void **arrays, const int64_t *ints, const double *scalars,
                      int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    scatter(<const float *> arrays[0], <const int64_t *> arrays[1], <float *> arrays[2], ints, begin, end,
            arrays, worker)


cdef void scatter_f64(void **arrays, const int64_t *ints, const double *scalars,
                      int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    scatter(<const double *> arrays[0], <const int64_t *> arrays[1], <double *> arrays[2], ints, begin, end,
            arrays, worker)


SCATTER = {4: <intptr_t> &scatter_f32, 8: <intptr_t> &scatter_f64}
