# cython: language_level=3, boundscheck=False, wraparound=False
"""The gradient of a rectifier: it passes where the input was positive."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t

from fastconv.kernels.slots import Slot

cdef struct Rectified:
    int64_t values
    int64_t tile_values  # values of a tile

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Rectified no_values

ctypedef fused real:
    float
    double


cdef void passed(const real *gradient, const real *x, real *out, const int64_t *ints,
                 int64_t begin, int64_t end) noexcept nogil:
    cdef const Rectified *of = <const Rectified *> ints
    cdef int64_t i
    for i in range(begin * of.tile_values, min(end * of.tile_values, of.values)):
        out[i] = 0 if x[i] <= 0 else gradient[i]


cdef void passed_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    passed(<const float *> arrays[0], <const float *> arrays[1], <float *> arrays[2], ints, begin, end)


cdef void passed_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    passed(<const double *> arrays[0], <const double *> arrays[1], <double *> arrays[2], ints, begin, end)


KERNELS = {
    # Tile: neighbouring values. `arrays`: gradients; the values that were rectified, before or after; results, 0 where
    # the latter are not positive.
    "rectified": Slot(namedtuple("Rectified", no_values), {"f4": <intptr_t> &passed_f32, "f8": <intptr_t> &passed_f64}),
}
