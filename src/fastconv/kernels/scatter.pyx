"""Values put back where they were picked from a plane: stored there, or, as the adjoint of picking, added."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t, uint8_t, uint16_t, uint32_t, uint64_t
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

ctypedef fused item:
    uint8_t
    uint16_t
    uint32_t
    uint64_t


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


cdef inline void put(const item *values, const int64_t *places, item *planes, int64_t *flag, const int64_t *ints,
                     int64_t begin, int64_t end, void **arrays, int64_t worker) noexcept nogil:
    cdef const Places *p = <const Places *> ints
    cdef int64_t count = p.values, positions = p.positions, plane, i
    cdef item *target
    for plane in range(begin, end):
        target = planes + plane * positions
        memset(target, 0, positions * sizeof(item))
        for i in range(plane * count, (plane + 1) * count):
            if i % 65536 == 0 and stops(arrays, worker):
                return
            if <uint64_t> places[i] < <uint64_t> positions:
                target[places[i]] = values[i]
            else:
                flag[0] = 1


cdef void put_1(void **arrays, const int64_t *ints, const double *scalars,
                int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    put(<const uint8_t *> arrays[0], <const int64_t *> arrays[1], <uint8_t *> arrays[2], <int64_t *> arrays[3],
        ints, begin, end, arrays, worker)


cdef void put_2(void **arrays, const int64_t *ints, const double *scalars,
                int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    put(<const uint16_t *> arrays[0], <const int64_t *> arrays[1], <uint16_t *> arrays[2], <int64_t *> arrays[3],
        ints, begin, end, arrays, worker)


cdef void put_4(void **arrays, const int64_t *ints, const double *scalars,
                int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    put(<const uint32_t *> arrays[0], <const int64_t *> arrays[1], <uint32_t *> arrays[2], <int64_t *> arrays[3],
        ints, begin, end, arrays, worker)


cdef void put_8(void **arrays, const int64_t *ints, const double *scalars,
                int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    put(<const uint64_t *> arrays[0], <const int64_t *> arrays[1], <uint64_t *> arrays[2], <int64_t *> arrays[3],
        ints, begin, end, arrays, worker)


KERNELS = {
    # Tile: a plane. `arrays`: values; their places, which are positions in the plane, or negative; planes.
    "scatter": Slot(namedtuple("Places", no_places), {"f4": <intptr_t> &scatter_f32, "f8": <intptr_t> &scatter_f64}),
    # Values of any type, by their size. Tile: a plane. `arrays`: values; their positions in the plane; planes; a flag,
    # which is set if a position is outside its plane.
    "put": Slot(
        namedtuple("Places", no_places),
        {
            "V1": <intptr_t> &put_1,
            "V2": <intptr_t> &put_2,
            "V4": <intptr_t> &put_4,
            "V8": <intptr_t> &put_8,
        },
    ),
}
