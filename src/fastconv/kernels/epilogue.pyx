"""The epilogue, bias and activation, of whole planes: row by row, by the kernel of simd/epilogue.h."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t

from fastconv.kernels.cpu cimport found

from fastconv.kernels.slots import Slot

ctypedef void (*row_f32)(float *, int64_t, const float *, int64_t, int64_t, double) noexcept nogil
ctypedef void (*row_f64)(double *, int64_t, const double *, int64_t, int64_t, double) noexcept nogil

cdef struct Planes:
    int64_t values      # per plane
    int64_t channels
    int64_t activation  # code of the activation

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Planes no_planes

cdef row_f32 row_of_f32 = <row_f32> found(b"epilogue", b"f4").function
cdef row_f64 row_of_f64 = <row_f64> found(b"epilogue", b"f8").function


cdef void planes_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Planes *p = <const Planes *> ints
    cdef int64_t plane
    for plane in range(begin, end):
        row_of_f32(<float *> arrays[0] + plane * p.values, p.values, <float *> arrays[1], plane % p.channels,
                   p.activation, scalars[0])


cdef void planes_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Planes *p = <const Planes *> ints
    cdef int64_t plane
    for plane in range(begin, end):
        row_of_f64(<double *> arrays[0] + plane * p.values, p.values, <double *> arrays[1], plane % p.channels,
                   p.activation, scalars[0])


KERNELS = {
    # For lowerings without a tile to fuse it into. Tile: one plane. `arrays`: values, bias or null. `scalars`: the
    # activation's parameter.
    "finish_planes": Slot(
        namedtuple("Planes", no_planes), {"f4": <intptr_t> &planes_f32, "f8": <intptr_t> &planes_f64}
    ),
}
