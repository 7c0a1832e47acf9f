"""The adjoint of picking values from a plane: each value is added at the position it came from."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t
from libc.string cimport memset

from fastconv.kernels.cpu cimport stops

from fastconv.kernels.slots import Slot

cdef struct Places:
    int64_t values     # per plane
    int64_t positions  # per plane

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Places no_places

ctypedef fused real:
    float
    double


cdef void scatter(const real *values, const int64_t *places, real *planes, const int64_t *ints,
                  int64_t begin, int64_t end, void **arrays, int64_t worker) noexcept nogil:
    cdef const Places *p = <const Places *> ints
    cdef int64_t count = p.values, positions = p.positions, plane, i
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


KERNELS = {
    # Tile: a plane. `arrays`: values; their places, which are positions in the plane, or negative; planes.
    "scatter": Slot(namedtuple("Places", no_places), {"f4": <intptr_t> &scatter_f32, "f8": <intptr_t> &scatter_f64}),
}
